"""The table of verbs is whole, and both sides are held to it."""

import pytest

from gateway.admin import grammar
from gateway.admin.grammar import BY_NAME, VERBS
from gateway.admin.render import RENDERERS
from gateway.admin.verbs.table import TABLE

CONTRACT = (
    "status",
    "registry import",
    "registry export",
    "carrier",
    "carrier rebind",
    "client",
    "client kick",
    "campaign",
    "queue",
    "queue release",
    "queue expire",
    "message",
    "audit",
    "drain",
    "loglevel",
    "version",
    "help",
)


def test_the_verbs_are_those_of_the_contract_that_this_release_has() -> None:
    assert tuple(BY_NAME) == CONTRACT


def test_every_verb_is_done_by_one_function_and_shown_by_one() -> None:
    assert set(TABLE) == set(BY_NAME) == set(RENDERERS)
    assert len({entry.run for entry in TABLE.values()}) == len(TABLE)


def test_every_verb_and_argument_says_what_it_is() -> None:
    texts = [verb.help for verb in VERBS] + [
        argument.help for verb in VERBS for argument in verb.arguments
    ]

    assert all(texts)
    assert len(BY_NAME) == len(VERBS)


@pytest.mark.parametrize(
    ("line", "verb", "rest"),
    [
        ("carrier", "carrier", []),
        ("carrier a", "carrier", ["a"]),
        ("carrier rebind a", "carrier rebind", ["a"]),
        ("queue --limit 3", "queue", ["--limit", "3"]),
        ("queue release --all", "queue release", ["--all"]),
    ],
)
def test_a_verb_of_two_words_goes_before_one_of_one(line: str, verb: str, rest: list[str]) -> None:
    assert grammar.find(line.split()) == (BY_NAME[verb], rest)


@pytest.mark.parametrize("line", ["", "registry", "nonsense", "Status"])
def test_what_begins_with_no_verb_is_none(line: str) -> None:
    assert grammar.find(line.split()) is None


@pytest.mark.parametrize(
    ("verb", "args", "fault"),
    [
        ("status", {"x": 1}, "status has no argument 'x'"),
        ("message", {}, "message needs id: its 13 characters"),
        ("message", {"id": 7}, "message: id must be a text"),
        ("queue", {"limit": 0}, "queue: limit must be a whole number above zero"),
        ("queue", {"limit": True}, "queue: limit must be a whole number above zero"),
        ("queue release", {"all": 1}, "queue release: all must be true or false"),
        ("queue release", {"ids": "x"}, "queue release: ids must be a list of texts"),
        ("queue release", {"ids": [1]}, "queue release: ids must be a list of texts"),
        (
            "loglevel",
            {"level": "loud"},
            "loglevel: level must be one of debug, info, warning, error",
        ),
        ("carrier", {"name": "a"}, ""),
        ("queue", {"limit": 5}, ""),
        ("queue expire", {"ids": ["a", "b"]}, ""),
    ],
)
def test_a_request_is_told_what_is_wrong_with_it(
    verb: str, args: dict[str, object], fault: str
) -> None:
    assert grammar.fault(BY_NAME[verb], args) == fault
