"""Links: the two ends of a TCP link with a session on it, as the gateway's release sees them.

What `link.Link` and `smpp.Session` do, without octets: responses are matched by sequence number and
others dropped, what one read brings is handed over in one batch, answers before messages, what the
socket does not take is given back. A link may be half-open (all is taken, nothing arrives), clogged,
and reset at any moment: what is under way is lost, and what was not answered is returned or in doubt.
"""

import itertools
import random
from collections.abc import Callable
from typing import Final, Protocol

from gateway.model import ids
from gateway.model.records import Message
from gateway.relay.turn import Owed
from gateway.smpp import consts
from gateway.smpp.codec import HEADER, decode_message_id
from gateway.smpp.events import Answer, Deliver, Submit
from tests.relay.links import sm_of
from tests.sim.gateway import Gateway

READ_S: Final = 0.002
"""What comes within so long may be read at once."""

WRITE_S: Final = 0.002
"""A write may take so long: stamps must not be earlier than octets."""


class CarrierPeer(Protocol):
    """The carrier at the other end."""

    def got_submit(self, link: "CarrierLink", sequence_number: int, message: Message) -> None:
        """A submit_sm has arrived."""

    def got_answer(self, sequence_number: int, status: int) -> None:
        """A deliver_sm_resp has arrived."""

    def lost(self, link: "CarrierLink") -> None:
        """The link is gone."""


class ClientPeer(Protocol):
    """The client at the other end."""

    def got_answer(self, sequence_number: int, status: int, message_id: int) -> None:
        """A submit_sm_resp has arrived."""

    def got_deliver(self, link: "ClientLink", owed: Owed) -> None:
        """A deliver_sm has arrived."""

    def lost(self, link: "ClientLink") -> None:
        """The link is gone."""


class _Link:
    """What both kinds do: octets on their way, in order, in both directions, until it breaks."""

    def __init__(self, link_id: int, gateway: Gateway, stream: random.Random) -> None:
        self.id = link_id
        self.gateway = gateway
        self.agenda = gateway.agenda
        self.is_up = True
        self.is_half_open = False
        self.takes: int | None = None
        self._random = stream
        self._latency_s = stream.choice([0.0005, 0.01, 0.04])
        self._outward_s = self._inward_s = 0.0
        self._sequence = itertools.count(1)
        self._reading = False

    def _to_peer(self, act: Callable[[], None]) -> None:
        """Arrives at the peer's end, behind what was sent before."""
        delay_s = self._latency_s * self._random.uniform(0.8, 1.2)
        self._outward_s = max(self._outward_s, self.agenda.clock.true_s + delay_s)
        self.agenda.at(self._outward_s, lambda: self._arrive(act))

    def _arrive(self, act: Callable[[], None]) -> None:
        if self.is_up and not self.is_half_open:
            act()

    def _to_us(self, act: Callable[[], None]) -> None:
        """Arrives at our end, then waits to be read."""
        delay_s = self._latency_s * self._random.uniform(0.8, 1.2)
        self._inward_s = max(self._inward_s, self.agenda.clock.true_s + delay_s)
        self.agenda.at(self._inward_s, lambda: self._come_in(act))

    def _come_in(self, act: Callable[[], None]) -> None:
        if not self.is_up or self.is_half_open:
            return
        act()
        if not self._reading:
            self._reading = True
            self.agenda.after(self._random.uniform(0.0, READ_S), self._read)

    def _read(self) -> None:
        if self.is_up and not self._may_read():
            self.agenda.after(READ_S, self._read)
            return
        self._reading = False
        if self.is_up:
            self._hand_over()

    def _may_read(self) -> bool:
        return True

    def _hand_over(self) -> None:
        raise NotImplementedError

    def _write(self) -> None:
        """A write takes a moment of the loop's time."""
        self.agenda.clock.true_s += self._random.random() ** 4 * WRITE_S


