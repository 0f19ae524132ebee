"""DayCap: at most so many segments in a calendar day of one zone, kept across restarts.

Theory. The counter is durable: each turn that charges it writes it. A charge names its day and a
refund goes back to that day, so a refusal that comes after midnight gives yesterday its place back.

Two clocks guard the border. Within `BORDER_S` before a reset a segment is charged to both days:
the carrier's clock may already show the next one. A day opens only when the wall clock says so
*and* the wall clock of our start, extrapolated by the monotonic one, says so too: a wall clock that
steps forward cannot open tomorrow early; one that steps back cannot give yesterday a second time,
since the day never goes back while we run. Between their two midnights both days are charged. So a
step costs use until the next start, and the cap holds by the clock that was right at this one
(the monotonic clock is slewed like the other, they part by steps alone). Days follow the zone's
rules: 23 and 25 hours happen.

A turn may take longer than that to reach the disk, and its segments arrive on the day after the one
they were charged to. So what is charged and has not left (`Leaving`, stamped like a window's slot)
when a day opens is charged to that day as well.

What it is not: a promise about other providers that send for the same brand.
"""

import datetime
from collections import deque
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.model.now import Now

BORDER_S: Final = 5.0
"""Carriers' clocks were never seen further off than this; it costs at most 5 s of a day's use."""

_ONE_DAY: Final = datetime.timedelta(days=1)


class Days:
    """Which day it is in one zone, and when it ends: shared by all caps of that zone."""

    __slots__ = ("_anchor", "began", "ends_wall", "ordinal", "zone")

    def __init__(self, zone: str, now: Now) -> None:
        self.zone = ZoneInfo(zone)
        self._anchor = now
        """Never moved: a clock that has stepped would be trusted from the next day on."""
        self.began = now.monotonic
        """The monotonic time at which this day began, or the process."""
        self.ordinal = 0
        self.ends_wall = 0.0
        self._enter(now.wall)

    def turn_over(self, now: Now) -> int:
        """The day of this moment (a proleptic ordinal), moving on when both clocks say so."""
        if now.wall >= self.ends_wall and self._extrapolated(now) >= self.ends_wall:
            self.began = now.monotonic - (self._extrapolated(now) - self.ends_wall)
            self._enter(min(now.wall, self._extrapolated(now)))
        return self.ordinal

    def opens_in_s(self, now: Now) -> float:
        """Seconds from now until the next day opens, by the slower of the two clocks."""
        return self.ends_wall - min(now.wall, self._extrapolated(now))

    def near_border(self, now: Now) -> bool:
        """Whether by either clock the reset is so near that both days must be charged."""
        return self.ends_wall - max(now.wall, self._extrapolated(now)) <= BORDER_S

    def _extrapolated(self, now: Now) -> float:
        return self._anchor.wall + (now.monotonic - self._anchor.monotonic)

    def _enter(self, wall: float) -> None:
        date = datetime.datetime.fromtimestamp(wall, self.zone).date()
        midnight = datetime.datetime.combine(date + _ONE_DAY, datetime.time(), self.zone)
        self.ordinal = date.toordinal()
        self.ends_wall = midnight.timestamp()


class Leaving:
    """What one turn takes of one day alone. `stamp` is None until the turn has left."""

    __slots__ = ("segments", "stamp", "window")

    def __init__(self, day: "DayCap") -> None:
        self.window = day
        self.segments = 0
        self.stamp: float | None = None


class DayCap:
    """One daily limit: `used` by day, of which at most today and tomorrow are kept."""

    __slots__ = ("_day", "_leaving", "_open", "days", "has_late", "limit", "used")

    def __init__(self, limit: int, days: Days, used: dict[int, int] | None = None) -> None:
        self.limit = limit
        self.days = days
        self.used = dict(used or {})
        self._day = 0
        self._leaving: deque[Leaving] = deque()
        self._open: Leaving | None = None
        self.has_late = False
        """Whether something was charged without anybody asking for it: it is to be written down."""

    def free_at(self, now: Now, segments: int) -> float:
        """Monotonic time at which this many segments may go; now if at once."""
        today = self._today(now)
        used = self.used
        fits = used.get(today, 0) + segments <= self.limit
        if fits and (
            not self.days.near_border(now) or used.get(today + 1, 0) + segments <= self.limit
        ):
            return now.monotonic
        if segments > self.limit:
            return float("inf")
        return now.monotonic + max(self.days.opens_in_s(now), 0.001)

    def charge(self, now: Now, segments: int, slots: list[Any]) -> tuple[int, ...]:
        """Counts the segments; gives the days that were charged, for a refund.

        `slots` are the open turn's, as for a window.
        """
        today = self._today(now)
        if self.days.near_border(now):
            charged: tuple[int, ...] = (today, today + 1)
        else:
            charged = (today,)
            self._slot(slots).segments += segments
        for day in charged:
            self.used[day] = self.used.get(day, 0) + segments
        for day in [day for day in self.used if day < today - 1]:
            del self.used[day]
        return charged

    def close(self) -> None:
        """The open turn was taken."""
        self._open = None

    def refund(self, charged: tuple[int, ...], segments: int) -> None:
        """These segments were not taken by the carrier, or never left."""
        for day in charged:
            if day in self.used:
                self.used[day] -= segments

    def used_today(self, now: Now) -> int:
        """Segments charged to the day of this moment."""
        return self.used.get(self._today(now), 0)

    def _today(self, now: Now) -> int:
        """The day of this moment; what has not left when it begins is charged to it, too.

        It may have left since: nobody need have looked between the reset and now.
        """
        today = self.days.turn_over(now)
        if today != self._day:
            self._day = today
            late = sum(
                slot.segments
                for slot in self._leaving
                if slot.stamp is None or slot.stamp >= self.days.began
            )
            if late:
                self.used[today] = self.used.get(today, 0) + late
                self.has_late = True
            self._leaving.clear()
            self._open = None
        return today

    def _slot(self, slots: list[Any]) -> Leaving:
        slot = self._open
        if slot is None:
            leaving = self._leaving
            while leaving and leaving[0].stamp is not None:
                leaving.popleft()
            slot = self._open = Leaving(self)
            leaving.append(slot)
            slots.append(slot)
        return slot
