"""What is damaged on disk or in a count: set aside and counted, and nobody waits for it."""

import pytest

from gateway.model import ids, tables
from gateway.relay import schedule
from gateway.relay.lanes import LaneState
from tests.relay.setups import DAY_S
from tests.relay.world import World


def test_a_queue_row_without_a_message_is_set_aside_and_counted() -> None:
    world = World(audited=False)
    client = world.connect()
    lost, good = world.accepted(client), world.accepted(client)
    world.machine.open.writes[tables.MESSAGE][ids.to_key(lost)] = None
    world.settle()
    world.crash()
    link = world.bind()
    world.settle()
    world.respond(link, good)
    world.settle()

    assert [good] == world.sent_ids()
    assert 1 == world.state.counters.damaged
    assert ["damaged"] == world.history(lost)
    world.crash()  # and it is not counted as waiting any more
    assert all(lane.rows == 0 for lane in world.state.lanes.values())


@pytest.mark.parametrize("rows", [0, 3])
def test_a_count_that_is_higher_than_its_rows_is_damage_and_no_endless_search(rows: int) -> None:
    world = World()
    client = world.connect()
    for _ in range(rows):
        world.accepted(client)
    world.audited = False
    lane = world.state.lane("us", "CFAST01", world.now)
    level = lane.levels[0]
    level.rows += 2
    level.working.dirty.add(level)
    if not rows:
        schedule.ready(world.state, lane)
    world.bind()
    world.settle()

    assert (rows, 1) == (len(world.sent), world.state.counters.damaged)
    assert (0, LaneState.IDLE) == (lane.rows, lane.state)
    assert {} == {k: v for k, v in world.disk.rows[tables.COUNT].items() if k[:5] == b"level"}


def test_a_level_that_has_lost_its_place_begins_again() -> None:
    world = World()
    client = world.connect()
    waiting = [world.accepted(client) for _ in range(3)]
    world.audited = False
    (lane,) = world.state.lanes.values()
    level = lane.levels[0]
    level.rewind()
    level.loaded_to = waiting[-1]  # behind all that there is
    world.bind()
    world.settle()

    assert (waiting, 0) == (world.sent_ids(), world.state.counters.damaged)


def test_a_lane_that_holds_nothing_but_damage_is_idle_again() -> None:
    world = World(audited=False)
    client = world.connect()
    lost = world.accepted(client)
    world.machine.open.writes[tables.MESSAGE][ids.to_key(lost)] = None
    world.settle()
    world.crash()
    world.bind()
    world.settle()
    good = world.accepted(world.connect())

    assert [good] == world.sent_ids()
    assert DAY_S > world.core.next_wake() - world.clock.monotonic
