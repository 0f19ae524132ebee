"""The monitor over real sockets: right answers to good requests, and no harm from bad ones."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httptools
import pytest
import trio
import trio.lowlevel

from gateway.admin import monitor
from gateway.admin.monitor import MetricsServer
from gateway.admin.office import Office
from gateway.config.address import Address
from tests.admin.offices import dummy_office


class Answer:
    """One HTTP answer, parsed by somebody else's parser."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.status = 0
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_whole = True


class Client:
    """A connection to the monitor."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    async def get(self, target: str, method: str = "GET", headers: str = "") -> Answer:
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"
        await self.stream.send_all(head.encode())
        return await self.answer()

    async def answer(self) -> Answer:
        """Reads octet by octet, so that the next answer stays where it is."""
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.is_whole:
            data = await self.stream.receive_some(1)
            assert data, "the connection ended"
            parser.feed_data(data)
        answer.status = parser.get_status_code()
        return answer

    async def is_at_end(self) -> bool:
        return await self.stream.receive_some(1) == b""


class Place:
    """A monitor, and the connections to it, which end with it."""

    def __init__(self, office: Office) -> None:
        self.server = MetricsServer((Address("127.0.0.1", 0),), office)
        self.clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(await trio.open_tcp_stream(*self.server.addresses[0]))
        self.clients.append(client)
        return client


@asynccontextmanager
async def serving(**fields: Any) -> AsyncIterator[Place]:
    ready = trio.Event()
    ready.set()
    place = Place(dummy_office(**({"ready": ready} | fields)))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(place.server.serve)
            yield place
            nursery.cancel_scope.cancel()
    finally:
        for client in place.clients:
            client.stream.socket.close()


async def test_metrics_are_served_as_prometheus_wants_them() -> None:
    async with serving() as place:
        answer = await (await place.client()).get("/metrics")

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\nsmppgate_ready 1\n" in answer.body
    assert b"\nprocess_cpu_seconds_total" in answer.body


async def test_a_query_is_ignored_and_an_absolute_target_understood() -> None:
    async with serving() as place:
        client = await place.client()

        assert (await client.get("/livez?verbose=1")).status == 200
        assert (await client.get("http://gateway.example/livez")).status == 200


async def test_livez_answers_whatever_else_is_wrong() -> None:
    async with serving(ready=trio.Event()) as place:
        answer = await (await place.client()).get("/livez")

    assert (answer.status, answer.body) == (200, b"ok: the loop turns\n")


async def test_readyz_says_why_not() -> None:
    async with serving() as place:
        client = await place.client()
        office: Any = place.server._office
        answer = await client.get("/readyz")
        assert (answer.status, answer.body) == (200, b"ok: messages are accepted\n")

        office.committer.room = "low"
        office.draining.set()
        office.ready = trio.Event()
        answer = await client.get("/readyz")

    assert answer.status == 503
    assert answer.body.decode().splitlines() == [
        "starting: the store is being recovered",
        "draining: the daemon finishes and ends",
        "room on disk is low: make space on the volume",
    ]


async def test_what_is_not_there_is_404_and_says_what_is() -> None:
    async with serving() as place:
        client = await place.client()
        answer = await client.get("/")

        assert (answer.status, answer.body) == (
            404,
            b"not here; there are: /metrics, /livez, /readyz\n",
        )
        assert (await client.get("/livez")).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_405_and_say_which_are_allowed(method: str) -> None:
    async with serving() as place:
        answer = await (await place.client()).get("/metrics", method, "Content-Length: 0\r\n")

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_head_has_the_length_of_the_body_and_no_body() -> None:
    async with serving() as place:
        client = await place.client()
        await client.stream.send_all(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await client.stream.receive_some(1)

        assert b"Content-Length: 19\r\n" in head
        assert (await client.get("/livez")).status == 200


async def test_a_connection_is_kept_and_requests_may_come_at_once() -> None:
    async with serving() as place:
        client = await place.client()
        request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        await client.stream.send_all(request * 3 + request[:20])

        for _ in range(3):
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
        await client.stream.send_all(request[20:])
        assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "request_",
    [b"GET /livez HTTP/1.0\r\n\r\n", b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"],
)
async def test_a_connection_is_closed_for_who_wants_it_so(request_: bytes) -> None:
    async with serving() as place:
        client = await place.client()
        await client.stream.send_all(request_)

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.is_at_end()


async def test_who_asks_for_another_protocol_gets_this_one() -> None:
    async with serving() as place:
        client = await place.client()
        upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"

        answer = await client.get("/livez", headers=upgrade)

        assert (answer.status, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the hello of TLS
        b"GET /livez SMPP/3.4\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400_and_the_end(octets: bytes) -> None:
    async with serving() as place:
        client = await place.client()
        await client.stream.send_all(octets)

        answer = await client.answer()

        assert answer.status == 400
        assert (await (await place.client()).get("/livez")).status == 200


async def test_a_good_request_before_a_bad_one_is_answered() -> None:
    async with serving() as place:
        client = await place.client()
        await client.stream.send_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0")

        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 400
        assert await client.is_at_end()


@pytest.mark.parametrize(
    "octets",
    [
        b"GET /" + b"x" * 20_000,
        b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 5_000,
        b"POST /livez HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 20_000,
    ],
)
async def test_a_request_that_does_not_end_is_not_read_on(octets: bytes) -> None:
    async with serving() as place:
        client = await place.client()
        await client.stream.send_all(octets[: monitor.REQUEST_BYTES_MAX + 1])

        assert (await client.answer()).status == 431


async def test_a_slow_request_is_408_and_an_idle_connection_just_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor, "REQUEST_S", 0.01)
    async with serving() as place:
        slow = await place.client()
        await slow.stream.send_all(b"GET /livez")
        assert (await slow.answer()).status == 408
        assert await slow.is_at_end()

        monkeypatch.setattr(monitor, "IDLE_S", 0.01)
        idle = await place.client()
        assert await idle.is_at_end()


async def test_a_client_that_does_not_read_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = monitor.Response(HTTPStatus.OK, b"x" * 30_000_000)
    monkeypatch.setattr(monitor, "SEND_S", 0.01)

    async def long(_office: Office) -> monitor.Response:
        return page

    monkeypatch.setitem(monitor.PAGES, b"/metrics", long)
    async with serving() as place:
        deaf = await place.client()
        await deaf.stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(5):
            while not place.server._connections:
                await trio.lowlevel.checkpoint()
            while place.server._connections:
                await trio.lowlevel.checkpoint()


async def test_one_connection_too_many_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "CONNECTIONS_MAX", 1)
    async with serving() as place:
        first = await place.client()
        assert (await first.get("/livez")).status == 200

        assert (await (await place.client()).answer()).status == 503
        assert (await first.get("/livez")).status == 200


async def test_a_client_that_resets_disturbs_nobody() -> None:
    async with serving() as place:
        other = await place.client()
        for _ in range(10):
            rude = await place.client()
            await rude.stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            rude.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            rude.stream.socket.close()

        assert (await other.get("/livez")).status == 200


async def test_a_bug_in_a_page_is_500_and_a_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def stumble(_office: Office) -> monitor.Response:
        raise ZeroDivisionError

    monkeypatch.setitem(monitor.PAGES, b"/metrics", stumble)
    async with serving() as place:
        client = await place.client()
        with caplog.at_level(logging.ERROR):
            assert (await client.get("/metrics")).status == 500
        assert (await client.get("/livez")).status == 200

    assert "ZeroDivisionError" in caplog.text


async def test_without_an_address_it_serves_nothing_and_is_started() -> None:
    server = MetricsServer((), dummy_office())
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)

    assert server.addresses == []


async def test_an_address_that_is_taken_is_named_and_nothing_is_left_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address(*other.getsockname())
        server = MetricsServer((Address("127.0.0.1", 0), taken), dummy_office())

        with pytest.raises(OSError, match=f"{taken.port}"):
            await server.serve()
