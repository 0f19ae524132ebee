"""Which carrier gets a message: pauses, weights, pairs that stay, and those in reserve."""

from collections import Counter

import pytest

from gateway.smpp import consts
from tests.relay.setups import (
    COMPANIES,
    NUMBER,
    SLOW_NUMBER,
    Setup,
    Smsc,
    Way,
    campaign,
)
from tests.relay.world import World

TWO = COMPANIES + campaign("CFAST01", NUMBER) + campaign("CSLOW01", SLOW_NUMBER)
A, B = Smsc("carrier-a"), Smsc("carrier-b")


def test_a_throttled_campaign_pauses_at_that_carrier_and_nowhere_else() -> None:
    world = World(Setup(carriers=(A._replace(throttle_pause_s=5.0),), registry=TWO))
    client = world.connect()
    link = world.bind()
    first = world.accepted(client)
    world.respond(link, first, consts.ESME_RTHROTTLED)
    world.accepted(client)
    other = world.accepted(client, source=SLOW_NUMBER)

    assert [first, other] == world.sent_ids()
    world.run(4.9)
    assert 2 == len(world.sent)
    world.run(0.2)
    assert [first, other, first] == world.sent_ids()[:3]
    assert 4 == len(world.sent)
    assert {} == world.state.carriers["carrier-a"].paused


def shares(weights: tuple[float, float], names: tuple[str, str]) -> float:
    """The part of many pairs that goes to the first of two carriers."""
    smscs = (Smsc(names[0]), Smsc(names[1]))
    way = Way(carriers=tuple(zip(names, weights, strict=True)))
    world = World(Setup(carriers=smscs, routes=(way,)), audited=False)
    world.bind(names[0], window=4_000)
    world.bind(names[1], window=4_000)
    client = world.connect()
    for place in range(2_000):
        world.submit(client, to=f"1310555{place:04}")
    world.settle()
    sent = Counter(sent.carrier for sent in world.sent)
    assert 2_000 == sum(sent.values())
    return sent[names[0]] / 2_000


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 3.0), (9.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize(
    "names", [("carrier-a", "carrier-b"), ("att", "verizon"), ("one", "two"), ("smsc1", "smsc2")]
)
def test_weights_are_roughly_honoured_whatever_the_names(
    weights: tuple[float, float], names: tuple[str, str]
) -> None:
    assert pytest.approx(weights[0] / sum(weights), abs=0.05) == shares(weights, names)


def spread() -> World:
    """Two carriers with a third in reserve."""
    way = Way(carriers=(("carrier-a", 1.0), ("carrier-b", 1.0)), backup=("spare-1", "spare-2"))
    smscs = (A, B, Smsc("spare-1"), Smsc("spare-2"))
    return World(Setup(carriers=smscs, routes=(way,)))


def carriers_of(world: World) -> dict[bytes, set[str]]:
    """By recipient, the carriers that got its messages."""
    found: dict[bytes, set[str]] = {}
    for sent in world.sent:
        found.setdefault(world.message(sent.message_id).destination, set()).add(sent.carrier)
    return found


def test_a_pair_stays_with_its_carrier_while_that_is_bound() -> None:
    world = spread()
    client = world.connect()
    for name in ("carrier-a", "carrier-b"):
        world.bind(name, window=100)
    for place in (*range(20), *range(20)):
        world.accepted(client, to=f"1310555{place:04}")

    assert {1} == {len(carriers) for carriers in carriers_of(world).values()}
    assert {"carrier-a", "carrier-b"} == {sent.carrier for sent in world.sent}


def test_only_the_pairs_of_a_carrier_that_drops_out_move() -> None:
    world = spread()
    client = world.connect()
    dropped = world.bind("carrier-a", window=100)
    world.bind("carrier-b", window=100)
    for place in range(20):
        world.accepted(client, to=f"1310555{place:04}")
    before = carriers_of(world)
    for message_id in list(dropped.unanswered):
        world.respond(dropped, message_id)
    world.unbind(dropped)
    world.sent.clear()
    for place in range(20):
        world.accepted(client, to=f"1310555{place:04}")

    assert {"carrier-b"} == {sent.carrier for sent in world.sent}
    world.bind("carrier-a", window=100)
    world.sent.clear()
    for place in range(20):
        world.accepted(client, to=f"1310555{place:04}")
    assert before == carriers_of(world)


def test_the_backup_is_used_only_while_no_other_is_bound() -> None:
    world = spread()
    client = world.connect()
    world.bind("spare-2", window=100)
    world.accepted(client)
    world.bind("spare-1", window=100)
    world.accepted(client)
    world.bind("carrier-b", window=100)
    world.accepted(client)

    assert ["spare-2", "spare-1", "carrier-b"] == [sent.carrier for sent in world.sent]


def test_a_route_without_carriers_keeps_what_it_has() -> None:
    world = World(Setup(routes=(Way(carriers=()),)))
    world.bind()
    message_id = world.accepted(world.connect())
    world.run(2.0)

    assert "queued" == world.state_of(message_id)
