"""SMPP 3.4 on the wire, as much of it as a carrier simulator and a load generator need.

Written from the specification, apart from the gateway's own codec: the two referee each other.
It knows constants, how a byte stream falls into PDUs, the mandatory bodies of the few PDUs the
tools handle, and TLVs. It is not a PDU object model: the hot loops take positions in the buffer
and send pre-built bytes.

Failure rule: a stream whose command_length cannot be right is broken for good (`Splitter.broken`),
because there is no way back into step. A body that does not hold what it must is `None` or raises
`WireError`, which the caller answers with a command_status.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

HEADER: Final = struct.Struct(">IIII")
HEADER_BYTES: Final = 16

# Biggest PDU we accept. message_payload may hold 64 KiB (section 5.3.2.32); the rest of a PDU with
# every TLV of the specification stays well under 4 KiB.
PDU_BYTES_MAX: Final = 65_536 + 4_096

# Section 5.1.4: sequence_number runs from 1 to this, then starts again.
SEQUENCE_NUMBER_MAX: Final = 0x7FFFFFFF

# command_id, section 5.1.2.1
GENERIC_NACK: Final = 0x80000000
BIND_RECEIVER: Final = 0x00000001
BIND_TRANSMITTER: Final = 0x00000002
SUBMIT_SM: Final = 0x00000004
DELIVER_SM: Final = 0x00000005
UNBIND: Final = 0x00000006
BIND_TRANSCEIVER: Final = 0x00000009
ENQUIRE_LINK: Final = 0x00000015
RESPONSE: Final = 0x80000000  # set in the command_id of every response
SUBMIT_SM_RESP: Final = SUBMIT_SM | RESPONSE
DELIVER_SM_RESP: Final = DELIVER_SM | RESPONSE
UNBIND_RESP: Final = UNBIND | RESPONSE
ENQUIRE_LINK_RESP: Final = ENQUIRE_LINK | RESPONSE

BIND_COMMANDS: Final = {
    "transmitter": BIND_TRANSMITTER,
    "receiver": BIND_RECEIVER,
    "transceiver": BIND_TRANSCEIVER,
}

# command_status, section 5.1.3
ESME_ROK: Final = 0x00000000
ESME_RINVMSGLEN: Final = 0x00000001
ESME_RINVCMDLEN: Final = 0x00000002
ESME_RINVCMDID: Final = 0x00000003
ESME_RINVBNDSTS: Final = 0x00000004
ESME_RALYBND: Final = 0x00000005
ESME_RSYSERR: Final = 0x00000008
ESME_RBINDFAIL: Final = 0x0000000D
ESME_RINVPASWD: Final = 0x0000000E
ESME_RMSGQFUL: Final = 0x00000014
ESME_RTHROTTLED: Final = 0x00000058
ESME_RX_T_APPN: Final = 0x00000064
ESME_RINVOPTPARSTREAM: Final = 0x000000C0

# Tags, section 5.3.2
USER_MESSAGE_REFERENCE: Final = 0x0204
SC_INTERFACE_VERSION: Final = 0x0210
RECEIPTED_MESSAGE_ID: Final = 0x001E
MESSAGE_PAYLOAD: Final = 0x0424
MESSAGE_STATE: Final = 0x0427

INTERFACE_VERSION: Final = 0x34

# esm_class, section 5.2.12: bits 5..2 are the message type.
ESM_CLASS_TYPE_MASK: Final = 0x3C
ESM_CLASS_RECEIPT: Final = 0x04

# message_state (section 5.2.28) of each `stat:` word (appendix B).
MESSAGE_STATES: Final = {
    "ENROUTE": 1,
    "DELIVRD": 2,
    "EXPIRED": 3,
    "DELETED": 4,
    "UNDELIV": 5,
    "ACCEPTD": 6,
    "UNKNOWN": 7,
    "REJECTD": 8,
}

# command_id, command_status, sequence_number, where the body starts, where it ends.
Frame = tuple[int, int, int, int, int]

# The mandatory body of submit_sm and deliver_sm (sections 4.4.1 and 4.6.1), matched in one step in
# C; field lengths are checked on the way. schedule_delivery_time and validity_period are empty or
# exactly 16 characters.
_SM_BODY_HEAD: Final = (
    rb"[^\0]{0,5}\0"  # service_type
    rb"(..(ADDRESS)\0)"  # source_addr_ton, source_addr_npi, source_addr
    rb"(..(ADDRESS)\0)"  # dest_addr_ton, dest_addr_npi, destination_addr
)
_SM_BODY_TIMES: Final = rb"(?:\0|[^\0]{16}\0)(?:\0|[^\0]{16}\0)"
_SM_BODY: Final = re.compile(
    _SM_BODY_HEAD.replace(b"ADDRESS", rb"[^\0]{0,20}")
    + rb"(.).."  # esm_class, protocol_id, priority_flag
    + _SM_BODY_TIMES
    + rb"(.).(.).(.)",  # registered_delivery, replace_if.., data_coding, sm_default.., sm_length
    re.DOTALL,
)
# For the simulator's hot loop: addresses that a ledger can hold as they are, and a token where the
# generator puts it. Groups: source_block, source_addr, dest_block, destination_addr,
# registered_delivery, sm_length, token.
USUAL_SUBMIT_SM: Final = re.compile(
    _SM_BODY_HEAD.replace(b"ADDRESS", rb"[0-9A-Za-z+]{1,20}")
    + rb"..."
    + _SM_BODY_TIMES
    + rb"(.)...(.)#(\d{12})",
    re.DOTALL,
)

_BIND_BODY: Final = re.compile(
    rb"([^\0]{0,15})\0([^\0]{0,8})\0([^\0]{0,12})\0(.)..[^\0]{0,40}\0", re.DOTALL
)


class WireError(Exception):
    """The peer's bytes do not hold what the specification says they must."""


