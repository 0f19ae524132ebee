"""What a carrier's answer to a submit_sm makes of the message."""

import pytest

from gateway.model import ids, tables
from gateway.relay import receipt_map
from gateway.relay.answers import ATTEMPTS_MAX
from gateway.smpp import consts
from gateway.smpp.codec import message_id_body
from gateway.smpp.events import Answer
from tests.relay.setups import (
    COMPANIES,
    DAY_S,
    HOUR_S,
    NUMBER,
    SLOW_NUMBER,
    Setup,
    Smsc,
    campaign,
    limits,
)
from tests.relay.world import WALK, World, outcome_of

ASKED = Setup(carriers=(Smsc(always_receipts=False),))
"""A carrier that is asked for a receipt only when the client asks."""


def test_a_message_that_was_taken_is_submitted_and_awaits_its_receipt() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    carrier_id = world.respond(link, message_id)
    world.settle()

    assert "submitted" == world.state_of(message_id)
    assert [] == list(world.disk.flights())
    assert {carrier_id} == set(world.state.carriers["carrier-a"].receipts._waiting)
    assert 1 == world.state.carriers["carrier-a"].submitted
    assert [] == client.inbox


def test_an_answer_frees_its_place_in_the_window() -> None:
    world = World()
    client = world.connect()
    link = world.bind(window=1)
    first, second = world.accepted(client), world.accepted(client)
    assert [first] == world.sent_ids()
    world.respond(link, first)
    world.settle()

    assert [first, second] == world.sent_ids()


@pytest.mark.parametrize("status", [consts.ESME_RTHROTTLED, consts.ESME_RMSGQFUL])
def test_a_throttled_message_is_never_final(status: int) -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    rounds = 3 * ATTEMPTS_MAX
    for place in range(rounds):
        assert place + 1 == len(world.sent)
        world.respond(link, message_id, status)
        world.settle()
        assert "queued" == world.state_of(message_id)
        world.run(1.1)
    world.respond(link, message_id)
    world.settle()

    assert "submitted" == world.state_of(message_id)
    carrier = world.state.carriers["carrier-a"]
    assert (rounds, {status: rounds}) == (carrier.throttled, carrier.refused)
    assert {0} == {sent.resends for sent in world.sent}


def test_a_throttled_message_goes_before_those_that_came_later() -> None:
    world = World()
    client = world.connect()
    link = world.bind(window=2)
    first, second, third = (world.accepted(client) for _ in range(3))
    world.respond(link, second, consts.ESME_RTHROTTLED)
    world.respond(link, first, consts.ESME_RTHROTTLED)
    world.run(1.1)

    assert [first, second, first, second] == world.sent_ids()
    world.respond(link, first)
    world.settle()
    assert third == world.sent_ids()[-1]


@pytest.mark.parametrize("status", [consts.ESME_RSYSERR, consts.ESME_RX_T_APPN])
def test_a_temporary_refusal_is_tried_again_a_bounded_number_of_times(status: int) -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    for _ in range(ATTEMPTS_MAX):
        world.respond(link, message_id, status)
        world.run(1.1)

    assert [message_id] * ATTEMPTS_MAX == world.sent_ids()
    assert "failed" == world.state_of(message_id)
    assert ["put_back"] * (ATTEMPTS_MAX - 1) + ["refused"] == world.history(message_id)


def test_throttled_tries_do_not_count_against_the_temporary_ones() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    for _ in range(ATTEMPTS_MAX - 1):
        for status in (consts.ESME_RTHROTTLED, consts.ESME_RMSGQFUL, consts.ESME_RSYSERR):
            world.respond(link, message_id, status)
            world.run(1.1)
    assert "in_flight" == world.state_of(message_id)
    world.respond(link, message_id, consts.ESME_RSYSERR)
    world.settle()

    assert "failed" == world.state_of(message_id)


