"""Listener: a listening socket that never blocks, and what makes TLS of its connections."""

import socket
import ssl
from typing import Final, NamedTuple

from gateway.config.address import Address

BACKLOG: Final = 1024
"""Connections that wait to be accepted: a restart brings all clients at once."""


class Listener(NamedTuple):
    """Where we listen; with a context, for TLS."""

    socket: socket.socket
    context: ssl.SSLContext | None

    @property
    def address(self) -> str:
        """Where it really is."""
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_listener(address: Address) -> socket.socket:
    """Raises OSError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
