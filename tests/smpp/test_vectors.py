"""Golden vectors: PDUs as they stand on the wire, octet by octet, read and written.

What follows `#` says what the octets before it are; section numbers are SMPP 3.4's.
"""

from gateway.smpp import codec, consts, receipt, tlv
from gateway.smpp.codec import Bind, BindResp, Sm
from gateway.smpp.receipt import Receipt


def octets(vector: str) -> bytes:
    """A vector without its comments."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in vector.splitlines()))


SUBMIT_SM = octets("""
    0000005d 00000004 00000000 00000007  # header: 93 octets, submit_sm, 0, sequence_number 7 (3.2)
    434d5400                             # service_type "CMT"
    01 01 313230323535353031323300       # source: international, ISDN, "12025550123"
    01 01 313331303535353031393900       # destination: international, ISDN, "13105550199"
    40                                   # esm_class: UDHI (5.2.12)
    00 02                                # protocol_id 0, priority_flag 2
    00                                   # schedule_delivery_time: at once
    30303030303030303031303030303052 00  # validity_period "000000000100000R": one minute (7.1.1)
    01 00 08 00                          # registered_delivery 1, no replace, UCS-2, no default
    08                                   # sm_length
    050003 a1 02 01 20ac                 # UDH: part 1 of 2 of message 0xa1; the euro sign
    0204 0002 0007                       # user_message_reference 7
    1403 0001 01                         # a vendor's TLV: only its vendor knows
""")

DELIVER_SM_RECEIPT = octets("""
    000000b7 00000005 00000000 00000102  # header: 183 octets, deliver_sm, 0, sequence_number 258
    00                                   # service_type
    01 01 313331303535353031393900       # source: where the message went, "13105550199"
    01 01 313230323535353031323300       # destination: who sent it, "12025550123"
    04 00 00                             # esm_class: delivery receipt; protocol_id, priority_flag
    00 00                                # no times
    00 00 00 00                          # no receipt asked, no replace, default alphabet
    69                                   # sm_length 105
    69643a 68306131623263336434653566    # "id:" "h0a1b2c3d4e5f"
    207375623a303031                     # " sub:001"
    20646c7672643a303031                 # " dlvrd:001"
    207375626d697420646174653a           # " submit date:"
    32363131323331373035                 # "2611231705"
    20646f6e6520646174653a               # " done date:"
    32363131323331373036                 # "2611231706"
    20737461743a44454c49565244           # " stat:DELIVRD"
    206572723a303030                     # " err:000"
    20746578743a                         # " text:"
    001e 000e 68306131623263336434653566 00  # receipted_message_id, with its NUL (5.3.2.12)
    0427 0001 02                         # message_state: delivered (5.3.2.35)
""")

BIND_TRANSCEIVER = octets("""
    00000026 00000009 00000000 00000001  # header: 38 octets, bind_transceiver, 0, 1
    73686f7000                           # system_id "shop"
    73656372657400                       # password "secret"
    56 4d 41 00                          # system_type "VMA"
    34                                   # interface_version 3.4
    01 01                                # addr_ton, addr_npi
    5e31 00                              # address_range "^1"
    """)

BIND_TRANSCEIVER_RESP = octets("""
    0000001e 80000009 00000000 00000001  # header: 30 octets, bind_transceiver_resp, ESME_ROK, 1
    736d70706761746500                   # system_id "smppgate"
    0210 0001 34                         # sc_interface_version 3.4 (5.3.2.25)
    """)


def test_the_lengths_in_the_vectors_are_right() -> None:
    for vector in (SUBMIT_SM, DELIVER_SM_RECEIPT, BIND_TRANSCEIVER, BIND_TRANSCEIVER_RESP):
        assert len(vector) == codec.HEADER.unpack_from(vector)[0]


def test_the_submit_sm_reads_as_it_says() -> None:
    sm = codec.decode_sm(SUBMIT_SM[16:])

    assert isinstance(sm, Sm)
    assert (b"CMT", b"\1\1", b"12025550123") == (sm.service_type, sm.source_ton_npi, sm.source_addr)
    assert (b"\1\1", b"13105550199") == (sm.dest_ton_npi, sm.destination_addr)
    assert (0x40, 0, 2) == (sm.esm_class, sm.protocol_id, sm.priority_flag)
    assert (b"", b"000000000100000R") == (sm.schedule_delivery_time, sm.validity_period)
    assert (1, 0) == (sm.registered_delivery, sm.replace_if_present_flag)
    assert (8, 0) == (sm.data_coding, sm.sm_default_msg_id)
    assert b"\x05\x00\x03\xa1\x02\x01\x20\xac" == sm.short_message
    assert [
        (consts.TLV_USER_MESSAGE_REFERENCE, b"\0\7"),
        (0x1403, b"\1"),
    ] == list(tlv.walk(sm.tlvs))


def test_the_submit_sm_is_written_as_it_reads() -> None:
    body = codec.encode_sm(
        service_type=b"CMT",
        source_addr_ton=1,
        source_addr_npi=1,
        source_addr=b"12025550123",
        dest_addr_ton=1,
        dest_addr_npi=1,
        destination_addr=b"13105550199",
        esm_class=0x40,
        priority_flag=2,
        validity_period=b"000000000100000R",
        registered_delivery=1,
        data_coding=8,
        short_message=b"\x05\x00\x03\xa1\x02\x01\x20\xac",
        tlvs=tlv.encode(consts.TLV_USER_MESSAGE_REFERENCE, b"\0\7") + tlv.encode(0x1403, b"\1"),
    )

    assert codec.pdu(consts.SUBMIT_SM, 0, 7, body) == SUBMIT_SM


def test_the_receipt_reads_as_it_says() -> None:
    sm = codec.decode_sm(DELIVER_SM_RECEIPT[16:])

    assert isinstance(sm, Sm)
    expected = Receipt(b"h0a1b2c3d4e5f", consts.DELIVERED, b"000", b"", intermediate=False)
    assert expected == receipt.decode_receipt(sm)


def test_the_receipt_is_written_as_it_reads() -> None:
    body = receipt.encode_receipt(
        message_id=b"h0a1b2c3d4e5f",
        message_state=consts.DELIVERED,
        submitted_at=1795453559.0,
        done_at=1795453560.0,
        source_ton_npi=b"\1\1",
        source_addr=b"13105550199",
        dest_ton_npi=b"\1\1",
        destination_addr=b"12025550123",
    )

    assert codec.pdu(consts.DELIVER_SM, 0, 258, body) == DELIVER_SM_RECEIPT


def test_the_bind_reads_and_is_written_as_it_says() -> None:
    bind = Bind(
        system_id=b"shop",
        password=b"secret",
        system_type=b"VMA",
        interface_version=0x34,
        addr_ton=1,
        addr_npi=1,
        address_range=b"^1",
    )

    assert bind == codec.decode_bind(BIND_TRANSCEIVER[16:])
    assert codec.pdu(consts.BIND_TRANSCEIVER, 0, 1, codec.encode_bind(bind)) == BIND_TRANSCEIVER


def test_the_bind_response_reads_and_is_written_as_it_says() -> None:
    body = codec.encode_bind_resp(b"smppgate", 0x34)

    assert BindResp(b"smppgate", 0x34) == codec.decode_bind_resp(BIND_TRANSCEIVER_RESP[16:])
    assert codec.pdu(consts.BIND_TRANSCEIVER_RESP, 0, 1, body) == BIND_TRANSCEIVER_RESP
