"""Pacer: when the binds of one carrier may try to connect, so that they are no storm together.

While none of them is bound, one tries at a time, `spacing_s` apart, however many wait: to a carrier
that is down fifty binds are as quiet as one. As soon as one is bound the carrier is there, and the
others follow at once. While any is bound nobody is held up here; each still has its own backoff.
"""

import math

import trio


class Pacer:
    """What the binds of one carrier know of each other."""

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._up = 0
        self._next_at = -math.inf
        self._waiting: set[trio.Event] = set()

    async def turn(self, woken: trio.Event) -> None:
        """Returns when it is this bind's turn to try, or when it was woken."""
        if self._up or woken.is_set():
            return
        at = max(self._next_at, trio.current_time())
        self._next_at = at + self._spacing_s
        await self.pause(at - trio.current_time(), woken)

    async def pause(self, seconds: float, woken: trio.Event) -> None:
        """Waits so long; cut short by `woken`, which another bind that comes up sets, too."""
        self._waiting.add(woken)
        try:
            with trio.move_on_after(max(0.0, seconds)):
                await woken.wait()
        finally:
            self._waiting.discard(woken)

    def came_up(self) -> None:
        """A bind is bound: the carrier is there."""
        self._up += 1
        self._next_at = -math.inf
        for woken in self._waiting:
            woken.set()

    def went_down(self) -> None:
        """It is not any more."""
        self._up -= 1