def test_a_window_that_comes_back_throttled_is_one_row_of_history() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    window = [world.accepted(client) for _ in range(5)]
    for message_id in window:
        world.respond(link, message_id, consts.ESME_RTHROTTLED)
    world.settle()

    assert [["put_back"], [], [], [], []] == [world.history(one) for one in window]


@pytest.mark.parametrize("status", [consts.ESME_RINVDSTADR, consts.ESME_RSUBMITFAIL, 0x0481])
def test_any_other_refusal_ends_the_message_and_its_client_hears_of_it(status: int) -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    world.respond(link, message_id, status)
    world.settle()
    ending = world.ending(message_id)
    (receipt,) = client.receipts()

    assert ("failed", "carrier_refused") == (world.state_of(message_id), ending.outcome)
    assert (b"%03x" % status, "carrier-a") == (ending.error, ending.carrier)
    assert (consts.UNDELIVERABLE, b"%03x" % status) == (receipt.state, receipt.error)
    assert b"carrier_refused" == outcome_of(client.inbox[0].body)
    assert 1 == len(world.sent)


def test_a_generic_nack_is_a_refusal() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    message = link.unanswered.pop(message_id)
    nack = Answer(message, consts.GENERIC_NACK, consts.ESME_RINVCMDID, b"")
    world.core.answers(link.id, [nack], world.now)
    world.settle()

    assert "failed" == world.state_of(message_id)


# Who hears what

FAILURE, SUCCESS = consts.ESME_RSUBMITFAIL, consts.ESME_ROK


@pytest.mark.parametrize(
    ("registered_delivery", "on_success", "on_failure"),
    [(0, 0, 0), (1, 1, 1), (2, 0, 1), (3, 0, 0), (0x11, 1, 1), (0x10, 0, 0)],
)
def test_a_client_hears_what_it_asked_for(
    registered_delivery: int, on_success: int, on_failure: int
) -> None:
    for state, count in ((consts.DELIVERED, on_success), (consts.UNDELIVERABLE, on_failure)):
        world = World()
        client = world.connect()
        link = world.bind()
        message_id = world.accepted(client, registered_delivery=registered_delivery)
        carrier_id = world.respond(link, message_id)
        world.receipt(link, carrier_id, state)
        world.settle()

        assert count == len(client.inbox)
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client, registered_delivery=registered_delivery)
    world.respond(link, message_id, FAILURE)
    world.settle()
    assert on_failure == len(client.inbox)


@pytest.mark.parametrize(("registered_delivery", "state"), [(0, "final"), (1, "awaiting")])
def test_submitted_is_final_where_nobody_asked_for_a_receipt(
    registered_delivery: int, state: str
) -> None:
    world = World(ASKED)
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client, registered_delivery=registered_delivery)
    world.respond(link, message_id, carrier_id=b"abc")
    world.settle()
    table = tables.FINAL if state == "final" else tables.AWAITING

    assert "submitted" == world.state_of(message_id)
    assert ids.to_key(message_id) in world.disk.rows[table]
    assert [] == client.inbox
    if state == "final":
        ending = world.ending(message_id)
        assert (b"abc", "carrier-a", "") == (ending.carrier_id, ending.carrier, ending.outcome)
        world.tick(100 * HOUR_S)
        assert "submitted" == world.state_of(message_id)


# What it costs


def test_a_rate_keeps_what_was_refused_and_a_day_gets_it_back() -> None:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("minute", 2), ("day", 2)))
    world = World(Setup(registry=registry))
    client = world.connect()
    link = world.bind()
    for _ in range(3):
        world.submit(client)
    world.settle()
    first, second = world.sent_ids()
    world.respond(link, first, consts.ESME_RINVDSTADR)
    world.respond(link, second)
    world.settle()
    minute, day = world.state.limits["C1"]

    assert (2, 1) == (minute.used(world.now), day.used(world.now))
    world.run(61.0)
    assert 3 == len(world.sent)
    world.crash()
    world.settle()
    assert 2 == world.state.limits_of("C1", world.now)[1].used(world.now)


