"""Links on a socket pair: what is given back when there is no room, and where a bug of ours ends."""

import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from gateway.link.gate import Gate
from gateway.link.link import Link
from gateway.link.transport import Plain, prepare
from gateway.model.records import Message
from gateway.smpp import codec, consts
from gateway.smpp.events import Answer, Deliver, Event, Submit
from gateway.smpp.session import Session
from tests.smpp.pair import SUBMIT_BODY, bound_session

WAIT_S = 5.0


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.writable = trio.Event()
        self.bugs = 0

    def on_messages(self, _link: Link, messages: list[Submit | Deliver]) -> list[bytes]:
        raise AssertionError(messages)

    def on_answers(self, _link: Link, answers: list[Answer]) -> None:
        self.answers += answers

    def on_event(self, _link: Link, event: Event) -> None:
        raise AssertionError(event)

    def on_writable(self, _link: Link) -> None:
        self.writable.set()

    def on_bug(self, _link: Link) -> None:
        self.bugs += 1


class Stand:
    """A link to a carrier, and the carrier's end of its socket."""

    def __init__(self, session: Session, silence_s: float) -> None:
        ours, theirs = socket.socketpair()
        prepare_pair(ours)
        self.peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        self.owner = Owner()
        self.link = Link(
            Plain(ours),
            session,
            self.owner,
            Gate(),
            peer="the peer",
            owed_max=10,
            shortest_s=1.0,
            silence_s=silence_s,
        )
        self.why = ""

    async def run(self) -> None:
        self.why = await self.link.run()
        await self.link.close(linger=True)


def prepare_pair(sock: socket.socket) -> None:
    """As `prepare`, but for a socket that has no TCP_NODELAY."""
    with contextlib.suppress(OSError):
        prepare(sock)


@contextlib.asynccontextmanager
async def stand(*, silence_s: float = 60.0, **settings: Any) -> AsyncIterator[Stand]:
    session = bound_session("esme", **settings)
    session._timers.opened(trio.current_time())
    session._timers.heard(trio.current_time())
    made = Stand(session, silence_s)
    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            async with made.peer:
                yield made
            made.link.end("the test is over")


def messages(count: int) -> list[Message]:
    return [message(place) for place in range(count)]


def message(place: int) -> Message:
    sm = codec.decode_sm(SUBMIT_BODY)
    assert isinstance(sm, codec.Sm)
    return Message(
        id=place + 1,
        accepted_at=0.0,
        client="shop",
        campaign="C",
        route="us",
        priority=0,
        segments=1,
        expires_at=1e10,
        registered_delivery=1,
        source=b"1",
        destination=b"2",
        source_ton_npi=b"\x01\x01",
        dest_ton_npi=b"\x01\x01",
        body=SUBMIT_BODY,
        sm_at=sm.sm_at,
    )


def response(sequence_number: int) -> bytes:
    return codec.pdu(consts.SUBMIT_SM_RESP, 0, sequence_number, b"id\0")


async def test_what_a_session_has_no_room_for_comes_back_and_the_owner_hears_of_room() -> None:
    async with stand(window=2) as made:
        sent = messages(5)

        assert sent[2:] == made.link.submit(sent)
        assert sent[2:] == made.link.submit(sent[2:])
        await trio.testing.wait_all_tasks_blocked()
        assert not made.owner.writable.is_set(), "it would be asked again in a circle"
        await made.peer.send_all(response(2))

        await made.owner.writable.wait()
        assert [sent[0]] == [answer.ref for answer in made.owner.answers]
        assert sent[3:] == made.link.submit(sent[2:])


async def test_a_bug_of_ours_in_one_session_ends_its_link_and_is_told_in_full(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_body: bytes) -> None:
        raise ZeroDivisionError("poison")

    monkeypatch.setattr(codec, "decode_sm", fail)
    with caplog.at_level(logging.ERROR):
        async with stand() as made:
            await made.peer.send_all(codec.pdu(consts.DELIVER_SM, 0, 1, SUBMIT_BODY))

            assert b"" == await made.peer.receive_some()

    assert (1, "a bug of ours; the log has its traceback") == (made.owner.bugs, made.why)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_a_bug_in_what_the_owner_does_is_not_contained() -> None:
    with pytest.RaisesGroup(AssertionError, flatten_subgroups=True):
        async with stand() as made:
            await made.peer.send_all(codec.pdu(consts.DELIVER_SM, 0, 1, SUBMIT_BODY))
            await trio.sleep_forever()


async def test_a_peer_that_takes_nothing_is_given_up_whatever_it_sends() -> None:
    async with stand(silence_s=0.2) as made:
        made.link.send(bytes(4_000_000))
        with trio.move_on_after(WAIT_S):
            while not made.why:
                with contextlib.suppress(trio.BrokenResourceError):
                    await made.peer.send_all(codec.pdu(consts.ENQUIRE_LINK, 0, 1))
                await trio.sleep(0.01)

    assert "it took nothing for 0.2 s" == made.why


async def test_a_link_that_ends_closes_its_half_and_hears_the_peer_out() -> None:
    # The peer's last words are on their way when we close: a reset would eat ours.
    async with stand() as made:
        made.link.send(b"last words")
        made.link.end("over")
        await made.peer.send_all(bytes(100_000))

        assert b"last words" == await made.peer.receive_some()
        assert b"" == await made.peer.receive_some()
        await made.peer.send_all(bytes(100_000))
