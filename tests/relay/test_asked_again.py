"""What may have changed while a message waited is asked again right before its submit."""

import pytest

from gateway.model import ids, records, tables
from gateway.registry.importer import parse
from gateway.relay.lanes import LaneState
from gateway.smpp import consts
from tests.relay.setups import COMPANIES, NUMBER, campaign
from tests.relay.world import Done, World


def suspended(world: World, **fields: str) -> None:
    world.register(COMPANIES + campaign("CFAST01", NUMBER, "12025550101", **fields))


@pytest.mark.parametrize("status", ['"SUSPENDED"', '"EXPIRED"'])
def test_a_campaign_that_was_suspended_while_messages_wait_is_not_sent(status: str) -> None:
    world = World()
    client = world.connect()
    waiting = [world.accepted(client) for _ in range(3)]
    suspended(world, status=status)
    world.bind()
    world.run(120.0)
    (lane,) = world.state.lanes.values()
    assert ([], LaneState.BLOCKED) == (world.sent, lane.state)
    suspended(world)

    assert waiting == world.sent_ids()


def test_what_comes_back_to_a_campaign_that_was_suspended_stays() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    suspended(world, status='"SUSPENDED"')
    world.respond(link, message_id, consts.ESME_RTHROTTLED)
    world.run(30.0)

    assert ("queued", 1) == (world.state_of(message_id), len(world.sent))


def test_a_campaign_that_is_gone_is_not_sent_without_its_limits() -> None:
    world = World()
    client = world.connect()
    message_id = world.accepted(client)
    plan = world.state.catalog.plan(parse(COMPANIES), prune=True)
    world.core.registry_apply(plan, Done(), world.now)
    world.settle()
    world.bind()
    world.run(60.0)

    assert ("queued", []) == (world.state_of(message_id), world.sent)


def test_a_suspended_campaigns_messages_expire_all_the_same() -> None:
    world = World()
    client = world.connect()
    message_id = world.accepted(client, validity=b"000000000100000R")
    suspended(world, status='"SUSPENDED"')
    world.bind()
    world.run(90.0)
    (lane,) = world.state.lanes.values()

    assert "expired" == world.state_of(message_id)
    suspended(world)
    assert LaneState.IDLE is lane.state


def test_a_message_whose_number_has_left_the_campaign_is_held_and_the_next_one_goes() -> None:
    world = World()
    client = world.connect()
    moved, stays = (world.accepted(client, source=one) for one in (NUMBER, "12025550101"))
    text = COMPANIES + campaign("CFAST01", "12025550101") + campaign("CSLOW01", NUMBER)
    world.register(text)
    world.bind()
    world.settle()
    parked = records.decode_parked(world.disk.rows[tables.PARKED][ids.to_key(moved)])

    assert [stays] == world.sent_ids()
    assert ("held", "number_not_assigned") == (world.state_of(moved), parked.reason)
    world.core.release_parked([moved], Done(), world.now)
    world.settle()
    assert "held" == world.state_of(moved)
    world.register(COMPANIES + campaign("CFAST01", NUMBER, "12025550101") + campaign("CSLOW01"))
    world.core.release_parked([moved], Done(), world.now)
    world.settle()
    assert [stays, moved] == world.sent_ids()
