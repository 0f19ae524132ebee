"""Address: a host and a port, as `host:port` or `[v6 address]:port`. Never resolved here."""

import ipaddress
import re
from typing import Final, NamedTuple

PORT_MAX: Final = 65535

_HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_DIGITS_AND_DOTS: Final = re.compile(r"[0-9.]+")


class Address(NamedTuple):
    """Where to listen or to connect to. Port 0 means a free port, only where one listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """The form that `parse` reads."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """The address that `text` writes; ValueError says what is wrong with it."""
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise ValueError("has no port")
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5):
        raise ValueError(f"has a port that is not a number: {port_text!r}")
    port = int(port_text)
    if port > PORT_MAX:
        raise ValueError(f"has a port above {PORT_MAX}")
    if host.startswith("[") and host.endswith("]"):
        return Address(_v6(host[1:-1]), port)
    if ":" in host:
        raise ValueError("is an IPv6 address without brackets")
    if not host:
        raise ValueError("has no host (all interfaces: 0.0.0.0 or [::])")
    if _DIGITS_AND_DOTS.fullmatch(host):
        return Address(_v4(host), port)
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f"has a host that is neither an IP address nor a name: {host!r}")
    return Address(host, port)


def _v4(host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError(f"has a host that is not an IPv4 address: {host!r}") from None


def _v6(host: str) -> str:
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError:
        raise ValueError(f"has a host that is not an IPv6 address: {host!r}") from None
