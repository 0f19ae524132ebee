"""From the rows on disk to the state in memory: all of it, whatever was configured since."""

import pytest

from gateway.model import ids, records, tables
from gateway.registry.importer import parse
from gateway.relay import recover
from gateway.relay.lanes import LaneState
from gateway.relay.state import Policy
from gateway.smpp import consts
from tests.relay.setups import (
    COMPANIES,
    NUMBER,
    SLOW_NUMBER,
    Setup,
    Shop,
    Smsc,
    Way,
    campaign,
    limits,
)
from tests.relay.world import Done, World

BARE = Setup(clients=(), carriers=(), routes=())
"""Everything that was configured is gone."""

OTHER_WAY = Setup(routes=(Way("renamed"),))


def busy(setup: Setup | None = None) -> World:
    """Some of everything: queued, in flight, awaiting, in doubt, ended, owed, orphans, inbound."""
    world = World(setup or Setup(policy=Policy(in_doubt="hold")))
    client = world.connect(receives=False)
    lost = world.bind(window=1)
    world.accepted(client)
    world.unbind(lost)
    link = world.bind(window=5)
    ended, awaiting = world.accepted(client), world.accepted(client)
    world.respond(link, ended, consts.ESME_RINVDSTADR)
    world.respond(link, awaiting, carrier_id=b"awaited")
    world.receipt(link, b"orphaned")
    world.inbound(link, NUMBER)
    for priority in (0, 0, 0, 3, 2, 0, 0, 0):
        world.accepted(client, priority=priority)
    return world


def test_each_start_has_ids_of_its_own() -> None:
    world = World()
    client = world.connect()
    first = world.accepted(client)
    world.crash()
    second = world.accepted(world.connect())
    world.crash()
    world.crash()
    third = world.accepted(world.connect())

    assert [1, 2, 4] == [one >> ids.COUNTER_BITS for one in (first, second, third)]
    assert 4 == world.state.starts


def test_the_number_of_starts_is_written_before_anything_else() -> None:
    world = World()
    world.start()
    world.start()

    assert (3).to_bytes(8, "big") == world.disk.rows[tables.META][recover.STARTS]


def test_all_of_a_busy_gateway_is_there_again() -> None:
    world = busy()
    totals = list(world.state.totals.in_state)
    queued = world.client().queued
    world.crash()
    carrier = world.state.carriers["carrier-a"]

    assert 3 == queued == world.client().queued
    assert world.state.totals.accepted == sum(world.state.totals.in_state) == sum(totals)
    assert ({b"awaited"}, {b"orphaned"}) == (set(carrier.receipts._waiting), set(carrier.orphans))
    assert 1 == world.client().outbox.rows
    assert {} == world.disk.rows[tables.IN_FLIGHT]
    assert 5 == world.state.counters.in_doubt
    assert "CFAST01" in world.state.catalog.campaigns
    assert [] == world.warnings


def test_the_queue_goes_on_in_its_order_and_new_ones_behind_it() -> None:
    world = World()
    client = world.connect()
    order = [world.accepted(client) for _ in range(3)]
    urgent = world.accepted(client, priority=3)
    world.crash()
    order.append(world.accepted(world.connect()))
    (lane,) = world.state.lanes.values()
    assert [LaneState.READY] == [lane.state]
    world.bind()
    world.settle()

    assert [urgent, *order] == world.sent_ids()


def test_what_is_sent_again_has_its_old_place_in_the_queue() -> None:
    world = World()
    client = world.connect()
    world.bind(window=2)
    order = [world.accepted(client) for _ in range(5)]
    world.crash()
    world.bind()
    world.settle()

    assert order[:2] + order == world.sent_ids()


def test_no_queue_is_read_at_the_start() -> None:
    world = World(audited=False)
    client = world.connect()
    for _ in range(2_000):
        world.submit(client)
    world.settle()
    reads: list[int] = []
    scan = world.disk.scan

    def watched(table: int, prefix: bytes, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        reads.append(table)
        return scan(table, prefix, after, limit)

    world.disk.scan = watched  # type: ignore[method-assign]
    world.crash()

    assert {tables.QUEUE, tables.MESSAGE, tables.OUTBOX}.isdisjoint(reads)
    assert 2_000 == world.client().queued


def test_tables_are_read_a_page_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "PAGE", 2)
    world = World()
    client = world.connect()
    link = world.bind()
    for place in range(5):
        world.respond(link, world.accepted(client), carrier_id=b"%d" % place)
    world.settle()
    world.crash()

    assert 5 == len(world.state.carriers["carrier-a"].receipts)


