"""PDU bodies: octets to fields and back. What nobody needs decoded stays octets.

The mandatory body of submit_sm (SMPP 3.4 section 4.4.1) and deliver_sm (4.6.1) is the same twelve
fields, and one compiled regular expression matches all of them and checks their lengths on the
way, in C. Addresses, texts and TLVs are kept as they came: a gateway that does not touch an octet
cannot break it.

Not here: framing and headers of what comes in (session), the syntax of times (time), texts and
their lengths on the air (segment), receipts (receipt).

A body that breaks the rules of its fields is a `BodyFault`, a value that carries the status to
answer with: the session lives on. An argument that cannot be encoded is our own bug, a ValueError.
"""

import re
import struct
from typing import Final

import msgspec

from gateway.smpp import consts, tlv

HEADER: Final = struct.Struct(">IIII")
"""command_length, command_id, command_status, sequence_number (section 3.2)."""

MESSAGE_ID_MAX: Final = 255
"""Octets of a message_id that we take; the specification has 64 (section 5.2.23). Beyond, it is
no id that a database could use as a key."""

SHORT_MESSAGE_MAX: Final = 254
"""Section 5.2.21: sm_length 255 is reserved."""

TIME_LENGTH: Final = 16
"""Section 7.1.1: a time is this long, or empty."""

_OCTET: Final = tuple(b"%c" % value for value in range(256))


class BodyFault(msgspec.Struct, frozen=True, gc=False):
    """Why a body was not taken: the status to answer with, the field at fault, and a sentence."""

    command_status: int
    field: str
    why: str


class Sm(msgspec.Struct, frozen=True, gc=False):
    """A submit_sm or deliver_sm: the fields in the order of the wire, as the octets they were.

    `body` is all of it, TLVs included; `sm_at` is where in it short_message begins, so that
    `options` are the five octets before.
    """

    body: bytes
    sm_at: int
    service_type: bytes
    source_ton_npi: bytes
    source_addr: bytes
    dest_ton_npi: bytes
    destination_addr: bytes
    flags: bytes
    schedule_delivery_time: bytes
    validity_period: bytes
    options: bytes

    @property
    def esm_class(self) -> int:
        """Mode, type, UDHI and reply path (section 5.2.12)."""
        return self.flags[0]

    @property
    def protocol_id(self) -> int:
        """Section 5.2.13."""
        return self.flags[1]

    @property
    def priority_flag(self) -> int:
        """Section 5.2.14."""
        return self.flags[2]

    @property
    def registered_delivery(self) -> int:
        """Which receipts are asked for (section 5.2.17)."""
        return self.options[0]

    @property
    def replace_if_present_flag(self) -> int:
        """Section 5.2.18."""
        return self.options[1]

    @property
    def data_coding(self) -> int:
        """Section 5.2.19."""
        return self.options[2]

    @property
    def sm_default_msg_id(self) -> int:
        """Section 5.2.20."""
        return self.options[3]

    @property
    def short_message(self) -> bytes:
        """The text, or nothing when it is in message_payload (section 5.2.22)."""
        return self.body[self.sm_at : self.sm_at + self.options[4]]

    @property
    def tlvs(self) -> bytes:
        """All TLVs, as they came."""
        return self.body[self.sm_at + self.options[4] :]


# ------------------------------------------------------------------------- submit_sm, deliver_sm

# The maxima of section 4.4.1 count the NUL. Both times are empty or 16 characters (7.1.1).
# Possessive, and the empty time first: nothing is ever tried twice.
_SM: Final = re.compile(
    rb"([^\0]{0,5}+)\0"  # service_type
    rb"(..)([^\0]{0,20}+)\0"  # source_addr_ton, source_addr_npi, source_addr
    rb"(..)([^\0]{0,20}+)\0"  # dest_addr_ton, dest_addr_npi, destination_addr
    rb"(...)"  # esm_class, protocol_id, priority_flag
    rb"(|[^\0]{16})\0"  # schedule_delivery_time
    rb"(|[^\0]{16})\0"  # validity_period
    rb"(.....)",  # registered_delivery, replace_if_present_flag, data_coding, default id, sm_length
    re.DOTALL,
)
_match: Final = _SM.match
_NO_TAG: Final = -1
_tlv_head: Final = tlv.HEAD.unpack_from
_match_leniently: Final = re.compile(
    _SM.pattern.replace(b"|[^\\0]{16}", b"[^\\0]{0,16}"), re.DOTALL
).match

_C_OCTET_FIELDS: Final = (
    # name, octets without the NUL, status if it is too long, octets of numbers behind it
    ("service_type", 5, consts.ESME_RINVSERTYP, 2),
    ("source_addr", 20, consts.ESME_RINVSRCADR, 2),
    ("destination_addr", 20, consts.ESME_RINVDSTADR, 3),
    ("schedule_delivery_time", 16, consts.ESME_RINVSCHED, 0),
    ("validity_period", 16, consts.ESME_RINVEXPIRY, 5),
)
"""What `_SM` checks, in its order: the slow way, to name the field that is at fault."""


