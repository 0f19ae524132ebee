"""The sweep: what time does to rows that nobody touches, a bite at a time."""

from typing import Any

import pytest

from gateway.model import ids, records, tables
from gateway.registry.importer import parse
from gateway.relay import sweep
from gateway.relay.state import Policy
from gateway.relay.sweep import BUSY_REST_S, PASS_S, REST_S
from gateway.smpp import consts
from tests.relay.setups import (
    DAY_S,
    HOUR_S,
    NUMBER,
    REGISTRY,
    SLOW_NUMBER,
    Setup,
    Shop,
    Smsc,
    Way,
    campaign,
    limits,
)
from tests.relay.world import HANDSET, WALK, Done, World

RECORDS = Policy(text_keep_s=7 * DAY_S, record_keep_s=90 * DAY_S)


def walk(world: World) -> None:
    """One whole walk, from where it stands to where it stands again."""
    for _ in range(WALK + 2):
        world.tick(REST_S)
    world.tick(PASS_S)


def ended(world: World) -> int:
    """A message that was delivered, and its receipt read."""
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.receipt(link, world.respond(link, message_id))
    world.settle()
    world.acknowledge(client)
    world.unbind(link)
    world.disconnect(client)
    world.settle()
    return message_id


def test_a_queued_message_past_its_validity_expires_wherever_it_stands() -> None:
    world = World(Setup(working_set=2))
    client = world.connect()
    fields: list[dict[str, Any]] = [{"validity": b"000000000100000R"}, {}, {"priority": 3}] * 2
    waiting = [world.accepted(client, **one) for one in fields]
    world.tick(120.0)
    walk(world)

    assert ["expired", "queued", "queued"] * 2 == [world.state_of(one) for one in waiting]
    assert 4 == world.client().queued
    assert [consts.EXPIRED] * 2 == [receipt.state for receipt in client.receipts()]
    world.tick(48 * HOUR_S)
    walk(world)
    assert {"expired"} == {world.state_of(one) for one in waiting}
    assert {} == world.disk.rows[tables.QUEUE]


def test_an_emptied_lane_takes_new_messages_at_once() -> None:
    world = World()
    client = world.connect()
    world.accepted(client)
    world.tick(49 * HOUR_S)
    walk(world)
    world.bind()
    late = world.accepted(client)

    assert [late] == world.sent_ids()


def test_after_a_crash_a_queue_expires_without_being_loaded() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    doubtful = world.accepted(client)
    assert link.unanswered
    world.crash()
    world.tick(49 * HOUR_S)
    walk(world)

    assert ("expired", 1) == (world.state_of(doubtful), world.ending(doubtful).resends)


def test_a_message_of_a_client_that_is_gone_expires_too() -> None:
    world = World()
    message_id = world.accepted(world.connect())
    world.crash(Setup(clients=(Shop("other"),)))
    world.tick(49 * HOUR_S)
    walk(world)

    assert "expired" == world.state_of(message_id)


def test_a_message_in_doubt_expires_and_its_client_hears_of_it() -> None:
    world = World(Setup(policy=Policy(in_doubt="hold")))
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.unbind(link)
    walk(world)
    assert "in_doubt" == world.state_of(message_id)
    world.tick(49 * HOUR_S)
    walk(world)

    assert "expired" == world.state_of(message_id)
    assert [consts.EXPIRED] == [receipt.state for receipt in client.receipts()]
    assert {} == world.disk.rows[tables.PARKED]


@pytest.mark.parametrize("crashed", [True, False])
def test_without_a_receipt_in_time_a_message_is_unknown(*, crashed: bool) -> None:
    world = World(Setup(carriers=(Smsc(receipt_timeout_s=10 * HOUR_S),)))
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    carrier_id = world.respond(link, message_id)
    world.settle()
    if crashed:
        world.crash()
        client = world.connect()
    world.tick(9 * HOUR_S)
    walk(world)
    assert "submitted" == world.state_of(message_id)
    world.tick(HOUR_S)
    walk(world)
    ending = world.ending(message_id)

    assert ("unknown", "no_receipt") == (world.state_of(message_id), ending.outcome)
    assert ("carrier-a", carrier_id) == (ending.carrier, ending.carrier_id)
    assert [consts.UNKNOWN] == [receipt.state for receipt in client.receipts()]
    assert 0 == world.state.carriers["carrier-a"].receipts.awaited


