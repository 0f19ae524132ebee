"""SMPP time (SMPP 3.4 section 7.1.1), and the date of a receipt (appendix B).

A time on the wire is empty or 16 characters, `YYMMDDhhmmsstnnp`: absolute with p `+` or `-` (nn
quarter hours ahead of or behind UTC), relative with p `R`. Here it becomes wall-clock seconds.
Nothing here reads a clock: `now_wall` is an argument. What is no time is None; nothing raises.

All years are 20YY: that section has no century, and nothing is scheduled in the last one.
"""

import calendar
import datetime
import functools
import re
from typing import Final

_TIME: Final = re.compile(rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d)(\d\d)([-+R])")
_QUARTERS_MAX: Final = 48
_QUARTER_S: Final = 900.0


def parse_time(value: bytes, now_wall: float) -> float | None:
    """Wall-clock seconds; None for what is no time, and for the empty value, which means none."""
    match = _TIME.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second, tenths, quarters = map(int, match.groups()[:8])
    sign = match[9]
    if sign == b"R":
        moved = _months_later(now_wall, 12 * year + month)
        return moved + 86400.0 * day + 3600.0 * hour + 60.0 * minute + second
    if quarters > _QUARTERS_MAX:
        return None
    try:
        local = datetime.datetime(
            2000 + year, month, day, hour, minute, second, tzinfo=datetime.UTC
        )
    except ValueError:
        return None
    ahead = quarters * _QUARTER_S if sign == b"+" else -quarters * _QUARTER_S
    return local.timestamp() + tenths / 10 - ahead


def format_time(wall: float) -> bytes:
    """An absolute time in UTC, rounded down to the second: the carrier is never given longer."""
    at = datetime.datetime.fromtimestamp(int(wall), datetime.UTC)
    return at.strftime("%y%m%d%H%M%S000+").encode()


def _months_later(now_wall: float, months: int) -> float:
    """The same day and time so many months on, or the last day of a shorter month."""
    if not months:
        return now_wall
    now = datetime.datetime.fromtimestamp(now_wall, datetime.UTC)
    years, month = divmod(now.month - 1 + months, 12)
    year, month = now.year + years, month + 1
    day = min(now.day, calendar.monthrange(year, month)[1])
    return now.replace(year=year, month=month, day=day).timestamp()


def receipt_date(wall: float) -> bytes:
    """`YYMMDDhhmm` in UTC, as a receipt has it."""
    return _receipt_minute(int(wall // 60))


@functools.lru_cache(maxsize=4096)
def _receipt_minute(minute: int) -> bytes:
    """Receipts come in thousands a minute, for messages of few minutes."""
    at = datetime.datetime.fromtimestamp(minute * 60, datetime.UTC)
    return at.strftime("%y%m%d%H%M").encode()
