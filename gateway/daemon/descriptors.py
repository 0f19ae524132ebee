"""Descriptors: how many connections the system lets us have, and what must be left for others.

A process that has used up its descriptors cannot bind to a carrier again, open a file, or be asked
what is wrong. So clients get what is left when all that has been set aside, and the listener stops
there (`smpp.max_connections`). The soft limit is raised to the hard one first: that is what the
difference between them is for.
"""

import resource
from typing import Final

from gateway.config.schema import Config

OWN: Final = 24
"""Standard streams, the loop, the store, the listeners: 17 in an idle daemon with one of each."""

VISITORS: Final = 8
"""Connections of `ctl` and of Prometheus: few at a time, and short."""

PER_BIND: Final = 2
"""A session, and the end of the one before."""


def needed(config: Config) -> int:
    """What everybody but clients may need at once."""
    binds = sum(one.binds * (2 if one.bind == "pair" else 1) for one in config.carrier)
    listeners = len(config.smpp.listen) + len(config.smpp.tls.listen) + len(config.metrics.listen)
    return OWN + VISITORS + PER_BIND * binds + listeners


def fit(config: Config) -> tuple[int, str]:
    """How many connections clients may have, and a warning if that is less than configured."""
    others, wanted = needed(config), config.smpp.max_connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < others + wanted:
        soft = others + wanted if hard == resource.RLIM_INFINITY else min(others + wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= others + wanted:
        return wanted, ""
    connections = max(1, soft - others)
    return connections, (
        f"clients can have {connections} connections, not {wanted} (smpp.max_connections):"
        f" the process may have {soft} descriptors, and {others} are for others;"
        f" set LimitNOFILE={others + wanted} in the systemd unit"
    )
