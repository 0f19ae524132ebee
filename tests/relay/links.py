"""Fake links: what release writes to, with the outside behind it.

They hold the one rule: whatever reaches them, its cause must be on disk.

A link takes as much as its `takes` says (None: everything), as a socket does. What was sent is kept
as the world outside knows it, so it outlives a crash of the gateway.
"""

from typing import NamedTuple

from gateway.model import ids, records, tables
from gateway.model.records import Message
from gateway.relay.lanes import RESEND_TLV
from gateway.relay.parties import Bind
from gateway.relay.turn import Owed
from gateway.smpp import consts, tlv
from gateway.smpp.codec import HEADER, Sm, decode_message_id, decode_sm
from gateway.smpp.receipt import Receipt, decode_receipt, is_receipt
from tests.relay.disk import Disk


class Sent(NamedTuple):
    """One submit_sm that a carrier got. `resends` is what its TLV says."""

    message_id: int
    campaign: str
    carrier: str
    segments: int
    monotonic: float
    wall: float
    resends: int


class Answered(NamedTuple):
    """What a client was answered for one submit_sm."""

    status: int
    message_id: int


class Clock:
    """Both clocks; only tests move them."""

    def __init__(self, monotonic: float, wall: float) -> None:
        self.monotonic = monotonic
        self.wall = wall


def sm_of(body: bytes) -> Sm:
    sm = decode_sm(body)
    assert isinstance(sm, Sm), sm
    return sm


def resends_in(body: bytes) -> int:
    """What our TLV in a submit_sm says; the last one counts, it is ours."""
    found = [value for tag, value in tlv.walk(sm_of(body).tlvs) if tag == RESEND_TLV]
    return found[-1][0] if found else 0


class CarrierLink:
    """A bound session with a carrier, seen from the carrier."""

    def __init__(
        self, link_id: int, bind: Bind, disk: Disk, clock: Clock, sent: list[Sent]
    ) -> None:
        self.id = link_id
        self.bind = bind
        self.takes: int | None = None
        self.unanswered: dict[int, Message] = {}
        self.answered: dict[int, int] = {}
        self._disk = disk
        self._clock = clock
        self._sent = sent

    def answer(self, pdus: list[bytes]) -> None:
        for pdu in pdus:
            length, command_id, status, sequence_number = HEADER.unpack_from(pdu)
            assert (len(pdu), consts.DELIVER_SM_RESP) == (length, command_id)
            assert sequence_number not in self.answered, "answered twice"
            self.answered[sequence_number] = status

    def submit(self, messages: list[Message]) -> list[Message]:
        taken, left = messages, list[Message]()
        if self.takes is not None:
            taken, left = messages[: self.takes], messages[self.takes :]
            self.takes -= len(taken)
        flying = dict(self._disk.flights())
        for message in taken:
            key = ids.to_key(message.id)
            row = self._disk.get(tables.MESSAGE, key)
            assert row is not None, "a submit_sm left before its message was on disk"
            assert message.id in flying, "a submit_sm left that the disk does not know of"
            assert message.id not in self.unanswered, "sent twice over one link"
            kept = records.decode_message(row)
            resends = resends_in(message.body)
            assert flying[message.id] == resends == message.resends
            assert message.body[: len(kept.body)] == kept.body
            self.unanswered[message.id] = message
            self._sent.append(
                Sent(
                    message.id,
                    message.campaign,
                    self.bind.carrier.name,
                    message.segments,
                    self._clock.monotonic,
                    self._clock.wall,
                    resends,
                )
            )
        return left

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        raise AssertionError(f"{len(owed)} deliver_sm to a carrier")


class ClientLink:
    """A bound session of a client, seen from the client. `inbox` is what it has not answered."""

    def __init__(self, link_id: int, disk: Disk) -> None:
        self.id = link_id
        self.takes: int | None = None
        self.answered: dict[int, Answered] = {}
        self.inbox: list[Owed] = []
        self._disk = disk

    def answer(self, pdus: list[bytes]) -> None:
        """Also what is refused at once comes this way."""
        for pdu in pdus:
            length, command_id, status, sequence_number = HEADER.unpack_from(pdu)
            assert (len(pdu), consts.SUBMIT_SM_RESP) == (length, command_id)
            assert sequence_number not in self.answered, "answered twice"
            message_id = 0
            if status == consts.ESME_ROK:
                found = ids.from_text(decode_message_id(pdu[16:]).decode())
                assert found is not None
                message_id = found
                row = self._disk.get(tables.MESSAGE, ids.to_key(found))
                assert row is not None, "a message was acknowledged before it was on disk"
            else:
                assert length == 16
            self.answered[sequence_number] = Answered(status, message_id)

    def submit(self, messages: list[Message]) -> list[Message]:
        raise AssertionError(f"{len(messages)} submit_sm to a client")

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        taken, left = owed, list[Owed]()
        if self.takes is not None:
            taken, left = owed[: self.takes], owed[self.takes :]
            self.takes -= len(taken)
        due = set(self._disk.owed())
        for entry in taken:
            assert entry.message_id in due, "a deliver_sm left before it was on disk"
        self.inbox += taken
        return left

    def receipts(self) -> list[Receipt]:
        """The receipts in the inbox."""
        return [receipt for receipt in map(receipt_of, self.inbox) if receipt is not None]


def receipt_of(owed: Owed) -> Receipt | None:
    """The receipt in a deliver_sm; None if it is a handset's message."""
    sm = sm_of(owed.body)
    if not is_receipt(sm.esm_class):
        return None
    receipt = decode_receipt(sm)
    assert receipt is not None
    assert receipt.message_id == ids.to_text(owed.message_id), "the id is not ours"
    return receipt
