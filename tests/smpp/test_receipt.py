"""Receipts, in all the forms that carriers give them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import codec, consts, tlv
from gateway.smpp.codec import Sm
from gateway.smpp.receipt import Receipt, decode_receipt, encode_receipt, is_receipt
from tests.smpp.strategies import SM_FIELDS

USUAL = (
    b"id:0a1b2c sub:001 dlvrd:001 submit date:2611231705 done date:2611231706"
    b" stat:DELIVRD err:000 text:Hello"
)
ADDRESSES = {
    "source_ton_npi": b"\1\1",
    "source_addr": b"13105550199",
    "dest_ton_npi": b"\5\0",
    "destination_addr": b"SHOP",
}


def deliver(text: bytes = b"", esm_class: int = 0x04, **fields: Any) -> Sm:
    sm = codec.decode_sm(codec.encode_sm(short_message=text, esm_class=esm_class, **fields))
    assert isinstance(sm, Sm)
    return sm


def read(text: bytes = b"", *tlvs: tuple[int, bytes], **fields: Any) -> Receipt | None:
    encoded = b"".join(tlv.encode(tag, value) for tag, value in tlvs)
    return decode_receipt(deliver(text, tlvs=encoded, **fields))


DELIVERED = Receipt(b"0a1b2c", consts.DELIVERED, b"000", b"", intermediate=False)

# ------------------------------------------------------------------------------ which is a receipt


@pytest.mark.parametrize(
    ("esm_class", "yes"),
    [
        (0x00, False),
        (0x04, True),
        (0x44, True),  # with UDHI
        (0x20, True),  # intermediate notification
        (0x24, True),  # both, which the specification does not have
        (0x08, False),  # a handset's acknowledgement
        (0x10, False),
        (0x18, False),
        (0x40, False),
    ],
)
def test_esm_class_says_whether_it_is_a_receipt(esm_class: int, yes: bool) -> None:
    assert yes == is_receipt(esm_class)
    assert yes == (decode_receipt(deliver(USUAL, esm_class)) is not None)


# ------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    "text",
    [
        USUAL,
        USUAL.replace(b"text:", b"Text:"),
        USUAL.replace(b"2611231705", b"261123170559").replace(b"2611231706", b"261123170601"),
        USUAL.replace(b" sub:001 dlvrd:001", b""),
        USUAL.replace(b" text:Hello", b""),
        USUAL.replace(b" err:", b" route:12 err:"),
        USUAL.replace(b":", b": "),
        USUAL.replace(b" ", b"\n"),
        USUAL.replace(b"DELIVRD", b"delivrd"),
        USUAL.replace(b"DELIVRD", b"DELIVERED"),
        USUAL.replace(b"id:", b"ID:").replace(b"stat:", b"Stat:"),
        USUAL + b"\0",
        USUAL.replace(b" err:000 text:Hello", b" err:000\0\0"),
        b"stat:DELIVRD err:000 id:0a1b2c",
        b"text:Hello stat:DELIVRD id:0a1b2c err:000",
        b"id:0a1b2c,stat:DELIVRD,err:000",
        USUAL + b" id:other stat:REJECTD err:999",  # in the message's own text
        USUAL.decode().encode("utf-16-be"),
    ],
)
def test_the_text_is_read_in_every_form_that_is_seen(text: bytes) -> None:
    assert DELIVERED == read(b"", (consts.TLV_MESSAGE_PAYLOAD, text))
    if len(text) < 255:
        assert DELIVERED == read(text)
        assert DELIVERED == read(text, data_coding=8)


@pytest.mark.parametrize(
    ("stat", "state"),
    [
        (b"ENROUTE", consts.ENROUTE),
        (b"DELIVRD", consts.DELIVERED),
        (b"EXPIRED", consts.EXPIRED),
        (b"DELETED", consts.DELETED),
        (b"UNDELIV", consts.UNDELIVERABLE),
        (b"ACCEPTD", consts.ACCEPTED),
        (b"UNKNOWN", consts.UNKNOWN),
        (b"REJECTD", consts.REJECTED),
        (b"UNDELIVERABLE", consts.UNDELIVERABLE),
        (b"FAILED", 0),
    ],
)
def test_every_state_has_its_word(stat: bytes, state: int) -> None:
    found = read(USUAL.replace(b"DELIVRD", stat))

    assert found is not None
    assert (state, state in (consts.ENROUTE, consts.ACCEPTED)) == (found.state, found.intermediate)


@pytest.mark.parametrize(
    ("err", "error"),
    [
        (b"err:000", b"000"),
        (b"err:0000", b"0000"),
        (b"err:4a", b"4a"),
        (b"err:EC_ABSENT", b"EC_ABSENT"),
        (b"err:", b""),
        (b"", b""),
        (b"err:" + b"9" * 40, b"9" * 16),
        (b"stat2:x err:" + b"9" * 40, b"9" * 16),
    ],
)
def test_the_error_is_kept_as_it_stands_but_bounded(err: bytes, error: bytes) -> None:
    found = read(USUAL.replace(b"err:000", err))

    assert found is not None
    assert error == found.error


def test_the_longest_id_that_is_taken() -> None:
    text = USUAL.replace(b"0a1b2c", b"7" * 255)
    found = read(b"", (consts.TLV_MESSAGE_PAYLOAD, text))

    assert found is not None
    assert found.message_id == b"7" * 255


def test_an_intermediate_notification_is_never_the_end() -> None:
    found = read(USUAL, esm_class=consts.ESM_CLASS_INTERMEDIATE)

    assert found is not None
    assert found.intermediate


@pytest.mark.parametrize("text", [b"", b"STOP", b"id:", USUAL.replace(b"0a1b2c", b"7" * 256)])
def test_a_receipt_that_names_no_message_is_none(text: bytes) -> None:
    assert read(b"", (consts.TLV_MESSAGE_PAYLOAD, text)) is None


# ------------------------------------------------------------------------------------------- TLVs


def test_tlvs_count_more_than_the_text() -> None:
    found = read(
        USUAL,
        (consts.TLV_RECEIPTED_MESSAGE_ID, b"other\0"),
        (consts.TLV_MESSAGE_STATE, b"\x05"),
        (consts.TLV_NETWORK_ERROR_CODE, b"\x03\x00\x22"),
    )

    assert Receipt(b"other", 5, b"000", b"\x03\x00\x22", intermediate=False) == found


@pytest.mark.parametrize("state", range(consts.ENROUTE, consts.REJECTED + 1))
def test_every_state_of_the_specification_counts_more_than_the_text(state: int) -> None:
    text = USUAL if state != consts.DELIVERED else USUAL.replace(b"DELIVRD", b"EXPIRED")
    found = read(text, (consts.TLV_MESSAGE_STATE, bytes([state])))

    assert found is not None
    assert state == found.state


def test_tlvs_are_enough_without_a_text() -> None:
    found = read(
        b"", (consts.TLV_RECEIPTED_MESSAGE_ID, b"0a1b2c"), (consts.TLV_MESSAGE_STATE, b"\x02")
    )

    assert Receipt(b"0a1b2c", consts.DELIVERED, b"", b"", intermediate=False) == found


@pytest.mark.parametrize(
    "tlvs",
    [
        (consts.TLV_MESSAGE_STATE, b""),
        (consts.TLV_MESSAGE_STATE, b"\x00"),
        (consts.TLV_MESSAGE_STATE, b"\x09"),  # SMPP 5.0: skipped
        (consts.TLV_RECEIPTED_MESSAGE_ID, b"\0"),
        (consts.TLV_NETWORK_ERROR_CODE, b"\x03\x00"),
        (consts.TLV_MESSAGE_PAYLOAD, b"id:other stat:REJECTD"),
        (0x1403, b"\x01"),
    ],
)
def test_a_tlv_that_says_nothing_leaves_it_to_the_text(tlvs: tuple[int, bytes]) -> None:
    # Leniently, for message_payload must not stand beside a text.
    body = codec.encode_sm(short_message=USUAL, esm_class=0x04) + tlv.encode(*tlvs)
    sm = codec.decode_sm_leniently(body)

    assert isinstance(sm, Sm)
    assert DELIVERED == decode_receipt(sm)


# --------------------------------------------------------------------------------------- any, ours


@given(SM_FIELDS, st.sampled_from((0x04, 0x20)))
def test_any_delivery_is_read_without_raising(fields: dict[str, Any], kind: int) -> None:
    fields["esm_class"] = fields["esm_class"] & ~0x3C | kind

    found = decode_receipt(deliver(fields.pop("short_message"), **fields))

    assert found is None or 0 < len(found.message_id) <= codec.MESSAGE_ID_MAX


@given(
    st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=1, max_size=64).map(str.encode),
    st.integers(1, 8),
    st.sampled_from((b"000", b"4a", b"")),
    st.sampled_from((b"", b"\x03\x00\x22")),
    st.binary(max_size=20).map(lambda value: tlv.encode(0x3A04, value)),
)
def test_a_client_reads_what_we_write(
    message_id: bytes, state: int, error: bytes, network_error_code: bytes, extra: bytes
) -> None:
    body = encode_receipt(
        message_id=message_id,
        message_state=state,
        submitted_at=1795453559.0,
        done_at=1795453560.0,
        error=error,
        network_error_code=network_error_code,
        tlvs=extra,
        **ADDRESSES,
    )
    sm = codec.decode_sm(body)
    assert isinstance(sm, Sm)

    found = decode_receipt(sm)

    intermediate = state in (consts.ENROUTE, consts.ACCEPTED)
    assert Receipt(message_id, state, error, network_error_code, intermediate) == found
    from_text = decode_receipt(deliver(sm.short_message))
    assert Receipt(message_id, state, error, b"", intermediate) == from_text
    assert ADDRESSES == {name: getattr(sm, name) for name in ADDRESSES}
    assert sm.tlvs.endswith(extra)


def test_only_a_delivered_message_counts_as_delivered_in_the_text() -> None:
    def written(state: int) -> bytes:
        body = encode_receipt(
            message_id=b"1", message_state=state, submitted_at=0.0, done_at=60.0, **ADDRESSES
        )
        sm = codec.decode_sm(body)
        assert isinstance(sm, Sm)
        return sm.short_message

    head = (
        b"id:1 sub:001 dlvrd:%b submit date:7001010000 done date:7001010001 stat:%b err:000 text:"
    )
    assert head % (b"001", b"DELIVRD") == written(consts.DELIVERED)
    assert head % (b"000", b"EXPIRED") == written(consts.EXPIRED)
