"""Exact sliding windows: how many events any interval of a given length held at most.

A window is half open: of two events exactly one second apart, no window of one second holds both.
Times are integer nanoseconds of the monotonic clock, so that this is exact. There are no buckets
and no estimates here; memory is one entry per distinct time within the window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

SECOND_NS: Final = 1_000_000_000
READ_NS: Final = 10_000_000
"""How long after a stall the last of what piled up in it may still be read."""
MINUTE_NS: Final = 60 * SECOND_NS


class WindowMax:
    """The fullest window so far. Times must not decrease from one call to the next."""

    __slots__ = ("_entries", "_held", "_length_ns", "maximum")

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._entries: deque[tuple[int, int]] = deque()
        self._held = 0
        self.maximum = 0

    def add(self, now_ns: int, count: int) -> None:
        """`count` events at this time."""
        entries = self._entries
        entries.append((now_ns, count))
        held = self._held + count
        begin_ns = now_ns - self._length_ns
        while entries[0][0] <= begin_ns:
            held -= entries.popleft()[1]
        self._held = held
        if held > self.maximum:  # noqa: PLR1730  (this runs per read; max() costs a call)
            self.maximum = held


class RateLimit:
    """At most `count` events in any window; an event it refuses does not count."""

    __slots__ = ("_count", "_length_ns", "_times")

    def __init__(self, count: int, length_ns: int) -> None:
        self._count = count
        self._length_ns = length_ns
        self._times: deque[int] = deque()

    def has_room(self, now_ns: int) -> bool:
        """Whether one more event now keeps within the limit."""
        times = self._times
        begin_ns = now_ns - self._length_ns
        while times and times[0] <= begin_ns:
            times.popleft()
        return len(times) < self._count

    def take(self, now_ns: int) -> None:
        """One event; the caller has asked `has_room`."""
        self._times.append(now_ns)


class Judged(NamedTuple):
    """What the windows of a row of events say about a limit, one window for each time."""

    windows: int
    over: int
    """Windows that hold more than the limit, though whoever noted the times was not late."""
    unjudged: int
    """Windows that begin in a stall: what is noted at their begin may have come before it."""
    most: int
    """The fullest of those that are judged."""


def judge(
    times_ns: Iterable[int], length_ns: int, limit: int, stalls_ns: Iterable[tuple[int, int]]
) -> Judged:
    """Holds each window against the limit, but for those whose begin nobody knows.

    `stalls_ns` are (begin, end), in order, of the times at which the reader was late: events are
    noted at the end of one, or just behind it, that came at its begin.
    """
    times = sorted(times_ns)
    stalls = [(begin, end + READ_NS) for begin, end in stalls_ns]
    windows = over = unjudged = most = 0
    last = stall = 0
    for first, begin in enumerate(times):
        if first and times[first - 1] == begin:
            continue
        windows += 1
        while stall < len(stalls) and stalls[stall][1] < begin:
            stall += 1
        while last < len(times) and times[last] < begin + length_ns:
            last += 1
        if stall < len(stalls) and stalls[stall][0] <= begin:
            unjudged += 1
            continue
        held = last - first
        most = max(most, held)
        over += held > limit
    return Judged(windows, over, unjudged, most)


def window_max(times_ns: Iterable[int], length_ns: int) -> int:
    """The most events in any window of `length_ns`, for times in any order."""
    window = WindowMax(length_ns)
    for time_ns in sorted(times_ns):
        window.add(time_ns, 1)
    return window.maximum
