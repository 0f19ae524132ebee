"""Connect: every address of a name is tried, in the time there is, and nothing blocks the loop."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from gateway.carriers.connect import Connector, NoConnectionError
from gateway.config.address import Address
from gateway.config.schema import Carrier
from gateway.config.secret import Secret

Found = list[tuple[int, int, int, str, tuple[str, int]]]

NAME = "smsc.example"


def settings(address: Address, timeout_s: float = 5.0) -> Carrier:
    return Carrier(
        name="a",
        address=address,
        system_id="us",
        password=Secret(b"secret"),
        connect_timeout_s=timeout_s,
    )


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def full() -> Iterator[tuple[str, int]]:
    """Where a connection gets no answer: a backlog that is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            waiting.append(sock)
        yield address
        for sock in waiting:
            sock.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """The name has these addresses, in this order."""
    real = socket.getaddrinfo

    def fake(host: str, *arguments: Any, **options: Any) -> Any:
        if host != NAME:
            return real(host, *arguments, **options)
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", fake)


async def test_an_address_that_refuses_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 1), listener.getsockname())

    transport, peer = await Connector(settings(Address(NAME, 2775))).connect()

    transport.close()
    assert "{}:{}".format(*listener.getsockname()) == peer


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, full: tuple[str, int]
) -> None:
    resolve_to(monkeypatch, full, listener.getsockname())
    began = trio.current_time()

    transport, peer = await Connector(settings(Address(NAME, 2775), 0.6)).connect()

    transport.close()
    assert "{}:{}".format(*listener.getsockname()) == peer
    assert 0.25 < trio.current_time() - began < 0.6


async def test_when_none_answers_each_reason_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", 2))

    with pytest.raises(NoConnectionError) as raised:
        await Connector(settings(Address(NAME, 2775))).connect()

    assert f"no connection to {NAME}:2775: Connection refused" == str(raised.value)
    assert "dead" == raised.value.end


async def test_silence_is_given_up_in_time(full: tuple[str, int]) -> None:
    with pytest.raises(NoConnectionError, match="no answer in"):
        await Connector(settings(Address(*full), 0.2)).connect()


async def test_a_resolver_that_hangs_is_given_up_and_takes_two_threads_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs, threads = threading.Event(), set()

    def hang(_host: str, _port: int, **options: Any) -> Found:
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        threads.add(threading.get_ident())
        hangs.wait(5.0)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    connector = Connector(settings(Address(NAME, 2775), 0.2))

    for _ in range(4):
        with pytest.raises(NoConnectionError, match="no answer in"):
            await connector.connect()

    hangs.set()
    assert 2 == len(threads)


async def test_a_name_that_nobody_has_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_options: Any) -> Found:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(NoConnectionError, match="Name or service not known"):
        await Connector(settings(Address(NAME, 2775))).connect()