def test_a_carrier_that_is_not_configured_any_more_sends_no_receipts() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.respond(link, message_id)
    world.receipt(link, b"orphan")
    world.settle()
    other = Setup(carriers=(Smsc("other"),), routes=(Way(carriers=(("other", 1.0),)),))
    world.crash(other)
    world.tick(HOUR_S)
    walk(world)

    assert "submitted" == world.state_of(message_id)  # it may be configured again
    assert {} == world.disk.rows[tables.ORPHAN]
    world.tick(72 * HOUR_S)
    walk(world)
    assert "unknown" == world.state_of(message_id)


def test_an_orphan_is_kept_for_an_hour() -> None:
    world = World()
    world.receipt(world.bind(), b"orphan")
    world.tick(HOUR_S - 60.0)
    walk(world)
    assert 1 == len(world.disk.rows[tables.ORPHAN])
    world.tick(60.0)
    walk(world)

    assert {} == world.disk.rows[tables.ORPHAN]
    assert {} == world.state.carriers["carrier-a"].orphans


# Retention


def test_a_text_goes_after_a_week_and_the_rest_after_90_days() -> None:
    world = World(Setup(policy=RECORDS))
    message_id = ended(world)
    world.tick(6.9 * DAY_S)
    walk(world)
    assert b"hello" in world.message(message_id).body
    world.tick(0.2 * DAY_S)
    walk(world)
    assert b"" == world.message(message_id).body
    assert "delivered" == world.state_of(message_id)
    commits = world.disk.commits
    walk(world)
    assert commits == world.disk.commits  # once
    world.tick(83 * DAY_S)
    walk(world)

    for table in (tables.MESSAGE, tables.FINAL, tables.HISTORY):
        assert {} == world.disk.rows[table]
    totals = world.state.totals
    assert (1, 1, 0) == (totals.accepted, totals.purged, sum(totals.in_state))


def test_the_history_of_a_message_is_purged_with_it_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep, "BITE", 3)
    world = World(Setup(policy=Policy(text_keep_s=DAY_S, record_keep_s=2 * DAY_S)))
    client = world.connect()
    link = world.bind()
    gone = world.accepted(client)
    for _ in range(5):
        world.respond(link, gone, consts.ESME_RTHROTTLED)
        world.run(1.1)
    world.respond(link, gone, consts.ESME_RSUBMITFAIL)
    kept = world.accepted(client, validity=b"000010000000000R")
    world.respond(link, kept, consts.ESME_RTHROTTLED)
    world.settle()
    world.acknowledge(client)
    world.unbind(link)
    world.tick(2 * DAY_S)
    for _ in range(4):
        walk(world)

    assert [ids.to_key(kept)] == list(world.disk.rows[tables.MESSAGE])
    assert {ids.to_key(kept)} == {key[:8] for key in world.disk.rows[tables.HISTORY]}


def test_the_text_of_a_handsets_message_goes_after_a_week_and_its_numbers_stay() -> None:
    world = World(Setup(policy=RECORDS))
    client = world.connect()
    world.inbound(world.bind(), NUMBER)
    world.settle()
    world.acknowledge(client)
    world.tick(6.9 * DAY_S)
    walk(world)
    (key,) = world.disk.rows[tables.INBOUND]
    assert b"STOP" in world.disk.rows[tables.INBOUND][key]
    world.tick(0.2 * DAY_S)
    walk(world)
    row = records.decode_inbound(world.disk.rows[tables.INBOUND][key])

    assert (b"", HANDSET.encode(), NUMBER.encode()) == (row.body, row.source, row.destination)
    commits = world.disk.commits
    walk(world)
    assert commits == world.disk.commits  # once


def test_of_handsets_messages_only_the_old_lose_their_text() -> None:
    world = World()
    client, link = world.connect(), world.bind()
    world.inbound(link, NUMBER, b"old")
    world.settle()
    world.tick(6 * DAY_S)
    world.inbound(link, NUMBER, b"young")
    world.settle()
    world.acknowledge(client)
    world.tick(2 * DAY_S)
    walk(world)
    rows = [records.decode_inbound(row) for row in world.disk.rows[tables.INBOUND].values()]

    assert [False, True] == [bool(row.body) for row in rows]