class Splitter:
    """Cuts one connection's byte stream into frames.

    `feed` returns the buffer and the frames as positions in it; what is left of a PDU that has not
    come whole is kept for the next call. Once `broken` is set nothing more is returned: the caller
    handles the frames before the bad one and closes the link.
    """

    __slots__ = ("_rest", "broken")

    def __init__(self) -> None:
        self._rest = b""
        self.broken = ""

    def feed(self, data: bytes) -> tuple[bytes, list[Frame]]:
        """Take in what a read gave; the buffer, and the whole PDUs in it."""
        frames: list[Frame] = []
        if self.broken:
            return b"", frames
        buffer = self._rest + data if self._rest else data
        append = frames.append
        unpack_from = HEADER.unpack_from
        position = 0
        size = len(buffer)
        last_header = size - HEADER_BYTES
        while position <= last_header:
            length, command_id, command_status, sequence_number = unpack_from(buffer, position)
            if not HEADER_BYTES <= length <= PDU_BYTES_MAX:
                self.broken = f"command_length {length}"
                self._rest = b""
                return buffer, frames
            end = position + length
            if end > size:
                break
            append((command_id, command_status, sequence_number, position + HEADER_BYTES, end))
            position = end
        self._rest = buffer[position:]
        return buffer, frames


class SmBody(NamedTuple):
    """What the tools look at of a submit_sm or deliver_sm."""

    source_block: bytes  # ton, npi and address with its NUL, as it stood on the wire
    source_addr: bytes
    dest_block: bytes
    destination_addr: bytes
    esm_class: int
    registered_delivery: int
    data_coding: int
    short_message: bytes
    tlvs: bytes


def pdu(
    command_id: int, sequence_number: int, body: bytes = b"", *, command_status: int = 0
) -> bytes:
    """A whole PDU: header and body."""
    return HEADER.pack(HEADER_BYTES + len(body), command_id, command_status, sequence_number) + body


def c_octet(text: str | bytes, size_max: int) -> bytes:
    """A C-Octet String; `size_max` counts the NUL, as the specification's tables do."""
    raw = text.encode("latin-1") if isinstance(text, str) else text
    if len(raw) >= size_max or b"\0" in raw:
        raise ValueError(f"{raw!r} does not fit a C-Octet String of at most {size_max} octets")
    return raw + b"\0"


