"""What people read: aligned, with local times and ages."""

import re
import time
from collections.abc import Iterator

import pytest

from gateway.admin import layout
from gateway.admin.layout import moment, number, octets, pairs, span, table
from gateway.admin.render import CHANGES_SHOWN, render


@pytest.fixture
def _new_york() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")  # a rule, for hosts without zone files
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_new_york")
def test_a_moment_is_local_time_and_how_far_away_it_is() -> None:
    at = 1_795_489_189.0

    assert moment(at, now=at + 200) == "2026-11-23T21:59:49-05:00 (3 min ago)"
    assert moment(at, now=at - 90) == "2026-11-23T21:59:49-05:00 (in 1 min)"
    assert moment(None) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_a_span_has_the_units_that_matter(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (2**20, "1.0 MiB"), (2**36, "64.0 GiB"), (2**43, "8.0 TiB")],
)
def test_a_size_has_the_unit_that_matters(count: int, text: str) -> None:
    assert octets(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(240.0, "240"), (1_000_000.0, "1,000,000"), (0.25, "0.25")]
)
def test_a_number_of_segments_is_whole_if_it_is(value: float, text: str) -> None:
    assert number(value) == text


def test_a_table_is_as_wide_as_it_must_be_with_numbers_to_the_right() -> None:
    text = table(("NAME", "ROWS"), [("a", 5), ("a longer one", 1_000)])

    assert text == (
        "NAME           ROWS\n"
        "a                 5\n"
        "a longer one  1,000"
    )  # fmt: skip
    assert table(("NAME",), []) == ""


def test_pairs_leave_out_what_has_no_value() -> None:
    assert (
        pairs([("a", 1), ("longer", "x"), ("gone", ""), ("none", None)]) == "a       1\nlonger  x"
    )
    assert layout.blocks("a", "", "b") == "a\n\nb"


def test_a_long_import_is_cut_for_people() -> None:
    holds = {"companies": 1, "brands": 0, "campaigns": 0, "numbers": CHANGES_SHOWN + 5}
    text = render(
        "registry import",
        {
            "applied": False,
            "dry_run": True,
            "changes": [f"number {place}: new" for place in range(CHANGES_SHOWN + 5)],
            "faults": [],
            "warnings": [{"path": "campaign C", "problem": "has no limits", "instead": "add some"}],
            "holds": holds,
        },
    )

    lines = text.splitlines()
    assert lines[CHANGES_SHOWN] == "... and 5 more"
    assert lines[-2] == "warning: campaign C: has no limits; add some"
    assert lines[-1] == "would change: 205; the registry holds companies 1, numbers 205"


def test_an_audit_that_differs_shows_where() -> None:
    text = render(
        "audit",
        {
            "accepted": 3,
            "purged": 0,
            "counted": {"queued": 2, "held": 0},
            "expected": {"queued": 3, "held": 0},
            "differences": ["queued: the counter says 3, the rows say 2"],
        },
    )

    assert re.search(r"queued +3 +2\n", text)
    assert text.splitlines()[-1] == "difference: queued: the counter says 3, the rows say 2"


def test_what_is_configured_nowhere_is_said_to_be_so() -> None:
    assert render("carrier", []) == "no carrier is configured"
    assert render("client", []) == "no client is configured"
    assert "registry import" in render("campaign", [])
