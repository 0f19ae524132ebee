"""Messages of several segments: charged and sent whole, and never starved by short ones."""

import pytest

from gateway.relay.parties import Match
from gateway.relay.state import Policy
from gateway.smpp import consts, tlv
from tests.relay.setups import COMPANIES, NUMBER, SLOW_NUMBER, Setup, Smsc, Way, campaign, limits
from tests.relay.world import World
from tests.throttle.line import most_in

TRICKLE = COMPANIES + campaign("CLONG01", NUMBER) + campaign("CSHORT1", SLOW_NUMBER)


def test_a_long_message_is_not_starved_by_short_ones_under_a_carriers_rate() -> None:
    world = World(Setup(carriers=(Smsc("carrier-a", tps=10.0),), registry=TRICKLE))
    client = world.connect()
    link = world.bind(window=1_000)
    world.run(2.0)
    long_one = None
    for step in range(200):  # 20 a second want to go, 10 may
        world.submit(client, source=SLOW_NUMBER)
        world.settle()
        if step == 50:
            long_one = world.accepted(
                client, b"", tlvs=tlv.encode(consts.TLV_MESSAGE_PAYLOAD, b"x" * 700)
            )
        world.run(0.05)
        for message_id in list(link.unanswered):
            world.respond(link, message_id)
    sent = {one.message_id: one.monotonic for one in world.sent}

    assert long_one in sent
    assert sent[long_one] < 1_002.0 + 50 * 0.05 + 2.1
    assert most_in([(one.monotonic, one.segments) for one in world.sent], 1.0) <= 10
    # While it waited, the room that it needed stood empty for a second at most.
    assert sum(one.segments for one in world.sent) >= 10 * 9


def test_a_long_message_that_expires_in_line_lets_the_next_one_go() -> None:
    world = World(Setup(carriers=(Smsc("carrier-a", tps=3.0),), registry=TRICKLE))
    client = world.connect()
    world.bind(window=1_000)
    world.run(2.0)
    for _ in range(2):
        world.accepted(client, source=SLOW_NUMBER)
    long_one = world.accepted(client, b"x" * 254, validity=b"000000000001000R")
    behind = world.accepted(client, source=SLOW_NUMBER)
    rate = world.state.carriers["carrier-a"].rate
    assert rate is not None
    assert (2, False) == (len(rate.line), behind in world.sent_ids())
    world.clock.wall += 5.0
    world.run(1.2)

    assert ("expired", 0) == (world.state_of(long_one), len(rate.line))
    assert behind in world.sent_ids()


def test_who_is_too_long_for_the_day_does_not_stop_the_shorter() -> None:
    registry = COMPANIES + campaign(
        "CLONG01", NUMBER, "12025550101", limits=limits(("day", 3), zone="America/Los_Angeles")
    )
    ways = (Way("uk", match=Match(to=b"44")), Way("us"))
    world = World(Setup(registry=registry, routes=ways))
    client = world.connect()
    world.bind(window=1_000)
    world.accepted(client)
    world.accepted(client)
    long_one = world.accepted(client, b"x" * 254)
    short = world.accepted(client, to="442071234567")

    assert short in world.sent_ids()
    assert long_one not in world.sent_ids()


# Too long for ever


@pytest.mark.parametrize(("tps", "status"), [(1.0, consts.ESME_RINVMSGLEN), (2.0, 0)])
def test_what_no_carrier_of_its_route_ever_takes_is_refused(tps: float, status: int) -> None:
    policy = Policy(status_style="standard")
    world = World(Setup(carriers=(Smsc("carrier-a", tps=tps),), policy=policy))
    client = world.connect()
    sequence_number = world.submit(client, b"x" * 254)
    world.settle()

    assert status == client.answered[sequence_number].status


def test_a_carrier_that_never_takes_so_many_segments_is_passed_over() -> None:
    smscs = (Smsc("carrier-a", tps=1.0), Smsc("carrier-b"))
    way = Way(carriers=(("carrier-a", 1_000.0), ("carrier-b", 1.0)))
    world = World(Setup(carriers=smscs, routes=(way,)))
    client = world.connect()
    world.bind("carrier-a", window=100)
    world.bind("carrier-b", window=100)
    world.run(2.0)
    for _ in range(5):
        world.accepted(client, b"x" * 254)

    assert ["carrier-b"] * 5 == [one.carrier for one in world.sent]