def read_c_octet(buffer: bytes, start: int, end: int) -> tuple[bytes, int]:
    """The string at `start` without its NUL, and the position after the NUL."""
    nul = buffer.find(b"\0", start, end)
    if nul < 0:
        raise WireError("a C-Octet String without its NUL")
    return buffer[start:nul], nul + 1


def tlv(tag: int, value: bytes) -> bytes:
    """One optional parameter."""
    return struct.pack(">HH", tag, len(value)) + value


def read_tlvs(buffer: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
    """All TLVs from `start` to `end`, in order; unknown tags are as good as known ones."""
    found = []
    while start < end:
        if end - start < 4:
            raise WireError("a TLV cut off in its header")
        tag = int.from_bytes(buffer[start : start + 2], "big")
        length = int.from_bytes(buffer[start + 2 : start + 4], "big")
        start += 4
        if start + length > end:
            raise WireError(f"TLV 0x{tag:04X} is longer than its PDU")
        found.append((tag, buffer[start : start + length]))
        start += length
    return found


def bind_body(
    system_id: str, password: str, *, system_type: str = "", address_range: str = ""
) -> bytes:
    """Section 4.1; addr_ton and addr_npi are 0, unknown."""
    return b"".join(
        (
            c_octet(system_id, 16),
            c_octet(password, 9),
            c_octet(system_type, 13),
            bytes((INTERFACE_VERSION, 0, 0)),
            c_octet(address_range, 41),
        )
    )


def read_bind_body(buffer: bytes, start: int, end: int) -> tuple[str, str]:
    """system_id and password of a bind request."""
    match = _BIND_BODY.match(buffer, start, end)
    if match is None or match.end() != end:
        raise WireError("not the body of a bind")
    return match[1].decode("latin-1"), match[2].decode("latin-1")


def bind_resp_body(system_id: str) -> bytes:
    """Section 4.1.2, with the TLV that says we speak SMPP 3.4."""
    return c_octet(system_id, 16) + tlv(SC_INTERFACE_VERSION, bytes((INTERFACE_VERSION,)))


def address_block(address: str | bytes, *, ton: int = 1, npi: int = 1) -> bytes:
    """ton, npi and address: the form in which `sm_body` takes both addresses."""
    return bytes((ton, npi)) + c_octet(address, 21)


def sm_body(
    source_block: bytes,
    dest_block: bytes,
    short_message: bytes,
    *,
    esm_class: int = 0,
    registered_delivery: int = 0,
    data_coding: int = 0,
    tlvs: bytes = b"",
) -> bytes:
    """The body of a submit_sm or deliver_sm. More than 254 octets go into message_payload."""
    if len(short_message) > 254:
        tlvs = tlv(MESSAGE_PAYLOAD, short_message) + tlvs
        short_message = b""
    return b"".join(
        (
            b"\0",  # service_type
            source_block,
            dest_block,
            bytes((esm_class, 0, 0)),  # protocol_id, priority_flag
            b"\0\0",  # schedule_delivery_time, validity_period
            bytes((registered_delivery, 0, data_coding, 0, len(short_message))),
            short_message,
            tlvs,
        )
    )


def read_sm_body(buffer: bytes, start: int, end: int) -> SmBody:
    """A whole submit_sm or deliver_sm body; the hot loops have patterns of their own."""
    match = _SM_BODY.match(buffer, start, end)
    if match is None:
        raise WireError("the mandatory fields do not fit their lengths")
    source_block, source, dest_block, dest, esm_class, registered, coding, length = match.groups()
    text = match.end()
    text_end = text + length[0]
    if text_end > end:
        raise WireError("sm_length is longer than the PDU")
    return SmBody(
        source_block,
        source,
        dest_block,
        dest,
        esm_class[0],
        registered[0],
        coding[0],
        buffer[text:text_end],
        buffer[text_end:end],
    )


def by_status(counts: Mapping[int, int]) -> dict[str, int]:
    """Spell command_status as 0x and eight hex digits, as logs and specifications do."""
    return {f"0x{status:08X}": count for status, count in sorted(counts.items())}
