"""Link: a transport and the session on it, with one reader, one writer and one timer.

Reads. One read a wake-up, all its PDUs in one hand-over. Before the next read the link waits
while any of these holds, and its session's deadlines stand still meanwhile: the open turn is full
(`gate`), the peer does not take what we write (PENDING_MAX), or it has more requests unanswered
than its window allows (`owed_max`). So a peer that does not read is not read, and nothing is
buffered without bound. One that takes not an octet for `silence_s` is given up all the same.

Writes never wait. What the transport does not take at once is `_pending`, which the writer task
sends on. submit_sm are different: those of which no octet was taken are handed back (`submit`), so
that what is stamped as sent was sent; `on_writable` then says when to try again.

It does not know what a PDU means: that is its owner's. It ends when the peer is gone or at fault,
when a deadline has passed, or when told; `run` then returns why, and `close` gives the socket back.
Ordinary ends never raise. A bug in the session's own reading of what a peer sent ends this link,
with a traceback, and no other: it has not touched what the links share. A bug in what the owner
does has, and ends the process.
"""

import itertools
import logging
from typing import Final, Protocol

import trio

from gateway.link.gate import Gate
from gateway.link.transport import Transport
from gateway.model.records import Message
from gateway.relay.notice import WANTS_RECEIPT
from gateway.relay.turn import Owed
from gateway.smpp import consts, states
from gateway.smpp.codec import with_registered_delivery
from gateway.smpp.events import (
    Answer,
    BindAnswer,
    Deliver,
    Event,
    LinkFault,
    Submit,
    UnbindAnswer,
    Unbound,
)
from gateway.smpp.session import Session

log = logging.getLogger(__name__)

PENDING_MAX: Final = 1024 * 1024
"""Octets that wait for a peer that does not read, before we stop reading it."""

FLUSH_S: Final = 2.0
"""How long the end of a link waits for its last octets to be taken, and for the peer to close."""

FAREWELL_BYTES_MAX: Final = 4 * 1024 * 1024
"""What a peer may still send after our end, unread, before it is cut off."""

_ids = itertools.count(1)


class Owner(Protocol):
    """Who knows what the events of a link mean. None of these waits."""

    def on_messages(self, link: "Link", messages: list[Submit | Deliver]) -> list[bytes]:
        """Requests that carry messages; gives the refusals, encoded, that leave at once."""

    def on_answers(self, link: "Link", answers: list[Answer]) -> None:
        """Responses to requests of ours."""

    def on_event(self, link: "Link", event: Event) -> None:
        """Anything about the session itself."""

    def on_writable(self, link: "Link") -> None:
        """There is room again, after `submit` gave some back."""

    def on_bug(self, link: "Link") -> None:
        """Our session failed on what the peer sent: the link has ended."""