def test_a_handsets_message_that_cannot_be_read_loses_its_text_too() -> None:
    world = World()
    row = records.Inbound("shop", "carrier-a", world.clock.wall, b"no submit_sm at all")
    world.machine.open.writes[tables.INBOUND][ids.to_key(1)] = records.encode(row)
    world.settle()
    world.tick(8 * DAY_S)
    walk(world)
    (left,) = [records.decode_inbound(row) for row in world.disk.rows[tables.INBOUND].values()]

    assert (b"", b"") == (left.body, left.source)


def test_a_handsets_message_whose_text_has_gone_is_not_delivered_any_more() -> None:
    policy = Policy(text_keep_s=DAY_S, record_keep_s=90 * DAY_S, undelivered_keep_s=3 * DAY_S)
    world = World(Setup(policy=policy))
    world.inbound(world.bind(), NUMBER)
    world.settle()
    world.crash()
    world.tick(DAY_S)
    walk(world)
    client = world.connect()
    world.settle()

    assert [] == client.inbox
    assert (1, 0) == (world.state.counters.undelivered, world.state.counters.damaged)
    assert {} == world.disk.rows[tables.OUTBOX]


def test_what_is_owed_to_a_client_that_only_transmits_is_dropped_in_time() -> None:
    world = World()
    client = world.connect(receives=False)
    link = world.bind()
    world.receipt(link, world.respond(link, world.accepted(client)))
    world.settle()
    world.tick(71 * HOUR_S)
    walk(world)
    assert 1 == len(world.disk.rows[tables.OUTBOX])
    receiver = world.connect()
    world.tick(2 * HOUR_S)
    walk(world)
    assert 1 == len(world.disk.rows[tables.OUTBOX]), "somebody has come to receive it"
    world.disconnect(receiver)
    walk(world)

    assert {} == world.disk.rows[tables.OUTBOX]
    assert 1 == world.state.counters.undelivered


@pytest.mark.parametrize("per", ["minute", "day"])
def test_what_a_campaign_that_is_gone_had_used_is_forgotten_when_no_limit_needs_it(
    per: str,
) -> None:
    limited = campaign("CGONE01", SLOW_NUMBER, limits=limits((per, 100)))
    world = World(Setup(registry=REGISTRY + limited))
    link = world.bind()
    world.respond(link, world.accepted(world.connect(), source=SLOW_NUMBER))
    world.settle()
    world.tick(6 * DAY_S)
    walk(world)
    assert 1 == len(world.disk.rows[tables.USAGE]), "it may send again, and is in the registry"
    world.crash()
    world.core.registry_apply(
        world.state.catalog.plan(parse(REGISTRY), prune=True), Done(), world.now
    )
    walk(world)

    assert {} == world.disk.rows[tables.USAGE]


def test_what_a_campaign_that_is_gone_has_used_today_counts_should_it_come_back() -> None:
    limited = campaign("CGONE01", SLOW_NUMBER, limits=limits(("day", 100)))
    world = World(Setup(registry=REGISTRY + limited))
    world.bind()
    world.accepted(world.connect(), source=SLOW_NUMBER)
    world.core.registry_apply(
        world.state.catalog.plan(parse(REGISTRY), prune=True), Done(), world.now
    )
    world.tick(DAY_S)
    walk(world)

    assert 1 == len(world.disk.rows[tables.USAGE])


def test_a_handsets_message_is_purged_by_when_it_came() -> None:
    world = World(Setup(policy=RECORDS))
    client = world.connect()
    world.inbound(world.bind(), NUMBER)
    world.settle()
    world.acknowledge(client)
    world.tick(89 * DAY_S)
    walk(world)
    assert 1 == len(world.disk.rows[tables.INBOUND])
    world.tick(DAY_S)
    walk(world)

    assert {} == world.disk.rows[tables.INBOUND]


# How it walks


def test_it_takes_a_bite_at_a_time_and_rests_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BITE", 3)
    world = World()
    link = world.bind()
    for place in range(8):
        world.receipt(link, b"%d" % place)
    world.pass_time(HOUR_S)
    left = []
    for _ in range(WALK):
        world.tick()
        left.append(len(world.disk.rows[tables.ORPHAN]))
        world.tick()  # too early
        world.pass_time(REST_S)

    before = [table for table, _, _ in sweep._WALK].index(tables.ORPHAN)
    assert [8] * before + [5, 2, 0] == left[: before + 3]


