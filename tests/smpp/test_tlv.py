"""TLVs pass through in order, and a broken stream of them harms nobody."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import tlv
from tests.smpp.strategies import TLV


@given(st.lists(TLV, max_size=8))
def test_a_walk_gives_back_what_was_encoded_in_order(pairs: list[tuple[int, bytes]]) -> None:
    stream = b"".join(tlv.encode(tag, value) for tag, value in pairs)

    assert pairs == list(tlv.walk(stream))
    assert tlv.well_formed(stream)


@given(st.lists(TLV, max_size=8), st.integers(0, 0xFFFF))
def test_find_gives_the_first_of_several(pairs: list[tuple[int, bytes]], tag: int) -> None:
    stream = b"".join(tlv.encode(tag, value) for tag, value in pairs)
    first = next((value for found, value in pairs if found == tag), None)

    assert first == tlv.find(stream, tag)
    for found, _ in pairs:
        assert dict(reversed(pairs))[found] == tlv.find(stream, found)


@given(st.binary(max_size=60))
def test_a_walk_over_any_octets_ends_and_tells_the_truth_about_their_form(stream: bytes) -> None:
    pairs = list(tlv.walk(stream))
    again = b"".join(tlv.encode(tag, value) for tag, value in pairs)

    assert stream.startswith(again)
    assert (stream == again) == tlv.well_formed(stream)


def test_the_octets_of_a_tag_inside_a_value_are_no_tag() -> None:
    assert tlv.find(bytes.fromhex("0204 0004 00270001"), 0x0027) is None


def test_a_value_that_is_cut_off_is_not_given() -> None:
    stream = bytes.fromhex("0427 0001 02  0423 0003 0300")

    assert [(0x0427, b"\x02")] == list(tlv.walk(stream))
    assert not tlv.well_formed(stream)
    assert tlv.find(stream, 0x0423) is None
