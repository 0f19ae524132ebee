"""Times: `schedule_delivery_time` is kept in our queue, and `validity_period` ends there."""

import pytest

from gateway.model import ids, records, tables
from gateway.relay import due
from gateway.smpp import consts
from gateway.smpp.time import format_time
from tests.relay.links import ClientLink, sm_of
from tests.relay.setups import COMPANIES, HOUR_S, NUMBER, Setup, Shop, campaign
from tests.relay.world import WALK, WALL, Done, World

IN_AN_HOUR = b"000000010000000R"
TWO_HOURS = b"000000020000000R"


def scheduled(when: bytes = IN_AN_HOUR, **fields: bytes) -> tuple[World, ClientLink, int]:
    """A message that waits for its time, with a carrier that would take it."""
    world = World()
    client = world.connect()
    world.bind()
    message_id = world.accepted(client, schedule=when, **fields)
    return world, client, message_id


def body_sent(world: World) -> bytes:
    (body,) = [
        m.body for link in world.links.values() for m in getattr(link, "unanswered", {}).values()
    ]
    assert isinstance(body, bytes)
    return body


@pytest.mark.parametrize("is_absolute", [True, False])
def test_it_goes_at_its_time_and_not_before(is_absolute: bool) -> None:
    world = World()
    client = world.connect()
    world.bind()
    when = format_time(world.clock.wall + HOUR_S) if is_absolute else IN_AN_HOUR
    message_id = world.accepted(client, schedule=when)
    world.run(HOUR_S - 1.0)
    assert ("held", []) == (world.state_of(message_id), world.sent)
    world.run(1.01)

    assert "in_flight" == world.state_of(message_id)
    assert pytest.approx(WALL + HOUR_S, abs=0.002) == world.sent[0].wall
    assert {} == world.disk.rows[tables.DUE]


def test_one_that_is_due_soon_is_woken_for_and_not_found_by_chance() -> None:
    world = World()
    world.connect()
    world.run(60.0)
    (client,) = world.links.values()
    world.bind()
    world.submit(client, schedule=b"000000000002000R")  # type: ignore[arg-type]
    submitted_at = world.clock.monotonic
    assert world.core.next_wake() <= submitted_at + 2.0
    world.core.sweep.due_at = float("inf")  # whose ticks would find it, too
    world.run(2.01)

    assert pytest.approx(submitted_at + 2.0, abs=0.002) == world.sent[0].monotonic


def test_the_carrier_is_told_no_time_to_wait_for() -> None:
    world, _, _ = scheduled(validity=TWO_HOURS)
    ends_at = world.clock.wall + 2 * HOUR_S
    world.run(HOUR_S + 0.01)
    sm = sm_of(body_sent(world))

    assert (b"", format_time(ends_at)) == (sm.schedule_delivery_time, sm.validity_period)
    assert b"hello" == sm.short_message


def test_a_validity_that_counts_from_the_submit_is_told_as_the_moment_it_ends() -> None:
    world = World()
    client = world.connect()
    world.accepted(client, validity=IN_AN_HOUR)
    ends_at = world.clock.wall + HOUR_S
    world.run(600.0)
    world.bind()
    world.settle()

    assert format_time(ends_at) == sm_of(body_sent(world)).validity_period


def test_a_validity_of_99_years_is_cut() -> None:
    world = World()
    message_id = world.accepted(world.connect(), validity=b"990000000000000R")

    assert world.clock.wall + 90 * 86_400.0 == world.message(message_id).expires_at


def test_a_time_that_has_passed_means_at_once() -> None:
    world = World()
    client = world.connect()
    world.bind()
    message_id = world.accepted(client, schedule=format_time(world.clock.wall - 5.0))

    assert "in_flight" == world.state_of(message_id)
    assert b"" == sm_of(body_sent(world)).schedule_delivery_time


@pytest.mark.parametrize(
    ("schedule", "validity", "status"),
    [
        (b"tomorrow morning", b"", consts.ESME_RINVSCHED),
        (b"010000000000000R", b"", consts.ESME_RINVSCHED),
        (TWO_HOURS, IN_AN_HOUR, consts.ESME_RINVEXPIRY),
        (IN_AN_HOUR, IN_AN_HOUR, consts.ESME_RINVEXPIRY),
    ],
)
def test_a_time_that_cannot_be_is_refused(schedule: bytes, validity: bytes, status: int) -> None:
    world = World(Setup(policy=Setup().policy.__class__(status_style="standard")))
    client = world.connect()
    sequence_number = world.submit(client, schedule=schedule, validity=validity)

    assert status == client.answered[sequence_number].status


