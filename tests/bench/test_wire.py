"""The bench's own knowledge of SMPP: frames out of a byte stream, bodies, TLVs."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import wire

pdus = st.builds(
    wire.pdu,
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=300),
    command_status=st.integers(0, 0xFFFFFFFF),
)


def read(splitter: wire.Splitter, data: bytes) -> list[bytes]:
    """The PDUs of one `feed`, put together again."""
    buffer, frames = splitter.feed(data)
    return [
        wire.pdu(command_id, number, buffer[start:end], command_status=status)
        for command_id, status, number, start, end in frames
    ]


@given(st.lists(pdus, max_size=12), st.lists(st.integers(0, 4000), max_size=12))
def test_a_stream_cut_anywhere_gives_the_same_frames(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(sent)
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    splitter = wire.Splitter()

    received = []
    for start, end in pairwise(places):
        received += read(splitter, stream[start:end])

    assert received == sent
    assert not splitter.broken


@given(st.lists(pdus, max_size=3))
def test_a_stream_byte_by_byte_gives_the_same_frames(sent: list[bytes]) -> None:
    splitter = wire.Splitter()

    received = [pdu for byte in b"".join(sent) for pdu in read(splitter, bytes((byte,)))]

    assert received == sent


@given(
    st.lists(pdus, max_size=3),
    st.one_of(st.integers(0, 15), st.integers(wire.PDU_BYTES_MAX + 1, 0xFFFFFFFF)),
    st.binary(max_size=100),
)
def test_an_impossible_length_ends_the_stream_after_the_frames_before_it(
    sent: list[bytes], length: int, rest: bytes
) -> None:
    splitter = wire.Splitter()

    received = read(splitter, b"".join(sent) + length.to_bytes(4, "big") + bytes(12) + rest)

    assert received == sent
    assert splitter.broken == f"command_length {length}"
    assert read(splitter, wire.pdu(wire.ENQUIRE_LINK, 1)) == []


@given(st.binary(max_size=400))
def test_no_bytes_make_the_readers_fail_otherwise_than_with_a_wire_error(body: bytes) -> None:
    for reader in (wire.read_sm_body, wire.read_bind_body, wire.read_tlvs):
        try:
            reader(body, 0, len(body))
        except wire.WireError:
            continue


addresses = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20)
octets = st.integers(0, 255)


@given(
    st.tuples(addresses, addresses),
    st.binary(max_size=254),
    st.tuples(octets, octets, octets),
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=50)), max_size=4),
)
def test_a_message_body_reads_as_it_was_written(
    ends: tuple[str, str],
    text: bytes,
    fields: tuple[int, int, int],
    tlvs: list[tuple[int, bytes]],
) -> None:
    source, dest = ends
    esm_class, registered_delivery, data_coding = fields
    body = wire.sm_body(
        wire.address_block(source, ton=5, npi=0),
        wire.address_block(dest),
        text,
        esm_class=esm_class,
        registered_delivery=registered_delivery,
        data_coding=data_coding,
        tlvs=b"".join(wire.tlv(tag, value) for tag, value in tlvs),
    )

    found = wire.read_sm_body(b"head" + body + b"tail", 4, 4 + len(body))

    assert found.source_block == b"\5\0" + source.encode("latin-1") + b"\0"
    assert found.source_addr == source.encode("latin-1")
    assert found.destination_addr == dest.encode("latin-1")
    assert found.short_message == text
    assert (found.esm_class, found.registered_delivery) == (esm_class, registered_delivery)
    assert found.data_coding == data_coding
    assert wire.read_tlvs(found.tlvs, 0, len(found.tlvs)) == tlvs


def test_a_text_of_more_than_254_octets_goes_into_message_payload() -> None:
    body = wire.sm_body(wire.address_block("1"), wire.address_block("2"), b"x" * 255)

    found = wire.read_sm_body(body, 0, len(body))

    assert found.short_message == b""
    assert wire.read_tlvs(found.tlvs, 0, len(found.tlvs)) == [(wire.MESSAGE_PAYLOAD, b"x" * 255)]


def test_a_message_body_with_an_sm_length_beyond_its_end_is_refused() -> None:
    body = wire.sm_body(wire.address_block("1"), wire.address_block("2"), b"hello")

    with pytest.raises(wire.WireError):
        wire.read_sm_body(body, 0, len(body) - 1)


def test_a_bind_body_reads_as_it_was_written() -> None:
    body = wire.bind_body("shop", "secret", system_type="x", address_range="1*")

    assert wire.read_bind_body(body, 0, len(body)) == ("shop", "secret")


def test_a_c_octet_string_counts_its_nul() -> None:
    assert wire.c_octet("12345678", 9) == b"12345678\0"
    with pytest.raises(ValueError, match="at most 9 octets"):
        wire.c_octet("123456789", 9)
    with pytest.raises(ValueError, match="at most 9 octets"):
        wire.c_octet("1\0", 9)
    assert wire.read_c_octet(b"xab\0y", 1, 5) == (b"ab", 4)
    with pytest.raises(wire.WireError):
        wire.read_c_octet(b"ab\0", 0, 2)
