"""Receipts that find no message: kept, counted, and matched when their message is known."""

import pytest

from gateway.model import tables
from gateway.relay import rebuild, receipts
from gateway.smpp import consts
from tests.relay.setups import HOUR_S, Setup, Smsc
from tests.relay.test_receipt_map import gateway, submitted, walk


def test_orphans_that_are_on_disk_only_find_their_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "ORPHANS_MAX", 2)
    world, client, link = gateway()
    for place in range(6):
        world.receipt(link, b"%d" % place)
    world.receipt(link, b"1")  # comes again, into memory
    world.settle()
    carrier = world.state.carriers["carrier-a"]
    assert (2, 4) == (len(carrier.orphans), carrier.orphans_unloaded)
    world.crash()
    carrier = world.state.carriers["carrier-a"]
    assert (2, 4) == (len(carrier.orphans), carrier.orphans_unloaded)
    client, link = world.connect(), world.bind()
    messages = [submitted(world, client, link, b"%d" % place) for place in range(8)]

    assert ["delivered"] * 6 + ["submitted"] * 2 == [world.state_of(one) for one in messages]
    assert ({}, {}, 0) == (
        carrier.orphans,
        world.disk.rows[tables.ORPHAN],
        carrier.orphans_unloaded,
    )


def test_orphans_that_are_on_disk_only_are_swept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "ORPHANS_MAX", 2)
    world, _, link = gateway()
    for place in range(6):
        world.receipt(link, b"%d" % place)
    world.tick(2 * HOUR_S)
    walk(world)
    carrier = world.state.carriers["carrier-a"]

    assert ({}, {}, 0) == (
        carrier.orphans,
        world.disk.rows[tables.ORPHAN],
        carrier.orphans_unloaded,
    )


def test_an_orphan_that_could_be_two_messages_stays_one() -> None:
    world, client, link = gateway()
    world.receipt(link, b"AB")
    first = submitted(world, client, link, b"zz")
    for one in (b"aB", b"Ab"):
        message = world.accepted(client)
        message_row = next(m for m in link.unanswered.values() if m.id == message)
        world.state.carriers["carrier-a"].receipts.put(one, message_row)
    receipts.match_orphan(world.state, world.state.carriers["carrier-a"], b"Ab", world.now)
    world.settle()

    assert "submitted" == world.state_of(first)
    assert 1 == len(world.disk.rows[tables.ORPHAN])


def test_an_orphan_whose_message_has_ended_since_is_one_that_comes_twice() -> None:
    world, client, link = gateway(rebuilds=False)
    submitted(world, client, link, b"Ab")
    for carrier_id in (b"aB", b"Ab"):  # nobody knows yet whether the first is this message
        world.receipt(link, carrier_id)
    world.settle()
    assert 1 == len(world.disk.rows[tables.ORPHAN])
    world.run(1.0)

    assert (1, {}) == (world.state.counters.repeated, world.disk.rows[tables.ORPHAN])
    assert [consts.DELIVERED] == [one.state for one in client.receipts()]


# After a start


def test_a_receipt_that_comes_before_its_row_was_read_finds_it_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rebuild, "BITE", 4)
    world, client, link = gateway(rebuilds=False)
    messages = [submitted(world, client, link, b"%d" % place) for place in range(10)]
    world.crash()
    client, link = world.connect(), world.bind()
    world.receipt(link, b"9")
    world.receipt(link, b"0")
    world.settle()
    assert {"submitted"} == {world.state_of(one) for one in messages}
    newer = submitted(world, client, link, b"newer")
    bites = 0
    while not world.core.rebuild.is_done:
        world.tick(rebuild.REST_S)
        bites += 1
    assert 4 == bites  # three of what waits, one of orphans

    assert "delivered" == world.state_of(messages[0]) == world.state_of(messages[9])
    assert 9 == world.state.carriers["carrier-a"].receipts.awaited  # eight old ones, the newer
    world.receipt(link, b"newer")
    world.settle()
    assert "delivered" == world.state_of(newer)


def test_an_orphan_of_a_carrier_that_is_not_configured_any_more_stays_one() -> None:
    world, _, link = gateway()
    world.receipt(link, b"1")
    world.settle()
    world.crash(Setup(carriers=(Smsc("other"),), routes=()))

    assert 1 == len(world.disk.rows[tables.ORPHAN])


def test_what_was_answered_since_the_start_is_not_read_again() -> None:
    world, client, link = gateway(rebuilds=False)
    message_id = world.accepted(client)
    waiting = world.accepted(client)
    world.unbind(link)
    world.crash()
    client, link = world.connect(), world.bind()
    world.settle()
    for one in (message_id, waiting):
        world.respond(link, one, carrier_id=b"%d" % one)
    world.receipt(link, b"%d" % message_id)
    world.settle()
    world.run(1.0)

    assert world.core.rebuild.is_done
    assert 1 == world.state.carriers["carrier-a"].receipts.awaited


def test_no_step_of_the_wall_clock_makes_an_orphan_old() -> None:
    world, client, link = gateway()
    world.clock.wall -= HOUR_S
    world.receipt(link, b"early")
    world.settle()
    world.clock.wall += HOUR_S
    walk(world)
    message_id = submitted(world, client, link, b"early")

    assert "delivered" == world.state_of(message_id)
