"""Deadlines of a session: one at a time, in virtual time, standing still while it is paused."""

import math

import pytest

from gateway.smpp import codec, consts, states
from gateway.smpp.events import Event, LinkFault
from gateway.smpp.session import Session
from gateway.smpp.states import Role
from tests.smpp.pair import BIND, SUBMIT_BODY, bound_session, new_session, session_in

ENQUIRE_LINK = codec.pdu(consts.ENQUIRE_LINK, 0, 77)


def run_until(session: Session, until: float) -> tuple[float, list[Event]]:
    """Calls `on_deadline` whenever it is due, up to a moment; when and how the link ended."""
    for _ in range(100):
        due = session.next_deadline()
        if due > until:
            return until, []
        events = session.on_deadline(due)
        if events:
            return due, events
    raise AssertionError("a deadline that has passed stays due")


def own_commands(session: Session) -> list[int]:
    data, commands = session.data_to_send(), []
    while data:
        length, command_id = codec.HEADER.unpack_from(data)[:2]
        commands.append(command_id)
        data = data[length:]
    return commands


@pytest.mark.parametrize("role", ["esme", "smsc"])
def test_a_session_that_is_not_bound_in_time_ends(role: Role) -> None:
    session = new_session(role, now=5.0)

    assert run_until(session, 100.0) == (15.0, [LinkFault("not bound in time", 0)])
    assert own_commands(session) == []


def test_the_time_to_be_bound_counts_from_our_bind() -> None:
    session = new_session("esme", now=5.0)
    session.bind(consts.BIND_TRANSCEIVER, BIND, 7.0)

    assert session.next_deadline() == 17.0


def test_talk_without_a_bind_gains_no_time() -> None:
    session = new_session("smsc")
    session.receive_data(ENQUIRE_LINK, 9.0)

    assert session.next_deadline() == 10.0


@pytest.mark.parametrize("state", sorted(states.BOUND))
@pytest.mark.parametrize("role", ["esme", "smsc"])
def test_a_silent_peer_is_probed_and_then_given_up(role: Role, state: int) -> None:
    session = bound_session(role, state)

    assert session.next_deadline() == 30.0
    assert session.on_deadline(30.0) == []
    assert own_commands(session) == [consts.ENQUIRE_LINK]
    assert run_until(session, 1000.0) == (60.0, [LinkFault("enquire_link unanswered", 0)])


def test_a_probe_is_given_up_sooner_where_responses_are() -> None:
    session = bound_session("esme", response_timeout_s=10.0)
    session.on_deadline(30.0)

    assert session.next_deadline() == 40.0


def test_any_pdu_proves_life_after_a_probe() -> None:
    session = bound_session("esme")
    for probed_at in (30.0, 65.0, 100.0):
        session.on_deadline(probed_at)
        session.receive_data(ENQUIRE_LINK, probed_at + 5)
        assert session.next_deadline() == probed_at + 35

    # Their responses, late, are no longer waited for, but they prove life as well.
    assert session.statistics().probes_sent == 3
    session.receive_data(codec.pdu(consts.ENQUIRE_LINK_RESP, 0, 2), 110.0)
    assert session.statistics().answers_unmatched == 1
    session.receive_data(codec.pdu(consts.ENQUIRE_LINK_RESP, 0, 4), 120.0)
    assert session.statistics().answers_unmatched == 1
    assert session.next_deadline() == 150.0


def test_half_a_pdu_proves_nothing() -> None:
    session = bound_session("esme", pdu_timeout_s=100.0)
    session.receive_data(ENQUIRE_LINK[:15], 20.0)

    assert session.next_deadline() == 30.0


def test_nothing_happens_before_a_deadline() -> None:
    session = bound_session("esme")

    assert session.on_deadline(29.9) == []
    assert own_commands(session) == []


def test_an_unanswered_request_ends_the_link_however_lively_it_is() -> None:
    session = bound_session("esme", window=100)
    session.requests(consts.SUBMIT_SM, [(SUBMIT_BODY, "a"), (SUBMIT_BODY, "b")], 1.0)
    session.receive_data(codec.pdu(consts.SUBMIT_SM_RESP, 0, 2, b"id\0"), 2.0)
    for now in range(3, 60, 5):
        session.request(consts.SUBMIT_SM, SUBMIT_BODY, now, float(now))
        session.receive_data(ENQUIRE_LINK, float(now))

    assert run_until(session, 1000.0) == (61.0, [LinkFault("a request unanswered", 0)])
    assert ["b", *range(3, 60, 5)] == session.abandon()


