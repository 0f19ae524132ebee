"""The rows: what is written is what is read, and short enough for a page of LMDB."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import records
from gateway.model.records import (
    Awaiting,
    Ending,
    Inbound,
    Message,
    Orphan,
    Parked,
    Step,
    decode_flights,
    encode,
    encode_flights,
)
from gateway.relay.lanes import mark_resends
from gateway.smpp.codec import MESSAGE_ID_MAX, SHORT_MESSAGE_MAX, encode_sm

ROW_MAX = 2_000
"""Octets: LMDB puts more on pages of its own."""

NAME_MAX = 64
"""Octets of a client's, campaign's or route's name in the configuration."""

names = st.text(max_size=NAME_MAX)
octets = st.binary(max_size=300)
seconds = st.floats(0, 1e10)
message_ids = st.integers(0, (1 << 63) - 1)
small = st.integers(0, 255)

ROWS: list[tuple[Any, Any]] = [
    (
        records.decode_message,
        st.builds(
            Message,
            id=message_ids,
            client=names,
            campaign=names,
            route=names,
            source=octets,
            destination=octets,
            accepted_at=seconds,
            expires_at=seconds,
            priority=small,
            segments=small,
            registered_delivery=small,
            source_ton_npi=octets,
            dest_ton_npi=octets,
            sm_at=small,
            body=octets,
        ),
    ),
    (records.decode_parked, st.builds(Parked, small, names, seconds, small, octets)),
    (records.decode_awaiting, st.builds(Awaiting, names, octets, seconds, seconds, small)),
    (
        records.decode_ending,
        st.builds(Ending, small, names, seconds, names, octets, seconds, seconds, octets, small),
    ),
    (records.decode_inbound, st.builds(Inbound, names, names, seconds, octets)),
    (records.decode_orphan, st.builds(Orphan, seconds, octets, small, octets)),
    (records.decode_step, st.builds(Step, seconds, names, names, names)),
]


@pytest.mark.parametrize(("decode", "rows"), ROWS)
def test_a_row_is_read_as_it_was_written(decode: Any, rows: Any) -> None:
    @given(rows)
    def survives(record: Any) -> None:
        assert record == decode(encode(record))

    survives()


def the_longest_message() -> Message:
    """Every field as long as it can be, but for TLVs, which have no limit of their own."""
    body = encode_sm(
        service_type=b"CMTCM",
        source_addr=b"1" * 20,
        destination_addr=b"1" * 20,
        schedule_delivery_time=b"261231235959948+",
        validity_period=b"261231235959948+",
        short_message=b"x" * SHORT_MESSAGE_MAX,
    )
    return Message(
        id=(1 << 63) - 1,
        client="c" * NAME_MAX,
        campaign="C" * NAME_MAX,
        route="r" * NAME_MAX,
        source=b"1" * 20,
        destination=b"1" * 20,
        accepted_at=1.79e9,
        expires_at=1.79e9,
        priority=3,
        segments=2,
        registered_delivery=255,
        source_ton_npi=b"\x01\x01",
        dest_ton_npi=b"\x01\x01",
        sm_at=80,
        body=body,
    )


def test_the_longest_short_message_is_far_below_2000_octets() -> None:
    assert len(encode(the_longest_message())) < ROW_MAX / 2


def test_the_rows_of_a_messages_life_stay_below_2000_octets() -> None:
    name, carrier_id = "n" * NAME_MAX, b"i" * MESSAGE_ID_MAX
    lane = b"%b\0%b\0" % (b"r" * NAME_MAX, b"C" * NAME_MAX)
    rows = [
        Parked(4, "carrier_unregistered", 1.79e9, 10, lane),
        Awaiting(name, carrier_id, 1.79e9, 1.79e9, 10),
        Ending(6, "carrier_unregistered", 1.79e9, name, carrier_id, 1.79e9, 1.79e9, b"9" * 16, 10),
        Orphan(1.79e9, carrier_id, 8, b"9" * 16),
    ]

    assert all(len(encode(row)) < ROW_MAX for row in rows)


def test_a_message_that_was_sent_again_still_fits() -> None:
    message = the_longest_message()
    mark_resends(message, 10)

    assert len(encode(message)) < ROW_MAX


def test_fields_that_change_in_memory_are_optional_on_disk() -> None:
    # Fields are only ever added at the end: a row of an older release has fewer.
    message = the_longest_message()
    fields: list[Any] = msgspec.msgpack.decode(encode(message))

    assert message == records.decode_message(msgspec.msgpack.encode(fields[:15]))


@given(st.dictionaries(message_ids, small, max_size=50))
def test_an_in_flight_row_keeps_the_window_and_its_order(flights: dict[int, int]) -> None:
    window = {}
    for message_id, resends in flights.items():
        message = the_longest_message()
        message.id, message.resends = message_id, resends
        window[message_id] = message
    row = encode_flights(window)

    assert list(flights.items()) == decode_flights(row)
    assert len(flights) * records.FLIGHT == len(row)


def test_an_empty_window_is_an_empty_row() -> None:
    assert (b"", []) == (encode_flights({}), decode_flights(b""))
