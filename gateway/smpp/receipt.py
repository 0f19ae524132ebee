"""Delivery receipts: a deliver_sm whose esm_class says so (SMPP 3.4 section 5.2.12, appendix B).

What became of a message stands in TLVs (receipted_message_id, message_state, network_error_code),
in a text, or in both; the TLVs count, for the text is "SMSC vendor specific" and each vendor varies
it. It is read as octets, whatever data_coding says: receipts in ASCII that claim UCS-2 are common,
and so are the reverse. A receipt that names no message is None: there is nothing to do with it.

Not here: which message an id means. Carriers write the same id in hex and in decimal, padded or
not; that is configuration, and the relay's.
"""

import re
from typing import Final

import msgspec

from gateway.smpp import consts, tlv
from gateway.smpp.codec import MESSAGE_ID_MAX, Sm
from gateway.smpp.time import receipt_date


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a carrier says became of a message.

    `state` is a message_state, 0 if it names none that we know; `error` the text's `err:` as it
    stands there; `network_error_code` the TLV's three octets. An intermediate one is not the end.
    """

    message_id: bytes
    state: int
    error: bytes
    network_error_code: bytes
    intermediate: bool


_TYPES: Final = frozenset(
    (
        consts.ESM_CLASS_RECEIPT,
        consts.ESM_CLASS_INTERMEDIATE,
        consts.ESM_CLASS_RECEIPT | consts.ESM_CLASS_INTERMEDIATE,  # not in the specification
    )
)
_NOT_FINAL: Final = frozenset((consts.ENROUTE, consts.ACCEPTED))

_STATES: Final = {
    **{text: state for state, text in enumerate(consts.RECEIPT_TEXT) if state},
    b"DELIVERED": consts.DELIVERED,
    b"UNDELIVERABLE": consts.UNDELIVERABLE,
    b"UNDELIVERED": consts.UNDELIVERABLE,
    b"ACCEPTED": consts.ACCEPTED,
    b"REJECTED": consts.REJECTED,
}

_usual: Final = re.compile(
    rb"id:([^ \0]++)(?: sub:[^ ]++)?+(?: dlvrd:[^ ]++)?+"
    rb" submit date:[^ ]++ done date:[^ ]++ stat:([^ ]++) err:(\w{0,16}+)"
).match
"""Appendix B as most write it; the rest is read field by field, at four times the cost."""

_fields: Final = re.compile(
    rb"(?:^|(?<=[\s,;]))(id|stat|err)\s*:\s*([^\s,;]*)", re.IGNORECASE
).findall

_tlv_head: Final = tlv.HEAD.unpack_from


def is_receipt(esm_class: int) -> bool:
    """Whether a deliver_sm of this class is a receipt or an intermediate notification."""
    return esm_class & consts.ESM_CLASS_TYPE in _TYPES


def decode_receipt(sm: Sm) -> Receipt | None:
    """The receipt in this deliver_sm; None if it is none, or names no message."""
    esm_class = sm.flags[0]
    if esm_class & consts.ESM_CLASS_TYPE not in _TYPES:
        return None
    body = sm.body
    at = sm.sm_at + sm.options[4]
    text = body[sm.sm_at : at]
    message_id = network_error_code = b""
    state, end = 0, len(body)
    while at < end:  # decode_sm has seen to it that the TLVs are whole
        tag, length = _tlv_head(body, at)
        at += 4 + length
        if tag == 0x001E:  # receipted_message_id
            message_id = body[at - length : at].rstrip(b"\0")
        elif tag == 0x0427 and length:  # message_state
            state = body[at - length]
        elif tag == 0x0423 and length == 3:  # network_error_code
            network_error_code = body[at - 3 : at]
        elif tag == 0x0424 and not text:  # message_payload
            text = body[at - length : at]
    match = _usual(text)
    if match is not None:
        text_id, stat, error = match.groups()
    else:
        text_id, stat, error = _read(text)
    message_id = message_id or text_id
    if not 0 < len(message_id) <= MESSAGE_ID_MAX:
        return None
    if not 0 < state <= consts.REJECTED:
        state = _STATES.get(stat.upper(), 0)
    intermediate = esm_class & consts.ESM_CLASS_INTERMEDIATE != 0 or state in _NOT_FINAL
    return Receipt(message_id, state, error, network_error_code, intermediate)


def _read(text: bytes) -> tuple[bytes, bytes, bytes]:
    """id, stat and err, wherever they stand; the first of each, for `text:` comes last.

    Without NULs, which some put behind the text, and which are half of a text in UCS-2.
    """
    found: dict[bytes, bytes] = {}
    for key, value in _fields(text.replace(b"\0", b"")):
        found.setdefault(key.lower(), value)
    return found.get(b"id", b""), found.get(b"stat", b""), found.get(b"err", b"")[:16]


def encode_receipt(
    *,
    message_id: bytes,
    message_state: int,
    submitted_at: float,
    done_at: float,
    source_ton_npi: bytes,
    source_addr: bytes,
    dest_ton_npi: bytes,
    destination_addr: bytes,
    error: bytes = b"000",
    network_error_code: bytes = b"",
    tlvs: bytes = b"",
) -> bytes:
    """The deliver_sm body that tells a client what became of its message.

    The addresses are the receipt's: it comes from where the message went. Fields are put together
    as they are, without the checks of `encode_sm`: they come from a body that was decoded.
    """
    short_message = b"id:%b sub:001 dlvrd:%b submit date:%b done date:%b stat:%b err:%b text:" % (
        message_id,
        b"001" if message_state == consts.DELIVERED else b"000",
        receipt_date(submitted_at),
        receipt_date(done_at),
        consts.RECEIPT_TEXT[message_state],
        error,
    )
    if network_error_code:
        tlvs = tlv.encode(consts.TLV_NETWORK_ERROR_CODE, network_error_code) + tlvs
    return _RECEIPT % (
        source_ton_npi,
        source_addr,
        dest_ton_npi,
        destination_addr,
        len(short_message),
        short_message,
        len(message_id) + 1,
        message_id,
        message_state,
        tlvs,
    )


_RECEIPT: Final = (
    b"\0%b%b\0%b%b\0"  # service_type, source, destination
    b"\x04\0\0"  # esm_class: a receipt; protocol_id, priority_flag
    b"\0\0"  # no times
    b"\0\0\0\0%c%b"  # no receipt for a receipt; short_message in the default alphabet
    b"\x00\x1e\0%c%b\0"  # receipted_message_id
    b"\x04\x27\0\x01%c"  # message_state
    b"%b"
)
