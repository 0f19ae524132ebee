"""Line: a limit in front of a slow disk, as the scheduler and the turns use it.

What is offered goes into the open turn if the limit has room. One turn commits at a time, for as
long as the test says; when it is released its slots are stamped, and what it holds has left. The
next turn is taken at once. A crash loses the open turn and the committing one; the row on disk is
that of the last turn that was committed. `left` is the truth: what left, and when.
"""

from collections.abc import Callable

from gateway.model.now import Now
from gateway.throttle.limit import Charge, Limit, Slots

WALL = 1_790_000_000.25


class Turn:
    """What was charged in one turn, and when it will be on disk."""

    def __init__(self) -> None:
        self.slots: Slots = []
        self.charges: list[Charge] = []
        self.row: bytes | None = None
        self.ends_at = 0.0
        self.is_taken = True


class Line:
    """`make` builds the limit anew after each crash; both clocks run alike."""

    def __init__(self, make: Callable[[Now], Limit], *, commit_s: float = 0.0) -> None:
        self._make = make
        self.monotonic = 5_000.0
        self.commit_s = commit_s
        self.left: list[tuple[float, int]] = []
        self.row: bytes | None = None
        self._start()

    @property
    def now(self) -> Now:
        return Now(self.monotonic, WALL - 5_000.0 + self.monotonic)

    def offer(self, segments: int) -> bool:
        """Whether the limit let it into the open turn."""
        if self.limit.free_at(self.now, segments) > self.monotonic:
            return False
        self._open.charges.append(self.limit.charge(self.now, segments, self._open.slots))
        self._take()
        return True

    def fill(self) -> None:
        """A backlog: as much as there is room for."""
        assert self.limit.window is not None
        room = self.limit.window.capacity - self.limit.used(self.now)
        if room:
            assert self.offer(room)

    def pass_time(self, seconds: float, *, backlog: bool = False) -> None:
        """Time passes; turns end when their commits do. A backlog uses every chance."""
        end = self.monotonic + seconds
        while True:
            wake = end
            if backlog:
                self.fill()
                wake = min(wake, self.limit.free_at(self.now, 1))
            if self._committing is not None:
                wake = min(wake, self._committing.ends_at)
            self.monotonic = max(wake, self.monotonic)
            if self._committing is not None and self._committing.ends_at <= self.monotonic:
                self._release()
            elif wake >= end:
                return

    def refuse_link(self) -> None:
        """The link takes nothing of the committing turn: it comes back as unsent."""
        if self._committing is not None:
            self._committing.is_taken = False

    def crash(self, down_s: float, *, committed: bool) -> None:
        """Nobody released what is on its way; it is on disk or it is not."""
        if self._committing is not None and committed:
            self.row = self._committing.row
        self.monotonic += down_s
        self._start()

    def _start(self) -> None:
        self._open = Turn()
        self._committing: Turn | None = None
        self.limit = self._make(self.now)
        self.limit.restore(self.row, self.now)

    def _take(self) -> None:
        if self._committing is not None or not self._open.charges:
            return
        turn, self._open = self._open, Turn()
        turn.row = self.limit.row() if self.limit.dirty else self.row
        for slot in turn.slots:
            slot.window.close()
        turn.ends_at = self.monotonic + self.commit_s
        self._committing = turn

    def _release(self) -> None:
        turn = self._committing
        assert turn is not None
        self.row = turn.row
        for slot in turn.slots:
            slot.stamp = self.monotonic
        for charge in turn.charges:
            if turn.is_taken:
                self.left.append((self.monotonic, charge.segments))
            else:
                self.limit.give_back(charge, unsent=True)
        self._committing = None
        self._take()


def most_in(left: list[tuple[float, int]], span_s: float) -> int:
    """The oracle: the most segments that left in any window of this length, by brute force."""
    return max(
        (
            sum(segments for at, segments in left if start <= at < start + span_s)
            for start, _ in left
        ),
        default=0,
    )