def test_it_rests_less_while_most_of_what_it_finds_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BITE", 3)
    world = World()
    link = world.bind()
    for place in range(6):
        world.receipt(link, b"%d" % place)
    world.pass_time(HOUR_S - 60.0)
    for place in range(6, 12):
        world.receipt(link, b"%d" % place)
    world.pass_time(60.0)
    rests = []
    for _ in range(WALK):
        began = world.clock.monotonic
        world.tick()
        rests.append(round(world.core.sweep.due_at - began, 6))
        world.pass_time(rests[-1])

    busy = rests.index(BUSY_REST_S)
    assert [BUSY_REST_S, BUSY_REST_S, REST_S, REST_S] == rests[busy : busy + 4]


def test_a_long_table_is_left_for_the_others_and_gone_on_with_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweep, "BITE", 2)
    monkeypatch.setattr(sweep, "VISIT", 2)
    world = World()
    client = world.connect()
    link = world.bind(window=20)
    world.receipt(link, b"orphan")
    world.unbind(link)
    kept = [world.accepted(client, validity=b"000010000000000R") for _ in range(7)]
    late = [world.accepted(client, validity=b"000000000100000R") for _ in range(2)]
    world.tick(2 * HOUR_S)
    seen = []
    for _ in range(3 * WALK):
        world.tick(REST_S)
        queued = len(world.disk.rows[tables.QUEUE])
        seen.append((queued, len(world.disk.rows[tables.ORPHAN])))

    # The orphan goes while the queue is not walked to its end yet, and the queue is, all the same.
    assert (9, 0) in seen
    assert (7, 0) == seen[-1]
    assert ["queued"] * 7 + ["expired"] * 2 == [world.state_of(one) for one in kept + late]


def test_a_walk_over_what_has_ended_stops_where_all_of_it_is_too_young(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Else it runs after the end of a table that grows as fast as it walks.
    monkeypatch.setattr(sweep, "BITE", 2)
    policy = Policy(text_keep_s=DAY_S, record_keep_s=2 * DAY_S)
    world = World(Setup(policy=policy))
    old = [ended(world) for _ in range(3)]
    world.pass_time(1.5 * DAY_S)
    young = [ended(world) for _ in range(5)]
    scanned: list[bytes] = []
    scan = world.disk.scan

    def noted(table: int, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        rows = scan(table, prefix, after, limit)
        if table == tables.FINAL:
            scanned.extend(key for key, _ in rows)
        return rows

    monkeypatch.setattr(world.disk, "scan", noted)
    for _ in range(WALK + 2):
        world.tick(REST_S)

    assert [b"", b"", b""] == [world.message(one).body for one in old]
    assert all(world.message(one).body for one in young)
    assert [ids.to_key(one) for one in (*old, *young[:3])] == scanned


def test_it_begins_again_after_a_pause() -> None:
    world = World()
    for _ in range(WALK):
        assert world.core.sweep.due_at <= world.clock.monotonic + REST_S
        world.tick(REST_S)
    assert pytest.approx(world.clock.monotonic + PASS_S) == world.core.next_wake()


@pytest.mark.parametrize("table", [tables.QUEUE, tables.PARKED, tables.AWAITING, tables.FINAL])
def test_a_row_whose_message_is_missing_is_left_to_those_who_count(table: int) -> None:
    policy = Policy(in_doubt="hold", text_keep_s=60.0)
    world = World(Setup(policy=policy, working_set=1))
    client = world.connect()
    link = world.bind(window=1)
    message_id = world.accepted(client)
    match table:
        case tables.QUEUE:
            world.accepted(client, validity=b"000010000000000R")
            message_id = world.accepted(client)
        case tables.PARKED:
            world.unbind(link)
        case tables.AWAITING:
            world.respond(link, message_id)
        case _:
            world.respond(link, message_id, consts.ESME_RSUBMITFAIL)
    world.settle()
    world.audited = False
    world.machine.open.writes[tables.MESSAGE][ids.to_key(message_id)] = None
    world.tick(73 * HOUR_S)
    rows = dict(world.disk.rows[table])
    walk(world)

    assert rows
    assert rows == world.disk.rows[table]


def test_an_awaited_id_that_is_another_messages_by_now_stays() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.respond(link, message_id, carrier_id=b"1")
    world.settle()
    carrier = world.state.carriers["carrier-a"]
    carrier.receipts._waiting[b"1"] = 12345
    world.tick(73 * HOUR_S)
    walk(world)

    assert "unknown" == world.state_of(message_id)
    assert {b"1": 12345} == carrier.receipts._waiting