class CarrierLink(_Link):
    """A session with a carrier."""

    def __init__(  # a bind has all these
        self,
        link_id: int,
        gateway: Gateway,
        stream: random.Random,
        peer: CarrierPeer,
        *,
        carrier: str,
        index: int,
        window: int,
        timeout_s: float,
    ) -> None:
        super().__init__(link_id, gateway, stream)
        self.carrier = carrier
        self.index = index
        self.window = window
        self.timeout_s = timeout_s
        self.sends = index < 2
        self.unanswered: dict[int, Message] = {}
        self._peer = peer
        self._answers: list[tuple[int, int, bytes]] = []
        self._delivers: list[tuple[int, bytes, bytes, tuple[bytes, int] | None]] = []
        self._owed: dict[int, tuple[int, bytes, tuple[bytes, int] | None]] = {}

    # Our end (`relay.turn.LinkOut`)

    def answer(self, pdus: list[bytes]) -> None:
        for pdu in pdus:
            length, command_id, status, sequence_number = HEADER.unpack_from(pdu)
            assert (len(pdu), consts.DELIVER_SM_RESP) == (length, command_id)
            turn, text, receipt = self._owed.pop(sequence_number)
            if status == consts.ESME_ROK:
                self.gateway.watch.took(self.carrier, turn, text, receipt)
            self._to_peer(lambda s=sequence_number, c=status: self._peer.got_answer(s, c))  # type: ignore[misc]

    def submit(self, messages: list[Message]) -> list[Message]:
        taken, left = messages, list[Message]()
        if self.takes is not None:
            taken, left = messages[: self.takes], messages[self.takes :]
            self.takes -= len(taken)
        for message in taken:
            sequence_number = next(self._sequence)
            self.unanswered[sequence_number] = message
            assert len(self.unanswered) <= self.window, "more than its window is in flight"
            self.gateway.watch.wrote(self.carrier, message, self.gateway.open_turn - 1)
            self._to_peer(
                lambda s=sequence_number, m=message: self._peer.got_submit(self, s, m)  # type: ignore[misc]
            )
        if taken:
            self._write()
        if left:
            self.agenda.after(self._random.expovariate(4.0), self._unclog)
        return left

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        raise AssertionError(f"{len(owed)} deliver_sm to a carrier")

    # The carrier's end

    def respond(self, sequence_number: int, status: int, body: bytes) -> None:
        """A submit_sm_resp."""
        self._to_us(lambda: self._answers.append((sequence_number, status, body)))

    def send(
        self, sequence_number: int, body: bytes, text: bytes, receipt: tuple[bytes, int] | None
    ) -> None:
        """A deliver_sm; `text` is unique, `receipt` the id and state that it tells of."""
        self._to_us(lambda: self._delivers.append((sequence_number, body, text, receipt)))

    # What happens to it

    def reset(self) -> None:
        """A RST, or a time-out of the session: both ends know."""
        if self.is_up:
            self.is_up = False
            self.gateway.watch.note("link lost", self.carrier, self.index)
            self.gateway.bind_down(self.id)
            self._peer.lost(self)

    def cut(self) -> None:
        self.is_up = False
        self._peer.lost(self)

    def half_open(self) -> None:
        """Nothing passes any more; the session finds out by its time-out."""
        if self.is_up and not self.is_half_open:
            self.is_half_open = True
            self.agenda.after(self.timeout_s, self.reset)

    def _unclog(self) -> None:
        self.takes = None
        if self.is_up:
            self.gateway.bind_writable(self.id)

    def _hand_over(self) -> None:
        gateway = self.gateway
        answers, self._answers = self._answers, []
        delivers, self._delivers = self._delivers, []
        events = []
        for sequence_number, status, body in answers:
            message = self.unanswered.pop(sequence_number, None)
            if message is None:
                continue  # the session knows nothing of it: a second answer
            gateway.watch.answered(message, positive=status == consts.ESME_ROK)
            events.append(Answer(message, consts.SUBMIT_SM_RESP, status, body))
        if events:
            gateway.answers(self.id, events)
        if not delivers:
            return
        turn = gateway.open_turn
        for sequence_number, _, text, receipt in delivers:
            self._owed[sequence_number] = turn, text, receipt
        sms = [Deliver(sequence_number, sm_of(body)) for sequence_number, body, _, _ in delivers]
        refused = gateway.delivers(self.id, sms)
        if refused:
            self.answer(refused)


