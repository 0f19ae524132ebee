"""Doubt: what may have been sent and was never answered, under each policy."""

from typing import Any

import pytest

from gateway.relay.state import Policy
from gateway.smpp import consts
from tests.relay.links import ClientLink
from tests.relay.setups import (
    COMPANIES,
    NUMBER,
    SLOW_NUMBER,
    Setup,
    campaign,
    limits,
)
from tests.relay.world import Done, World, outcome_of


def doubtful(policy: Policy | None = None, **fields: str) -> tuple[World, ClientLink, int]:
    """A message that was sent, and its link lost before the answer."""
    registry = COMPANIES + campaign("C1", NUMBER, **fields)
    world = World(Setup(registry=registry, policy=policy or Policy()))
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.unbind(link)
    world.settle()
    return world, client, message_id


def lose(world: World, times: int) -> None:
    """Bound, sent what there is, and lost without an answer."""
    for _ in range(times):
        link = world.bind()
        world.settle()
        world.unbind(link)
        world.settle()


def test_resend_sends_it_once_more_and_says_so() -> None:
    world, _, message_id = doubtful()
    assert "queued" == world.state_of(message_id)
    lose(world, 3)

    assert [message_id, message_id] == world.sent_ids()
    assert [0, 1] == [sent.resends for sent in world.sent]
    assert "in_doubt" == world.state_of(message_id)
    assert ["in_doubt", "resend", "in_doubt"] == world.history(message_id)
    assert (2, 1) == (world.state.counters.in_doubt, world.state.counters.resent)


@pytest.mark.parametrize("resends", [0, 1, 2, 3])
def test_it_is_sent_again_as_often_as_the_campaign_says_and_then_held(resends: int) -> None:
    world, _, message_id = doubtful(in_doubt='"resend"', in_doubt_resends=str(resends))
    lose(world, 5)

    assert list(range(resends + 1)) == [sent.resends for sent in world.sent]
    assert "in_doubt" == world.state_of(message_id)


def test_hold_keeps_it_where_it_is() -> None:
    world, client, message_id = doubtful(in_doubt='"hold"')
    lose(world, 2)

    assert [message_id] == world.sent_ids()
    assert "in_doubt" == world.state_of(message_id)
    assert [] == client.inbox


def test_fail_ends_it_and_tells_the_client() -> None:
    world, client, message_id = doubtful(in_doubt='"fail"')
    lose(world, 2)

    assert [message_id] == world.sent_ids()
    assert ("failed", "in_doubt") == (world.state_of(message_id), world.ending(message_id).outcome)
    assert [consts.UNDELIVERABLE] == [receipt.state for receipt in client.receipts()]
    assert b"in_doubt" == outcome_of(client.inbox[0].body)


@pytest.mark.parametrize(
    ("policy", "fields", "state"),
    [
        (Policy(in_doubt="fail"), {}, "failed"),
        (Policy(in_doubt="fail"), {"in_doubt": '"hold"'}, "in_doubt"),
        (Policy(in_doubt="hold"), {"in_doubt": '"resend"'}, "queued"),
        (Policy(in_doubt_resends=0), {}, "in_doubt"),
        (Policy(in_doubt_resends=0), {"in_doubt_resends": "1"}, "queued"),
        (Policy(in_doubt_resends=3), {"in_doubt_resends": "0"}, "in_doubt"),
    ],
)
def test_a_campaigns_own_policy_comes_before_the_daemons(
    policy: Policy, fields: dict[str, Any], state: str
) -> None:
    world, _, message_id = doubtful(policy, **fields)

    assert state == world.state_of(message_id)


def test_a_campaign_that_is_gone_follows_the_daemons_policy() -> None:
    world = World(Setup(policy=Policy(in_doubt="hold")))
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.state.catalog.campaigns.clear()
    world.unbind(link)
    world.settle()

    assert "in_doubt" == world.state_of(message_id)


@pytest.mark.parametrize(
    ("policy", "state", "sent"),
    [("resend", "in_flight", 2), ("hold", "in_doubt", 1), ("fail", "failed", 1)],
)
def test_a_crash_puts_all_that_was_in_flight_in_doubt(policy: str, state: str, sent: int) -> None:
    registry = COMPANIES + campaign("C1", NUMBER, in_doubt=f'"{policy}"')
    world = World(Setup(registry=registry))
    link = world.bind()
    message_id = world.accepted(world.connect())
    assert link.unanswered
    world.crash()
    client = world.connect()
    world.bind()
    world.settle()

    assert (state, sent) == (world.state_of(message_id), len(world.sent))
    assert list(range(sent)) == [entry.resends for entry in world.sent]
    assert (policy == "fail") == bool(client.inbox)


def test_what_was_committed_and_never_left_is_in_doubt_after_a_crash() -> None:
    # Nobody can know it: the row on disk says that it may have left.
    world = World()
    client = world.connect()
    world.bind()
    world.submit(client)
    turn = world.take()
    assert turn is not None
    world.commit(turn)
    world.crash()
    world.bind()
    world.settle()

    assert [1] == [sent.resends for sent in world.sent]
    assert 1 == world.state.counters.in_doubt


def test_what_was_not_committed_never_was() -> None:
    world = World()
    client = world.connect()
    world.bind()
    sequence_number = world.submit(client)
    world.take()
    world.crash()
    world.bind()
    world.settle()

    assert ([], 0) == (world.sent, world.state.totals.accepted)
    assert sequence_number not in client.answered


