"""Receipts: they find their message, early or late, and end it exactly once."""

import pytest

from gateway.model import ids, tables
from gateway.relay import receipt_map, receipts
from gateway.smpp import consts
from gateway.smpp.codec import encode_sm
from tests.relay.links import CarrierLink, ClientLink
from tests.relay.setups import HOUR_S, NUMBER, Setup, Smsc, Way
from tests.relay.world import HANDSET, WALK, World, outcome_of


def submitted(setup: Setup | None = None) -> tuple[World, ClientLink, CarrierLink, int, bytes]:
    """A message that the carrier took."""
    world = World(setup)
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    carrier_id = world.respond(link, message_id)
    world.settle()
    return world, client, link, message_id, carrier_id


@pytest.mark.parametrize(
    ("message_state", "state", "outcome"),
    [
        (consts.DELIVERED, "delivered", ""),
        (consts.EXPIRED, "expired", "handset_unavailable"),
        (consts.DELETED, "canceled", "carrier_refused"),
        (consts.UNDELIVERABLE, "failed", "handset_unavailable"),
        (consts.UNKNOWN, "unknown", "no_receipt"),
        (consts.REJECTED, "rejected", "carrier_refused"),
    ],
)
def test_a_receipt_ends_its_message_and_is_passed_on_with_our_id(
    message_state: int, state: str, outcome: str
) -> None:
    world, client, link, message_id, carrier_id = submitted()
    world.pass_time(7.0)
    sequence_number = world.receipt(link, carrier_id, message_state, b"021")
    assert [] == client.inbox  # it waits for the disk, and so does the answer to the carrier
    assert sequence_number not in link.answered
    world.settle()
    ending = world.ending(message_id)
    (found,) = client.receipts()

    assert state == world.state_of(message_id)
    assert (outcome, b"021", carrier_id) == (ending.outcome, ending.error, ending.carrier_id)
    assert (message_state, b"021") == (found.state, found.error)
    assert ids.to_text(message_id) == found.message_id
    assert (outcome.encode() or None) == outcome_of(client.inbox[0].body)
    assert consts.ESME_ROK == link.answered[sequence_number]
    assert [] == list(world.disk.rows[tables.AWAITING])


def test_the_receipt_goes_from_the_handset_to_the_sender() -> None:
    world, client, link, _, carrier_id = submitted()
    world.receipt(link, carrier_id)
    world.settle()
    body = client.inbox[0].body

    assert body.startswith(b"\0\x01\x01%b\0\x01\x01%b\0" % (HANDSET.encode(), NUMBER.encode()))


@pytest.mark.parametrize("message_state", [consts.ENROUTE, consts.ACCEPTED])
def test_an_intermediate_receipt_ends_nothing(message_state: int) -> None:
    world, client, link, message_id, carrier_id = submitted()
    sequence_number = world.receipt(link, carrier_id, message_state)
    world.settle()

    assert "submitted" == world.state_of(message_id)
    assert ([], 1) == (client.inbox, world.state.counters.intermediate)
    assert consts.ESME_ROK == link.answered[sequence_number]
    world.receipt(link, carrier_id)
    world.settle()
    assert "delivered" == world.state_of(message_id)


def test_a_notification_is_intermediate_whatever_it_says() -> None:
    world, _, link, message_id, carrier_id = submitted()
    text = b"id:%b sub:001 dlvrd:001 submit date:2609211413 done date:2609211413 stat:DELIVRD err:0"
    body = encode_sm(
        source_addr=HANDSET.encode(),
        destination_addr=NUMBER.encode(),
        esm_class=consts.ESM_CLASS_INTERMEDIATE,
        short_message=text % carrier_id,
    )
    world.deliver(link, body)
    world.settle()

    assert "submitted" == world.state_of(message_id)


def test_a_state_that_nobody_knows_ends_nothing() -> None:
    world, _, link, message_id, carrier_id = submitted()
    body = encode_sm(
        destination_addr=NUMBER.encode(),
        esm_class=consts.ESM_CLASS_RECEIPT,
        short_message=b"id:%b stat:WONDERFUL err:000" % carrier_id,
    )
    world.deliver(link, body)
    world.settle()

    assert "submitted" == world.state_of(message_id)


def test_the_same_receipt_twice_changes_nothing() -> None:
    world, client, link, message_id, carrier_id = submitted()
    for _ in range(2):
        world.receipt(link, carrier_id)
        world.settle()

    assert "delivered" == world.state_of(message_id)
    assert (1, 1) == (len(client.inbox), world.state.counters.repeated)


def test_two_receipts_in_one_turn_end_it_once() -> None:
    world, client, link, message_id, carrier_id = submitted()
    world.receipt(link, carrier_id)
    world.receipt(link, carrier_id, consts.UNDELIVERABLE)
    world.settle()

    assert "delivered" == world.state_of(message_id)
    assert 1 == len(client.inbox)


def test_response_and_receipt_in_one_turn_leave_no_row_behind() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.receipt(link, world.respond(link, message_id))
    world.settle()

    assert "delivered" == world.state_of(message_id)
    assert {} == world.disk.rows[tables.AWAITING]
    assert 0.0 < world.ending(message_id).submitted_at


# Before the response