def decode_sm(body: bytes) -> Sm | BodyFault:
    """The fields of a submit_sm or deliver_sm body."""
    match = _match(body)
    if match is None:
        return _mandatory_fault(body)
    sm_at = match.end()
    sm_length = body[sm_at - 1]
    if sm_at + sm_length != len(body):
        fault = _rest_fault(body, sm_at, consts.TLV_MESSAGE_PAYLOAD if sm_length else _NO_TAG)
        if fault is not None:
            return fault
    # Named one by one, for speed: with *groups it takes a fifth longer.
    service_type, source, source_addr, dest, destination_addr, flags, start, end, options = (
        match.groups()
    )
    return Sm(
        body,
        sm_at,
        service_type,
        source,
        source_addr,
        dest,
        destination_addr,
        flags,
        start,
        end,
        options,
    )


def _rest_fault(body: bytes, sm_at: int, forbidden: int) -> BodyFault | None:
    """What is wrong from short_message on: a text that is not all there, or the TLVs behind it.

    Beside a short_message, message_payload is `forbidden` (section 4.4.1: never both), which is
    what ESME_ROPTPARNOTALLWD says; no length is wrong that ESME_RINVMSGLEN could mean. To guess
    which of the two texts counts would be to send, and charge for, the wrong one.
    """
    at, end = sm_at + body[sm_at - 1], len(body)
    if at > end:
        return BodyFault(
            consts.ESME_RINVMSGLEN, "sm_length", f"{at - end} octets of the text are missing"
        )
    while at + 4 <= end:
        tag, length = _tlv_head(body, at)
        if tag == forbidden:
            return BodyFault(
                consts.ESME_ROPTPARNOTALLWD, "message_payload", "there is a short_message as well"
            )
        at += 4 + length
    if at == end:
        return None
    return BodyFault(consts.ESME_RINVOPTPARSTREAM, "tlvs", "the TLVs do not end where the PDU does")


def _mandatory_fault(body: bytes) -> BodyFault:
    """The first field that `_SM` did not match."""
    at, end = 0, len(body)
    for name, length_max, command_status, numbers in _C_OCTET_FIELDS:
        nul = body.find(0, at, at + length_max + 1)
        if nul < 0:
            if end - at > length_max:
                return BodyFault(command_status, name, f"it has more than {length_max} octets")
            return BodyFault(consts.ESME_RINVCMDLEN, name, "the body ends within it")
        if length_max == TIME_LENGTH and at < nul < at + TIME_LENGTH:
            return BodyFault(command_status, name, "it is neither empty nor 16 characters")
        at = nul + 1 + numbers
        if at > end:
            return BodyFault(consts.ESME_RINVCMDLEN, name, "the body ends behind it")
    raise AssertionError("a body that has no fault did not match")


def decode_sm_leniently(body: bytes) -> Sm | BodyFault:
    """A deliver_sm that `decode_sm` refused, taken if what is wrong with it does not matter to us.

    A carrier may forget a refused deliver_sm, and it may be a STOP. So the times, which have no
    meaning here and are to be empty (section 4.6.1), may be of any length, and text may stand in
    both places; short_message counts then. Lengths and TLVs must hold: they are what we pass on.
    """
    match = _match_leniently(body)
    if match is None:
        return _mandatory_fault(body)
    sm_at = match.end()
    return _rest_fault(body, sm_at, _NO_TAG) or Sm(body, sm_at, *match.groups())


def encode_sm(
    *,
    service_type: bytes = b"",
    source_addr_ton: int = 0,
    source_addr_npi: int = 0,
    source_addr: bytes = b"",
    dest_addr_ton: int = 0,
    dest_addr_npi: int = 0,
    destination_addr: bytes = b"",
    esm_class: int = 0,
    protocol_id: int = 0,
    priority_flag: int = 0,
    schedule_delivery_time: bytes = b"",
    validity_period: bytes = b"",
    registered_delivery: int = 0,
    replace_if_present_flag: int = 0,
    data_coding: int = 0,
    sm_default_msg_id: int = 0,
    short_message: bytes = b"",
    tlvs: bytes = b"",
) -> bytes:
    """The body of a submit_sm or deliver_sm; ValueError if it is none that `decode_sm` takes."""
    if len(short_message) > SHORT_MESSAGE_MAX:
        raise ValueError(f"a short_message of {len(short_message)} octets belongs in a TLV")
    body = b"%b\0%c%c%b\0%c%c%b\0%c%c%c%b\0%b\0%c%c%c%c%c%b%b" % (
        service_type,
        source_addr_ton,
        source_addr_npi,
        source_addr,
        dest_addr_ton,
        dest_addr_npi,
        destination_addr,
        esm_class,
        protocol_id,
        priority_flag,
        schedule_delivery_time,
        validity_period,
        registered_delivery,
        replace_if_present_flag,
        data_coding,
        sm_default_msg_id,
        len(short_message),
        short_message,
        tlvs,
    )
    sm = decode_sm(body)
    if type(sm) is BodyFault:
        raise ValueError(f"{sm.field}: {sm.why}")
    strings = (service_type, source_addr, destination_addr, schedule_delivery_time, validity_period)
    if b"\0" in b"".join(strings):
        raise ValueError("a string with a NUL in it")
    return body


