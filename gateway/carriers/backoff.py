"""Backoff: how long to wait before the next attempt to bind. Pure but for the dice it is given.

How long depends on how the last attempt ended:

    lost    the session ended, or was not begun for now: doubled each time, from the shortest wait
            to the longest
    dead    nobody answers there: the same, but QUICK_MAX_S at most. It costs the carrier nothing,
            and service is to be back within half a minute when the host is
    final   it said no, and will again (a wrong password): at once the longest. Each further try
            may bring its operator nearer to locking us out

Waits are spread evenly over their upper half, so that fifty binds that were lost together do not
come back together. A session that held for as long as the longest wait begins anew from the
shortest.
"""

from collections.abc import Callable
from typing import Final, Literal

End = Literal["lost", "dead", "final"]

QUICK_MAX_S: Final = 10.0
"""With the time that a connection may take (`connect_timeout_s`, 10 s) well below half a minute."""


class Backoff:
    """The waits of one bind."""

    __slots__ = ("_dice", "_longest_s", "_next_s", "_shortest_s")

    def __init__(self, shortest_s: float, longest_s: float, dice: Callable[[], float]) -> None:
        self._shortest_s = shortest_s
        self._longest_s = max(longest_s, shortest_s)
        self._next_s = shortest_s
        self._dice = dice

    def wait_s(self, end: End) -> float:
        """The next wait, after an attempt that ended like this."""
        whole_s = self._longest_s if end == "final" else self._next_s
        if end == "dead":
            whole_s = min(whole_s, QUICK_MAX_S)
        self._next_s = min(2 * whole_s, self._longest_s)
        return whole_s * (0.5 + 0.5 * self._dice())

    def held(self, seconds: float) -> None:
        """A session was bound for so long."""
        if seconds >= self._longest_s:
            self._next_s = self._shortest_s
