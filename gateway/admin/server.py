"""AdminServer: a UNIX socket on which a request is one line of JSON, and so is its answer.

    {"verb": "carrier", "args": {"name": "carrier-a"}}
    {"ok": true, "exit": 0, "result": [...], "text": ""}

`ok` says whether the answer is yes; `exit` is what `ctl` ends with (0 yes, 1 no, 2 usage); `text`
is a sentence when it is not yes. Rendering for people is the client's.

Who may open the socket may do anything, so it has mode 0600 from the moment it exists. A socket
file that a killed daemon left behind is removed, but only if nobody answers on it.

How it fails: a line that is no request is answered with what is wrong; a peer that goes away, or
does not read, or sends nothing, ends its own connection. A bug in a verb is an answer and a log
line, unless it happened while the core was changing (`office.Desk.change`): that ends the process.
"""

import errno
import logging
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from gateway.admin import grammar
from gateway.admin.meter import SAMPLE_S
from gateway.admin.office import Answer, ChangeFaultError, Desk, Office
from gateway.admin.verbs.process import counts
from gateway.admin.verbs.table import TABLE

log = logging.getLogger(__name__)

LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""An import of a million numbers fits; all of it is in memory, like the registry that it becomes."""

READ_BYTES: Final = 256 * 1024

LINE_S: Final = 60.0
"""How long a connection may take to bring a whole line."""

SEND_S: Final = 30.0
"""How long a peer may take to read its answer."""

CONNECTIONS_MAX: Final = 16
"""People and tools at once; the seventeenth is told so."""

BACKLOG: Final = 16


class Request(msgspec.Struct):
    """One line in."""

    verb: str
    args: dict[str, Any] = {}


class Reply(msgspec.Struct):
    """One line out."""

    ok: bool
    exit: int
    result: Any
    text: str


_CREDENTIALS: Final = struct.Struct("3i")
_decode: Final = msgspec.json.Decoder(Request).decode
_encode: Final = msgspec.json.Encoder().encode


class AdminServer:
    """The socket and its connections."""

    def __init__(self, path: Path, office: Office) -> None:
        self.path = path
        self._office = office
        self._connections = 0

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled. Raises OSError if the socket cannot be had."""
        listener = open_socket(self.path)
        own = self.path.stat()
        desk = Desk.of(self._office)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sample, desk)
                nursery.start_soon(
                    trio.serve_listeners,
                    lambda stream: self._serve(stream, desk),
                    [trio.SocketListener(trio.socket.from_stdlib_socket(listener))],
                )
                task_status.started()
        finally:
            _remove(self.path, own)

    async def _sample(self, desk: Desk) -> None:
        while True:
            desk.meter.sample(trio.current_time(), counts(desk.office))
            await trio.sleep(SAMPLE_S)

    async def _serve(self, stream: trio.SocketStream, desk: Desk) -> None:
        """One connection, any number of requests."""
        self._connections += 1
        try:
            async with stream:
                await self._converse(stream, desk)
        finally:
            self._connections -= 1

    async def _converse(self, stream: trio.SocketStream, desk: Desk) -> None:
        if self._connections > CONNECTIONS_MAX:
            text = f"{CONNECTIONS_MAX} others are connected already: try again"
            await _send(stream, Answer(grammar.NO, text=text))
            return
        lines = _Lines(stream)
        who = _who(stream)
        while (line := await lines.next()) is not None:
            if not await _send(stream, await answer(desk, line, who)):
                return
        if lines.fault:
            await _send(stream, Answer(grammar.USAGE, text=lines.fault))


async def answer(desk: Desk, line: bytes, who: dict[str, int]) -> Answer:
    """Answers one line, whatever it is. `who` asks, for the log."""
    try:
        request = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Answer(grammar.USAGE, text=f"this is no request: {error}")
    verb = grammar.BY_NAME.get(request.verb)
    if verb is None:
        known = ", ".join(grammar.BY_NAME)
        return Answer(grammar.USAGE, text=f"there is no verb {request.verb!r}; there are: {known}")
    fault = grammar.fault(verb, request.args)
    if fault:
        return Answer(grammar.USAGE, text=fault)
    entry = TABLE[request.verb]
    if entry.changes:
        log.info("told by an operator: %s", request.verb, extra=who)
    try:
        return await entry.run(desk, request.args)
    except ChangeFaultError:
        raise
    except Exception:
        log.exception("the verb %s failed", request.verb)
        return Answer(grammar.NO, text="a fault of the daemon's; its log has the details")


def open_socket(path: Path) -> socket.socket:
    """A listening socket at this path, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the file the mode of the socket that is bound to it: there is no moment at
        # which others could connect.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{error.strerror} (the admin socket {path})") from error
    return listener


def _remove_stale(path: Path) -> None:
    """Removes a socket file on which nobody answers; raises if somebody does, or if it is a file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, f"{path} is there, and is no socket: remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.setblocking(False)
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:  # its backlog is full: somebody is there
            pass
    raise OSError(errno.EADDRINUSE, f"another daemon answers on the admin socket {path}")


def _remove(path: Path, own: os.stat_result) -> None:
    """Removes the socket file, if it still is ours."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
        path.unlink(missing_ok=True)


def _who(stream: trio.SocketStream) -> dict[str, int]:
    """The process and the user at the other end, as the kernel saw them connect (unix(7))."""
    process, user, _ = _CREDENTIALS.unpack(
        stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return {"operator_process": process, "operator_user": user}


async def _send(stream: trio.SocketStream, reply: Answer) -> bool:
    """Sends an answer; whether the peer took it."""
    is_yes = reply.exit == grammar.YES
    line = _encode(Reply(is_yes, reply.exit, reply.result, reply.text)) + b"\n"
    with trio.move_on_after(SEND_S) as patience:
        try:
            await stream.send_all(line)
        except trio.BrokenResourceError:
            return False  # the peer is gone; nobody is there to be told
    return not patience.cancelled_caught


class _Lines:
    """The lines of one connection. `fault`: why there are no more, if the peer should know."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.fault = ""
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """The next line, without its end; None at the end of the connection."""
        searched = 0
        with trio.move_on_after(LINE_S):
            while (end := self._buffer.find(b"\n", searched)) < 0:
                searched = len(self._buffer)
                if searched > LINE_BYTES_MAX:
                    self.fault = f"a line may have {LINE_BYTES_MAX} octets"
                    return None
                try:
                    data = await self._stream.receive_some(READ_BYTES)
                except trio.BrokenResourceError:
                    return None
                if not data:
                    return None
                self._buffer += data
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            return line
        self.fault = f"no whole line came in {LINE_S:g} s"
        return None
