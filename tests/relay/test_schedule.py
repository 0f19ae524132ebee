"""Who sends next: at once or from a lane, over which carrier and bind, and never too fast."""

from collections import Counter

import pytest

from gateway.relay import schedule
from gateway.relay.lanes import LaneState
from gateway.relay.parties import Match
from gateway.relay.schedule import QUANTUM
from gateway.smpp import consts
from tests.relay.links import ClientLink
from tests.relay.setups import (
    COMPANIES,
    NUMBER,
    SLOW_NUMBER,
    Setup,
    Smsc,
    Way,
    campaign,
    limits,
)
from tests.relay.world import World

TWO = COMPANIES + campaign("CFAST01", NUMBER) + campaign("CSLOW01", SLOW_NUMBER)
A, B = Smsc("carrier-a"), Smsc("carrier-b")


def limited(*entries: tuple[str, float], smsc: Smsc = A) -> World:
    """One campaign with these limits, two seconds after the start."""
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(*entries))
    world = World(Setup(carriers=(smsc,), registry=registry))
    world.run(2.0)
    return world


def in_a_second(world: World, start: float) -> int:
    """Segments that left in the second from this moment on."""
    return sum(sent.segments for sent in world.sent if start <= sent.monotonic < start + 1.0)


# At once, or in order


def test_a_message_whose_lane_is_empty_goes_in_the_turn_that_admits_it() -> None:
    world = World()
    client = world.connect()
    world.bind()
    world.settle()
    commits = world.disk.commits
    message_id = world.accepted(client)

    assert [message_id] == world.sent_ids()
    assert commits + 1 == world.disk.commits
    assert [] == list(world.disk.queued())


def test_without_a_carrier_it_waits_and_goes_when_one_is_bound() -> None:
    world = World()
    client = world.connect()
    waiting = [world.accepted(client) for _ in range(3)]
    assert [] == world.sent
    world.bind(window=2)
    world.settle()
    assert waiting[:2] == world.sent_ids()
    world.bind(index=1, window=2)
    world.settle()

    assert waiting == world.sent_ids()


def test_a_receiver_is_sent_nothing() -> None:
    world = World()
    world.bind(sends=False)
    world.accepted(world.connect())

    assert [] == world.sent


def test_a_queue_is_served_by_priority_and_then_by_arrival() -> None:
    world = World()
    client = world.connect()
    low = [world.accepted(client, priority=0) for _ in range(2)]
    high = [world.accepted(client, priority=3) for _ in range(2)]
    middle = world.accepted(client, priority=1)
    late = world.accepted(client, priority=3)
    world.bind()
    world.settle()

    assert [*high, late, middle, *low] == world.sent_ids()


def test_a_new_message_does_not_overtake_those_that_wait() -> None:
    world = World()
    client = world.connect()
    link = world.bind(window=1)
    first, second = (world.accepted(client) for _ in range(2))
    world.respond(link, first)
    third = world.submit(client)
    world.settle()

    assert [first, second] == world.sent_ids()
    world.respond(link, second)
    world.settle()
    assert client.answered[third].message_id == world.sent_ids()[-1]


def test_the_bind_with_most_room_is_taken() -> None:
    world = World()
    client = world.connect()
    small, large = world.bind(window=3), world.bind(index=1, window=6)
    for _ in range(5):
        world.accepted(client)

    assert (1, 4) == (len(small.unanswered), len(large.unanswered))


def test_lanes_take_turns() -> None:
    world = World(Setup(registry=TWO), audited=False)
    client = world.connect()
    for _ in range(100):
        world.submit(client)
    for _ in range(100):
        world.submit(client, source=SLOW_NUMBER)
    world.bind(window=80)
    world.settle()
    sent = Counter(sent.campaign for sent in world.sent)

    assert 80 == len(world.sent)
    assert abs(sent["CFAST01"] - sent["CSLOW01"]) <= QUANTUM


