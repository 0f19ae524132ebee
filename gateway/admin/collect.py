"""Collect: fills a page with the counts of a running daemon, when somebody scrapes it.

Reads only, on the loop, and lets the loop turn between bites: with thousands of campaigns a scrape
takes longer than traffic should wait. What must agree (the states of messages, and what was
accepted) is read in one bite. `metrics.names.SERIES_MAX` bounds the whole.

Families of our own are written by `metrics.exposition`; the process and its garbage collector by
prometheus-client, whose text is put behind.
"""

import functools
import platform
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import trio
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    ProcessCollector,
    generate_latest,
)

from gateway import __version__
from gateway.admin import waiting
from gateway.admin.office import Office, now
from gateway.metrics.exposition import Page
from gateway.model import states
from gateway.model.now import Now
from gateway.relay.lanes import Lane
from gateway.relay.parties import Carrier, Client
from gateway.relay.state import State
from gateway.smpp.consts import status_name

T = TypeVar("T")

BITE: Final = 200
"""Clients, lanes or campaigns that are read before the loop turns: about 2 ms."""

COUNTERS: Final = {
    "acks_undelivered": "acks_undelivered_total",
    "corrected": "receipts_corrected_total",
    "damaged": "damaged_total",
    "delivers_refused": "delivers_refused_total",
    "in_doubt": "in_doubt_total",
    "inbound": "inbound_total",
    "intermediate": "receipts_intermediate_total",
    "orphans": "receipts_orphaned_total",
    "receipts": "receipts_total",
    "repeated": "receipts_repeated_total",
    "resent": "resent_total",
    "undelivered": "undelivered_total",
    "unsent": "unsent_total",
}
"""`relay.state.Counters`: each of its fields is a metric."""


async def scrape(office: Office) -> bytes:
    """What GET /metrics answers."""
    page, state = Page(), office.state
    _process(page, office)
    _messages(page, state)
    _store(page, office)
    _peers(page, office)
    _binds(page, office)
    for carrier in state.carriers.values():
        _carrier(page, carrier, now())
    for name, since in waiting.unanswered_since(state).items():
        page.add("carrier_oldest_in_flight_timestamp_seconds", since, name)
    for clients in _bites(state.clients.values()):
        _clients(page, clients)
        await trio.lowlevel.checkpoint()
    for lanes in _bites(waiting.lanes(state)):
        _queue(page, state, lanes)
        await trio.lowlevel.checkpoint()
    for campaigns in _bites(state.limits):
        _limits(page, state, campaigns, now())
        await trio.lowlevel.checkpoint()
    return page.text().encode() + generate_latest(_registry())


def _process(page: Page, office: Office) -> None:
    page.add("started_timestamp_seconds", office.started_wall)
    page.add("starts", office.state.starts)
    page.add("ready", int(office.ready.is_set()))
    page.add("draining", int(office.draining.is_set()))


def _messages(page: Page, state: State) -> None:
    totals = state.totals
    for name, count in zip(states.NAMES, totals.in_state, strict=True):
        page.add("messages", count, name)
    page.add("messages_accepted_total", totals.accepted)
    page.add("messages_purged_total", totals.purged)
    for field, name in COUNTERS.items():
        page.add(name, getattr(state.counters, field))


def _clients(page: Page, clients: Iterable[Client]) -> None:
    for client in clients:
        name = client.name
        page.add("client_accepted_total", client.accepted, name)
        page.add("client_delivered_total", client.delivered, name)
        page.add("client_binds", len(client.links), name)
        page.add("client_queued", client.queued, name)
        page.add("client_queue_limit", client.queue_limit, name)
        page.add("client_outbox_rows", client.outbox.rows, name)
        for outcome, count in client.refused.items():
            page.add("client_refused_total", count, name, outcome)


