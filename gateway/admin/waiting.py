"""Waiting: what stands in the lanes and what is parked, and for how long: for verbs and monitor.

Reads only. The first message of a level is in memory or one short scan away; the parked are read
a page at a time, since nothing of them is in memory.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from gateway.model import ids, states, tables
from gateway.model.now import Now
from gateway.model.records import Message, Parked, decode_awaiting, decode_message, decode_parked
from gateway.relay.lanes import Lane, LaneState, Level
from gateway.relay.state import State

FIRSTS: Final = 1_000
"""Parked rows among which the oldest of a state is looked for: they stand in order of arrival, so
it is nearly always among the first."""

LOOKUPS_MAX: Final = 50
"""Lanes with nothing in memory whose first message is read from disk. Beside a full turn a look-up
takes a millisecond, since it passes over all that is not committed yet."""

WAITS_FOR: Final = {
    LaneState.IDLE: "nothing",
    LaneState.READY: "room at a carrier",
    LaneState.TIMED: "a limit or a pause",
    LaneState.STAMP: "the next commit",
    LaneState.LINE: "its turn at a limit",
    LaneState.BLOCKED: "its campaign, which may not send",
}


class LaneReport(msgspec.Struct):
    """One lane: the messages of one campaign on one route."""

    route: str
    campaign: str
    rows: int
    in_memory: int
    waits_for: str
    opens_at: float | None
    """When its limit or pause ends, if that is what it waits for."""
    oldest_id: str
    oldest_at: float | None
    """When the first of it was accepted."""


class ParkedReport(msgspec.Struct):
    """One message that is held or in doubt."""

    id: str
    state: str
    reason: str
    since: float
    route: str
    campaign: str
    resends: int
    until: float | None
    """When it goes by itself; None if that is for people to decide."""


def lanes(state: State) -> list[Lane]:
    """The lanes in which something waits, the fullest first."""
    filled = [(lane.rows, lane) for lane in state.lanes.values()]
    filled.sort(key=lambda entry: -entry[0])
    return [lane for rows, lane in filled if rows]


def oldest(state: State, lanes: Iterable[Lane]) -> Iterator[tuple[Lane, Message | None]]:
    """Each lane with the message that has waited longest in it; None if that is not known."""
    lookups = 0
    for lane in lanes:
        found = None
        for level in lane.levels:
            if not level.rows:
                continue
            if level.head:
                first: Message | None = level.head[0]
            else:
                lookups += 1
                first = _first_on_disk(state, level) if lookups <= LOOKUPS_MAX else None
            if first is not None and (found is None or first.id < found.id):
                found = first
        yield lane, found


def lane_reports(state: State, lanes: Iterable[Lane], now: Now) -> list[LaneReport]:
    """Lanes for people."""
    return [_lane_report(lane, first, now) for lane, first in oldest(state, lanes)]


def _lane_report(lane: Lane, first: Message | None, now: Now) -> LaneReport:
    is_timed = lane.state is LaneState.TIMED
    return LaneReport(
        route=lane.route,
        campaign=lane.campaign,
        rows=lane.rows,
        in_memory=sum(len(level.head) for level in lane.levels),
        waits_for=WAITS_FOR[lane.state],
        opens_at=now.wall + lane.wake_at - now.monotonic if is_timed else None,
        oldest_id="" if first is None else ids.to_text(first.id).decode(),
        oldest_at=None if first is None else first.accepted_at,
    )


def parked(state: State, after: bytes, limit: int) -> list[tuple[bytes, Parked]]:
    """At most so many that are held or in doubt, with their keys, behind a key."""
    rows = state.view.scan(tables.PARKED, b"", after, limit)
    return [(key, decode_parked(row)) for key, row in rows]


def parked_report(key: bytes, row: Parked) -> ParkedReport:
    """One of them for people."""
    route, campaign = lane_of(row)
    return ParkedReport(
        id=ids.to_text(ids.from_key(key)).decode(),
        state=states.NAMES[row.state],
        reason=row.reason,
        since=row.since,
        route=route,
        campaign=campaign,
        resends=row.resends,
        until=row.until or None,
    )


def lane_of(row: Parked) -> tuple[str, str]:
    """The route and the campaign that a parked message came from."""
    route, campaign = row.lane.split(b"\0")[:2]
    return route.decode(), campaign.decode()


def oldest_in_states(state: State) -> dict[str, float]:
    """Since when the first message has been in each state in which one can wait.

    For what is queued, in flight and submitted the clock starts when it was accepted, was sent, and
    was answered; for what is held or in doubt, when it became so.
    """
    found: dict[str, float] = {}
    firsts = [first for _, first in oldest(state, lanes(state))]
    _note(found, "queued", [first.accepted_at for first in firsts if first is not None])
    flying = [next(iter(bind.flights.values()), None) for bind in state.binds.values()]
    _note(found, "in_flight", [first.submitted_at for first in flying if first is not None])
    rows = state.view.scan(tables.AWAITING, b"", b"", 1)
    _note(found, "submitted", [decode_awaiting(row).answered_at for _, row in rows])
    for name in ("held", "in_doubt"):
        code = states.NAMES.index(name)
        _note(
            found, name, [row.since for _, row in parked(state, b"", FIRSTS) if row.state == code]
        )
    return found


def unanswered_since(state: State) -> dict[str, float]:
    """When the oldest message in flight was sent, for each carrier that has any."""
    found: dict[str, float] = {}
    for bind in state.binds.values():
        first = next(iter(bind.flights.values()), None)
        if first is not None and first.submitted_at:
            name = bind.carrier.name
            found[name] = min(found.get(name, first.submitted_at), first.submitted_at)
    return found


def _note(found: dict[str, float], name: str, moments: list[float]) -> None:
    if moments:
        found[name] = min(moments)


def _first_on_disk(state: State, level: Level) -> Message | None:
    rows = state.view.scan(tables.QUEUE, level.prefix, level.prefix, 1)
    if not rows:
        return None
    row = state.view.get(tables.MESSAGE, rows[0][0][-ids.KEY_LENGTH :])
    return None if row is None else decode_message(row)
