"""An import while traffic flows: the next message sees it, and no limit forgets what was sent."""

import pytest

from gateway.model.outcomes import OUTCOMES
from gateway.registry.importer import parse
from tests.relay.setups import COMPANIES, NUMBER, Setup, campaign, limits
from tests.relay.world import Done, World


def apply(world: World, text: str) -> Done:
    """Imports into the open turn, whatever another one is doing."""
    plan = world.state.catalog.plan(parse(text))
    assert () == plan.faults
    ticket = Done()
    world.core.registry_apply(plan, ticket, world.now)
    return ticket


def limited(*entries: tuple[str, float]) -> World:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(*entries))
    world = World(Setup(registry=registry))
    world.run(2.0)
    return world


def test_an_import_is_seen_at_once_and_done_when_it_is_on_disk() -> None:
    world = World()
    client = world.connect()
    ticket = apply(world, campaign("CFAST01", NUMBER, "12025550101", status='"SUSPENDED"'))
    refused = client.answered[world.submit(client)].status
    assert OUTCOMES["campaign_not_active"].status == refused
    assert not ticket.is_done
    world.settle()
    assert ticket.is_done
    world.crash()
    client = world.connect()

    assert refused == client.answered[world.submit(client)].status


def test_an_import_that_was_not_committed_never_was() -> None:
    world = World()
    apply(world, campaign("CFAST01", NUMBER, "12025550101", status='"SUSPENDED"'))
    world.take()
    world.crash()

    world.accepted(world.connect())


@pytest.mark.parametrize("per", ["second", "minute"])
@pytest.mark.parametrize("commit_s", [0.0, 0.4, 3.0])
def test_a_rate_that_changes_while_a_turn_commits_is_not_exceeded(
    per: str, commit_s: float
) -> None:
    period_s = 1.0 if per == "second" else 60.0
    world = limited((per, 5))
    client = world.connect()
    world.bind(window=100)
    for _ in range(20):
        world.submit(client)
    turn = world.take()
    assert turn is not None
    apply(world, campaign("C1", NUMBER, limits=limits((per, 6))))
    world.pass_time(commit_s)
    world.commit(turn)
    world.release(turn)
    world.settle()
    assert 6 == len(world.sent)
    world.run(period_s - 0.1)
    assert 6 == len(world.sent)
    world.run(0.2)

    assert 12 == len(world.sent)


def test_a_rate_that_is_lowered_counts_what_was_sent_before() -> None:
    world = limited(("second", 6))
    client = world.connect()
    world.bind(window=100)
    for _ in range(20):
        world.submit(client)
    world.settle()
    apply(world, campaign("C1", NUMBER, limits=limits(("second", 2))))
    world.run(1.0)
    assert 6 == len(world.sent)
    world.run(0.02)
    assert 8 == len(world.sent)
    world.run(0.9)

    assert 8 == len(world.sent)


def test_limits_that_are_taken_away_let_everything_go() -> None:
    world = limited(("second", 1), ("day", 3))
    client = world.connect()
    world.bind(window=100)
    for _ in range(9):
        world.submit(client)
    world.run(5.0)
    assert 3 == len(world.sent)
    apply(world, campaign("C1", NUMBER, limits="[]"))
    world.settle()

    assert 9 == len(world.sent)


def test_a_limit_of_a_new_kind_starts_closed() -> None:
    world = World()
    client = world.connect()
    world.bind(window=100)
    for _ in range(5):
        world.accepted(client)
    apply(
        world,
        campaign("CFAST01", NUMBER, "12025550101", limits=limits(("second", 4))),
    )
    for _ in range(5):
        world.accepted(client)
    assert 5 == len(world.sent)
    world.run(1.02)

    assert 9 == len(world.sent)


def test_a_day_is_reckoned_by_the_clocks_of_the_start_whenever_its_cap_came() -> None:
    world = World()
    client = world.connect()
    world.bind(window=100)
    world.clock.wall += 30 * 3_600.0  # set forward, before anybody had a cap
    apply(world, campaign("CFAST01", NUMBER, "12025550101", limits=limits(("day", 2))))
    for _ in range(6):
        world.accepted(client)
    assert 2 == len(world.sent)
    world.tick(16.5 * 3_600.0)  # 23:43 by the clock of the start
    assert 2 == len(world.sent)
    world.tick(0.5 * 3_600.0)

    assert 2 == len(world.sent)  # charged to that day already: the clocks disagreed
    world.tick(24 * 3_600.0)
    assert 4 == len(world.sent)
