"""The codec against two that others wrote, both ways, on what all three hold to be well-formed.

smpp.pdu3 knows only the specification's own values; smpp34 only ASCII addresses. What they get
wrong beyond that (vendor TLVs, lengths) is in test_codec.
"""

import io
from typing import Any

import smpp34
from hypothesis import given, settings
from hypothesis import strategies as st
from smpp.pdu.pdu_encoding import PDUEncoder

from gateway.smpp import codec, consts, receipt, tlv
from gateway.smpp.codec import Bind, Sm
from tests.smpp.strategies import TLVS

ASCII = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
TON = st.integers(0, 6)
NPI = st.sampled_from((0, 1, 3, 4, 6, 8, 9, 10, 14, 18))
ESM_CLASS = st.builds(
    lambda mode, kind, udhi: mode | kind | udhi,
    st.integers(0, 3),
    st.sampled_from((0x00, 0x04, 0x08, 0x10, 0x18)),
    st.sampled_from((0x00, 0x40, 0x80, 0xC0)),
)

KNOWN_TLVS = st.lists(
    st.one_of(
        st.tuples(st.just(consts.TLV_USER_MESSAGE_REFERENCE), st.binary(min_size=2, max_size=2)),
        st.tuples(st.just(consts.TLV_SOURCE_PORT), st.binary(min_size=2, max_size=2)),
        st.tuples(st.just(consts.TLV_SAR_MSG_REF_NUM), st.binary(min_size=2, max_size=2)),
        st.tuples(st.just(consts.TLV_SAR_TOTAL_SEGMENTS), st.binary(min_size=1, max_size=1)),
        st.tuples(st.just(consts.TLV_SAR_SEGMENT_SEQNUM), st.binary(min_size=1, max_size=1)),
    ),
    unique_by=lambda pair: pair[0],
).map(lambda pairs: b"".join(tlv.encode(tag, value) for tag, value in sorted(pairs)))

STANDARD: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "service_type": st.sampled_from((b"", b"CMT", b"VMA")),
        "source_addr_ton": TON,
        "source_addr_npi": NPI,
        "source_addr": ASCII.map(str.encode),
        "dest_addr_ton": TON,
        "dest_addr_npi": NPI,
        "destination_addr": ASCII.map(str.encode),
        "esm_class": ESM_CLASS,
        "protocol_id": st.integers(0, 255),
        "priority_flag": st.integers(0, 3),
        "validity_period": st.sampled_from((b"", b"000002000000000R", b"261123120000004+")),
        "registered_delivery": st.sampled_from((0, 1, 2, 16, 17)),
        "replace_if_present_flag": st.integers(0, 1),
        "data_coding": st.sampled_from((0, 1, 2, 3, 4, 8)),
        "sm_default_msg_id": st.integers(0, 254),
        "short_message": st.binary(max_size=254),
    }
)


def their_pdu(data: bytes) -> Any:
    """What smpp.pdu3 makes of these octets, all of which it must use."""
    file = io.BytesIO(data)
    decoded = PDUEncoder().decode(file)
    assert len(data) == file.tell()
    return decoded


# -------------------------------------------------------------------------------------- smpp.pdu3


@settings(max_examples=60)
@given(STANDARD, KNOWN_TLVS, st.sampled_from((consts.SUBMIT_SM, consts.DELIVER_SM)))
def test_smpp_pdu_reads_and_writes_messages_as_we_do(
    fields: dict[str, Any], tlvs: bytes, command_id: int
) -> None:
    if command_id == consts.DELIVER_SM:
        tlvs = b""
    ours = codec.pdu(command_id, 0, 7, codec.encode_sm(**fields, tlvs=tlvs))
    sm = codec.decode_sm(ours[16:])

    theirs = their_pdu(ours)
    written = PDUEncoder().encode(type(theirs)(theirs.seqNum, **theirs.params))

    assert isinstance(sm, Sm)
    for name in ("service_type", "source_addr", "destination_addr", "short_message"):
        assert (theirs.params[name] or b"") == getattr(sm, name)
    assert theirs.params["protocol_id"] == sm.protocol_id
    assert theirs.params["sm_default_msg_id"] == sm.sm_default_msg_id
    again = codec.decode_sm(written[16:])
    assert isinstance(again, Sm)
    assert sorted(tlv.walk(sm.tlvs)) == sorted(tlv.walk(again.tlvs))
    assert ours[4 : len(ours) - len(tlvs)] == written[4 : len(written) - len(tlvs)]