# What is not configured any more


def test_without_anything_configured_nothing_is_lost() -> None:
    world = busy()
    before = {table: dict(world.disk.rows[table]) for table in (tables.MESSAGE, tables.QUEUE)}
    world.crash(BARE._replace(policy=Policy(in_doubt="hold")))
    for _ in range(9):
        world.tick(1.0)

    assert before == {table: world.disk.rows[table] for table in (tables.MESSAGE, tables.QUEUE)}
    assert ["route 'us'" in one or "client 'shop'" in one for one in world.warnings] == [True] * 2
    world.crash(Setup())
    world.bind(window=100)
    world.settle()
    assert [] == list(world.disk.queued())
    assert 0 == world.client().queued


def test_a_route_that_is_gone_keeps_its_messages_until_it_is_there_again() -> None:
    world = World()
    message_id = world.accepted(world.connect())
    world.crash(OTHER_WAY)
    (warning,) = world.warnings
    world.bind()
    world.settle()
    assert "'us'" in warning
    assert ("queued", []) == (world.state_of(message_id), world.sent)
    other = world.accepted(world.connect())
    assert [other] == world.sent_ids()
    world.crash(Setup())
    world.bind()
    world.settle()

    assert message_id in world.sent_ids()


def test_what_was_in_flight_on_a_route_that_is_gone_waits_there() -> None:
    world = World()
    world.bind()
    message_id = world.accepted(world.connect())
    world.crash(OTHER_WAY)
    world.bind()
    world.settle()

    assert "queued" == world.state_of(message_id)
    assert 1 == len(world.sent)


def test_what_is_released_on_a_route_that_is_gone_waits_there() -> None:
    world = World(Setup(policy=Policy(in_doubt="hold")))
    world.bind()
    message_id = world.accepted(world.connect())
    world.crash(OTHER_WAY._replace(policy=Policy(in_doubt="hold")))
    assert 1 == world.core.release_parked([message_id], Done(), world.now)
    world.settle()

    assert "queued" == world.state_of(message_id)


def test_what_ends_without_its_client_ends_all_the_same() -> None:
    world = World()
    client = world.connect()
    link = world.bind(window=1)
    awaiting, waiting = world.accepted(client), world.accepted(client)
    carrier_id = world.respond(link, awaiting)
    world.settle()
    world.crash(Setup(clients=(Shop("other"),)))
    link = world.bind()
    world.settle()
    world.receipt(link, carrier_id)
    world.respond(link, waiting, consts.ESME_RSUBMITFAIL)
    world.settle()

    assert ["delivered", "failed"] == [world.state_of(one) for one in (awaiting, waiting)]
    assert {} == world.disk.rows[tables.OUTBOX]


def test_a_carrier_that_is_gone_is_not_awaited() -> None:
    world = busy()
    world.crash(Setup(carriers=(Smsc("other"),), routes=(Way(carriers=(("other", 1.0),)),)))
    carrier = world.state.carriers["other"]

    assert (0, {}) == (len(carrier.receipts), carrier.orphans)


def test_a_bind_that_is_gone_leaves_nothing_in_flight() -> None:
    world = World()
    world.bind(index=1)
    message_id = world.accepted(world.connect())
    assert [b"carrier-a\x001"] == list(world.disk.rows[tables.IN_FLIGHT])
    world.crash()
    world.bind(index=0)
    world.settle()

    assert [b"carrier-a\x000"] == list(world.disk.rows[tables.IN_FLIGHT])
    assert "in_flight" == world.state_of(message_id)


# Damage


def test_a_message_in_flight_without_its_row_is_counted_and_stepped_over() -> None:
    world = World()
    client = world.connect()
    world.bind()
    lost, good = world.accepted(client), world.accepted(client)
    world.audited = False
    world.machine.open.writes[tables.MESSAGE][ids.to_key(lost)] = None
    world.settle()
    world.crash()
    world.bind()
    world.settle()

    assert 1 == world.state.counters.damaged
    assert good == world.sent_ids()[-1]


def test_a_count_that_this_release_does_not_know_is_left_alone() -> None:
    world = World(audited=False)
    world.machine.open.writes[tables.COUNT][b"later\0x"] = b"7"
    world.settle()
    world.crash()

    assert b"7" == world.disk.rows[tables.COUNT][b"later\0x"]


