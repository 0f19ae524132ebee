"""Connect: from the address of a carrier to a transport that a link can use.

A name is resolved anew for each attempt, in a thread, and each address it has is tried in turn,
with an even share of the time that is left: a host whose first address is dead is still reached.
With [carrier.tls] the handshake follows, in the same time.

What one carrier's resolver or host does costs no other anything: nothing here blocks the loop, and
lookups that hang take no more than RESOLVERS_MAX threads of each carrier.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any, Final

import trio

from gateway.carriers.backoff import End
from gateway.config.schema import Carrier as Settings
from gateway.link import tls
from gateway.link.transport import Plain, Transport, close_socket, peer_name, prepare

RESOLVERS_MAX: Final = 2
"""A lookup that was given up goes on in its thread until the resolver gives up, too."""


class NoConnectionError(Exception):
    """The carrier cannot be reached; the text says why, `end` how soon to try again."""

    def __init__(self, why: str, end: End) -> None:
        super().__init__(why)
        self.end = end


class Connector:
    """The way to one carrier; its binds share it."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.address
        self._timeout_s = settings.connect_timeout_s
        self._resolvers = trio.CapacityLimiter(RESOLVERS_MAX)
        self._server_name = settings.address.host
        self._context = None
        if settings.tls is not None:
            self._server_name = settings.tls.server_name or settings.address.host
            self._context = tls.client_context(settings.tls, f'carrier "{settings.name}".tls')

    async def connect(self) -> tuple[Transport, str]:
        """A connection and the name of its other end. Raises NoConnectionError."""
        deadline = trio.current_time() + self._timeout_s
        sock = await self._reach(deadline)
        return await self._secured(sock, deadline), peer_name(sock)

    async def _reach(self, deadline: float) -> socket.socket:
        """A socket that is connected to the first address that answers."""
        faults: list[str] = []
        try:
            with trio.move_on_at(deadline):
                found = await self._resolve()
                for place, entry in enumerate(found):
                    now = trio.current_time()
                    share_s = (deadline - now) / (len(found) - place)
                    with trio.move_on_at(now + share_s), _noting(faults):
                        return await _connect(entry)
        except OSError as error:  # the resolver's
            faults.append(error.strerror or str(error))
        why = "; ".join(dict.fromkeys(faults)) or f"no answer in {self._timeout_s:g} s"
        raise NoConnectionError(f"no connection to {self._address}: {why}", "dead")

    async def _resolve(self) -> list[Any]:
        host, port = self._address
        try:
            return socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        except socket.gaierror:  # a name
            return await trio.to_thread.run_sync(
                lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
                abandon_on_cancel=True,
                limiter=self._resolvers,
            )

    async def _secured(self, sock: socket.socket, deadline: float) -> Transport:
        """The socket as a transport; closed, if there is no TLS to be had on it."""
        if self._context is None:
            return Plain(sock)
        transport = tls.Tls(sock, self._context, server_name=self._server_name)
        try:
            with trio.fail_at(deadline):
                await transport.shake_hands()
        except (tls.HandshakeError, trio.TooSlowError) as error:
            transport.close()
            why = str(error) or f"no end of the handshake in {self._timeout_s:g} s"
            end: End = "final" if getattr(error, "is_final", False) else "lost"
            raise NoConnectionError(f"no TLS with {self._address}: {why}", end) from None
        except BaseException:
            transport.close()
            raise
        return transport


async def _connect(entry: Any) -> socket.socket:
    family, kind, protocol, _, address = entry
    sock = socket.socket(family, kind, protocol)
    try:
        prepare(sock)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        await trio.lowlevel.wait_writable(sock)
        fault = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if fault:
            raise OSError(fault, os.strerror(fault))
    except BaseException:
        close_socket(sock)
        raise
    return sock


@contextlib.contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    """One address that fails is noted, and the next is tried."""
    try:
        yield
    except OSError as error:
        faults.append(error.strerror or str(error))
