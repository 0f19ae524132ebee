"""The process itself: `status`, `audit`, `drain`, `loglevel`, `version`, `help`, `message`."""

import logging
import os
from collections.abc import Iterator
from typing import Final

import msgspec
import trio

from gateway import __version__
from gateway.admin import grammar, trace, waiting
from gateway.admin.office import Answer, Args, Desk, Office, no, now, yes
from gateway.admin.verbs.registry import holds
from gateway.model import ids, states
from gateway.store.audit import InterruptedAuditError
from gateway.store.audit import audit as count_rows
from gateway.store.readers import OLD_S, Reader, Readers

log = logging.getLogger(__name__)

SILENT_S: Final = 5.0
"""Carriers answer in well under a second: one that takes so long has a fault, and its lanes stand."""

NAMED_MAX: Final = 5
"""Campaigns and such that one warning names before it says how many more there are."""


class CarrierLine(msgspec.Struct):
    """A carrier in a word."""

    name: str
    bound: int
    binds: int
    last_error: str


class Commits(msgspec.Struct):
    """What was written since the start."""

    commits: int
    rows: int
    last_at: float | None
    mean_ms: float
    slowest_ms: float


class StoreLine(msgspec.Struct):
    """The store's file, and who keeps it from using its pages again."""

    file_bytes: int
    free_bytes: int
    held_bytes: int
    """What the oldest reader keeps from being used again, at most."""
    oldest_reader_s: float
    oldest_reader_process_id: int
    oldest_reader_commits_behind: int
    readers_cleared: int


class StatusReport(msgspec.Struct):
    """Whether all is well."""

    version: str
    phase: str
    started_at: float
    start: int
    """How often this store was started."""
    process_id: int
    data_dir: str
    listening: list[str]
    metrics: list[str]
    accepted: int
    """Ever, like `purged`: accepted = messages in each state + purged."""
    purged: int
    messages: dict[str, int]
    rates_per_s: dict[str, float | None]
    queue_depth: int
    queue_oldest_at: float | None
    commits: Commits
    room: str
    room_bytes: int
    store: StoreLine
    carriers: list[CarrierLine]
    clients: int
    clients_bound: int
    client_binds: int
    registry: dict[str, int]
    counters: dict[str, int]
    warnings: list[str]


async def status(desk: Desk, _args: Args) -> Answer:
    """Everything at a glance. Does not say no: what is wrong stands in `warnings`."""
    office = desk.office
    state, committer, at = office.state, office.committer, now()
    bound = [client for client in state.clients.values() if client.links]
    return yes(
        StatusReport(
            version=__version__,
            phase=phase(office),
            started_at=office.started_wall,
            start=state.starts,
            process_id=os.getpid(),
            data_dir=str(office.config.data_dir),
            listening=list(office.listening),
            metrics=[str(address) for address in office.config.metrics.listen],
            accepted=state.totals.accepted,
            purged=state.totals.purged,
            messages=dict(zip(states.NAMES, state.totals.in_state, strict=True)),
            rates_per_s={
                what: desk.meter.per_s(what, "", count, at.monotonic)
                for (what, whom), count in counts(office).items()
                if not whom
            },
            queue_depth=state.totals.in_state[states.QUEUED],
            queue_oldest_at=waiting.oldest_in_states(state).get("queued"),
            commits=Commits(
                commits=committer.commits,
                rows=committer.rows,
                last_at=committer.last_wall or None,
                mean_ms=1000 * committer.seconds / max(committer.commits, 1),
                slowest_ms=1000 * committer.slowest_s,
            ),
            room=committer.room,
            room_bytes=committer.room_bytes,
            store=store_line(office.readers),
            carriers=carrier_lines(office),
            clients=len(state.clients),
            clients_bound=len(bound),
            client_binds=sum(len(client.links) for client in bound),
            registry=holds(state.catalog),
            counters={
                name: getattr(state.counters, name) for name in type(state.counters).__slots__
            },
            warnings=[*office.warnings, *warnings(office)],
        )
    )


async def message(desk: Desk, args: Args) -> Answer:
    """The life of one message."""
    number = ids.from_text(args["id"])
    if number is None:
        text = f"no message can have the id {args['id']!r}: an id has 13 characters"
        return Answer(grammar.USAGE, text=text)
    found = trace.trace(desk.office.state.view, number)
    if found is None:
        return no(f"there is no message {args['id']}: never accepted here, or purged since")
    return yes(found)


