"""Clock: virtual time, and the agenda of what happens when.

There is one true time, which only the agenda moves. The two clocks that the gateway is shown follow
it: `monotonic` from an origin that each process has for itself, `wall` with whatever step somebody
has set it by. The machine's own monotonic clock goes on from one process to the next, until it boots. What carriers and calendars count, they count by true time.

Two things of the same moment happen in the order in which they were put on the agenda, so one seed
is one run.
"""

import heapq
from collections.abc import Callable

from gateway.model.now import Boot, Now


class Clock:
    """True time since the run began, in seconds, and what the gateway's clocks make of it."""

    def __init__(self, wall_s: float) -> None:
        self.true_s = 0.0
        self.began_wall_s = wall_s
        self.step_s = 0.0
        """What the wall clock is wrong by."""
        self.sets = 0
        """How often it was set."""
        self.origin_s = 1_000.0
        """What the process's monotonic clock would have shown when the run began."""
        self._boots = 1
        self._boot_origin_s = 0.0

    @property
    def wall(self) -> float:
        """The wall clock as the gateway reads it."""
        return self.began_wall_s + self.true_s + self.step_s

    @property
    def true_wall(self) -> float:
        """What a right clock on the wall shows: days are counted by it."""
        return self.began_wall_s + self.true_s

    @property
    def now(self) -> Now:
        """Both clocks, as the daemon reads them."""
        return Now(self.true_s + self.origin_s, self.wall)

    @property
    def boot(self) -> Boot:
        """The machine's clock, as a process reads it at its start."""
        return Boot(b"boot %d" % self._boots, self._boot_origin_s - self.origin_s)

    def set(self, step_s: float) -> None:
        """Somebody sets the wall clock."""
        self.step_s = step_s
        self.sets += 1

    def restarted(self, origin_s: float, *, booted: bool) -> None:
        """A new process has another monotonic clock, a new boot the machine as well."""
        self.origin_s = origin_s - self.true_s
        self.set(0.0)
        if booted:
            self._boots += 1
            self._boot_origin_s = -self.true_s

    def monotonic(self) -> float:
        """The monotonic clock, as the daemon reads it."""
        return self.true_s + self.origin_s


class Entry:
    """Something on the agenda."""

    __slots__ = ("act", "at")

    def __init__(self, at: float, act: Callable[[], None]) -> None:
        self.at = at
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        """It will not happen."""
        self.act = None


class Agenda:
    """What is still to come, by true time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.happened = 0
        self._heap: list[tuple[float, int, Entry]] = []
        self._added = 0

    def at(self, true_s: float, act: Callable[[], None]) -> Entry:
        """At this true time, or as soon after it as may be."""
        entry = Entry(max(true_s, self.clock.true_s), act)
        self._added += 1
        heapq.heappush(self._heap, (entry.at, self._added, entry))
        return entry

    def after(self, seconds: float, act: Callable[[], None]) -> Entry:
        """So many seconds from now."""
        return self.at(self.clock.true_s + seconds, act)

    def run_until(self, true_s: float) -> None:
        """Lets everything happen that is due by then."""
        heap, clock = self._heap, self.clock
        while heap and heap[0][0] <= true_s:
            at, _, entry = heapq.heappop(heap)
            act = entry.act
            if act is None:
                continue
            entry.act = None
            clock.true_s = max(clock.true_s, at)
            self.happened += 1
            act()
        clock.true_s = max(clock.true_s, true_s)
