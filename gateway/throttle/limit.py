"""Limit: one limit of a campaign, whatever its kind, behind one face for the scheduler.

A message passes only if *every* limit over it has room for all its segments; then it is charged to
all of them at once (`charge`), and what it was charged is a `Charge` that can be taken back. Rates
get back only what never left; days also what the carrier refused (domain rule: a daily cap counts
what was answered ESME_ROK).

A per-minute limit is kept across a restart by second, a daily one by day; `row` and `restore` are
that row. Those seconds are the machine's own monotonic ones (`model.now.Boot`), since the wall clock
may step; after a reboot of the machine nobody knows how long ago they were, and the limit starts
closed for its period. A per-second limit writes nothing: it always starts closed for one second.
"""

from collections import deque
from typing import Any, Final, Literal, NamedTuple

import msgspec

from gateway.model.now import NO_BOOT, Boot, Now
from gateway.throttle.day import DayCap, Days, Leaving
from gateway.throttle.window import GUARD_S, Slot, Window

Per = Literal["second", "minute", "day"]
PERIOD_S: Final[dict[str, float]] = {"second": 1.0, "minute": 60.0}

DAY_S: Final = 86_400.0
UNIX_DAY: Final = 719_163
"""1970-01-01 as a proleptic ordinal, which is how rows name days."""

