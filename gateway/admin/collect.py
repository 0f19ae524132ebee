"""Collect: fills a page with the counts of a running daemon, when somebody scrapes it.

Reads only, on the loop: a few milliseconds with hundreds of campaigns; `metrics.names.SERIES_MAX`
bounds it. Families of our own are written by `metrics.exposition`; the process and its garbage
collector by prometheus-client, whose text is put behind.
"""

import functools
import platform
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    ProcessCollector,
    generate_latest,
)

from gateway import __version__
from gateway.admin import waiting
from gateway.admin.office import Office
from gateway.metrics.exposition import Page
from gateway.model import states
from gateway.model.now import Now
from gateway.relay.state import Carrier, State
from gateway.smpp.consts import status_name

LANES_DATED: Final = 500
"""Lanes, the fullest first, whose oldest message is looked up: some of them on disk."""

COUNTERS: Final = {
    "acks_undelivered": "acks_undelivered_total",
    "damaged": "damaged_total",
    "delivers_refused": "delivers_refused_total",
    "in_doubt": "in_doubt_total",
    "inbound": "inbound_total",
    "intermediate": "receipts_intermediate_total",
    "orphans": "receipts_orphaned_total",
    "receipts": "receipts_total",
    "resent": "resent_total",
    "undelivered": "undelivered_total",
    "unsent": "unsent_total",
}
"""`relay.state.Counters`: each of its fields is a metric."""


def scrape(office: Office, now: Now) -> bytes:
    """What GET /metrics answers."""
    page = Page()
    _process(page, office)
    _messages(page, office.state)
    _clients(page, office.state)
    for carrier in office.state.carriers.values():
        _carrier(page, carrier, now)
    _binds(page, office)
    _queue(page, office.state)
    _limits(page, office.state, now)
    _store(page, office)
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


def _clients(page: Page, state: State) -> None:
    for name, client in state.clients.items():
        page.add("client_accepted_total", client.accepted, name)
        page.add("client_delivered_total", client.delivered, name)
        page.add("client_binds", len(client.links), name)
        page.add("client_queued", client.queued, name)
        page.add("client_queue_limit", client.queue_limit, name)
        page.add("client_outbox_rows", client.outbox.rows, name)
        for outcome, count in client.refused.items():
            page.add("client_refused_total", count, name, outcome)


def _carrier(page: Page, carrier: Carrier, now: Now) -> None:
    name = carrier.name
    page.add("carrier_binds", len(carrier.binds), name)
    page.add("carrier_submitted_total", carrier.submitted, name)
    page.add("carrier_throttled_total", carrier.throttled, name)
    page.add("carrier_orphans_total", carrier.orphaned, name)
    page.add("carrier_awaiting", len(carrier.awaiting), name)
    paused = sum(until > now.monotonic for until in carrier.paused.values())
    page.add("carrier_paused_campaigns", paused, name)
    if carrier.rate is not None:
        page.add("carrier_rate_used", carrier.rate.used(now), name)
        page.add("carrier_rate_limit", carrier.rate.capacity, name)
    for status, count in carrier.refused.items():
        page.add("carrier_refused_total", count, name, status_name(status))


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


def _queue(page: Page, state: State) -> None:
    for place, lane in enumerate(waiting.lanes(state)):
        page.add("queue_messages", lane.rows, lane.route, lane.campaign)
        first = waiting.oldest(state, lane) if place < LANES_DATED else None
        if first is not None:
            accepted_at = first.accepted_at
            page.add("queue_oldest_timestamp_seconds", accepted_at, lane.route, lane.campaign)
    page.add("working_set_messages", state.working.held)
    page.add("working_set_limit", state.working.size)


def _limits(page: Page, state: State, now: Now) -> None:
    for campaign, limits in state.limits.items():
        for place, limit in enumerate(limits):
            labels = (campaign, str(place), limit.per)
            page.add("limit_used", limit.used(now), *labels)
            page.add("limit_segments", limit.segments, *labels)


def _store(page: Page, office: Office) -> None:
    committer = office.committer
    page.add("turns_total", office.state.machine.taken)
    page.add("commits_total", committer.commits)
    page.add("commit_seconds_total", committer.seconds)
    page.add("commit_slowest_seconds", committer.slowest_s)
    page.add("commit_last_timestamp_seconds", committer.last_wall)
    page.add("committed_rows_total", committer.rows)
    page.add("room_bytes", committer.room_bytes)
    page.add("room_plenty", int(committer.room == "plenty"))


@functools.cache
def _registry() -> CollectorRegistry:
    """process_*, python_gc_* and smppgate_build_info."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    build = Info("smppgate_build", "The release, and the Python it runs on.", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    return registry