def test_a_lane_that_has_room_is_not_hidden_by_lanes_of_a_full_carrier() -> None:
    # One route, two carriers: pairs of the full one wait, those of the other go on.
    registry = COMPANIES + "".join(
        campaign(f"C{place:03}", f"1202555{place:04}") for place in range(60)
    )
    ways = (Way("us", carriers=(("carrier-a", 1.0), ("carrier-b", 1.0))),)
    world = World(Setup(carriers=(A, B), routes=ways, registry=registry), audited=False)
    client = world.connect()
    for place in range(60):
        for last in range(3):
            world.submit(client, source=f"1202555{place:04}", to=f"1310555{last:04}")
    full, free = world.bind("carrier-a", window=1), world.bind("carrier-b", window=1)
    world.settle()
    for _ in range(300):
        if not free.unanswered:
            break
        world.respond(free, next(iter(free.unanswered)))
        world.settle()

    # What is left waits behind the full one: nothing for the free one is first in any lane.
    route = world.state.routes[0]
    firsts = [lane.first() for lane in world.state.lanes.values()]
    heads = [level.head[0] for level in firsts if level is not None]
    assert 1 == len(full.unanswered)
    assert heads
    assert {"carrier-a"} == {
        carrier.name for carrier in map(route.carrier_for, heads) if carrier is not None
    }


def test_one_call_sends_a_bounded_number_and_asks_to_be_called_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedule, "PUMP_MAX", QUANTUM)
    world = World(audited=False)
    client = world.connect()
    for _ in range(3 * QUANTUM):
        world.submit(client)
    world.bind(window=100)
    assert QUANTUM == len(next(iter(world.machine.open.submits.values())))
    assert 0.0 == world.core.next_wake()
    world.core.tick(world.now)
    world.core.tick(world.now)
    world.settle()

    assert 3 * QUANTUM == len(world.sent)
    assert world.core.next_wake() > world.clock.monotonic


# Limits


def test_a_limit_is_kept_in_every_second_and_used_up() -> None:
    world = limited(("second", 5))
    client = world.connect()
    world.bind(window=100)
    began = world.clock.monotonic
    for _ in range(30):
        world.submit(client)
    world.run(4.5)

    assert max(in_a_second(world, sent.monotonic) for sent in world.sent) == 5
    assert [5, 5, 5, 5] == [in_a_second(world, began + 1.01 * place) for place in range(4)]


def test_long_messages_are_charged_by_the_segment_all_or_nothing() -> None:
    world = limited(("second", 5))
    client = world.connect()
    world.bind(window=100)
    for _ in range(6):
        world.submit(client, b"x" * 254)  # two segments
    world.settle()

    assert 2 == len(world.sent)
    world.run(1.02)
    assert 4 == len(world.sent)


def test_a_carriers_rate_is_shared_by_its_binds_and_campaigns() -> None:
    world = World(Setup(carriers=(A._replace(tps=4.0),), registry=TWO))
    world.run(2.0)
    client = world.connect()
    world.bind(window=100)
    world.bind(index=1, window=100)
    for source in (NUMBER, SLOW_NUMBER) * 10:
        world.submit(client, source=source)
    world.run(3.0)

    assert max(in_a_second(world, sent.monotonic) for sent in world.sent) == 4
    assert 12 == len(world.sent)


def test_a_message_that_one_limit_stops_is_charged_to_none() -> None:
    world = limited(("second", 5), ("day", 2))
    client = world.connect()
    world.bind(window=100)
    for _ in range(5):
        world.accepted(client)
    second, day = world.state.limits["C1"]

    assert (2, 2, 2) == (len(world.sent), second.used(world.now), day.used(world.now))


def test_a_lane_waits_for_the_stamp_and_then_for_the_time() -> None:
    world = limited(("second", 1))
    client = world.connect()
    world.bind()
    world.submit(client)
    world.submit(client)
    (lane,) = world.state.lanes.values()
    assert [LaneState.STAMP] == [lane.state]
    turn = world.take()
    assert turn is not None
    world.pass_time(0.5)  # the commit takes a while, and only then is it known
    world.commit(turn)
    world.release(turn)

    assert [LaneState.TIMED] == [lane.state]
    assert pytest.approx(world.clock.monotonic + 1.01) == lane.wake_at
    assert pytest.approx(lane.wake_at) == schedule.next_wake(world.state)
    world.run(1.02)
    assert [(2, LaneState.IDLE)] == [(len(world.sent), lane.state)]


def test_at_the_daily_cap_a_lane_holds_until_the_reset() -> None:
    world = limited(("day", 3))
    client = world.connect()
    world.bind(window=100)
    for _ in range(5):
        world.accepted(client)
    assert 3 == len(world.sent)
    world.tick(16 * 3600.0)  # 23:13 in Los Angeles
    assert 3 == len(world.sent)
    world.tick(3600.0)

    assert 5 == len(world.sent)


