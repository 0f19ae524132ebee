"""The event loop of the tools: uvloop if it is there, and how late it runs.

A measuring tool that is itself late measures itself. A `Ticker` ticks every few milliseconds
and `LoopLag` keeps how late each tick came; whoever reads a rate or a window from the simulator
reads this beside it.
uvloop keeps timers in whole milliseconds, so up to 1 ms of lag is its rounding and means nothing.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_BUCKET_S: Final = 0.0001
_BUCKETS: Final = 10_000  # up to one second; later ticks are in the last bucket

TICK_S: Final = 0.010

# The gateway's own guard: what a reader is late by less than this, the limits allow for.
STALL_S: Final = 0.010

# Five minutes of a loop that is never in time: then nothing that it noted is worth judging anyway.
STALLS_MAX: Final = 30_000


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on uvloop, or on asyncio's own loop with a line that says so."""
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    try:
        import uvloop  # noqa: PLC0415  (optional: the tools also run without it)
    except ImportError:
        print("bench: uvloop is not installed, asyncio's own loop is slower", file=sys.stderr)
    else:
        loop_factory = uvloop.new_event_loop
    # The tools hold millions of bytes objects and hardly a cycle. With the default thresholds the
    # collector walks the big dictionaries again and again and shows up as loop lag.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


class LoopLag:
    """How late the loop's ticks came: the maximum, percentiles from a histogram, and the stalls.

    A stall is a tick that was later than STALL_S: when it was due, and when it came. What was read
    then may have arrived at any time since the tick before.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all ticks so far."""
        self.max_s = 0.0
        self._ticks = 0
        self._histogram = [0] * _BUCKETS
        self.stalls_ns: list[tuple[int, int]] = []

    def add(self, lag_s: float) -> None:
        """Take in one tick that came this late."""
        lag_s = max(0.0, lag_s)
        self.max_s = max(self.max_s, lag_s)
        self._ticks += 1
        self._histogram[min(int(lag_s / _BUCKET_S), _BUCKETS - 1)] += 1

    def percentile_s(self, fraction: float) -> float:
        """The upper edge of the bucket that holds this fraction of the ticks."""
        wanted = self._ticks * fraction
        seen = 0
        for index, count in enumerate(self._histogram):
            seen += count
            if seen and seen >= wanted:
                return (index + 1) * _BUCKET_S
        return 0.0

    def note_stall(self, due_s: float, came_s: float) -> None:
        """Take in that a tick came so late that times around it mean little."""
        if came_s - due_s > STALL_S and len(self.stalls_ns) < STALLS_MAX:
            self.stalls_ns.append((int((due_s - TICK_S) * 1e9), int(came_s * 1e9)))


class Ticker:
    """Calls `on_tick(number)` at an interval until stopped, and measures the loop's lag with it.

    A late tick is not made up for: the next one is due one interval after it ran.
    """

    def __init__(
        self, on_tick: Callable[[int], None], lag: LoopLag, *, interval_s: float = TICK_S
    ) -> None:
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._on_tick = on_tick
        self._lag = lag
        self._number = 0
        self._due = time.monotonic() + interval_s
        self._handle = self._loop.call_later(interval_s, self._tick)

    def _tick(self) -> None:
        came = time.monotonic()
        self._lag.add(came - self._due)
        self._lag.note_stall(self._due, came)
        self._number += 1
        self._due = time.monotonic() + self._interval_s
        self._handle = self._loop.call_later(self._interval_s, self._tick)
        self._on_tick(self._number)

    def stop(self) -> None:
        """No more ticks."""
        self._handle.cancel()
