"""Segments, as carriers count them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import codec, consts, tlv
from gateway.smpp.codec import Sm
from gateway.smpp.segment import segments
from tests.smpp.strategies import SM_FIELDS

GSM, IA5, OCTETS, LATIN1, CYRILLIC, HEBREW, UCS2 = 0, 1, 4, 3, 6, 7, 8
JOIN_8 = bytes.fromhex("05 00 03 a1 02 01")
JOIN_16 = bytes.fromhex("06 08 04 00a1 02 01")
PORTS = bytes.fromhex("06 05 04 0b84 23f0")


def count(text: bytes, data_coding: int = GSM, esm_class: int = 0, *, payload: bool = True) -> int:
    """Segments of this text in message_payload, or in short_message."""
    fields: dict[str, Any] = {"data_coding": data_coding, "esm_class": esm_class}
    if payload:
        fields["tlvs"] = tlv.encode(consts.TLV_MESSAGE_PAYLOAD, text)
    else:
        fields["short_message"] = text
    sm = codec.decode_sm(codec.encode_sm(**fields))
    assert isinstance(sm, Sm)
    return segments(sm)


@pytest.mark.parametrize(
    ("unit", "data_coding", "alone", "joined"),
    [
        (b"a", GSM, 160, 153),
        (b"a", IA5, 160, 153),
        (b"a", LATIN1, 160, 153),
        (b"\xff", CYRILLIC, 70, 67),
        (b"\xff", HEBREW, 70, 67),
        (b"\x04\x1f", UCS2, 70, 67),
        (b"\xff", OCTETS, 140, 134),
        (b"\xff", 2, 140, 134),
        (b"a", 0x11, 160, 153),  # 3GPP TS 23.038, general group: class 1, default alphabet
        (b"\xff", 0x15, 140, 134),  # 8-bit data
        (b"\x04\x1f", 0x19, 70, 67),  # UCS-2
        (b"\x04\x1f", 0x78, 70, 67),  # the last of that group
        (b"a", 0x88, 160, 153),  # reserved: the default alphabet
        (b"a", 0xC8, 160, 153),  # message waiting
        (b"\x04\x1f", 0xE0, 70, 67),  # message waiting in UCS-2
        (b"a", 0xF1, 160, 153),  # message class, default alphabet
        (b"\xff", 0xF5, 140, 134),  # message class, 8-bit data
    ],
)
def test_a_text_fills_its_parts_to_the_last_unit(
    unit: bytes, data_coding: int, alone: int, joined: int
) -> None:
    lengths = [0, 1, alone, alone + 1, 2 * joined, 2 * joined + 1, 10 * joined, 10 * joined + 1]

    counts = [count(unit * length, data_coding) for length in lengths]

    assert [1, 1, 1, 2, 2, 3, 10, 11] == counts


def test_an_escape_and_its_character_stay_together() -> None:
    euro = b"\x1be"

    assert count(b"a" * 158 + euro) == 1
    assert count(b"a" * 152 + euro + b"a" * 153) == 3  # 152, euro and 151, 2
    assert count(b"a" * 151 + euro + b"a" * 153) == 2
    assert count(b"a" * 152 + euro + b"a" * 151) == 2  # the second is full
    assert count(b"a" * 305 + b"\x1b") == 2  # an escape of nothing


@pytest.mark.parametrize("data_coding", [IA5, LATIN1])
def test_a_character_that_needs_an_escape_on_the_air_counts_two(data_coding: int) -> None:
    assert count(b"{" * 80, data_coding) == 1
    assert count(b"{" * 81, data_coding) == 2
    assert count(b"{" * 152, data_coding) == 2  # 76 a part, for the last septet holds no pair
    assert count(b"{" * 153, data_coding) == 3


@pytest.mark.parametrize("character", ["\U00010000", "\U0001f600", "\U0010ffff"])
def test_the_halves_of_a_surrogate_pair_stay_together(character: str) -> None:
    pair = character.encode("utf-16-be")

    assert count(pair * 35, UCS2) == 1
    assert count(pair * 66, UCS2) == 2  # 33 a part
    assert count(pair * 67, UCS2) == 3  # where 134 units would be two parts
    assert count(b"\x04\x1f" * 66 + pair + b"\x04\x1f" * 65, UCS2) == 2  # the second is full


def test_a_unit_next_to_the_surrogates_is_none() -> None:
    for unit in ("\ud7ff", "\ue000"):
        assert count(unit.encode("utf-16-be") * 134, UCS2) == 2


@pytest.mark.parametrize("octet", [0x00, 0x1F, 0x60, 0x7F, 0xEA, 0xFF])
def test_latin_1_that_handsets_cannot_write_in_seven_bits_counts_as_ucs_2(octet: int) -> None:
    assert count(bytes([octet]) + b"a" * 69, LATIN1) == 1
    assert count(bytes([octet]) + b"a" * 70, LATIN1) == 2


def test_latin_1_that_they_can_write_counts_as_septets() -> None:
    ascii_letters = bytes(c for c in range(0x20, 0x7F) if c not in b"`[\\]^{|}~")
    accented = "\u00a3\u00a5\u00e8\u00e9\u00bf\u00e0\u00df".encode("latin-1")

    text = (b"\r\n" + ascii_letters + accented) * 2
    assert count(text[:160], LATIN1) == 1
    assert count(text, LATIN1) == 2


@given(st.binary(min_size=1, max_size=140), st.integers(0, 255), st.integers(0, 255))
def test_a_short_message_of_one_part_is_one_segment_whatever_it_says(
    text: bytes, data_coding: int, esm_class: int
) -> None:
    assert count(text, data_coding, esm_class, payload=False) == 1


@pytest.mark.parametrize(
    ("data_coding", "parts"), [(GSM, 1), (OCTETS, 2), (IA5, 2), (LATIN1, 2), (CYRILLIC, 3)]
)
def test_up_to_140_octets_are_one_part_and_above_it_the_text_is_looked_at(
    data_coding: int, parts: int
) -> None:
    assert count(b"{" * 140, data_coding, payload=False) == 1
    assert parts == count(b"{" * 141, data_coding, payload=False)


def test_a_message_without_text_is_one_segment() -> None:
    assert count(b"", payload=False) == 1
    assert count(b"", esm_class=consts.ESM_CLASS_UDHI) == 1


@pytest.mark.parametrize(
    ("text", "data_coding", "parts"),
    [(b"a" * 160, GSM, 1), (b"a" * 254, GSM, 2), (b"\x04\x1f" * 127, UCS2, 2)],
)
def test_a_short_message_longer_than_a_part_counts_by_its_length(
    text: bytes, data_coding: int, parts: int
) -> None:
    assert parts == count(text, data_coding, payload=False)


def test_a_part_with_the_header_that_joins_it_is_one_segment_even_when_unpacked() -> None:
    udhi = consts.ESM_CLASS_UDHI

    assert count(JOIN_8 + b"a" * 153, GSM, udhi, payload=False) == 1
    assert count(JOIN_8 + b"a" * 154, GSM, udhi, payload=False) == 2
    assert count(JOIN_16 + b"a" * 152, GSM, udhi, payload=False) == 1
    assert count(JOIN_16 + b"a" * 153, GSM, udhi, payload=False) == 2


def test_a_payload_that_brings_the_header_that_joins_gets_no_second_one() -> None:
    udhi = consts.ESM_CLASS_UDHI

    assert [count(JOIN_8 + b"a" * n, GSM, udhi) for n in (153, 306, 307)] == [1, 2, 3]
    assert [count(JOIN_16 + b"a" * n, GSM, udhi) for n in (152, 304, 305)] == [1, 2, 3]


def test_a_header_that_leaves_no_room_is_counted_all_the_same() -> None:
    udhi = consts.ESM_CLASS_UDHI

    assert count(b"\xff" * 200, OCTETS, udhi) == 1  # all of it header
    assert count(b"\xff" * 264, OCTETS, udhi) == 2


def test_a_header_is_repeated_in_every_part_of_a_payload() -> None:
    udhi = consts.ESM_CLASS_UDHI

    assert count(PORTS + b"\xff" * 133, OCTETS, udhi) == 1
    assert count(PORTS + b"\xff" * 134, OCTETS, udhi) == 2  # 128 a part: ports and join, 12 octets
    assert count(PORTS + b"\xff" * 256, OCTETS, udhi) == 2
    assert count(PORTS + b"\xff" * 257, OCTETS, udhi) == 3


@given(SM_FIELDS, st.binary(max_size=2000))
def test_counting_ends_and_never_gives_less_than_the_octets_need(
    fields: dict[str, Any], text: bytes
) -> None:
    fields["short_message"] = b""
    fields["tlvs"] += tlv.encode(consts.TLV_MESSAGE_PAYLOAD, text)
    sm = codec.decode_sm(codec.encode_sm(**fields))
    assert isinstance(sm, Sm)

    assert segments(sm) >= max(1, (len(text) - 256) / 160)
