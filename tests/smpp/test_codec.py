"""Bodies: round trips, faults by name, and every way of being malformed that libraries get wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import codec, consts, tlv
from gateway.smpp.codec import Bind, BindResp, BodyFault, Sm
from tests.smpp.strategies import BINDS, SM_FIELDS, c_octets

PAYLOAD = tlv.encode(consts.TLV_MESSAGE_PAYLOAD, b"a long text")


def sm_of(**fields: Any) -> Sm:
    sm = codec.decode_sm(codec.encode_sm(**fields))
    assert isinstance(sm, Sm)
    return sm


def fault_of(body: bytes) -> BodyFault:
    fault = codec.decode_sm(body)
    assert isinstance(fault, BodyFault)
    return fault


# ------------------------------------------------------------------------- submit_sm, deliver_sm


@given(SM_FIELDS)
def test_every_field_comes_back_as_it_was_encoded(fields: dict[str, Any]) -> None:
    body = codec.encode_sm(**fields)
    sm = codec.decode_sm(body)

    assert isinstance(sm, Sm)
    assert body == sm.body
    ton_npi = {
        "source_addr_ton": sm.source_ton_npi[0],
        "source_addr_npi": sm.source_ton_npi[1],
        "dest_addr_ton": sm.dest_ton_npi[0],
        "dest_addr_npi": sm.dest_ton_npi[1],
    }
    assert fields == ton_npi | {name: getattr(sm, name) for name in fields if name not in ton_npi}


def test_what_is_not_given_is_zero_or_empty() -> None:
    assert bytes(17) == codec.encode_sm()
    assert codec.encode_bind(Bind(system_id=b"a", password=b"b")) == b"a\0b\0\0\x34\0\0\0"


def test_the_longest_short_message_has_254_octets() -> None:
    assert sm_of(short_message=b"x" * 254).short_message == b"x" * 254


@pytest.mark.parametrize("kind", [Sm, BodyFault, Bind, BindResp])
def test_what_was_decoded_cannot_change_and_costs_the_collector_nothing(kind: Any) -> None:
    assert kind.__struct_config__.frozen
    assert not kind.__struct_config__.gc


@given(SM_FIELDS, st.integers(0, 255))
def test_another_registered_delivery_changes_that_octet_only(
    fields: dict[str, Any], value: int
) -> None:
    sm = sm_of(**fields)

    changed = codec.with_registered_delivery(sm.body, sm.sm_at, value)

    assert codec.encode_sm(**fields | {"registered_delivery": value}) == changed


@given(st.binary(max_size=120))
def test_any_octets_are_a_body_or_a_fault(body: bytes) -> None:
    sm = codec.decode_sm(body)

    if isinstance(sm, Sm):
        assert sm.body is body
        assert tlv.well_formed(sm.tlvs)
    else:
        assert sm.command_status != consts.ESME_ROK
        assert sm.field
        assert sm.why


@given(SM_FIELDS, st.data())
def test_a_body_that_is_cut_short_is_a_fault(fields: dict[str, Any], data: st.DataObject) -> None:
    fields["tlvs"] = b""
    body = codec.encode_sm(**fields)
    length = data.draw(st.integers(0, len(body) - 1))

    fault = fault_of(body[:length])

    sm_at = len(body) - len(fields["short_message"])
    text_is_cut = length >= sm_at
    expected = consts.ESME_RINVMSGLEN if text_is_cut else consts.ESME_RINVCMDLEN
    assert expected == fault.command_status


@pytest.mark.parametrize(
    ("name", "octets", "command_status"),
    [
        ("service_type", 6, consts.ESME_RINVSERTYP),
        ("source_addr", 21, consts.ESME_RINVSRCADR),
        ("source_addr", 51, consts.ESME_RINVSRCADR),
        ("destination_addr", 21, consts.ESME_RINVDSTADR),
        ("schedule_delivery_time", 15, consts.ESME_RINVSCHED),
        ("schedule_delivery_time", 17, consts.ESME_RINVSCHED),
        ("validity_period", 1, consts.ESME_RINVEXPIRY),
        ("validity_period", 17, consts.ESME_RINVEXPIRY),
    ],
)
def test_a_string_of_a_wrong_length_is_refused_with_the_status_of_its_field(
    name: str, octets: int, command_status: int
) -> None:
    values = {
        "service_type": b"",
        "source_addr": b"",
        "destination_addr": b"",
        "schedule_delivery_time": b"",
        "validity_period": b"",
    } | {name: b"1" * octets}
    body = b"%b\0\1\1%b\0\1\1%b\0\0\0\0%b\0%b\0\0\0\0\0\0" % tuple(values.values())

    fault = fault_of(body)

    assert (command_status, name) == (fault.command_status, fault.field)


@pytest.mark.parametrize(
    ("octets", "command_status"),
    [(12, consts.ESME_RINVCMDLEN), (20, consts.ESME_RINVCMDLEN), (21, consts.ESME_RINVSRCADR)],
)
def test_an_unterminated_string_at_the_end_of_the_body_is_a_wrong_length_unless_too_long(
    octets: int, command_status: int
) -> None:
    fault = fault_of(b"\0\1\1" + b"1" * octets)

    assert (command_status, "source_addr") == (fault.command_status, fault.field)


def test_an_sm_length_past_the_end_is_a_wrong_message_length() -> None:
    body = codec.encode_sm(short_message=b"hello")

    expected = BodyFault(consts.ESME_RINVMSGLEN, "sm_length", "2 octets of the text are missing")
    assert expected == fault_of(body[:-2])


@pytest.mark.parametrize(
    "tlvs",
    [
        bytes.fromhex("0204 0003 0007"),  # its length leads past the end
        bytes.fromhex("0204 00"),  # three stray octets
        bytes.fromhex("0204 0002 0007 00"),  # one stray octet behind a good one
    ],
)
def test_tlvs_that_do_not_end_with_the_body_are_a_broken_stream(tlvs: bytes) -> None:
    fault = fault_of(codec.encode_sm(short_message=b"hello") + tlvs)

    assert (consts.ESME_RINVOPTPARSTREAM, "tlvs") == (fault.command_status, fault.field)


def test_text_in_both_places_is_a_parameter_that_is_not_allowed() -> None:
    fault = fault_of(codec.encode_sm(short_message=b"hello") + PAYLOAD)

    assert (consts.ESME_ROPTPARNOTALLWD, "message_payload") == (fault.command_status, fault.field)
    assert PAYLOAD == sm_of(tlvs=PAYLOAD).tlvs


def test_vendor_unknown_and_repeated_tlvs_pass_untouched_and_in_order() -> None:
    tlvs = bytes.fromhex("1403 0001 01  0600 0000  1403 0002 0203  0204 0002 0007")

    assert tlvs == sm_of(short_message=b"hello", tlvs=tlvs).tlvs


def test_reserved_numbers_and_non_ascii_addresses_pass_untouched() -> None:
    sm = sm_of(source_addr_ton=9, source_addr_npi=0xFF, source_addr=b"\xc4\xff", data_coding=0xF5)

    assert (b"\x09\xff", b"\xc4\xff", 0xF5) == (sm.source_ton_npi, sm.source_addr, sm.data_coding)


@pytest.mark.parametrize(
    "fields",
    [
        {"source_addr": b"1\x002"},
        {"source_addr": b"1" * 21},
        {"validity_period": b"soon"},
        {"short_message": b"x" * 255},
        {"tlvs": b"\x02\x04\x00"},
        {"short_message": b"x", "tlvs": PAYLOAD},
        # a NUL in a string, where what follows can be read as other fields of the right length
        {"source_addr": b"\0\0\0\0", "dest_addr_ton": 1},
    ],
)
def test_what_could_not_be_decoded_is_not_encoded(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        codec.encode_sm(**fields)


# --------------------------------------------------------------------------- leniently, deliver_sm


@given(SM_FIELDS, st.binary(max_size=16), st.binary(max_size=16))
def test_a_delivery_may_have_any_times_and_text_in_both_places(
    fields: dict[str, Any], start: bytes, end: bytes
) -> None:
    start, end = start.replace(b"\0", b""), end.replace(b"\0", b"")
    tlvs = fields["tlvs"] + PAYLOAD
    body = codec.encode_sm(
        **fields | {"schedule_delivery_time": b"", "validity_period": b"", "tlvs": b""}
    )
    head = len(body) - len(fields["short_message"]) - 7
    body = body[:head] + start + b"\0" + end + body[head + 1 :] + tlvs

    sm = codec.decode_sm_leniently(body)

    assert isinstance(sm, Sm)
    assert (start, end) == (sm.schedule_delivery_time, sm.validity_period)
    assert (fields["short_message"], tlvs) == (sm.short_message, sm.tlvs)


@given(SM_FIELDS)
def test_lenience_changes_nothing_about_a_good_body(fields: dict[str, Any]) -> None:
    sm = sm_of(**fields)

    assert sm == codec.decode_sm_leniently(sm.body)


@given(st.binary(max_size=120))
def test_lenience_takes_what_strictness_takes_and_never_a_broken_length(body: bytes) -> None:
    strict, lenient = codec.decode_sm(body), codec.decode_sm_leniently(body)

    if isinstance(lenient, Sm):
        assert tlv.well_formed(lenient.tlvs)
        assert len(lenient.short_message) == lenient.options[4]
    else:
        assert isinstance(strict, BodyFault)
        assert lenient.command_status != consts.ESME_ROK


@pytest.mark.parametrize(
    ("body", "command_status"),
    [
        (b"", consts.ESME_RINVCMDLEN),
        (codec.encode_sm(short_message=b"hello")[:-1], consts.ESME_RINVMSGLEN),
        (codec.encode_sm(tlvs=PAYLOAD)[:-1], consts.ESME_RINVOPTPARSTREAM),
        (
            codec.encode_sm(short_message=b"hello") + PAYLOAD + b"\0",
            consts.ESME_RINVOPTPARSTREAM,
        ),
    ],
)
def test_lenience_does_not_guess_lengths(body: bytes, command_status: int) -> None:
    fault = codec.decode_sm_leniently(body)

    assert isinstance(fault, BodyFault)
    assert command_status == fault.command_status


# ----------------------------------------------------------------------------------------- binds


@given(BINDS)
def test_a_bind_comes_back_as_it_was_encoded(bind: Bind) -> None:
    assert bind == codec.decode_bind(codec.encode_bind(bind))


def test_a_password_may_be_longer_than_the_specification_has_it() -> None:
    bind = Bind(system_id=b"a-long-system-id-of-ours", password=b"correct horse battery staple")

    assert bind == codec.decode_bind(codec.encode_bind(bind))


@pytest.mark.parametrize("change", [{"password": b"x" * 65}, {"system_type": b"a\0b"}])
def test_a_bind_that_could_not_be_decoded_is_not_encoded(change: dict[str, bytes]) -> None:
    fields: dict[str, Any] = {"system_id": b"shop", "password": b"secret"} | change
    with pytest.raises(ValueError, match="too long or has a NUL"):
        codec.encode_bind(Bind(**fields))


@given(BINDS, st.data())
def test_a_bind_that_is_cut_short_is_a_bind_failure(bind: Bind, data: st.DataObject) -> None:
    body = codec.encode_bind(bind)
    length = data.draw(st.integers(0, len(body) - 1))

    fault = codec.decode_bind(body[:length])

    assert isinstance(fault, BodyFault)
    assert consts.ESME_RBINDFAIL == fault.command_status


@given(c_octets(15), st.one_of(st.none(), st.integers(0, 255)))
def test_a_bind_response_comes_back_as_it_was_encoded(
    system_id: bytes, version: int | None
) -> None:
    body = codec.encode_bind_resp(system_id, version)

    assert BindResp(system_id, version) == codec.decode_bind_resp(body)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x02\x10\0\0", b"\0\x02\x10\0"])
def test_a_bind_response_may_have_nothing_in_it(body: bytes) -> None:
    assert BindResp(b"", None) == codec.decode_bind_resp(body)


# -------------------------------------------------------------------------------------- responses


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        (codec.message_id_body(b"0a1b2c"), b"0a1b2c"),
        (b"", b""),
        (b"\0", b""),
        (b"0a1b2c", b"0a1b2c"),  # no NUL
        (b"0a1b2c\0" + tlv.encode(0x1403, b"\1"), b"0a1b2c"),
        (b"x" * 255 + b"\0", b"x" * 255),
        (b"x" * 256 + b"\0", b""),  # no id that one could look up
    ],
)
def test_a_message_id_is_found_in_what_carriers_send(body: bytes, message_id: bytes) -> None:
    assert message_id == codec.decode_message_id(body)


def test_a_pdu_is_its_header_and_its_body() -> None:
    encoded = codec.pdu(consts.SUBMIT_SM_RESP, 0x58, 7, b"a\0")

    assert bytes.fromhex("00000012 80000004 00000058 00000007 6100") == encoded
    assert (18, consts.SUBMIT_SM_RESP, 0x58, 7) == codec.HEADER.unpack_from(encoded)


@pytest.mark.parametrize("validity", [b"", b"261123120000000+"])
@given(fields=SM_FIELDS)
def test_other_times_change_nothing_else(validity: bytes, fields: dict[str, Any]) -> None:
    sm = sm_of(**fields)
    body, sm_at = codec.with_times(sm, validity)
    expected = codec.encode_sm(
        **fields | {"schedule_delivery_time": b"", "validity_period": validity}
    )

    assert expected == body
    assert sm_at == len(body) - len(sm.short_message) - len(sm.tlvs)
