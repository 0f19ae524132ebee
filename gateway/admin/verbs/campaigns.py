"""Campaigns: `campaign [ID]`: limits, what is used of them, what waits, what blocks sending."""

import math
from typing import Final

import msgspec

from gateway.admin import waiting
from gateway.admin.office import Answer, Args, Desk, no, now, yes
from gateway.admin.verbs.limits import LimitReport, limit_report, record_report
from gateway.admin.waiting import LaneReport
from gateway.model import states
from gateway.model.now import Now
from gateway.model.outcomes import OUTCOMES
from gateway.registry.entries import CampaignEntry
from gateway.relay.parties import Carrier, Route
from gateway.relay.state import State

PARKED_SCANNED: Final = 10_000
"""Parked rows that are read to count those of one campaign: about 20 ms."""


class Block(msgspec.Struct):
    """The first thing for which the next message of a campaign does not go at once."""

    outcome: str
    """If messages are refused for it; "" if they only wait."""
    why: str
    until: float | None = None


class CampaignReport(msgspec.Struct):
    """One campaign."""

    id: str
    brand: str
    company: str
    use_case: str
    status: str
    numbers: int
    queued: int
    blocked: Block | None
    limits: list[LimitReport]


class CampaignDetail(CampaignReport):
    """One campaign, with what takes longer to find out."""

    lanes: list[LaneReport]
    held: int
    in_doubt: int
    parked_complete: bool
    """Whether all parked messages were looked at for the two counts above."""


async def campaign(desk: Desk, args: Args) -> Answer:
    """All campaigns, or one."""
    state, at = desk.office.state, now()
    entries = state.catalog.campaigns
    name = args.get("id")
    if name is None:
        queued = _queued(state)
        return yes(
            [_report(state, entries[key], queued.get(key, 0), at) for key in sorted(entries)]
        )
    entry = entries.get(name)
    if entry is None:
        return no(f"there is no campaign {name!r} in the registry; `campaign` lists them")
    return yes([_detail(state, entry, at)])


def first_block(state: State, entry: CampaignEntry, at: Now) -> Block | None:
    """In the order in which admission and the scheduler ask; None: the next message goes at once.

    What depends on the message itself (its recipient, its text, its client) is not asked.
    """
    if state.draining:
        return Block("", "the daemon is draining")
    if entry.blocked is not None:
        return Block(entry.blocked, OUTCOMES[entry.blocked].text)
    if not entry.numbers:
        return Block("unknown_sender", "it has no number to send from")
    routes = [route for route in state.routes if route.match.campaign in ("", entry.id)]
    if not routes:
        return Block("no_route", "no route is for it")
    carriers = [carrier for carrier in _carriers(routes) if carrier.bound]
    if not carriers:
        return Block("", "no carrier that its routes lead to is bound")
    for limit in state.limits.get(entry.id, ()):
        free_at = limit.free_at(at, 1)
        if free_at > at.monotonic:
            why = f"its {limit.segments:g} segments a {limit.per} are used up"
            return _waits(why, free_at, at)
    opens_at = min(_opens_at(carrier, entry.id, at) for carrier in carriers)
    if opens_at > at.monotonic:
        return _waits("every carrier that is bound is paused for it, or at its rate", opens_at, at)
    return None


def _report(state: State, entry: CampaignEntry, queued: int, at: Now) -> CampaignReport:
    limits = state.limits.get(entry.id)
    return CampaignReport(
        id=entry.id,
        brand=entry.brand,
        company=entry.company,
        use_case=entry.record.use_case,
        status=entry.record.status,
        numbers=len(entry.numbers),
        queued=queued,
        blocked=first_block(state, entry, at),
        limits=[record_report(record) for record in entry.limits]
        if limits is None
        else [limit_report(limit, at) for limit in limits],
    )


def _detail(state: State, entry: CampaignEntry, at: Now) -> CampaignDetail:
    # The use of a day may lie on disk only; asking for the limits brings it in, as a message would.
    state.limits_of(entry.id, at)
    lanes = [lane for lane in state.lanes.values() if lane.campaign == entry.id]
    short = _report(state, entry, sum(lane.rows for lane in lanes), at)
    rows = waiting.parked(state, b"", PARKED_SCANNED)
    own = [row.state for _, row in rows if waiting.lane_of(row)[1] == entry.id]
    return CampaignDetail(
        **msgspec.structs.asdict(short),
        lanes=waiting.lane_reports(state, [lane for lane in lanes if lane.rows], at),
        held=own.count(states.HELD),
        in_doubt=own.count(states.IN_DOUBT),
        parked_complete=len(rows) < PARKED_SCANNED,
    )


def _queued(state: State) -> dict[str, int]:
    queued: dict[str, int] = {}
    for lane in state.lanes.values():
        queued[lane.campaign] = queued.get(lane.campaign, 0) + lane.rows
    return queued


def _carriers(routes: list[Route]) -> list[Carrier]:
    found = {}
    for route in routes:
        for carrier in [carrier for carrier, _ in route.primary] + route.backup:
            found[carrier.name] = carrier
    return list(found.values())


def _opens_at(carrier: Carrier, campaign: str, at: Now) -> float:
    paused_until = carrier.paused.get(campaign, 0.0)
    return max(paused_until, 0.0 if carrier.rate is None else carrier.rate.free_at(at, 1))


def _waits(why: str, opens_at: float, at: Now) -> Block:
    """Without an end if nobody knows it: a limit of zero, or one that waits for a release."""
    is_known = math.isfinite(opens_at)
    return Block("", why, at.wall + opens_at - at.monotonic if is_known else None)