class ClientLink(_Link):
    """A session of a client."""

    def __init__(
        self, link_id: int, gateway: Gateway, stream: random.Random, peer: ClientPeer, client: str
    ) -> None:
        super().__init__(link_id, gateway, stream)
        self.client = client
        self.unanswered: dict[int, Owed] = {}
        self._peer = peer
        self._submits: list[tuple[int, bytes]] = []
        self._schedules: dict[int, bytes] = {}
        self._answers: list[tuple[int, int]] = []

    # Our end

    def answer(self, pdus: list[bytes]) -> None:
        for pdu in pdus:
            length, command_id, status, sequence_number = HEADER.unpack_from(pdu)
            assert (len(pdu), consts.SUBMIT_SM_RESP) == (length, command_id)
            message_id = 0
            schedule = self._schedules.pop(sequence_number)
            if status == consts.ESME_ROK:
                found = ids.from_text(decode_message_id(pdu[16:]).decode())
                assert found is not None
                message_id = found
                self.gateway.watch.accepted(self.client, message_id, schedule)
            self._to_peer(
                lambda s=sequence_number, c=status, m=message_id: self._peer.got_answer(s, c, m)  # type: ignore[misc]
            )

    def submit(self, messages: list[Message]) -> list[Message]:
        raise AssertionError(f"{len(messages)} submit_sm to a client")

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        taken, left = owed, list[Owed]()
        if self.takes is not None:
            taken, left = owed[: self.takes], owed[self.takes :]
            self.takes = None
        for entry in taken:
            sequence_number = next(self._sequence)
            self.unanswered[sequence_number] = entry
            self.gateway.watch.delivered(self.client, entry)
            self._to_peer(lambda e=entry: self._peer.got_deliver(self, e))  # type: ignore[misc]
        return left

    # The client's end

    def send(self, sequence_number: int, body: bytes) -> None:
        """A submit_sm."""
        self._to_us(lambda: self._submits.append((sequence_number, body)))

    def respond(self, owed: Owed, status: int) -> None:
        """A deliver_sm_resp."""
        found = next((s for s, entry in self.unanswered.items() if entry is owed), None)
        if found is not None:
            self._to_us(lambda: self._answers.append((found, status)))

    # What happens to it

    def reset(self) -> None:
        """The link is gone; what the client did not answer is owed still."""
        if self.is_up:
            self.is_up = False
            self.gateway.watch.note("client lost", self.client)
            self.gateway.client_down(self.id, list(self.unanswered.values()))
            self._peer.lost(self)

    def cut(self) -> None:
        self.is_up = False
        self._peer.lost(self)

    def _may_read(self) -> bool:
        return self.gateway.reads_clients

    def _hand_over(self) -> None:
        answers, self._answers = self._answers, []
        submits, self._submits = self._submits, []
        events = [
            Answer(owed, consts.DELIVER_SM_RESP, status, b"\0")
            for sequence_number, status in answers
            if (owed := self.unanswered.pop(sequence_number, None)) is not None
        ]
        if events:
            self.gateway.deliver_answers(self.id, events)
        if submits:
            sms = [Submit(sequence_number, sm_of(body)) for sequence_number, body in submits]
            for event in sms:
                self._schedules[event.sequence_number] = event.sm.schedule_delivery_time
            self.answer(self.gateway.submits(self.id, sms))