@pytest.mark.parametrize("same_turn", [True, False])
def test_a_receipt_before_its_response_is_kept_and_matched(*, same_turn: bool) -> None:
    world = World()
    client = world.connect()
    link, other = world.bind(), world.bind(index=1)
    message_id = world.accepted(client)
    (sender,) = [one for one in (link, other) if one.unanswered]
    (receiver,) = [one for one in (link, other) if not one.unanswered]
    world.receipt(receiver, b"early", consts.UNDELIVERABLE, b"007")
    if not same_turn:
        world.settle()
        assert 1 == len(world.disk.rows[tables.ORPHAN])
    world.respond(sender, message_id, carrier_id=b"early")
    world.settle()

    assert ("failed", b"007") == (world.state_of(message_id), world.ending(message_id).error)
    assert (1, {}) == (len(client.inbox), world.disk.rows[tables.ORPHAN])
    assert 0 == world.state.carriers["carrier-a"].receipts.awaited


def test_an_orphan_survives_a_crash_but_not_an_hour() -> None:
    world = World()
    link = world.bind()
    sequence_number = world.receipt(link, b"nobody's")
    world.settle()
    assert consts.ESME_ROK == link.answered[sequence_number]
    world.crash()
    carrier = world.state.carriers["carrier-a"]
    assert {b"nobody's"} == set(carrier.orphans)
    world.tick(HOUR_S)
    for _ in range(WALK + 2):
        world.tick(1.0)

    assert ({}, {}) == (carrier.orphans, world.disk.rows[tables.ORPHAN])


def test_of_two_receipts_before_the_response_the_first_counts() -> None:
    world = World()
    link, carrier = world.connect(), world.bind()
    message_id = world.accepted(link)
    world.receipt(carrier, b"a1", consts.UNKNOWN)
    world.receipt(carrier, b"a1", consts.DELIVERED)
    world.receipt(carrier, b"a1", consts.UNKNOWN)
    world.receipt(carrier, b"a1", consts.UNDELIVERABLE)

    world.respond(carrier, message_id, carrier_id=b"a1")
    world.settle()

    assert "delivered" == world.state_of(message_id)


def test_an_orphan_is_its_carriers_own() -> None:
    smscs = (Smsc("carrier-a"), Smsc("carrier-b"))
    way = Way(carriers=(("carrier-a", 1.0),), backup=("carrier-b",))
    world = World(Setup(carriers=smscs, routes=(way,)))
    client = world.connect()
    link, other = world.bind("carrier-a"), world.bind("carrier-b")
    message_id = world.accepted(client)
    world.receipt(other, b"the same id")
    world.respond(link, message_id, carrier_id=b"the same id")
    world.settle()

    assert "submitted" == world.state_of(message_id)


def test_only_so_many_orphans_are_matched_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "ORPHANS_MAX", 2)
    world = World()
    link = world.bind()
    for carrier_id in (b"1", b"2", b"3"):
        world.receipt(link, carrier_id)
    world.settle()

    carrier = world.state.carriers["carrier-a"]
    assert ([b"1", b"2"], 1) == (list(carrier.orphans), carrier.orphans_unloaded)
    assert 3 == len(world.disk.rows[tables.ORPHAN])


# From disk


def test_a_receipt_after_a_crash_finds_its_message() -> None:
    world, _, _, message_id, carrier_id = submitted()
    answered_at = world.clock.wall
    world.pass_time(60.0)
    world.crash()
    client, link = world.connect(), world.bind()
    world.receipt(link, carrier_id)
    world.settle()
    ending = world.ending(message_id)

    assert "delivered" == world.state_of(message_id)
    assert (answered_at, answered_at) == (ending.submitted_at, ending.answered_at)
    assert [ids.to_text(message_id)] == [receipt.message_id for receipt in client.receipts()]


def test_a_receipt_of_a_message_that_left_memory_reads_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receipt_map, "RECENT_MAX", 0)
    world, client, link, message_id, carrier_id = submitted()
    assert [message_id] == list(world.state.carriers["carrier-a"].receipts._waiting.values())
    world.receipt(link, carrier_id)
    world.settle()

    assert "delivered" == world.state_of(message_id)
    assert 1 == len(client.receipts())


@pytest.mark.parametrize("table", [tables.MESSAGE, tables.AWAITING])
def test_a_receipt_whose_rows_are_damaged_is_counted(table: int) -> None:
    world, _, _, message_id, carrier_id = submitted()
    world.audited = False
    world.machine.open.writes[table][ids.to_key(message_id)] = None
    world.settle()
    if table == tables.MESSAGE:
        world.crash()
    else:
        world.state.carriers["carrier-a"].receipts._waiting[carrier_id] = message_id
    link = world.bind()
    sequence_number = world.receipt(link, carrier_id)
    world.settle()

    assert 1 == world.state.counters.damaged
    assert consts.ESME_ROK == link.answered[sequence_number]


def test_an_id_that_the_carrier_gave_out_again_is_the_newer_messages() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    old = world.accepted(client)
    world.respond(link, old, carrier_id=b"1")
    world.tick(71 * HOUR_S)
    new = world.accepted(client)
    world.respond(link, new, carrier_id=b"1")
    world.tick(2 * HOUR_S)  # the old one's receipt did not come
    for _ in range(WALK + 2):
        world.tick(1.0)
    assert ["unknown", "submitted"] == [world.state_of(one) for one in (old, new)]
    world.receipt(link, b"1")
    world.settle()

    assert "delivered" == world.state_of(new)


# Room


@pytest.mark.parametrize(("room", "status"), [("low", 0), ("none", consts.ESME_RX_T_APPN)])
def test_without_any_room_the_carrier_is_asked_to_come_again(room: str, status: int) -> None:
    world, _, link, message_id, carrier_id = submitted()
    world.core.room_changed(room)  # type: ignore[arg-type]
    sequence_number = world.receipt(link, carrier_id)
    world.settle()

    assert status == link.answered[sequence_number]
    assert ("submitted" if status else "delivered") == world.state_of(message_id)