@settings(max_examples=30)
@given(
    st.sampled_from(sorted(consts.BINDS)),
    st.builds(
        Bind,
        system_id=ASCII.map(lambda text: text[:15].encode()),
        password=ASCII.map(lambda text: text[:8].encode()),
        system_type=ASCII.map(lambda text: text[:12].encode()),
        addr_ton=TON,
        addr_npi=NPI,
        address_range=ASCII.map(str.encode),
    ),
)
def test_smpp_pdu_reads_and_writes_binds_as_we_do(command_id: int, bind: Bind) -> None:
    ours = codec.pdu(command_id, 0, 1, codec.encode_bind(bind))

    theirs = their_pdu(ours)

    assert ours == PDUEncoder().encode(theirs)
    assert bind.system_id == (theirs.params["system_id"] or b"")
    assert bind.password == (theirs.params["password"] or b"")


def test_smpp_pdu_reads_our_receipts() -> None:
    body = receipt.encode_receipt(
        message_id=b"h0a1b2c3d4e5f",
        message_state=consts.UNDELIVERABLE,
        submitted_at=1795453559.0,
        done_at=1795453560.0,
        source_ton_npi=b"\1\1",
        source_addr=b"13105550199",
        dest_ton_npi=b"\1\1",
        destination_addr=b"12025550123",
    )

    params = their_pdu(codec.pdu(consts.DELIVER_SM, 0, 1, body)).params

    assert params["receipted_message_id"] == b"h0a1b2c3d4e5f"
    assert params["message_state"].name == "UNDELIVERABLE"
    assert params["esm_class"].type.name == "SMSC_DELIVERY_RECEIPT"
    assert params["short_message"].startswith(b"id:h0a1b2c3d4e5f sub:001 dlvrd:000 submit date:")


def test_smpp_pdu_reads_our_responses() -> None:
    body = codec.encode_bind_resp(b"smppgate", consts.INTERFACE_VERSION)
    bound = their_pdu(codec.pdu(consts.BIND_TRANSCEIVER_RESP, 0, 1, body))
    accepted = their_pdu(codec.pdu(consts.SUBMIT_SM_RESP, 0, 2, codec.message_id_body(b"h0a1")))
    refused = their_pdu(codec.pdu(consts.SUBMIT_SM_RESP, consts.ESME_RTHROTTLED, 3))

    assert bound.params["system_id"] == b"smppgate"
    assert accepted.params["message_id"] == b"h0a1"
    assert refused.status.name == "ESME_RTHROTTLED"


# ----------------------------------------------------------------------------------------- smpp34


@given(STANDARD, TLVS, st.integers(0, 255), st.integers(0, 255))
def test_smpp34_reads_and_writes_messages_as_we_do(
    fields: dict[str, Any], tlvs: bytes, data_coding: int, ton: int
) -> None:
    fields |= {"data_coding": data_coding, "source_addr_ton": ton}
    ours = codec.pdu(consts.SUBMIT_SM, 0, 7, codec.encode_sm(**fields, tlvs=tlvs))
    sm = codec.decode_sm(ours[16:])

    theirs = smpp34.decode(ours)

    assert isinstance(sm, Sm)
    for name, value in fields.items():
        read = getattr(theirs, name)
        assert value == (read.encode() if isinstance(read, str) else read)
    assert list(tlv.walk(sm.tlvs)) == [(found.tag, found.value) for found in theirs.tlvs]
    assert ours == theirs.encode()


@given(STANDARD, TLVS)
def test_we_read_what_smpp34_writes(fields: dict[str, Any], tlvs: bytes) -> None:
    texts = {
        name: value.decode()
        for name, value in fields.items()
        if isinstance(value, bytes) and name != "short_message"
    }
    theirs = smpp34.DeliverSm(
        **fields | texts,
        tlvs=[smpp34.Tlv(tag, value) for tag, value in tlv.walk(tlvs)],
        sequence_number=9,
    )

    sm = codec.decode_sm(theirs.encode()[16:])

    assert codec.decode_sm(codec.encode_sm(**fields, tlvs=tlvs)) == sm
