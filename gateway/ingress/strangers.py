"""Strangers: what is remembered of addresses from which somebody failed to become a client.

Two things follow from it. Each refusal is answered later than the one before, so that guessing
passwords is slow: DELAY_FIRST_S, doubled up to DELAY_MAX_S, by the number of failures since the
address was last quiet for FORGET_S. And the log has one line an address and period, with a count,
however often it fails. A bind with the right password is never delayed: who shares an address with
a guesser is a client all the same.

An IPv6 address stands for its /64, which is what one host is given. The table has at most
ADDRESSES_MAX entries; the one that failed longest ago goes first. Time is an argument; nothing
here waits. It never sees a password.
"""

import ipaddress
from collections import OrderedDict
from typing import Final

DELAY_FIRST_S: Final = 0.1
"""A mistake in a configuration is not punished; nobody notices it."""

DELAY_MAX_S: Final = 5.0
"""Reached with the seventh failure. Longer would only hold our own descriptors."""

FORGET_S: Final = 300.0
"""Without a failure for so long an address is as good as new."""

ADDRESSES_MAX: Final = 10_000
"""About 3 MB; whoever has more addresses than that is not slowed by address anyway."""

WAITING_MAX: Final = 64
"""Refusals of one address that wait to be answered. Above it, its connections are closed as they
come: it must not take all of `smpp.max_connections` by failing."""

PERIOD_S: Final = 60.0
"""Between two lines of the log about one address."""


class Stranger:
    """One address: `failures` since it was last forgotten, those `unsaid` in the log yet."""

    __slots__ = ("failed_at", "failures", "said_at", "unsaid", "waiting", "what")

    def __init__(self) -> None:
        self.failures = 0
        self.failed_at = 0.0
        self.waiting = 0
        self.said_at: float | None = None
        self.unsaid = 0
        self.what = ""


class Strangers:
    """The table."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Stranger] = OrderedDict()

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._known)

    def is_crowded(self, host: str) -> bool:
        """Whether so many refusals of this address wait that it gets no more connections."""
        stranger = self._known.get(_key(host))
        return stranger is not None and stranger.waiting >= WAITING_MAX

    def failed(self, host: str, what: str, now: float) -> tuple[float, bool]:
        """Somebody from there was refused: after which delay to say so, and whether to log it.

        What is not logged now is counted, for `unsaid`.
        """
        stranger = self._recall(_key(host))
        if now - stranger.failed_at >= FORGET_S:
            stranger.failures = 0
        doubled = DELAY_FIRST_S * 2.0 ** min(stranger.failures, 10)
        stranger.failures += 1
        stranger.failed_at = now
        stranger.what = what
        if stranger.said_at is None or now - stranger.said_at >= PERIOD_S:
            stranger.said_at = now
            return min(doubled, DELAY_MAX_S), True
        stranger.unsaid += 1
        return min(doubled, DELAY_MAX_S), False

    def waits(self, host: str, change: int) -> None:
        """A refusal of this address begins to wait (1), or does no more (-1)."""
        stranger = self._known.get(_key(host))
        if stranger is not None:  # else it was forgotten for others
            stranger.waiting = max(0, stranger.waiting + change)

    def unsaid(self, now: float) -> list[tuple[str, int, str]]:
        """Address, count and last cause of what was counted instead of logged; once."""
        found = []
        for key, stranger in self._known.items():
            if stranger.unsaid:
                found.append((key, stranger.unsaid, stranger.what))
                stranger.unsaid = 0
                stranger.said_at = now
        return found

    def _recall(self, key: str) -> Stranger:
        """The entry of this address, now the last to be forgotten."""
        stranger = self._known.setdefault(key, Stranger())
        self._known.move_to_end(key)
        if len(self._known) > ADDRESSES_MAX:
            self._known.popitem(last=False)
        return stranger


class Seldom:
    """One line of the log a period, however often there is cause; with how often there was."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._said_at: float | None = None
        self._since = 0

    def count(self, now: float) -> int:
        """There is cause: how often there was since the last line, or 0 if it is not time for one."""
        self._since += 1
        if self._said_at is not None and now - self._said_at < self._period_s:
            return 0
        since, self._since = self._since, 0
        self._said_at = now
        return since


def _key(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # one that was gone before it could be asked for its name
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
