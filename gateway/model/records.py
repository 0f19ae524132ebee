"""The rows on disk, as frozen shapes: msgpack arrays, so fields are only ever added at the end.

A message is written once, when it is accepted. What happens to it later are rows of other tables
(`queue`, `in_flight`, `awaiting`, `final`), each far smaller; `history` has only what is out of
the ordinary. All times are wall-clock seconds. Records stay under 2,000 octets (a message of the
longest short_message is about 450): LMDB puts more on pages of its own.
"""

from typing import Final

import msgspec

from gateway.model import ids


class Message(msgspec.Struct, array_like=True, gc=False):
    """What a client submitted, ready to be sent on: the row, and the object that moves in memory.

    `body` is the submit_sm body as it goes to the carrier, `sm_at` the offset of short_message in
    it. Numbers are E.164 digits without `+`.
    What stands behind `body` changes in memory only: on disk it lives in the rows of where the
    message is (queue, in_flight, awaiting).
    """

    id: int
    client: str
    campaign: str
    route: str
    source: bytes
    destination: bytes
    accepted_at: float
    expires_at: float
    priority: int
    segments: int
    registered_delivery: int
    source_ton_npi: bytes
    dest_ton_npi: bytes
    sm_at: int
    body: bytes
    resends: int = 0
    attempts: int = 0
    submitted_at: float = 0.0
    answered_at: float = 0.0
    carrier_id: bytes = b""


class Parked(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A message that goes nowhere for now: held, or in doubt.

    `reason` is an outcome, or says for what it is held; `until` is the wall time at which it goes,
    0 if that is for people to say.
    """

    state: int
    reason: str
    since: float
    resends: int
    lane: bytes
    until: float = 0.0


class Awaiting(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A message that the carrier answered ESME_ROK."""

    carrier: str
    carrier_id: bytes
    submitted_at: float
    answered_at: float
    resends: int


class Ending(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """How a message ended. `outcome` is "" when it ended well; `error` is the carrier's own code."""

    state: int
    outcome: str
    at: float
    carrier: str
    carrier_id: bytes
    submitted_at: float
    answered_at: float
    error: bytes
    resends: int


class Inbound(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A message from a handset, as the carrier's deliver_sm brought it.

    When its text goes, `body` does, and the two numbers in it are kept beside.
    """

    client: str
    carrier: str
    received_at: float
    body: bytes
    source: bytes = b""
    destination: bytes = b""


class Orphan(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A receipt that found no message; kept a while, since its response may still be on its way."""

    received_at: float
    message_id: bytes
    message_state: int
    error: bytes


class Step(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One thing out of the ordinary in a message's life, for `ctl message`."""

    at: float
    what: str
    carrier: str = ""
    detail: str = ""


encode: Final = msgspec.msgpack.Encoder().encode
decode_message: Final = msgspec.msgpack.Decoder(Message).decode
decode_parked: Final = msgspec.msgpack.Decoder(Parked).decode
decode_awaiting: Final = msgspec.msgpack.Decoder(Awaiting).decode
decode_ending: Final = msgspec.msgpack.Decoder(Ending).decode
decode_inbound: Final = msgspec.msgpack.Decoder(Inbound).decode
decode_orphan: Final = msgspec.msgpack.Decoder(Orphan).decode
decode_step: Final = msgspec.msgpack.Decoder(Step).decode

FLIGHT: Final = ids.KEY_LENGTH + 1
"""Octets of one entry in an in_flight row: the id and how often it was sent again."""


def encode_flights(flights: dict[int, Message]) -> bytes:
    """The in_flight row of a bind: its whole window."""
    return b"".join(
        [message_id.to_bytes(8, "big") + b"%c" % m.resends for message_id, m in flights.items()]
    )


def decode_flights(row: bytes) -> list[tuple[int, int]]:
    """The (id, resends) of an in_flight row."""
    return [
        (ids.from_key(row[at : at + ids.KEY_LENGTH]), row[at + ids.KEY_LENGTH])
        for at in range(0, len(row), FLIGHT)
    ]