def test_its_own_expiry_counts_from_its_time() -> None:
    world, _, message_id = scheduled()
    row = world.message(message_id)

    assert row.expires_at - row.accepted_at == HOUR_S + 48 * HOUR_S


def test_it_survives_a_crash() -> None:
    world, _, message_id = scheduled()
    world.run(600.0)
    world.crash()
    world.bind()
    world.run(HOUR_S - 601.0)
    assert [] == world.sent
    world.run(1.01)

    assert [message_id] == world.sent_ids()


def test_a_moment_that_came_while_we_were_down_is_not_missed() -> None:
    world, _, message_id = scheduled()
    world.pass_time(2 * HOUR_S)
    world.crash()
    world.bind()
    world.run(1.0)

    assert [message_id] == world.sent_ids()


def test_it_counts_against_its_clients_queue_until_it_goes() -> None:
    world = World(Setup(clients=(Shop(queue_limit=2),)))
    client = world.connect()
    world.bind()
    for _ in range(2):
        world.accepted(client, schedule=IN_AN_HOUR)
    refused = world.submit(client)
    assert consts.ESME_RMSGQFUL == client.answered[refused].status
    world.crash()
    assert 2 == world.client().queued
    world.bind()
    world.run(HOUR_S + 0.01)

    assert (0, 2) == (world.client().queued, len(world.sent))


def test_a_wall_clock_that_steps_forward_is_noticed_soon() -> None:
    world, _, message_id = scheduled()
    world.run(60.0)
    world.clock.wall += HOUR_S
    world.run(due.LOOK_S)

    assert [message_id] == world.sent_ids()


def test_many_of_one_moment_go_a_bite_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "BITE", 3)
    world = World()
    client = world.connect()
    world.bind(window=100)
    expected = [world.accepted(client, schedule=IN_AN_HOUR) for _ in range(10)]
    world.accepted(client, schedule=TWO_HOURS)
    world.pass_time(HOUR_S)
    left = []
    for _ in range(4):
        world.tick()
        left.append(len(world.disk.rows[tables.DUE]))

    assert ([8, 5, 2, 1], expected) == (left, world.sent_ids())


def test_people_may_release_or_expire_it_before() -> None:
    world, client, first = scheduled()
    second = world.accepted(client, schedule=IN_AN_HOUR)
    assert 1 == world.core.release_parked([first], Done(), world.now)
    assert 1 == world.core.expire_parked([second], Done(), world.now)
    world.settle()

    assert ["in_flight", "expired"] == [world.state_of(one) for one in (first, second)]
    assert ({}, 0) == (world.disk.rows[tables.DUE], world.client().queued)
    world.run(HOUR_S)
    assert [first] == world.sent_ids()


def test_the_sweep_ends_one_whose_validity_is_over() -> None:
    world, _, message_id = scheduled(validity=TWO_HOURS)
    world.pass_time(3 * HOUR_S)
    world.core.state.due_at = float("inf")  # before its moment is looked at
    world.state.due_wake = float("inf")
    for _ in range(WALK + 2):
        world.core.sweep.due_at = 0.0
        world.core.sweep.step(world.state, world.now)
    world.settle()

    assert "expired" == world.state_of(message_id)
    assert ({}, 0) == (world.disk.rows[tables.DUE], world.client().queued)


def test_a_moment_without_its_message_is_damage_and_is_counted() -> None:
    world, _, message_id = scheduled()
    world.audited = False
    world.machine.open.writes[tables.PARKED][ids.to_key(message_id)] = None
    world.settle()
    world.run(HOUR_S + 0.01)

    assert (1, {}) == (world.state.counters.damaged, world.disk.rows[tables.DUE])


def test_it_is_shown_as_held_until_its_time() -> None:
    world, _, message_id = scheduled()
    row = records.decode_parked(world.disk.rows[tables.PARKED][ids.to_key(message_id)])

    assert ("scheduled", world.clock.wall + HOUR_S) == (row.reason, row.until)


def test_its_campaign_is_asked_again_when_it_goes() -> None:
    world, _, message_id = scheduled()
    world.register(COMPANIES + campaign("CFAST01", NUMBER, status='"SUSPENDED"'))
    world.run(HOUR_S + 60.0)
    assert ("queued", []) == (world.state_of(message_id), world.sent)
    world.register(COMPANIES + campaign("CFAST01", NUMBER))

    assert [message_id] == world.sent_ids()
