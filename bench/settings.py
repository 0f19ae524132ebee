"""What the simulator does wrong, late, twice or not at all: every switch, in one table.

Each is a command line option (`--answer-delay-ms 50`) and can be set while the simulator runs
(`{"do":"set","answer_delay_ms":50}`); both go through `parse`. Fractions are probabilities per
message, drawn from the simulator's seeded generator.

A value that makes no sense raises `ValueError`, whose text says what to write instead; nothing is
changed then.
"""

# ruff: noqa: RUF009, TRY004  (_setting makes dataclass fields; a bad value is always a ValueError)

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Generic, TypeVar

from bench import wire

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mix(Generic[T]):
    """Values with their probabilities; `pick` of what is left over gives None."""

    text: str
    choices: tuple[tuple[float, T], ...] = ()  # (cumulative probability, value)

    def pick(self, draw: float) -> T | None:
        """Choose by a number drawn evenly from [0, 1)."""
        for limit, value in self.choices:
            if draw < limit:
                return value
        return None


class Stat:
    """A receipt's final state as text and TLV carry it. Compared by identity."""

    __slots__ = ("delivered", "err", "message_state", "name")

    def __init__(self, name: str, err: str = "") -> None:
        if name not in wire.MESSAGE_STATES:
            raise ValueError(f"{name!r} is none of {' '.join(wire.MESSAGE_STATES)}")
        self.name = name.encode()
        self.delivered = name == "DELIVRD"
        self.err = (err or ("000" if self.delivered else "001")).encode("ascii")
        self.message_state = wire.MESSAGE_STATES[name]


def _mix(text: object, value_of: Callable[[str], T], *, whole: bool) -> Mix[T]:
    if isinstance(text, dict):
        text = ",".join(f"{name}:{fraction}" for name, fraction in text.items())
    if not isinstance(text, str):
        raise ValueError(f"{text!r}: write NAME:FRACTION,NAME:FRACTION")
    choices: list[tuple[float, T]] = []
    total = 0.0
    for part in filter(None, text.split(",")):
        name, colon, fraction = part.partition(":")
        total += _fraction(fraction) if colon else 1.0
        choices.append((total, value_of(name.strip())))
    if total > 1.0 + 1e-9 or (whole and total < 1.0 - 1e-9):
        raise ValueError(f"{text!r}: the fractions add up to {total:g}, not 1")
    if whole:  # rounding must not leave a gap at the top
        choices[-1] = (1.0, choices[-1][1])
    return Mix(text, tuple(choices))


def _fraction(value: object) -> float:
    number = _number(value)
    if number > 1.0:
        raise ValueError(f"{value!r}: a fraction is between 0 and 1")
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if not 0.0 <= number < float("inf"):
        raise ValueError(f"{value!r}: write a number from 0 up")
    return number


def _count(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError(f"{value!r} is not a whole number")
    return int(number)


def _count_from_one(value: object) -> int:
    number = _count(value)
    if number < 1:
        raise ValueError(f"{value!r}: write a whole number from 1 up")
    return number


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r}: write true or false")


def _errors(value: object) -> Mix[int]:
    return _mix(value, lambda name: int(name, 0), whole=False)


def _stats(value: object) -> Mix[Stat]:
    return _mix(value, lambda name: Stat(*name.split("/", 1)), whole=True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is none of {' '.join(words)}")
        return str(value)

    return parse


def _setting(parse: Callable[[object], Any], default: object, text: str) -> Any:
    return field(default=parse(default), metadata={"parse": parse, "help": text})


_NO_LIMIT: Final = "0 for no limit"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings at one moment; changing one makes a new object."""

    # who may bind
    system_id: str = _setting(_text, "", "the only system_id to accept; empty accepts any")
    password: str = _setting(_text, "", "the only password to accept; empty accepts any")
    max_binds: int = _setting(_count, 0, f"binds per system_id, {_NO_LIMIT}")
    enquire_link_s: float = _setting(_number, 0, "send enquire_link every so often, 0 for never")
    # answers to submit_sm
    answer_delay_ms: float = _setting(_number, 0, "answer so much later")
    errors: Mix[int] = _setting(_errors, "", "fractions answered so: 0x58:0.02,0x14:0.01")
    throttle_per_second: int = _setting(
        _count, 0, f"per source_addr, above it ESME_RTHROTTLED; {_NO_LIMIT}"
    )
    throttle_per_minute: int = _setting(
        _count, 0, f"per source_addr, above it ESME_RTHROTTLED; {_NO_LIMIT}"
    )
    lose_answers: float = _setting(_fraction, 0, "fraction of answers never sent")
    repeat_answers: float = _setting(_fraction, 0, "fraction of answers sent twice")
    never_answer: bool = _setting(
        _switch, default=False, text="take every submit_sm and answer none"
    )
    cut_inside_pdu: float = _setting(
        _fraction, 0, "fraction of answers of which half is sent, then the connection closed"
    )
    ids: str = _setting(
        _one_of("random", "sequence", "hex", "decimal"), "random", "how message ids look"
    )
    # receipts
    receipts: str = _setting(
        _one_of("asked", "always", "never"), "asked", "which accepted messages get a receipt"
    )
    receipt_delay_ms: float = _setting(_number, 0, "counted from the submit_sm")
    receipt_stat_mix: Mix[Stat] = _setting(
        _stats, "DELIVRD:1", "STAT[/ERR]:FRACTION,...: DELIVRD:0.98,UNDELIV/4770:0.02"
    )
    receipt_on: str = _setting(
        _one_of("same", "any"), "same", "the bind that submitted, or any of its system_id"
    )
    receipt_form: str = _setting(
        _one_of("both", "text", "tlv"), "both", "where the receipt carries its data"
    )
    receipt_ids: str = _setting(
        _one_of("same", "hex", "decimal", "upper"), "same", "rewrite the id inside the receipt"
    )
    lose_receipts: float = _setting(_fraction, 0, "fraction of receipts never sent")
    repeat_receipts: float = _setting(_fraction, 0, "fraction of receipts sent twice")
    deliver_window: int = _setting(_count_from_one, 1000, "unanswered deliver_sm per bind at most")
    deliver_timeout_ms: float = _setting(
        _number, 30_000, "send an unanswered deliver_sm again after so long, 0 for never"
    )
    redeliver_ms: float = _setting(
        _number, 1000, "send a temporarily refused deliver_sm again after so long"
    )

    def changed(self, values: Iterable[tuple[str, object]]) -> Settings:
        """A copy with these values; all or nothing."""
        parsers = {item.name: item.metadata["parse"] for item in fields(self)}
        parsed = {}
        for name, value in values:
            if name not in parsers:
                raise ValueError(f"no setting {name!r}; there are {' '.join(parsers)}")
            try:
                parsed[name] = parsers[name](value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return replace(self, **parsed)

    def as_json(self) -> dict[str, object]:
        """All settings but the password, as `changed` would take them."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: value.text if isinstance(value, Mix) else value
            for name, value in values.items()
            if name != "password"
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    """One option for every setting."""
    for item in fields(Settings):
        option = "--" + item.name.replace("_", "-")
        help_text = str(item.metadata["help"]).replace("%", "%%")
        if isinstance(item.default, bool):
            parser.add_argument(option, action="store_true", help=help_text)
        else:
            parser.add_argument(option, default=None, help=help_text, metavar="X")


def from_options(options: argparse.Namespace) -> Settings:
    """Read the options of `add_options`; those not given keep their defaults."""
    given = ((item.name, getattr(options, item.name)) for item in fields(Settings))
    return Settings().changed((name, value) for name, value in given if value is not None)