def test_a_refund_after_midnight_goes_to_the_day_of_the_charge() -> None:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("day", 5)))
    world = World(Setup(registry=registry))
    client = world.connect()
    link = world.bind()
    late = world.accepted(client)
    world.tick(DAY_S)
    world.accepted(client)
    world.respond(link, late, consts.ESME_RINVDSTADR)
    world.settle()
    (day,) = world.state.limits["C1"]

    assert day.day is not None
    assert [0, 1] == list(day.day.used.values())


def test_a_refund_of_what_was_charged_before_an_import_counts_after_it() -> None:
    registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("day", 5)))
    world = World(Setup(registry=registry))
    client = world.connect()
    link = world.bind()
    first, _ = world.accepted(client), world.accepted(client)
    world.register(campaign("C1", NUMBER, limits=limits(("second", 9), ("day", 6))))
    world.run(2.0)
    world.accepted(client)
    world.respond(link, first, consts.ESME_RINVDSTADR)
    world.settle()

    assert 2 == world.state.limits["C1"][1].used(world.now)
    world.crash()
    assert 2 == world.state.limits_of("C1", world.now)[1].used(world.now)


# What does not fit


def test_an_answer_to_what_is_not_in_flight_changes_nothing() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    message = link.unanswered[message_id]
    world.respond(link, message_id)
    room = world.state.binds[link.id].room
    again = Answer(message, consts.SUBMIT_SM_RESP, consts.ESME_ROK, message_id_body(b"other"))
    foreign = Answer("enquire_link", consts.SUBMIT_SM_RESP, consts.ESME_ROK, b"")
    world.core.answers(link.id, [again, foreign], world.now)
    world.settle()

    assert "submitted" == world.state_of(message_id)
    assert room == world.state.binds[link.id].room


def test_an_answer_over_a_link_that_is_gone_changes_nothing() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    message = link.unanswered[message_id]
    world.unbind(link)
    answer = Answer(message, consts.SUBMIT_SM_RESP, consts.ESME_ROK, message_id_body(b"x"))
    world.core.answers(link.id, [answer], world.now)
    world.settle()

    assert "queued" == world.state_of(message_id)


def test_a_response_without_an_id_is_still_a_yes() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    first, second = world.accepted(client), world.accepted(client)
    for message_id in (first, second):
        world.respond(link, message_id, carrier_id=b"")
    world.settle()

    assert ["submitted"] * 2 == [world.state_of(one) for one in (first, second)]
    world.tick(73 * HOUR_S)
    for _ in range(WALK + 2):
        world.tick(10.0)
    assert ["unknown"] * 2 == [world.state_of(one) for one in (first, second)]


def test_of_the_oldest_only_the_id_is_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_map, "RECENT_MAX", 2)
    world = World()
    client = world.connect()
    link = world.bind()
    carrier_ids = [world.respond(link, world.accepted(client)) for _ in range(3)]
    world.receipt(link, carrier_ids[2])
    carrier_ids += [world.respond(link, world.accepted(client)) for _ in range(2)]
    carrier = world.state.carriers["carrier-a"]
    kept = {
        carrier_id: isinstance(found, int)
        for carrier_id, found in carrier.receipts._waiting.items()
    }

    assert {
        carrier_ids[0]: True,
        carrier_ids[1]: True,
        carrier_ids[3]: False,
        carrier_ids[4]: False,
    } == kept
    assert 2 == len(carrier.receipts._recent)


def test_campaigns_are_paused_one_by_one() -> None:
    registry = COMPANIES + campaign("C1", NUMBER) + campaign("C2", SLOW_NUMBER)
    world = World(Setup(registry=registry))
    client = world.connect()
    link = world.bind()
    world.respond(link, world.accepted(client), consts.ESME_RSYSERR)
    world.respond(link, world.accepted(client, source=SLOW_NUMBER), consts.ESME_RTHROTTLED)

    paused = world.state.carriers["carrier-a"].paused
    assert {"C1", "C2"} == set(paused)
    assert {world.clock.monotonic + 1.0} == set(paused.values())