def test_a_limit_of_zero_holds_until_it_is_raised() -> None:
    world = limited(("minute", 0))
    client = world.connect()
    world.bind()
    world.accepted(client)
    world.run(schedule.RECHECK_S + 1)
    assert [] == world.sent
    world.register(campaign("C1", NUMBER, limits="[]"))
    world.run(1.0)

    assert 1 == len(world.sent)


def test_a_cap_that_is_raised_wakes_the_lane_at_once() -> None:
    world = limited(("day", 2))
    client = world.connect()
    world.bind()
    for _ in range(4):
        world.accepted(client)
    assert 2 == len(world.sent)
    world.register(campaign("C1", NUMBER, limits=limits(("day", 3))))

    assert 3 == len(world.sent)


def test_a_limit_that_was_lowered_below_a_message_that_waits_fails_it() -> None:
    world = limited(("second", 5))
    client = world.connect()
    message_id = world.accepted(client, b"x" * 254)
    world.register(campaign("C1", NUMBER, limits=limits(("second", 1))))
    world.bind()
    world.settle()

    assert ("failed", "too_long") == (world.state_of(message_id), world.ending(message_id).outcome)
    assert [consts.UNDELIVERABLE] == [receipt.state for receipt in client.receipts()]


def test_two_lanes_may_wait_for_the_same_moment() -> None:
    world = World(Setup(registry=TWO))
    client = world.connect()
    link = world.bind()
    for source in (NUMBER, SLOW_NUMBER):
        message_id = world.accepted(client, source=source)
        world.respond(link, message_id, consts.ESME_RTHROTTLED)
    world.settle()
    assert 2 == len({id(lane) for _, _, lane in world.state.timers})
    assert 1 == len({at for at, *_ in world.state.timers})
    world.run(1.1)

    assert 4 == len(world.sent)


def test_a_lane_that_was_woken_early_may_wait_for_the_same_moment_again() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.respond(link, message_id, consts.ESME_RTHROTTLED)
    world.settle()
    for _ in range(3):
        world.register(campaign("CFAST01", NUMBER, "12025550101", description='"x"'))
        world.register(campaign("CFAST01", NUMBER, "12025550101"))
    assert 1 == len(world.sent)
    world.run(1.1)

    assert [message_id] * 2 == world.sent_ids()


# Expiry


def test_a_message_that_expired_while_it_waited_is_not_sent() -> None:
    world = World()
    client = world.connect()
    late = world.accepted(client, validity=b"000000000100000R")
    good = world.accepted(client)
    world.pass_time(60.0)
    world.bind()
    world.settle()

    assert [good] == world.sent_ids()
    assert ("expired", "expired") == (world.state_of(late), world.ending(late).outcome)
    assert [consts.EXPIRED] == [receipt.state for receipt in client.receipts()]


def test_what_comes_back_from_a_link_and_has_expired_ends_and_is_told_at_once() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    link.takes = 0
    world.submit(client, validity=b"000000000100000R")
    turn = world.take()
    assert turn is not None
    world.pass_time(60.0)
    world.commit(turn)
    world.release(turn)
    world.settle()

    assert [] == world.sent
    assert [consts.EXPIRED] == [receipt.state for receipt in client.receipts()]


# A link that takes no more


def test_what_a_clogged_link_did_not_take_goes_when_it_is_writable() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    link.takes = 2
    accepted = [world.submit(client) for _ in range(4)]
    world.settle()
    order = [client.answered[sequence_number].message_id for sequence_number in accepted]
    assert order[:2] == world.sent_ids()
    assert 2 == world.state.counters.unsent
    assert ["in_flight"] * 2 + ["queued"] * 2 == [world.state_of(one) for one in order]
    assert [] == list(world.machine.open.submits)  # nothing goes round and round
    link.takes = None
    world.core.bind_writable(link.id, world.now)
    world.settle()

    assert order == world.sent_ids()


def test_a_link_that_is_gone_before_it_is_writable_changes_nothing() -> None:
    world = World()
    world.core.bind_writable(99, world.now)
    world.settle()

    assert [] == world.sent