def test_the_resends_survive_crashes() -> None:
    world = World(Setup(policy=Policy(in_doubt_resends=2)))
    world.bind()
    message_id = world.accepted(world.connect())
    for _ in range(4):
        world.crash()
        world.bind()
        world.settle()

    assert [0, 1, 2] == [sent.resends for sent in world.sent]
    assert "in_doubt" == world.state_of(message_id)


def test_what_the_open_or_the_committing_turn_holds_was_never_sent() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    world.submit(client)
    turn = world.take()
    world.submit(client)
    world.unbind(link)
    assert turn is not None
    assert 0 == world.state.counters.in_doubt
    world.commit(turn)
    world.release(turn)
    world.settle()

    assert (0, 2) == (world.state.counters.in_doubt, world.state.counters.unsent)
    assert ["queued"] * 2 == [world.state_of(one.message_id) for one in client.answered.values()]
    world.bind()
    world.settle()
    assert [0, 0] == [sent.resends for sent in world.sent]


def test_a_bind_that_flaps_while_a_turn_commits_sends_nothing_twice() -> None:
    world = World()
    client = world.connect()
    old = world.bind()
    world.submit(client)
    turn = world.take()
    assert turn is not None
    world.unbind(old)
    again = world.bind()
    world.unbind(again)
    world.commit(turn)
    world.release(turn)
    world.settle()
    world.bind()
    world.settle()

    assert [0] == [sent.resends for sent in world.sent]
    assert 0 == world.state.counters.in_doubt


def test_only_what_a_lost_link_was_sent_is_in_doubt() -> None:
    world = World()
    client = world.connect()
    link = world.bind(window=5)
    answered, unanswered = world.accepted(client), world.accepted(client)
    world.respond(link, answered)
    world.unbind(link)
    world.settle()

    assert ["submitted", "queued"] == [world.state_of(one) for one in (answered, unanswered)]
    assert 1 == world.state.counters.in_doubt


def test_a_link_that_is_lost_twice_is_lost_once() -> None:
    world, _, message_id = doubtful()
    world.core.bind_down(1, world.now)
    world.core.bind_down(99, world.now)
    world.settle()

    assert "queued" == world.state_of(message_id)


def test_a_receivers_link_that_is_lost_leaves_nothing_in_doubt() -> None:
    world = World()
    world.unbind(world.bind(sends=False))
    world.settle()

    assert 0 == world.state.counters.in_doubt


def test_it_is_sent_again_over_another_bind_at_once_and_in_its_old_place() -> None:
    world = World()
    client = world.connect()
    lost = world.bind(window=1)
    first = world.accepted(client)
    second = world.accepted(client)
    world.bind(index=1, window=1)
    third = world.accepted(client)
    assert [first, second] == world.sent_ids()
    world.unbind(lost)
    world.settle()
    (other,) = [link for link in world.links.values() if link.id != client.id]
    world.respond(other, second)  # type: ignore[arg-type]
    world.settle()

    assert [first, second, first] == world.sent_ids()
    assert third not in world.sent_ids()


def test_doubt_costs_again_and_the_first_charge_stands() -> None:
    world, _, _ = doubtful(limits=limits(("day", 5)))
    world.bind()
    world.settle()
    (day,) = world.state.limits["C1"]

    assert 2 == day.used(world.now)


# What people decide


@pytest.mark.parametrize("again", [1, 2, 3])
def test_what_is_released_is_sent_again_and_says_so(again: int) -> None:
    world, _, message_id = doubtful(in_doubt='"hold"')
    for _ in range(again):
        assert "in_doubt" == world.state_of(message_id)
        ticket = Done()
        assert 1 == world.core.release_parked([message_id, message_id], ticket, world.now)
        world.settle()
        assert ticket.is_done
        assert "queued" == world.state_of(message_id)
        lose(world, 1)

    assert list(range(again + 1)) == [sent.resends for sent in world.sent]


def test_what_is_expired_ends_and_its_client_hears_of_it() -> None:
    world, client, message_id = doubtful(in_doubt='"hold"')
    ticket = Done()
    assert 1 == world.core.expire_parked([message_id, message_id], ticket, world.now)
    world.settle()

    assert ticket.is_done
    assert "expired" == world.state_of(message_id)
    assert [consts.EXPIRED] == [receipt.state for receipt in client.receipts()]
    assert "expired" == world.history(message_id)[-1]


def test_only_what_is_parked_can_be_released_or_expired() -> None:
    registry = COMPANIES + campaign("C1", NUMBER) + campaign("C2", SLOW_NUMBER)
    world = World(Setup(registry=registry))
    message_id = world.accepted(world.connect())

    for act in (world.core.release_parked, world.core.expire_parked):
        ticket = Done()
        assert 0 == act([message_id, 12345], ticket, world.now)
        world.settle()
        assert ticket.is_done
    assert "queued" == world.state_of(message_id)


def test_a_released_message_that_has_expired_is_not_sent() -> None:
    world, client, message_id = doubtful(in_doubt='"hold"')
    world.pass_time(50 * 3600.0)
    world.core.release_parked([message_id], Done(), world.now)
    world.settle()
    world.bind()
    world.settle()

    assert "expired" == world.state_of(message_id)
    assert 1 == len(world.sent)
    assert [consts.EXPIRED] == [receipt.state for receipt in client.receipts()]