async def audit(desk: Desk, _args: Args) -> Answer:
    """Counts the disk, in a thread. The thread is waited for, or the store would close under it."""
    async with desk.audit_lock:
        try:
            report = await trio.to_thread.run_sync(count_rows, desk.office.environment)
        except InterruptedAuditError as error:
            return no(str(error))
    if report.differences:
        return no(f"{len(report.differences)} differences", report)
    return yes(report)


async def drain(desk: Desk, _args: Args) -> Answer:
    """Begins the end of the daemon."""
    desk.office.draining.set()
    return yes({"draining": True, "in_flight": desk.office.state.flying()})


async def loglevel(_desk: Desk, args: Args) -> Answer:
    """Changes what is logged."""
    level = args["level"]
    logging.getLogger().setLevel(level.upper())
    log.info("the log level is %s now", level)
    return yes({"level": level})


async def version(_desk: Desk, _args: Args) -> Answer:
    """The version."""
    return yes({"version": __version__})


async def help_(_desk: Desk, _args: Args) -> Answer:
    """The verbs, for who talks to the socket without our client."""
    return yes([verb._asdict() | {"arguments": _arguments(verb)} for verb in grammar.VERBS])


def phase(office: Office) -> str:
    """Where in its life the daemon is."""
    if office.draining.is_set():
        return "draining"
    return "ready" if office.ready.is_set() else "starting"


def counts(office: Office) -> dict[tuple[str, str], int]:
    """The counts that the meter compares."""
    state = office.state
    ended = sum(state.totals.in_state[code] for code in states.FINAL) + state.totals.purged
    found = {
        ("accepted", ""): state.totals.accepted,
        ("submitted", ""): sum(carrier.submitted for carrier in state.carriers.values()),
        ("ended", ""): ended,
    }
    for client in state.clients.values():
        found["accepted", client.name] = client.accepted
    for carrier in state.carriers.values():
        found["submitted", carrier.name] = carrier.submitted
    return found


def store_line(readers: Readers) -> StoreLine:
    """As the last look found it."""
    oldest = readers.oldest or Reader(process_id=0, seconds=0.0, commits_behind=0)
    return StoreLine(
        file_bytes=readers.file_bytes,
        free_bytes=readers.free_bytes,
        held_bytes=readers.held_bytes,
        oldest_reader_s=oldest.seconds,
        oldest_reader_process_id=oldest.process_id,
        oldest_reader_commits_behind=oldest.commits_behind,
        readers_cleared=readers.cleared,
    )


def carrier_lines(office: Office) -> list[CarrierLine]:
    """Which carriers are bound; the last error of those that are not."""
    lines = {name: CarrierLine(name, 0, 0, "") for name in office.state.carriers}
    for supervisor in office.supervisors:
        line = lines[supervisor.settings.name]
        line.binds += 1
        if supervisor.status == "bound":
            line.bound += 1
        else:
            line.last_error = supervisor.last_error
    return list(lines.values())


def warnings(office: Office) -> Iterator[str]:
    """What somebody should look at now."""
    state = office.state
    for line in carrier_lines(office):
        if not line.bound:
            yield f"carrier {line.name} is not bound: {line.last_error or 'not tried yet'}"
        elif line.bound < line.binds:
            yield f"carrier {line.name} has {line.bound} of {line.binds} binds: {line.last_error}"
    if office.committer.room != "plenty":
        yield f"room on disk is {office.committer.room}: new messages are refused (queue_full)"
    oldest = office.readers.oldest
    if oldest is not None and oldest.seconds >= OLD_S:
        yield (
            f"process {oldest.process_id} has been reading the store for {oldest.seconds:.0f} s: "
            "what was freed since is not used again, and the file may grow"
        )
    for name, since in waiting.unanswered_since(state).items():
        silent_s = now().wall - since
        if silent_s >= SILENT_S:
            yield f"carrier {name} has left a message unanswered for {silent_s:.0f} s"
    if state.counters.damaged:
        yield f"{state.counters.damaged} damaged rows were found: run `audit`"
    for client in state.clients.values():
        if client.company not in state.catalog.companies:
            yield f"client {client.name}: its company {client.company} is not in the registry"
    default = state.catalog.without_limits()
    if default:
        more = f" and {len(default) - NAMED_MAX} more" if len(default) > NAMED_MAX else ""
        names = ", ".join(default[:NAMED_MAX])
        yield f"without limits of their own, so 240 a minute and 2,000 a day hold: {names}{more}"


def _arguments(verb: grammar.Verb) -> list[dict[str, object]]:
    return [argument._asdict() for argument in verb.arguments]