def test_what_was_not_taken_goes_over_another_bind_at_once() -> None:
    world = World()
    client = world.connect()
    clogged, other = world.bind(window=20), world.bind(index=1, window=2)
    clogged.takes = 1
    for _ in range(3):
        world.submit(client)
    world.settle()

    assert (1, 2) == (len(clogged.unanswered), len(other.unanswered))


def test_what_never_left_gives_its_places_back() -> None:
    world = limited(("second", 3), ("day", 3))
    client = world.connect()
    link = world.bind()
    link.takes = 1
    for _ in range(3):
        world.submit(client)
    world.settle()

    assert [1, 1] == [limit.used(world.now) for limit in world.state.limits["C1"]]


def test_a_bind_that_is_bound_again_while_its_old_link_gives_back_is_not_clogged() -> None:
    world = World()
    client = world.connect()
    old = world.bind()
    world.submit(client)
    turn = world.take()
    assert turn is not None
    world.unbind(old)
    new = world.bind()
    world.commit(turn)
    world.release(turn)
    world.settle()

    assert 1 == len(new.unanswered)
    assert 9 == world.state.binds[new.id].room


# Draining


def test_a_gateway_that_drains_sends_nothing_new() -> None:
    world = World()
    client = world.connect()
    world.bind()
    world.core.stop()
    message_id = world.accepted(client)
    world.run(2.0)

    assert "queued" == world.state_of(message_id)


# Fairness


def backlog(smsc: Smsc, per_campaign: int = 100) -> World:
    """Three campaigns with much to send."""
    numbers = [f"1202555010{place}" for place in range(3)]
    registry = COMPANIES + "".join(
        campaign(f"C{place}", number) for place, number in enumerate(numbers)
    )
    world = World(Setup(carriers=(smsc,), registry=registry), audited=False)
    world.run(2.0)
    client = world.connect()
    for number in numbers:
        for _ in range(per_campaign):
            world.submit(client, source=number)
    world.settle()
    return world


def spread(world: World) -> list[int]:
    """How many of each campaign were sent."""
    sent = Counter(sent.campaign for sent in world.sent)
    return [sent[f"C{place}"] for place in range(3)]


def test_lanes_take_turns_when_answers_come_one_by_one() -> None:
    world = backlog(A)
    link = world.bind(window=3)
    world.settle()
    for _ in range(3 * 2 * QUANTUM):
        world.respond(link, next(iter(link.unanswered)))
        world.settle()

    assert max(spread(world)) - min(spread(world)) <= QUANTUM


@pytest.mark.parametrize("tps", [1, 10, 25])
def test_lanes_take_turns_when_a_carriers_rate_is_what_they_wait_for(tps: int) -> None:
    world = backlog(A._replace(tps=float(tps)))
    world.bind(window=1_000)
    seconds = 1 + 3 * 2 * QUANTUM // tps
    world.run(1.02 * seconds)

    assert sum(spread(world)) >= seconds * tps * 0.9
    assert max(spread(world)) - min(spread(world)) <= max(QUANTUM, tps)


def test_a_new_message_of_an_idle_campaign_waits_for_a_turn_and_not_for_a_backlog() -> None:
    world = backlog(A, per_campaign=200)
    link = world.bind(window=3)
    client = next(one for one in world.links.values() if isinstance(one, ClientLink))
    world.register(campaign("CNEW", "12025550199", use_case='"2FA"'))
    urgent = world.accepted(client, source="12025550199")
    for _ in range(4 * QUANTUM):
        world.respond(link, next(iter(link.unanswered)))
        world.settle()

    assert urgent in world.sent_ids()


def test_routes_to_one_carrier_take_turns_at_its_window() -> None:
    registry = COMPANIES + campaign("C1", NUMBER) + campaign("C2", SLOW_NUMBER)
    ways = (Way("first", match=Match(source=NUMBER.encode())), Way("second"))
    world = World(Setup(registry=registry, routes=ways))
    client = world.connect()
    for source in (NUMBER, SLOW_NUMBER):
        for _ in range(20):
            world.submit(client, source=source)
    world.settle()
    link = world.bind(window=1)
    world.settle()
    for _ in range(20):
        world.respond(link, next(iter(link.unanswered)))
        world.settle()

    sent = Counter(one.campaign for one in world.sent)
    assert abs(sent["C1"] - sent["C2"]) <= 1
