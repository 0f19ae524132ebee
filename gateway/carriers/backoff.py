"""Backoff: how long to wait before the next attempt to bind. Pure but for the dice it is given.

Doubled each time from the shortest to the longest, and spread evenly over the upper half, so that
fifty binds that were lost together do not come back together. A session that held for as long as
the longest wait begins anew from the shortest.
"""

from collections.abc import Callable


class Backoff:
    """The waits of one bind."""

    __slots__ = ("_dice", "_longest_s", "_next_s", "_shortest_s")

    def __init__(self, shortest_s: float, longest_s: float, dice: Callable[[], float]) -> None:
        self._shortest_s = shortest_s
        self._longest_s = max(longest_s, shortest_s)
        self._next_s = shortest_s
        self._dice = dice

    def wait_s(self) -> float:
        """The next wait."""
        whole_s = self._next_s
        self._next_s = min(2 * whole_s, self._longest_s)
        return whole_s * (0.5 + 0.5 * self._dice())

    def held(self, seconds: float) -> None:
        """A session was bound for so long."""
        if seconds >= self._longest_s:
            self._next_s = self._shortest_s