def test_an_unanswered_unbind_ends_the_link() -> None:
    session = bound_session("esme")
    session.unbind(10.0)

    assert run_until(session, 1000.0) == (70.0, [LinkFault("unbind unanswered", 0)])


@pytest.mark.parametrize("state", [states.UNBOUND, states.CLOSED])
def test_a_session_that_is_only_to_be_closed_waits_for_nothing(state: int) -> None:
    session = session_in("smsc", state)

    assert math.inf == session.next_deadline()
    assert session.on_deadline(1e9) == []


def test_a_paused_session_has_no_deadline_and_afterwards_as_long_as_before() -> None:
    session = bound_session("esme")
    session.request(consts.SUBMIT_SM, SUBMIT_BODY, "a", 0.0)
    session.pause(10.0)
    assert math.inf == session.next_deadline()
    assert session.on_deadline(1000.0) == []
    session.pause(50.0)  # a second pause changes nothing
    session.resume(1010.0)
    session.resume(2000.0)  # nor does a second resumption

    assert session.next_deadline() == 1030.0
    assert session.on_deadline(1030.0) == []
    session.receive_data(ENQUIRE_LINK, 1031.0)
    assert session.next_deadline() == 1060.0  # of the request, which was made 60 s of ours before


def test_what_happens_after_a_pause_is_timed_from_then() -> None:
    session = bound_session("esme", response_timeout_s=20.0)
    session.pause(10.0)
    session.resume(1010.0)
    session.receive_data(ENQUIRE_LINK, 1020.0)
    assert session.next_deadline() == 1050.0

    session.request(consts.SUBMIT_SM, SUBMIT_BODY, "a", 1025.0)
    assert session.next_deadline() == 1045.0
    session.pause(1030.0)
    session.resume(1031.0)
    assert session.next_deadline() == 1046.0


def test_a_request_made_in_a_pause_is_as_old_as_the_pause() -> None:
    session = bound_session("esme", enquire_link_s=1000.0)
    session.pause(10.0)
    session.request(consts.SUBMIT_SM, SUBMIT_BODY, "a", 40.0)
    session.resume(100.0)

    assert session.next_deadline() == 160.0


def test_pauses_of_odd_lengths_leave_no_deadline_that_is_due_for_ever() -> None:
    session = bound_session("smsc", enquire_link_s=0.3)
    now = 0.1
    for step in range(1, 200):
        session.pause(now)
        now += 0.1 / step
        session.resume(now)
        now = max(now, session.next_deadline())
        session.on_deadline(now)
        assert session.next_deadline() > now
        session.receive_data(ENQUIRE_LINK, now)


@pytest.mark.parametrize("role", ["esme", "smsc"])
@pytest.mark.parametrize("cut", [1, 15])
def test_a_pdu_that_is_begun_and_not_ended_ends_the_link(role: Role, cut: int) -> None:
    session = bound_session(role)
    session.receive_data(ENQUIRE_LINK[:cut], 3.0)

    assert run_until(session, 100.0) == (8.0, [LinkFault("a PDU was begun and not ended", 0)])


def test_octets_that_dribble_gain_a_pdu_no_time_and_prove_no_life() -> None:
    session = bound_session("smsc", pdu_timeout_s=100.0)
    for place in range(15):
        session.receive_data(ENQUIRE_LINK[place : place + 1], 2.0 * place)

    assert session.next_deadline() == 30.0
    assert run_until(session, 1000.0) == (60.0, [LinkFault("enquire_link unanswered", 0)])


def test_each_pdu_has_its_own_time_to_be_whole() -> None:
    session = bound_session("smsc")
    session.receive_data(ENQUIRE_LINK[:10], 1.0)
    session.receive_data(ENQUIRE_LINK[10:] + ENQUIRE_LINK[:4], 5.0)
    assert session.next_deadline() == 10.0

    session.receive_data(ENQUIRE_LINK[4:], 9.0)

    assert session.next_deadline() == 39.0


def test_half_a_pdu_that_we_do_not_read_on_is_no_fault_of_the_peer() -> None:
    session = bound_session("smsc")
    session.receive_data(ENQUIRE_LINK[:10], 1.0)
    session.pause(2.0)
    session.resume(102.0)

    assert session.next_deadline() == 106.0