def test_a_registry_row_that_cannot_be_read_is_warned_of() -> None:
    world = World()
    world.machine.open.writes[tables.REGISTRY][b"campaign:CFAST01"] = b"\xc1"
    world.settle()
    world.crash()
    client = world.connect()

    assert ["campaign:CFAST01" in warning for warning in world.warnings] == [True]
    assert 0 != client.answered[world.submit(client)].status


# Limits


def test_a_campaigns_rate_starts_closed_but_not_for_ever() -> None:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("second", 5)))
    world = World(Setup(registry=registry))
    world.run(2.0)
    world.bind()
    first = world.accepted(world.connect())
    world.crash()
    client = world.connect()
    world.bind()
    world.settle()
    assert [first] == world.sent_ids()
    world.run(1.1)
    assert [first, first] == world.sent_ids()

    world.crash()
    world.run(5.0)
    client = world.connect()
    world.bind()
    late = world.accepted(client)
    assert late == world.sent_ids()[-1]  # nothing of it was sent since the start


def test_a_carriers_rate_starts_closed() -> None:
    world = World(Setup(carriers=(Smsc(tps=10.0),)))
    world.bind()
    world.accepted(world.connect())
    assert [] == world.sent
    world.run(1.1)

    assert 1 == len(world.sent)


def test_what_was_used_of_a_minute_and_a_day_is_known_after_a_crash() -> None:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("minute", 5), ("day", 8)))
    world = World(Setup(registry=registry))
    client = world.connect()
    world.bind(window=100)
    for _ in range(20):
        world.submit(client)
    world.settle()
    assert 5 == len(world.sent)
    world.crash(Setup(registry=registry, policy=Policy(in_doubt="hold")))
    world.bind(window=100)
    world.run(59.0)
    assert 5 == len(world.sent)
    world.run(4.0)
    assert 8 == len(world.sent)
    world.run(600.0)
    assert 8 == len(world.sent)


def test_a_kind_of_limit_that_is_put_before_another_resets_nothing() -> None:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("day", 2)))
    world = World(Setup(registry=registry))
    client = world.connect()
    world.bind()
    for _ in range(4):
        world.accepted(client)
    world.register(campaign("C1", NUMBER, limits=limits(("second", 50), ("day", 2))))
    world.run(5.0)
    assert 2 == len(world.sent)
    world.crash(Setup(policy=Policy(in_doubt="hold")))
    world.bind()
    world.run(5.0)

    assert 2 == len(world.sent)


def test_a_campaign_that_is_gone_has_no_limits_and_comes_back_with_its_use() -> None:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("day", 2)))
    world = World(Setup(registry=registry + campaign("C2", SLOW_NUMBER)))
    client = world.connect()
    world.bind()
    for _ in range(2):
        world.accepted(client)
    plan_without = COMPANIES + campaign("C2", SLOW_NUMBER)
    _import(world, plan_without, prune=True)
    assert () == world.state.limits["C1"]
    world.register(campaign("C1", NUMBER, limits=limits(("day", 2))))

    assert "queued" == world.state_of(world.accepted(client))


def test_a_client_that_is_configured_again_has_room_for_what_was_sent_meanwhile() -> None:
    world = World(Setup(clients=(Shop(queue_limit=3),)))
    for _ in range(3):
        world.accepted(world.connect())
    world.crash(Setup(clients=()))
    link = world.bind()
    world.settle()
    for message_id in list(link.unanswered):
        world.respond(link, message_id)
    world.settle()
    world.crash(Setup(clients=(Shop(queue_limit=3),)))
    client = world.connect()

    assert 0 == world.client().queued
    for _ in range(3):
        world.accepted(client)


def _import(world: World, text: str, *, prune: bool) -> None:
    plan = world.state.catalog.plan(parse(text), prune=prune)
    assert () == plan.faults
    world.core.registry_apply(plan, Done(), world.now)
    world.settle()


def test_rows_of_an_older_message_are_read() -> None:
    # Fields are only ever added at the end, so an old row has fewer.
    world = World()
    message_id = world.accepted(world.connect())
    message = world.message(message_id)
    assert (0, 0, 0.0) == (message.resends, message.attempts, message.submitted_at)
    assert message == records.decode_message(records.encode(message))
