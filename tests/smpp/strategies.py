"""What hypothesis draws from: fields that may stand in a PDU, and octets that may not."""

import itertools
from typing import Any

from hypothesis import strategies as st

from gateway.smpp import codec, consts, tlv

OCTET = st.integers(0, 255)
TIME = st.sampled_from((b"", b"261123120000000+", b"000002000000000R", b"0123456789abcdef"))


def c_octets(length_max: int) -> st.SearchStrategy[bytes]:
    """A C-octet string without its NUL."""
    return st.lists(st.integers(1, 255), max_size=length_max).map(bytes)


TLV = st.tuples(
    st.integers(0, 0xFFFF).filter(lambda tag: tag != consts.TLV_MESSAGE_PAYLOAD),
    st.binary(max_size=20),
)
TLVS = st.lists(TLV, max_size=5).map(
    lambda pairs: b"".join(tlv.encode(tag, value) for tag, value in pairs)
)

SM_FIELDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "service_type": c_octets(5),
        "source_addr_ton": OCTET,
        "source_addr_npi": OCTET,
        "source_addr": c_octets(20),
        "dest_addr_ton": OCTET,
        "dest_addr_npi": OCTET,
        "destination_addr": c_octets(20),
        "esm_class": OCTET,
        "protocol_id": OCTET,
        "priority_flag": OCTET,
        "schedule_delivery_time": TIME,
        "validity_period": TIME,
        "registered_delivery": OCTET,
        "replace_if_present_flag": OCTET,
        "data_coding": OCTET,
        "sm_default_msg_id": OCTET,
        "short_message": st.binary(max_size=254),
        "tlvs": TLVS,
    }
)

BINDS = st.builds(
    codec.Bind,
    system_id=c_octets(15),
    password=c_octets(8),
    system_type=c_octets(12),
    interface_version=OCTET,
    addr_ton=OCTET,
    addr_npi=OCTET,
    address_range=c_octets(40),
)

COMMAND_IDS = st.one_of(
    st.sampled_from(
        [
            value | response
            for name, value in vars(consts).items()
            if name.isupper() and f"{name}_RESP" in vars(consts)
            for response in (0, consts.RESPONSE)
        ]
        + [consts.GENERIC_NACK, consts.OUTBIND, consts.ALERT_NOTIFICATION]
    ),
    st.integers(0, 0xFFFFFFFF),
)

BODIES = st.one_of(
    st.binary(max_size=80),
    SM_FIELDS.map(lambda fields: codec.encode_sm(**fields)),
    BINDS.map(codec.encode_bind),
    st.just(b"\0"),
)

PDUS = st.builds(
    codec.pdu,
    COMMAND_IDS,
    st.one_of(st.just(0), st.integers(0, 0xFFFFFFFF)),
    st.one_of(st.integers(0, 20), st.integers(0, 0xFFFFFFFF)),
    BODIES,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The octets in pieces, cut at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