class Link:
    """One link, from its socket to its end. `id` is never used again.

    `shortest_s`: no deadline of the session is nearer than that when it is set. `silence_s`: how
    long a peer may take nothing.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        owner: Owner,
        gate: Gate,
        *,
        peer: str,
        owed_max: int,
        shortest_s: float,
        silence_s: float,
    ) -> None:
        self.id = next(_ids)
        self.session = session
        self.peer = peer
        self.ended: str | None = None
        self.ask_receipts = True
        self._transport = transport
        self._owner = owner
        self._gate = gate
        self._owed = 0
        self.owed_max = owed_max
        self._shortest_s = shortest_s
        self._silence_s = silence_s
        self._unbound: int | None = None
        self._pending = bytearray()
        self._clogged = False
        self._cramped = False
        self._is_gone = False
        self._has_pending = trio.Event()
        self._relieved = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self) -> str:
        """Serves the link until it ends; returns why. `close` it then; it is, if this raises."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch_deadline)
                    await self._read()
        except BaseException:
            self._transport.close()
            raise
        return self.ended or "closed by us"

    async def close(self, *, linger: bool = False) -> None:
        """Gives the peer a moment to take the last octets (an answer, an unbind), and closes.

        To close a socket that has unread octets resets it, and a reset takes with it what the peer
        has not read yet. So with `linger` our half is closed first, and the peer's is waited for.
        """
        try:
            with trio.move_on_after(FLUSH_S, shield=True):
                await self._flush()
                if linger and not self._is_gone:
                    await self._hear_out()
        except OSError:
            pass  # it is gone; nobody is there to be told
        finally:
            self._transport.close()

    def end(self, why: str) -> None:
        """Ends the link; what is pending still goes out if the peer takes it soon."""
        if self.ended is None:
            self.ended = why
            self._scope.cancel()

    def drop(self, why: str) -> None:
        """Ends the link; nothing more goes out."""
        self._is_gone = True
        self.end(why)

    def unbind(self) -> None:
        """Tells the peer that we go, if it is bound; its unbind_resp ends the link."""
        if self.ended is None and self.session.may_unbind:
            self._write_or_keep(self.session.unbind(trio.current_time()))

    def send(self, data: bytes) -> None:
        """Writes what is owed to nothing on disk."""
        self._write_or_keep(data)

    # What a turn releases (`relay.turn.LinkOut`)

    def answer(self, pdus: list[bytes]) -> None:
        """Responses to requests of the peer."""
        self._write_or_keep(b"".join(pdus))
        self._owed -= len(pdus)
        if self._unbound is not None and self._owed <= 0:
            self._answer_unbind()
        if self._owed <= self.owed_max:
            self._relieved.set()

    def submit(self, messages: list[Message]) -> list[Message]:
        """Writes submit_sm; gives back those of which no octet left."""
        if self._pending or self._clogged or self._transport.has_backlog or self.ended is not None:
            self._clog()
            return messages
        taken, left = messages, []
        room = self.session.room
        if room < len(messages):
            taken, left = messages[:room], messages[room:]
            self._cramped = True
        if not taken:
            return left
        pdus = self.session.requests(
            consts.SUBMIT_SM, [(self._body(m), m) for m in taken], trio.current_time()
        )
        data = b"".join(pdus)
        sent = self._send_now(data)
        if sent == len(data):
            return left
        whole = at = 0
        while at < sent:
            at += len(pdus[whole])
            whole += 1
        self._keep(data[sent:at])
        self._clog()
        self.session.withdraw(len(pdus) - whole)
        return taken[whole:] + left

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        """Writes deliver_sm; gives back those for which the session has no room."""
        room = self.session.room if self.ended is None else 0
        taken, left = owed[:room], owed[room:]
        if taken:
            items = [(entry.body, entry) for entry in taken]
            pdus = self.session.requests(consts.DELIVER_SM, items, trio.current_time())
            self._write_or_keep(b"".join(pdus))
        return left

    # The three tasks

    async def _read(self) -> None:
        transport = self._transport
        while True:
            await transport.wait_readable()
            if self._must_wait():  # it came to that while nothing came
                await self._wait_until_relieved()
                continue
            try:
                data = transport.receive()
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                self._lose(error)
                return
            if not data:
                self._is_gone = True
                self.end("closed by the peer")
                return
            events = self._understand(data)
            if events:
                self._hand_over(events)
            self._send_own()
            if transport.has_backlog:
                self._has_pending.set()
            if self._must_wait():
                await self._wait_until_relieved()

    async def _write(self) -> None:
        transport = self._transport
        while True:
            await self._has_pending.wait()
            with trio.move_on_after(self._silence_s) as patience:
                await transport.wait_writable()
            if patience.cancelled_caught:
                self._is_gone = True
                self.end(f"it took nothing for {self._silence_s:g} s")
                return
            sent = self._send_now(bytes(self._pending))
            del self._pending[:sent]
            if not self._pending and not transport.has_backlog:
                self._has_pending = trio.Event()
                if self._clogged:
                    self._clogged = False
                    self._owner.on_writable(self)
            if len(self._pending) <= PENDING_MAX:
                self._relieved.set()

    async def _watch_deadline(self) -> None:
        """Looks at the one deadline of the session when it is due.

        A request may bring it forward while we sleep, but by no less than the shortest time-out.
        """
        session = self.session
        while True:
            soon = trio.current_time() + self._shortest_s / 2
            await trio.sleep_until(min(session.next_deadline(), soon))
            for event in session.on_deadline(trio.current_time()):
                self._on_event(event)
            self._send_own()

    def _understand(self, data: bytes) -> list[Event]:
        """What these octets mean; nothing, and the end of the link, if we fail on them."""
        try:
            return self.session.receive_data(data, trio.current_time())
        except Exception:
            log.exception("a bug of ours: the session with %s failed, and ends", self.peer)
            self.end("a bug of ours; the log has its traceback")
            self._owner.on_bug(self)
            return []

    def _hand_over(self, events: list[Event]) -> None:
        """Sorts what one read brought, and hands it over in three batches.

        The answer to our bind at once, since a carrier may deliver in the same segment; answers
        before messages, since a receipt may stand right behind the response that names its
        message; the rest of the session's own matters last.
        """
        messages: list[Submit | Deliver] = []
        answers: list[Answer] = []
        others: list[Event] = []
        for event in events:
            if isinstance(event, (Submit, Deliver)):
                messages.append(event)
            elif isinstance(event, Answer):
                answers.append(event)
            elif isinstance(event, BindAnswer):
                self._on_event(event)
            else:
                others.append(event)
        if answers:
            self._owner.on_answers(self, answers)
            if self._cramped and self.session.room:
                self._cramped = False
                self._owner.on_writable(self)
        if messages:
            self._owed += len(messages)
            refusals = self._owner.on_messages(self, messages)
            if refusals:
                self.answer(refusals)
        for event in others:
            self._on_event(event)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, LinkFault):
            self._send_own()
            self.end(event.why)
        elif isinstance(event, Unbound):
            self._unbound = event.sequence_number
            if self._owed <= 0:
                self._answer_unbind()
        elif isinstance(event, UnbindAnswer):
            self.end("unbound")
        else:
            self._owner.on_event(self, event)

    def _answer_unbind(self) -> None:
        """Everything that was owed before the unbind is answered."""
        sequence_number = self._unbound
        assert sequence_number is not None
        self._unbound = None
        self._write_or_keep(self.session.respond(consts.UNBIND_RESP, 0, sequence_number))
        self.end("unbound by the peer")

    def _must_wait(self) -> bool:
        return (
            not self._gate.is_open or len(self._pending) > PENDING_MAX or self._owed > self.owed_max
        )

    async def _wait_until_relieved(self) -> None:
        self.session.pause(trio.current_time())
        while self._must_wait():
            await self._gate.wait_open()
            if len(self._pending) > PENDING_MAX or self._owed > self.owed_max:
                self._relieved = trio.Event()
                await self._relieved.wait()
        self.session.resume(trio.current_time())

    def _body(self, message: Message) -> bytes:
        """The body, which asks for every receipt; or for none, where only the client's asking counts.

        Never for failures alone (2): without a word of success the message would end `unknown`.
        """
        if self.ask_receipts or message.registered_delivery & WANTS_RECEIPT:
            return message.body
        return with_registered_delivery(message.body, message.sm_at, message.registered_delivery)

    def _send_own(self) -> None:
        """What the session said by itself."""
        own = self.session.data_to_send()
        if own:
            self._write_or_keep(own)

    def _write_or_keep(self, data: bytes) -> None:
        if self._pending:
            self._keep(data)
            return
        sent = self._send_now(data)
        if sent < len(data):
            self._keep(data[sent:])

    def _keep(self, data: bytes) -> None:
        if data:
            self._pending += data
            self._has_pending.set()
            if len(self._pending) > PENDING_MAX and self.session.state == states.OPEN:
                # One that is bound is not read until it reads. A stranger's time must not stand
                # still meanwhile, or it would keep its place for ever.
                self.end("it does not read what it asked for, and is not bound")

    def _clog(self) -> None:
        """The owner hears of it when the socket takes octets again."""
        self._clogged = True
        self._has_pending.set()

    def _send_now(self, data: bytes) -> int:
        """As many octets as the transport takes now."""
        try:
            sent = self._transport.send(data)
        except OSError as error:
            self._lose(error)
            return 0
        if self._transport.has_backlog:
            self._has_pending.set()
        return sent

    def _lose(self, error: OSError) -> None:
        self._is_gone = True
        self.end(f"lost: {error.strerror or error}")

    async def _flush(self) -> None:
        """Until the last octets are taken, or the peer is gone."""
        while (self._pending or self._transport.has_backlog) and not self._is_gone:
            await self._transport.wait_writable()
            del self._pending[: self._send_now(bytes(self._pending))]

    async def _hear_out(self) -> None:
        """Until the peer has ended too; what it says is nobody's business any more."""
        self._transport.say_goodbye()
        heard = 0
        while heard < FAREWELL_BYTES_MAX:
            await self._transport.wait_readable()
            try:
                data = self._transport.receive()
            except (BlockingIOError, InterruptedError):
                continue
            if not data:
                return
            heard += len(data)
