"""Carriers: `carrier [NAME]` and `carrier rebind NAME`."""

import msgspec

from gateway.admin.office import Answer, Args, Desk, no, now, yes
from gateway.admin.verbs.limits import LimitReport, limit_report
from gateway.carriers.supervisor import Supervisor
from gateway.model.now import Now
from gateway.relay.parties import Carrier
from gateway.smpp.consts import status_name


class SessionReport(msgspec.Struct):
    """One bind: its session, or its wait for one. `in_flight` of `window` are unanswered."""

    bind: int
    kind: str
    status: str
    since: float
    last_error: str
    bound_times: int
    peer: str
    in_flight: int
    window: int


class CarrierReport(msgspec.Struct):
    """One carrier. What is counted is counted since the start."""

    name: str
    address: str
    bound: int
    binds: int
    in_flight: int
    window: int
    submitted: int
    submitted_per_s: float | None
    throttled: int
    refused: dict[str, int]
    """By command_status."""
    orphans: int
    """Receipts that found no message."""
    awaiting: int
    """Receipts that it still owes."""
    paused: dict[str, float]
    """Until when each campaign that it throttled is paused."""
    rate: LimitReport | None
    sessions: list[SessionReport]


async def carrier(desk: Desk, args: Args) -> Answer:
    """All carriers, or one."""
    state = desk.office.state
    name = args.get("name")
    if name is None:
        return yes([carrier_report(desk, found, now()) for found in state.carriers.values()])
    found = state.carriers.get(name)
    if found is None:
        return _unknown(desk, name)
    return yes([carrier_report(desk, found, now())])


async def rebind(desk: Desk, args: Args) -> Answer:
    """Ends the sessions of a carrier, or their waits; they bind again at once."""
    supervisors = supervisors_of(desk, args["name"])
    if not supervisors:
        return _unknown(desk, args["name"])
    for supervisor in supervisors:
        supervisor.rebind()
    return yes({"carrier": args["name"], "rebound": len(supervisors)})


def carrier_report(desk: Desk, carrier: Carrier, at: Now) -> CarrierReport:
    """A carrier as it is now."""
    supervisors = supervisors_of(desk, carrier.name)
    sessions = [_session(supervisor) for supervisor in supervisors]
    return CarrierReport(
        name=carrier.name,
        address=str(supervisors[0].settings.address) if supervisors else "",
        bound=sum(session.status == "bound" for session in sessions),
        binds=len(sessions),
        in_flight=sum(session.in_flight for session in sessions),
        window=sum(session.window for session in sessions),
        submitted=carrier.submitted,
        submitted_per_s=desk.meter.per_s(
            "submitted", carrier.name, carrier.submitted, at.monotonic
        ),
        throttled=carrier.throttled,
        refused={status_name(status): count for status, count in carrier.refused.items()},
        orphans=carrier.orphaned,
        awaiting=carrier.receipts.awaited,
        paused={
            campaign: at.wall + until - at.monotonic
            for campaign, until in carrier.paused.items()
            if until > at.monotonic
        },
        rate=None if carrier.rate is None else limit_report(carrier.rate, at),
        sessions=sessions,
    )


def supervisors_of(desk: Desk, name: str) -> list[Supervisor]:
    """The binds of a carrier."""
    return [one for one in desk.office.supervisors if one.settings.name == name]


def _session(supervisor: Supervisor) -> SessionReport:
    sends = supervisor.kind != "receiver"
    link = supervisor.link
    return SessionReport(
        bind=supervisor.bind.index,
        kind=supervisor.kind,
        status=supervisor.status,
        since=supervisor.since_wall,
        last_error=supervisor.last_error,
        bound_times=supervisor.bound_times,
        peer="" if link is None else link.peer,
        in_flight=len(supervisor.bind.flights),
        window=supervisor.settings.window if sends else 0,
    )


def _unknown(desk: Desk, name: str) -> Answer:
    known = ", ".join(desk.office.state.carriers) or "none"
    return no(f"there is no carrier {name!r}; there are: {known}")
