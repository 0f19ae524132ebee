"""SMPP times and the dates of receipts."""

import calendar
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpp.pdu import smpp_time

from gateway.smpp.time import format_time, parse_time, receipt_date

NOON = 1795435200.0  # 2026-11-23 12:00:00 UTC
DAY = 86400.0


def utc(*fields: int) -> float:
    return float(calendar.timegm((*fields, 0, 0, 0)))


def test_an_empty_time_is_none() -> None:
    assert parse_time(b"", NOON) is None


@pytest.mark.parametrize(
    ("value", "wall"),
    [
        (b"261123120000000+", NOON),
        (b"261123120000700+", NOON + 0.7),
        (b"261123140000008+", NOON),  # 14:00, two hours ahead of UTC
        (b"261123040000032-", NOON),  # 04:00 in Los Angeles, eight hours behind
        (b"261124000000048+", NOON),  # twelve hours, the most there is
        (b"280229235959000-", utc(2028, 2, 29, 23, 59, 59)),
        (b"990101000000000+", utc(2099, 1, 1, 0, 0, 0)),
    ],
)
def test_an_absolute_time_is_moved_to_utc(value: bytes, wall: float) -> None:
    assert wall == parse_time(value, NOON)


@pytest.mark.parametrize(
    ("value", "wall"),
    [
        (b"000000000000000R", NOON),
        (b"000000000500000R", NOON + 300),
        (b"000002000000000R", NOON + 2 * DAY),
        (b"000099990000000R", NOON + 99 * DAY + 99 * 3600),
        (b"000300000000000R", utc(2027, 2, 23, 12, 0, 0)),
        (b"010000000000000R", utc(2027, 11, 23, 12, 0, 0)),
        # The specification's own example: 2 years, 6 months, 10 days, 23:34:29.
        (b"020610233429000R", utc(2029, 5, 23, 12, 0, 0) + 10 * DAY + 84869),
    ],
)
def test_a_relative_time_counts_from_now(value: bytes, wall: float) -> None:
    assert wall == parse_time(value, NOON)


def test_a_month_after_the_last_of_january_is_the_last_of_february() -> None:
    last_of_january = utc(2027, 1, 31, 12, 0, 0)

    assert utc(2027, 2, 28, 12, 0, 0) == parse_time(b"000100000000000R", last_of_january)


@pytest.mark.parametrize(
    "value",
    [
        b"tomorrow morning",
        b"261123120000000",  # 15 characters
        b"261123120000000+\n",
        b"261123120000000Z",
        b"261323120000000+",  # month 13
        b"260229120000000+",  # no leap year
        b"261123250000000+",  # 25 o'clock
        b"261123120000049+",  # twelve and a quarter hours from UTC
        "261123120000000\u0665+".encode(),  # digits, but not ASCII
    ],
)
def test_what_is_no_time_is_none(value: bytes) -> None:
    assert parse_time(value, NOON) is None


@given(st.binary(max_size=17), st.floats(0, 4e9))
def test_no_octets_raise(value: bytes, now_wall: float) -> None:
    parse_time(value, now_wall)


@given(
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2068, 12, 31)),  # noqa: DTZ001
    st.integers(1, 48),
    st.sampled_from("+-"),
)
def test_the_referee_reads_absolute_times_as_we_do(
    local: datetime.datetime, quarters: int, sign: str
) -> None:
    value = f"{local:%y%m%d%H%M%S}{local.microsecond // 100_000}{quarters:02}{sign}".encode()

    theirs = smpp_time.parse_absolute_time(value).timestamp()

    assert theirs == pytest.approx(parse_time(value, NOON), abs=1e-6)


@given(st.floats(0, 4e9))
def test_a_receipt_date_is_the_minute_in_utc(wall: float) -> None:
    at = datetime.datetime.fromtimestamp(wall, datetime.UTC)

    assert f"{at:%y%m%d%H%M}".encode() == receipt_date(wall)


@given(st.floats(0, 3e9))
def test_a_time_that_is_written_is_read_as_the_same_second(wall: float) -> None:
    written = format_time(wall + 946_684_800)  # all years are 20YY

    assert 16 == len(written)
    assert float(int(wall + 946_684_800)) == parse_time(written, NOON)