def _carrier(page: Page, carrier: Carrier, at: Now) -> None:
    name = carrier.name
    page.add("carrier_binds", len(carrier.binds), name)
    page.add("carrier_submitted_total", carrier.submitted, name)
    page.add("carrier_throttled_total", carrier.throttled, name)
    page.add("carrier_orphans_total", carrier.orphaned, name)
    page.add("carrier_awaiting", carrier.receipts.awaited, name)
    paused = sum(until > at.monotonic for until in carrier.paused.values())
    page.add("carrier_paused_campaigns", paused, name)
    if carrier.rate is not None:
        page.add("carrier_rate_used", carrier.rate.used(at), name)
        page.add("carrier_rate_limit", carrier.rate.capacity, name)
    for status, count in carrier.refused.items():
        page.add("carrier_refused_total", count, name, status_name(status))


def _peers(page: Page, office: Office) -> None:
    server = office.server
    page.add("connections", server.connections)
    page.add("connections_limit", server.connections_max)
    page.add("connections_refused_total", server.counts.connections_refused)
    page.add("handshakes_failed_total", server.counts.handshakes_failed)
    page.add("binds_refused_total", server.counts.binds_refused)
    bugs = server.counts.bugs + sum(supervisor.bugs for supervisor in office.supervisors)
    page.add("session_bugs_total", bugs)


def _binds(page: Page, office: Office) -> None:
    up = dict.fromkeys(office.state.carriers, 0)
    for supervisor in office.supervisors:
        labels = (supervisor.settings.name, str(supervisor.bind.index))
        is_up = supervisor.status == "bound"
        up[supervisor.settings.name] += is_up
        page.add("bind_up", int(is_up), *labels)
        page.add("bind_bound_total", supervisor.bound_times, *labels)
        page.add("bind_since_timestamp_seconds", supervisor.since_wall, *labels)
        if supervisor.kind != "receiver":
            page.add("bind_window_used", len(supervisor.bind.flights), *labels)
            page.add("bind_window_size", supervisor.settings.window, *labels)
    for name, count in up.items():
        page.add("carrier_binds_up", count, name)


def _queue(page: Page, state: State, lanes: Iterable[Lane]) -> None:
    for lane, first in waiting.oldest(state, lanes):
        page.add("queue_messages", lane.rows, lane.route, lane.campaign)
        if first is not None:
            accepted_at = first.accepted_at
            page.add("queue_oldest_timestamp_seconds", accepted_at, lane.route, lane.campaign)


def _limits(page: Page, state: State, campaigns: Iterable[str], at: Now) -> None:
    for campaign in campaigns:
        for place, limit in enumerate(state.limits.get(campaign, ())):
            labels = (campaign, str(place), limit.per)
            page.add("limit_used", limit.used(at), *labels)
            page.add("limit_segments", limit.segments, *labels)


def _store(page: Page, office: Office) -> None:
    committer, working = office.committer, office.state.working
    page.add("working_set_messages", working.held)
    page.add("working_set_limit", working.size)
    page.add("turns_total", office.state.machine.taken)
    page.add("commits_total", committer.commits)
    page.add("commit_seconds_total", committer.seconds)
    page.add("commit_slowest_seconds", committer.slowest_s)
    page.add("commit_last_timestamp_seconds", committer.last_wall)
    page.add("committed_rows_total", committer.rows)
    page.add("store_file_bytes", office.readers.file_bytes)
    page.add("store_free_bytes", office.readers.free_bytes)
    page.add("store_held_bytes", office.readers.held_bytes)
    oldest = office.readers.oldest
    page.add("store_oldest_reader_seconds", 0.0 if oldest is None else oldest.seconds)
    page.add("store_readers_cleared_total", office.readers.cleared)
    page.add("room_bytes", committer.room_bytes)
    page.add("room_plenty", int(committer.room == "plenty"))


def _bites(whole: Iterable[T]) -> Iterator[list[T]]:
    """What there is now, some at a time: it may change while the loop turns."""
    items = list(whole)
    for start in range(0, len(items), BITE):
        yield items[start : start + BITE]


@functools.cache
def _registry() -> CollectorRegistry:
    """process_*, python_gc_* and smppgate_build_info."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    build = Info("smppgate_build", "The release, and the Python it runs on.", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    return registry
