"""Transport: how a link's octets get on and off a socket. Plain here, over TLS in `tls`.

A link waits on its transport and nothing else, and both sides of it never block:

- `receive` gives what has come, b"" at the end of the stream; BlockingIOError if nothing has;
- `send` takes as many octets as may be on their way now, and says how many. What it did not take
  has not left, not even in part, and will not: the caller may withdraw it. What it took counts as
  sent, though under TLS some of it (`has_backlog`) may still be in this process;
- OSError from either is the end: the peer is gone.
"""

import socket
from typing import Final, Protocol

import trio

RECEIVE_BYTES: Final = 256 * 1024
"""One read: about 1,500 submit_sm, 5 ms of work, then others have their turn."""

received: Final = memoryview(bytearray(RECEIVE_BYTES))
"""Where every socket is read into, since one thread reads them all: `recv(262144)` would take and
give back 256 KiB of fresh pages a read, which costs four times the read itself."""


class Transport(Protocol):
    """What a link needs; see the module."""

    @property
    def has_backlog(self) -> bool:
        """Whether octets that were taken are still here."""

    async def wait_readable(self) -> None:
        """Returns when `receive` has something to say."""

    async def wait_writable(self) -> None:
        """Returns when `send` may take something."""

    def receive(self) -> bytes:
        """What has come."""

    def send(self, data: bytes) -> int:
        """How many of these octets are taken; with none, the backlog is sent on."""

    def say_goodbye(self) -> None:
        """Tells the peer that nothing more comes from us; it may go on sending."""

    def close(self) -> None:
        """Gives the socket back."""


class Plain:
    """A TCP socket as it is."""

    __slots__ = ("_socket",)

    has_backlog = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def wait_readable(self) -> None:
        """See `Transport`."""
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        """See `Transport`."""
        await trio.lowlevel.wait_writable(self._socket)

    def receive(self) -> bytes:
        """See `Transport`."""
        return bytes(received[: self._socket.recv_into(received)])

    def send(self, data: bytes) -> int:
        """See `Transport`."""
        return send_now(self._socket, data)

    def say_goodbye(self) -> None:
        """See `Transport`."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `Transport`."""
        close_socket(self._socket)


def send_now(sock: socket.socket, data: bytes) -> int:
    """As many octets as the socket takes now. Raises OSError only if it took none.

    What left before a fault has left: the count must not be lost, and the next call is told.
    """
    sent = 0
    try:
        while sent < len(data):
            sent += sock.send(data[sent:] if sent else data)
    except (BlockingIOError, InterruptedError):
        pass
    except OSError:
        if not sent:
            raise
    return sent


def close_socket(sock: socket.socket) -> None:
    """Closes a socket that tasks may be waiting for."""
    trio.lowlevel.notify_closing(sock)
    sock.close()


def prepare(sock: socket.socket) -> None:
    """Our settings for a socket: never blocks, never delays a small write."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def peer_name(sock: socket.socket) -> str:
    """Who is at the other end, as `host:port`; "gone" if nobody is any more."""
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "gone"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