def with_registered_delivery(body: bytes, sm_at: int, value: int) -> bytes:
    """The body with another registered_delivery: we ask for receipts that our client did not."""
    return body[: sm_at - 5] + _OCTET[value] + body[sm_at - 4 :]


def with_times(sm: Sm, validity_period: bytes) -> tuple[bytes, int]:
    """The body without a schedule_delivery_time and with this validity_period, and its `sm_at`."""
    options_at = sm.sm_at - len(sm.options)
    times_at = options_at - len(sm.schedule_delivery_time) - len(sm.validity_period) - 2
    head = sm.body[:times_at] + b"\0" + validity_period + b"\0"
    return head + sm.body[options_at:], len(head) + len(sm.options)


# ----------------------------------------------------------------------------------------- binds


class Bind(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The body of bind_transmitter, bind_receiver and bind_transceiver (section 4.1)."""

    system_id: bytes
    password: bytes
    system_type: bytes = b""
    interface_version: int = consts.INTERFACE_VERSION
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: bytes = b""


class BindResp(msgspec.Struct, frozen=True, gc=False):
    """The body of a bind's response; what the peer left out is empty or None."""

    system_id: bytes
    sc_interface_version: int | None


_BIND: Final = re.compile(
    rb"([^\0]{0,64})\0([^\0]{0,64})\0([^\0]{0,64})\0(.)(.)(.)([^\0]{0,64})\0", re.DOTALL
)
"""Section 4.1 has 15, 8, 12 and 40 octets, but carriers hand out longer passwords, and a few more
octets harm nobody."""


def decode_bind(body: bytes) -> Bind | BodyFault:
    """The fields of a bind."""
    match = _BIND.match(body)
    if match is None:
        return BodyFault(consts.ESME_RBINDFAIL, "bind", "a field is cut off or too long")
    system_id, password, system_type, version, ton, npi, address_range = match.groups()
    return Bind(
        system_id=system_id,
        password=password,
        system_type=system_type,
        interface_version=version[0],
        addr_ton=ton[0],
        addr_npi=npi[0],
        address_range=address_range,
    )


def encode_bind(bind: Bind) -> bytes:
    """The body of a bind; ValueError if it is none that `decode_bind` takes."""
    body = b"%b\0%b\0%b\0%c%c%c%b\0" % (
        bind.system_id,
        bind.password,
        bind.system_type,
        bind.interface_version,
        bind.addr_ton,
        bind.addr_npi,
        bind.address_range,
    )
    if decode_bind(body) != bind:
        raise ValueError("a field of the bind is too long or has a NUL in it")
    return body


def encode_bind_resp(system_id: bytes, sc_interface_version: int | None = None) -> bytes:
    """Our system_id; the version only for a peer that knows TLVs, one of 3.4 or later (3.4.1)."""
    if sc_interface_version is None:
        return system_id + b"\0"
    version = tlv.encode(consts.TLV_SC_INTERFACE_VERSION, _OCTET[sc_interface_version])
    return system_id + b"\0" + version


def decode_bind_resp(body: bytes) -> BindResp:
    """Whatever of it is there: what a carrier calls itself decides nothing."""
    system_id, _, tlvs = body.partition(b"\0")
    version = tlv.find(tlvs, consts.TLV_SC_INTERFACE_VERSION)
    return BindResp(system_id, version[0] if version else None)


# ------------------------------------------------------------------------- responses and headers


def message_id_body(message_id: bytes) -> bytes:
    """The body of a submit_sm_resp (section 4.4.2)."""
    return message_id + b"\0"


def decode_message_id(body: bytes) -> bytes:
    """The id in a submit_sm_resp; empty if there is none that could be used.

    Carriers leave out the body, leave out the NUL, and put TLVs behind it.
    """
    end = body.find(0)
    message_id = body if end < 0 else body[:end]
    return message_id if len(message_id) <= MESSAGE_ID_MAX else b""


def pdu(command_id: int, command_status: int, sequence_number: int, body: bytes = b"") -> bytes:
    """One whole PDU."""
    return HEADER.pack(16 + len(body), command_id, command_status, sequence_number) + body
