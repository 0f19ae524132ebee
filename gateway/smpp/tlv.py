"""Optional parameters (SMPP 3.4 section 3.2.4): tag, length, value, one behind the other.

They pass through this gateway untouched and in order, known or not: above 0x1400 each vendor means
something else by the same tag. So there is no table of types here and nothing is decoded; a value
is its octets. A stream that does not end where its last length says is broken as a whole
(`well_formed`); `walk` and `find` stop where it breaks and never raise.
"""

import struct
from collections.abc import Iterator
from typing import Final

HEAD: Final = struct.Struct(">HH")
"""Tag and length of the value."""


def encode(tag: int, value: bytes) -> bytes:
    """One TLV."""
    return HEAD.pack(tag, len(value)) + value


def well_formed(tlvs: bytes) -> bool:
    """Whether the lengths lead exactly to the end."""
    at, end = 0, len(tlvs)
    while at + 4 <= end:
        at += 4 + HEAD.unpack_from(tlvs, at)[1]
    return at == end


def walk(tlvs: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each, in the order they came in, duplicates included."""
    at, end = 0, len(tlvs)
    while at + 4 <= end:
        tag, length = HEAD.unpack_from(tlvs, at)
        at += 4 + length
        if at <= end:
            yield tag, tlvs[at - length : at]


def find(tlvs: bytes, tag: int) -> bytes | None:
    """The value of the first one with this tag."""
    if tag.to_bytes(2, "big") not in tlvs:
        return None  # most have none: one search in C instead of a walk
    for found, value in walk(tlvs):
        if found == tag:
            return value
    return None
