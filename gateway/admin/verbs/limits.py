"""Limits as people see them: how much of each is used, and when the next segment may go."""

import math

import msgspec

from gateway.model.now import Now
from gateway.registry.records import Limit as Record
from gateway.throttle.limit import Limit


class LimitReport(msgspec.Struct):
    """One limit. Segments are counted. Times are wall-clock seconds."""

    per: str
    segments: float
    used: int | None
    """None: nothing was sent since the start, so nobody has counted yet."""
    opens_at: float | None
    """When one more segment may go, if none may now and the time is known."""
    resets_at: float | None
    zone: str
    at_cap: str


def limit_report(limit: Limit, now: Now) -> LimitReport:
    """A limit that is in use."""
    day = limit.day
    opens_at = limit.free_at(now, 1)
    is_known = now.monotonic < opens_at < math.inf
    return LimitReport(
        per=limit.per,
        segments=limit.segments,
        used=limit.used(now),
        opens_at=now.wall + opens_at - now.monotonic if is_known else None,
        resets_at=None if day is None else day.days.ends_wall,
        zone=limit.zone,
        at_cap=limit.at_cap,
    )


def record_report(record: Record) -> LimitReport:
    """A limit of a campaign that has sent nothing since the start."""
    return LimitReport(
        per=record.per,
        segments=record.segments,
        used=None,
        opens_at=None,
        resets_at=None,
        zone=record.zone,
        at_cap=record.at_cap,
    )
