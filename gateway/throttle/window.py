"""Window: at most `limit` segments in any `period_s` seconds, measured where we write.

Theory. A token bucket lets twice its rate through at a window's border, so this is an exact
sliding window. A segment takes its place in three steps:

    reserve   the scheduler puts it into the open turn: the place is taken
    stamp     the turn is on disk and its bytes were handed to the socket: the time is noted
    expire    one period and the guard after the stamp the place is free again

The stamp is taken after the write, so it is never earlier than the bytes. The guard covers the
path's jitter: two segments that leave us `period_s` apart may arrive a little closer. All that one
turn reserves shares one `Slot`, so the cost follows the turns, not the segments.

What was written never comes back to a window, whatever the carrier answers; only what never left
(`unsent`) does. A slot without a stamp has no end yet: who waits for it is woken by the stamp.

A fractional limit is kept over a longer window that holds a whole number: 1.5 a second is 2 in
1.333 s, 0.25 a second is 1 in 4 s.
"""

import math
from collections import deque
from typing import Any, Final

GUARD_S: Final = 0.010
"""Default guard: the jitter that a path of one hop and a busy kernel were seen to add."""

NEVER: Final = math.inf


class Slot:
    """What one turn takes of one window. `stamp` is None until the turn has left."""

    __slots__ = ("segments", "stamp", "window")

    def __init__(self, window: "Window", segments: int, stamp: float | None = None) -> None:
        self.window = window
        self.segments = segments
        self.stamp = stamp


class Window:
    """One sliding limit. `capacity` segments in `span_s`, guard included."""

    __slots__ = ("_guard_s", "_open", "_period_s", "_slots", "_used", "capacity", "span_s")

    def __init__(self, limit: float, period_s: float, guard_s: float = GUARD_S) -> None:
        self._period_s = period_s
        self._guard_s = guard_s
        self._slots: deque[Slot] = deque()
        self._used = 0
        self._open: Slot | None = None
        self._measure(limit)

    def free_at(self, now: float, segments: int) -> float:
        """When this many segments may go: `now` or before if at once, NEVER if nobody knows yet."""
        self._expire(now)
        excess = self._used + segments - self.capacity
        if excess <= 0:
            return now
        if segments > self.capacity:
            return NEVER
        for slot in self._slots:
            if slot.stamp is None:
                return NEVER
            excess -= slot.segments
            if excess <= 0:
                return slot.stamp + self.span_s
        raise AssertionError("a window holds more than its slots")  # pragma: no cover

    def reserve(self, segments: int, slots: list[Any]) -> Slot:
        """Takes places. A new slot is added to `slots`, the open turn's, to be stamped with it."""
        slot = self._open
        if slot is None:
            slot = self._open = Slot(self, 0)
            self._slots.append(slot)
            slots.append(slot)
        slot.segments += segments
        self._used += segments
        return slot

    def close(self) -> None:
        """The open turn was taken: what is reserved from here on belongs to the next."""
        self._open = None

    def give_back(self, slot: Slot, segments: int) -> None:
        """These segments never left. What has expired meanwhile was given back already."""
        back = min(segments, slot.segments)
        slot.segments -= back
        self._used -= back

    def start_closed(self, now: float) -> None:
        """After a restart nobody knows what left in the last moment: full, as of now."""
        self._fill(self.capacity, now)

    def restore(self, used: list[tuple[float, int]]) -> None:
        """After a restart: (stamp, segments) as they were written to disk, oldest first."""
        for stamp, segments in used:
            self._fill(segments, stamp)

    def change(self, limit: float, now: float) -> None:
        """Another limit from now on; what left counts against it.

        If it looks back further, what left before is forgotten already: it starts closed.
        """
        before_s = self.span_s
        self._measure(limit)
        if self.span_s > before_s:
            self.start_closed(now)

    def used(self, now: float) -> int:
        """Segments that hold a place now."""
        self._expire(now)
        return self._used

    def _measure(self, limit: float) -> None:
        if limit < 0:
            raise ValueError("a limit cannot be negative")
        self.capacity = math.ceil(limit)
        scale = self.capacity / limit if limit else 1.0
        self.span_s = self._period_s * scale + self._guard_s

    def _fill(self, segments: int, stamp: float) -> None:
        self._slots.append(Slot(self, segments, stamp))
        self._used += segments

    def _expire(self, now: float) -> None:
        slots = self._slots
        while slots:
            first = slots[0]
            if first.stamp is None or first.stamp + self.span_s > now:
                return
            slots.popleft()
            self._used -= first.segments
            first.segments = 0
