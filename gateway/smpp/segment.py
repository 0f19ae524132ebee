"""How many segments a message is: what carriers count, charge and limit.

A short message on the air has 140 octets (3GPP TS 23.040): 160 septets of the default alphabet, 70
UCS-2 units. A longer one is sent in parts, and each part gives up six octets to the header that
joins them: 153 septets, 67 units, 134 octets. Neither an escape and its character nor the halves of
a surrogate pair are torn apart, so a part may be one short.

The text is unpacked, one septet an octet, as SMPP carries it. Where it is certain how a carrier
splits there is one answer; where it is not (an alphabet that handsets do not have), the larger
number: it can cost speed, never a fine. Nothing here fails.
"""

import re
from typing import Final

from gateway.smpp import consts, tlv
from gateway.smpp.codec import Sm

PART_OCTETS: Final = 140
"""3GPP TS 23.040 section 9.2.3.24: user data of one short message."""

_JOIN_OCTETS: Final = 6
"""`05 00 03 rr tt ss`: the header that joins parts (section 9.2.3.24.1)."""

_CAPACITY_MIN: Final = 4
"""A header that leaves no room is nonsense, but counting must make progress: a surrogate pair."""

_SEPTETS, _OCTETS, _UCS2, _IA5, _LATIN1, _OTHER_SINGLE = range(6)


def _alphabet(data_coding: int) -> int:
    """What one octet of the text is (SMPP 3.4 section 5.2.19, 3GPP TS 23.038 section 4)."""
    group = data_coding >> 4
    if group == 0:
        named = {0: _SEPTETS, 1: _IA5, 3: _LATIN1, 6: _OTHER_SINGLE, 7: _OTHER_SINGLE, 8: _UCS2}
        return named.get(data_coding, _OCTETS)
    if group < 0x8:  # general data coding: bits 3 and 2 are the alphabet
        return (_SEPTETS, _OCTETS, _UCS2, _SEPTETS)[data_coding >> 2 & 3]
    if group == 0xE:  # message waiting, UCS-2
        return _UCS2
    if group == 0xF:  # message class: bit 2 is the alphabet
        return _OCTETS if data_coding & 4 else _SEPTETS
    return _SEPTETS  # message waiting, and what is reserved, which 23.038 says to read as this


_ALPHABETS: Final = tuple(_alphabet(data_coding) for data_coding in range(256))

_ESC: Final = 0x1B
_ESCAPED: Final = re.compile(rb"[\f\[\\\]^{|}~]")
"""Characters of ASCII that the default alphabet has only behind an escape."""

_GSM_LATIN1: Final = (
    bytes(range(0x20, 0x60))
    + bytes(range(0x61, 0x7F))
    + b"\n\f\r"
    + "£¥èéùìòÇØøÅå¤§ÆæßÉ¡ÄÖÑÜ¿äöñüà".encode("latin-1")
)
"""Latin-1 that the default alphabet has, behind an escape or not: all of ASCII but the backtick,
and these (3GPP TS 23.038 section 6.2.1)."""


def segments(sm: Sm) -> int:
    """How many segments this message is counted as."""
    sm_length = sm.options[4]
    if 0 < sm_length <= PART_OCTETS:
        return 1  # one part, whatever is in it: a header that joins parts is only sent with one
    text = sm.short_message or tlv.find(sm.tlvs, consts.TLV_MESSAGE_PAYLOAD) or b""
    if sm.flags[0] & consts.ESM_CLASS_UDHI and text:
        header = text[0] + 1
        joined = text[1:2] in (b"\x00", b"\x08")
        text = text[header:]
        return _count(text, sm.options[2], header, header if joined else header + 5)
    return _count(text, sm.options[2], 0, _JOIN_OCTETS)


def _count(text: bytes, data_coding: int, alone: int, joined: int) -> int:
    """Parts of this text, with a header of so many octets on a single one, on each of several."""
    alphabet = _ALPHABETS[data_coding]
    if alphabet in (_IA5, _LATIN1):
        if alphabet == _LATIN1 and text.translate(None, _GSM_LATIN1):
            alphabet = _OTHER_SINGLE
        else:
            alphabet, text = _SEPTETS, _ESCAPED.sub(b"\x1b\\g<0>", text)
    if alphabet == _OTHER_SINGLE:
        alphabet, text = _UCS2, text.decode("latin-1").encode("utf-16-be")
    if len(text) <= _capacity(alphabet, alone):
        return 1
    capacity = max(_capacity(alphabet, joined), _CAPACITY_MIN)
    at, parts, end = 0, 0, len(text)
    while at < end:
        parts += 1
        at += capacity
        if at < end:
            if alphabet == _SEPTETS and text[at - 1] == _ESC:
                at -= 1
            elif alphabet == _UCS2 and 0xD8 <= text[at - 2] <= 0xDB:
                at -= 2
    return max(parts, 1)


def _capacity(alphabet: int, header: int) -> int:
    """Octets of unpacked text that fit beside a header of so many octets."""
    octets = PART_OCTETS - header
    if alphabet == _SEPTETS:
        return octets * 8 // 7
    return octets & ~1 if alphabet == _UCS2 else octets