LEFT_BY: Final = 2
"""Entries of the use by second from one to that in which it has left at the latest."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_days: Final = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode
_decode_seconds: Final = msgspec.msgpack.Decoder(tuple[bytes, list[tuple[int, int]]]).decode


Slots = list[Slot | Leaving]
"""What a turn took of limits, each to be stamped when it leaves."""


class Charge(NamedTuple):
    """What one message took of one limit."""

    limit: "Limit"
    slot: Slot | None
    days: tuple[int, ...]
    segments: int


class Limit:
    """One limit: a window, or a day."""

    __slots__ = (
        "_boot",
        "_by_second",
        "_noted",
        "at_cap",
        "day",
        "dirty",
        "key",
        "line",
        "per",
        "segments",
        "window",
        "zone",
    )

    def __init__(
        self,
        *,
        key: bytes,
        per: Per,
        segments: float,
        at_cap: Literal["hold", "refuse"] = "hold",
        days: Days | None = None,
        guard_s: float = GUARD_S,
        boot: Boot = NO_BOOT,
    ) -> None:
        self._boot = boot
        self.key = key
        self.per = per
        self.segments = segments
        self.at_cap = at_cap
        self.zone = days.zone.key if days is not None else ""
        self.dirty = False
        self.line: deque[Any] = deque()
        """Who waits for it, in their order: the scheduler's, nobody else's."""
        self.window: Window | None = None
        self.day: DayCap | None = None
        self._by_second: list[tuple[int, int]] = []
        self._noted: Slot | None = None
        if per == "day":
            if days is None:
                raise ValueError("a daily limit needs its zone's days")
            self.day = DayCap(int(segments), days)
        else:
            self.window = Window(segments, PERIOD_S[per], guard_s)

    def change(
        self,
        *,
        segments: float,
        at_cap: Literal["hold", "refuse"],
        days: Days | None,
        now: Now,
    ) -> None:
        """Its record has changed; what it counts it goes on counting."""
        self.segments = segments
        self.at_cap = at_cap
        if self.window is not None:
            self.window.change(segments, now.monotonic)
        else:
            assert self.day is not None
            assert days is not None
            self.day.limit, self.day.days = int(segments), days
            self.zone = days.zone.key

    @property
    def capacity(self) -> int:
        """The longest message, in segments, that this limit can ever let pass."""
        return self.window.capacity if self.window is not None else int(self.segments)

    def free_at(self, now: Now, segments: int) -> float:
        """Monotonic time at which so many segments may go; not later than now if at once."""
        if self.window is not None:
            return self.window.free_at(now.monotonic, segments)
        assert self.day is not None
        at = self.day.free_at(now, segments)
        self.dirty = self.dirty or self.day.has_late
        self.day.has_late = False
        return at

    def charge(self, now: Now, segments: int, slots: Slots) -> Charge:
        """Takes the places; the slot is stamped with the turn whose `slots` these are."""
        if self.window is not None:
            slot = self.window.reserve(segments, slots)
            if self.per == "minute":
                second = int(self._boot.seconds(now.monotonic))
                self._note(self.window, second, segments, slot)
            return Charge(self, slot, (), segments)
        assert self.day is not None
        self.dirty = True
        return Charge(self, None, self.day.charge(now, segments, slots), segments)

    def give_back(self, charge: Charge, *, unsent: bool) -> None:
        """Takes a charge back: days always, a rate only if nothing left (`unsent`)."""
        if charge.slot is None:
            assert self.day is not None
            self.day.refund(charge.days, charge.segments)
            self.dirty = True
        elif unsent:
            charge.slot.window.give_back(charge.slot, charge.segments)

    def used(self, now: Now) -> int:
        """Segments that count against it now."""
        if self.window is not None:
            return self.window.used(now.monotonic)
        assert self.day is not None
        return self.day.used_today(now)

    def row(self) -> bytes:
        """What of it must survive a restart: (day, segments), or the boot and (second, segments)."""
        self.dirty = False
        if self.day is not None:
            return _encode(list(self.day.used.items()))
        return _encode((self._boot.id, self._by_second))

    def restore(self, row: bytes | None, since: Now) -> None:
        """Takes up what was used before `since` (the start), never less than it was (`_stamps`)."""
        if self.window is None:
            assert self.day is not None
            self.day.used = dict(_decode_days(row)) if row else {}
        elif self.per == "minute":
            self._by_second = self._seconds(row, since)
            self.window.restore(self._stamps(since))
        else:
            self.window.start_closed(since.monotonic)

    def _seconds(self, row: bytes | None, since: Now) -> list[tuple[int, int]]:
        """The use by second; all of the limit a moment ago, if nobody knows when that was."""
        if row is None:
            return []
        try:
            boot_id, by_second = _decode_seconds(row)
        except msgspec.MsgspecError:
            boot_id, by_second = b"", []
        if boot_id == self._boot.id and boot_id:
            return by_second
        return [(int(self._boot.seconds(since.monotonic)), self.capacity)]

    def _note(self, window: Window, second: int, segments: int, slot: Slot) -> None:
        """Adds to the use by second: a new entry for a new second, but never within a turn.

        What has left so long ago that its place is free again is forgotten (see `_stamps`).
        """
        used = self._by_second
        self.dirty = True
        is_same_turn = slot is self._noted
        self._noted = slot
        if used and (is_same_turn or used[-1][0] == second):
            used[-1] = (used[-1][0], used[-1][1] + segments)
            return
        used.append((second, segments))
        while len(used) > LEFT_BY and used[LEFT_BY][0] + 1.0 + window.span_s < second:
            del used[0]

    def _stamps(self, since: Now) -> list[tuple[float, int]]:
        """The use by second as window stamps.

        An entry says in which second its first segment was *charged*. They leave when their turn
        is released; the next turn may have been charged before that, but the one after it not. So
        the second of the entry after the next is the latest in which they can have left. What the
        last two hold may have left at any time until `since`.
        """
        used = self._by_second
        stamps: list[tuple[float, int]] = []
        started = self._boot.seconds(since.monotonic)
        for place, (_, segments) in enumerate(used, LEFT_BY):
            left = used[place][0] + 1.0 if place < len(used) else started
            stamps.append((since.monotonic - max(started - left, 0.0), segments))
        return stamps


def last_used(key: bytes, row: bytes) -> float:
    """The wall second up to which a limit with this row may have been used; of a day, its end."""
    by_day = b"\0day\0" in key
    entries = _decode_days(row) if by_day else _decode_seconds(row)[1]
    last = max((entry[0] for entry in entries), default=0)
    return (last - UNIX_DAY + 2) * DAY_S if by_day else float(last)
