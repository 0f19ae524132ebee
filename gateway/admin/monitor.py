"""MetricsServer: HTTP for machines that watch the daemon.

    GET /metrics   the counts, for Prometheus
    GET /livez     200 while the loop turns: who gets no answer should restart the process
    GET /readyz    200 while messages are accepted; else 503, and the body says why not

Carriers are in neither probe: a daemon without a bound carrier accepts and queues, and a restart
would not help it. No password and no TLS: it belongs on an inner network, and tells no secrets.

What it is not: a web server. GET and HEAD, no bodies, and named limits for everything; a client
that is slow, faulty or gone costs itself its connection.
"""

import contextlib
import http
import logging
from typing import Final, NamedTuple

import httptools
import trio

from gateway.admin.collect import scrape
from gateway.admin.office import Office
from gateway.config.address import Address
from gateway.ingress.listener import open_listener
from gateway.metrics.exposition import CONTENT_TYPE

log = logging.getLogger(__name__)

REQUEST_BYTES_MAX: Final = 8 * 1024
"""A scraper's request has a few hundred octets."""

REQUEST_S: Final = 10.0
"""How long one request may take to arrive whole."""

IDLE_S: Final = 120.0
"""How long a connection may be kept without a request: two scrapes at the slowest usual pace."""

SEND_S: Final = 10.0
"""How long a peer may take to read an answer."""

CONNECTIONS_MAX: Final = 64

PLAIN: Final = "text/plain; charset=utf-8"
METHODS: Final = (b"GET", b"HEAD")


class Request(NamedTuple):
    """One request, as far as it matters."""

    method: bytes
    target: bytes
    keep_alive: bool


class Response(NamedTuple):
    """One answer."""

    status: http.HTTPStatus
    body: bytes
    content_type: str = PLAIN
    headers: str = ""


class MetricsServer:
    """The listeners and their connections. `addresses`: where they really are, once served."""

    def __init__(self, listen: tuple[Address, ...], office: Office) -> None:
        self.addresses: list[Address] = []
        self._listen = listen
        self._office = office
        self._connections = 0

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until it is cancelled. Raises OSError if an address cannot be had."""
        with contextlib.ExitStack() as opened:
            sockets = [opened.enter_context(open_listener(one)) for one in self._listen]
            self.addresses = [Address(*one.getsockname()[:2]) for one in sockets]
            listeners = [
                trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in sockets
            ]
            task_status.started()
            if listeners:
                await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection, any number of requests."""
        self._connections += 1
        try:
            async with stream:
                await self._converse(stream)
        except trio.BrokenResourceError:
            return  # the peer is gone; nobody is there to be told
        finally:
            self._connections -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        if self._connections > CONNECTIONS_MAX:
            await _send(stream, _fault(http.HTTPStatus.SERVICE_UNAVAILABLE), keep_alive=False)
            return
        requests = _Requests(stream)
        keep_alive = True
        while keep_alive and (request := await requests.next()) is not None:
            keep_alive = request.keep_alive
            is_head = request.method == b"HEAD"
            response = await self.respond(request)
            if not await _send(stream, response, keep_alive=keep_alive, is_head=is_head):
                return
        if requests.fault is not None:
            await _send(stream, _fault(requests.fault), keep_alive=False)

    async def respond(self, request: Request) -> Response:
        """The answer to one request."""
        try:
            path = httptools.parse_url(request.target).path
        except httptools.HttpParserInvalidURLError:
            return _fault(http.HTTPStatus.BAD_REQUEST)
        page = PAGES.get(path)
        if page is None:
            known = ", ".join(name.decode() for name in PAGES)
            return _text(http.HTTPStatus.NOT_FOUND, f"not here; there are: {known}")
        if request.method not in METHODS:
            response = _text(http.HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD")
            return response._replace(headers="Allow: GET, HEAD\r\n")
        try:
            return await page(self._office)
        except Exception:
            # Nothing here changes anything, so a mistake of ours costs the answer, not the daemon.
            log.exception("GET %s failed", path.decode())
            return _fault(http.HTTPStatus.INTERNAL_SERVER_ERROR)


async def _metrics(office: Office) -> Response:
    return Response(http.HTTPStatus.OK, await scrape(office), CONTENT_TYPE)


async def _livez(_office: Office) -> Response:
    return _text(http.HTTPStatus.OK, "ok: the loop turns")


async def _readyz(office: Office) -> Response:
    reasons = why_not_ready(office)
    if reasons:
        return _text(http.HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(reasons))
    return _text(http.HTTPStatus.OK, "ok: messages are accepted")


def why_not_ready(office: Office) -> list[str]:
    """Why no message would be accepted now; empty if one would."""
    reasons = []
    if not office.ready.is_set():
        reasons.append("starting: the store is being recovered")
    if office.draining.is_set():
        reasons.append("draining: the daemon finishes and ends")
    if office.committer.room != "plenty":
        reasons.append(f"room on disk is {office.committer.room}: make space on the volume")
    return reasons


PAGES: Final = {b"/metrics": _metrics, b"/livez": _livez, b"/readyz": _readyz}


class _Requests:
    """The requests of one connection. `fault`: the status that says why there are no more."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.fault: http.HTTPStatus | None = None
        self._stream = stream
        self._parser = httptools.HttpRequestParser(self)
        self._whole: list[Request] = []
        self._octets = 0
        """Of the request that is arriving."""
        self._target = b""

    async def next(self) -> Request | None:
        """The next request; None at the end of the connection."""
        with trio.move_on_after(IDLE_S) as patience:
            while not self._whole:
                if self.fault is not None:
                    return None
                data = await self._stream.receive_some(REQUEST_BYTES_MAX)
                if not data:
                    return None
                self._feed(data)
                if self._octets and patience.deadline > trio.current_time() + REQUEST_S:
                    patience.deadline = trio.current_time() + REQUEST_S
            return self._whole.pop(0)
        if self._octets:
            self.fault = http.HTTPStatus.REQUEST_TIMEOUT
        return None

    def _feed(self, data: bytes) -> None:
        """Gives octets to the parser."""
        self._octets += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request is whole. We go on in HTTP/1.1, and it was the last (RFC 9110, 7.8).
            self._whole[-1] = self._whole[-1]._replace(keep_alive=False)
        except httptools.HttpParserError:
            self.fault = http.HTTPStatus.BAD_REQUEST
        if self._octets > REQUEST_BYTES_MAX:
            self.fault = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    # What httptools calls

    def on_url(self, part: bytes) -> None:
        """The target, in one or more parts."""
        self._target += part

    def on_message_complete(self) -> None:
        """A request is whole. Its body, if it had one, is nobody's business."""
        parser = self._parser
        keep_alive = parser.should_keep_alive()
        self._whole.append(Request(parser.get_method(), self._target, keep_alive))
        self._target = b""
        self._octets = 0


def _text(status: http.HTTPStatus, text: str) -> Response:
    return Response(status, f"{text}\n".encode())


def _fault(status: http.HTTPStatus) -> Response:
    return _text(status, status.phrase)


async def _send(
    stream: trio.SocketStream, response: Response, *, keep_alive: bool, is_head: bool = False
) -> bool:
    """Sends an answer; whether the peer took it in time."""
    status = response.status
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"{response.headers}"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
        "\r\n"
    )
    with trio.move_on_after(SEND_S) as patience:
        await stream.send_all(head.encode() + (b"" if is_head else response.body))
    return not patience.cancelled_caught
