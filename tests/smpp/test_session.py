"""One session: what it makes of octets, what it answers by itself, what it lets us say."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import codec, consts, states, tlv
from gateway.smpp.codec import Sm
from gateway.smpp.events import (
    Answer,
    BindAnswer,
    BindRequest,
    Deliver,
    Event,
    LinkFault,
    Submit,
    UnbindAnswer,
    Unbound,
)
from gateway.smpp.session import LocalProtocolError, Session
from gateway.smpp.states import Role
from tests.smpp.pair import BIND, SUBMIT_BODY, bound_session, new_session, session_in
from tests.smpp.strategies import PDUS, cut

SUBMIT = codec.pdu(consts.SUBMIT_SM, 0, 7, SUBMIT_BODY)
DELIVER = codec.pdu(consts.DELIVER_SM, 0, 7, SUBMIT_BODY)
PAYLOAD = tlv.encode(consts.TLV_MESSAGE_PAYLOAD, b"STOP")


def sm_of(body: bytes) -> Sm:
    sm = codec.decode_sm(body)
    assert isinstance(sm, Sm)
    return sm


def esme_with(*refs: object) -> Session:
    """A bound ESME with these requests unanswered, numbered from 2."""
    session = bound_session("esme")
    session.requests(consts.SUBMIT_SM, [(SUBMIT_BODY, ref) for ref in refs], 0.0)
    return session


def own_pdus(session: Session) -> list[tuple[int, int, int, bytes]]:
    """What the session says by itself: command_id, command_status, sequence_number, body."""
    data, found = session.data_to_send(), []
    while data:
        length, *head = codec.HEADER.unpack_from(data)
        found.append((head[0], head[1], head[2], data[16:length]))
        data = data[length:]
    return found


# ---------------------------------------------------------------------------------------- framing


@given(st.sampled_from(("esme", "smsc")), st.lists(PDUS, max_size=8), st.lists(st.integers(0)))
def test_any_split_means_what_the_whole_means(
    role: Role, pdus: list[bytes], places: list[int]
) -> None:
    def heard(pieces: list[bytes]) -> tuple[list[Event], bytes, Any]:
        session = bound_session(role)
        if role == "esme":
            session.requests(consts.SUBMIT_SM, [(SUBMIT_BODY, n) for n in range(5)], 0.0)
        events = [event for piece in pieces for event in session.receive_data(piece, 1.0)]
        return events, session.data_to_send(), session.statistics()

    data = b"".join(pdus)

    assert heard([data]) == heard(cut(data, places))


def test_octet_by_octet_is_a_split_too() -> None:
    session = bound_session("smsc")

    events = [e for octet in SUBMIT + SUBMIT for e in session.receive_data(bytes([octet]), 0.0)]

    assert [Submit(7, sm_of(SUBMIT_BODY))] * 2 == events


@given(
    st.sampled_from(("esme", "smsc")),
    st.sampled_from(range(len(states.NAMES))),
    st.lists(st.one_of(PDUS, st.binary(max_size=64)), max_size=10),
)
def test_no_octets_raise_in_any_state(role: Role, state: int, reads: list[bytes]) -> None:
    session = session_in(role, state)
    if session.room:
        command_id = consts.SUBMIT_SM if role == "esme" else consts.DELIVER_SM
        session.requests(command_id, [(SUBMIT_BODY, n) for n in range(5)], 0.0)

    for read in reads:
        was_closed = session.state == states.CLOSED
        events = session.receive_data(read, 1.0)
        assert not (was_closed and events)
        if session.state == states.CLOSED and not was_closed:
            assert isinstance(events[-1], (LinkFault, UnbindAnswer))
            assert math.inf == session.next_deadline()

    session.data_to_send()
    session.abandon()
    assert session.outstanding == 0


@pytest.mark.parametrize(("length", "quoted"), [(0, 0), (15, 0), (65537, 7), (0xFFFFFFFF, 7)])
def test_a_length_that_cannot_be_ends_the_link_with_a_nack(length: int, quoted: int) -> None:
    session = bound_session("smsc")

    events = session.receive_data(SUBMIT + length.to_bytes(4, "big") + SUBMIT[4:] + SUBMIT, 0.0)

    fault = LinkFault(f"a PDU of {length} octets", consts.ESME_RINVCMDLEN)
    assert [Submit(7, sm_of(SUBMIT_BODY)), fault] == events
    assert [(consts.GENERIC_NACK, consts.ESME_RINVCMDLEN, quoted, b"")] == own_pdus(session)
    assert session.receive_data(SUBMIT, 0.0) == []
    assert states.CLOSED == session.state


def test_the_longest_pdu_is_taken_and_one_octet_more_is_not() -> None:
    session = bound_session("smsc", command_length_max=len(SUBMIT))

    assert len(session.receive_data(SUBMIT, 0.0)) == 1

    longer = codec.encode_sm(tlvs=tlv.encode(0x1400, b"x" * len(SUBMIT)))
    (fault,) = session.receive_data(codec.pdu(consts.SUBMIT_SM, 0, 8, longer), 0.0)
    assert isinstance(fault, LinkFault)


# ------------------------------------------------------------------------------ messages come in


def test_a_client_submits_and_a_carrier_delivers() -> None:
    sm = sm_of(SUBMIT_BODY)

    assert [Submit(7, sm)] == bound_session("smsc").receive_data(SUBMIT, 0.0)
    assert [Deliver(7, sm)] == bound_session("esme").receive_data(DELIVER, 0.0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", consts.ESME_RINVCMDLEN),
        (SUBMIT_BODY[:-1], consts.ESME_RINVMSGLEN),
        (SUBMIT_BODY + b"\0", consts.ESME_RINVOPTPARSTREAM),
        (b"\0\1\1" + b"1" * 51, consts.ESME_RINVSRCADR),
    ],
)
def test_a_bad_body_is_answered_with_its_status_and_the_session_lives(
    body: bytes, status: int
) -> None:
    client, carrier = bound_session("smsc"), bound_session("esme")
    bad_submit = codec.pdu(consts.SUBMIT_SM, 0, 6, body)
    bad_deliver = codec.pdu(consts.DELIVER_SM, 0, 6, body)

    assert len(client.receive_data(bad_submit + SUBMIT, 0.0)) == 1
    assert len(carrier.receive_data(bad_deliver + DELIVER, 0.0)) == 1

    assert [(consts.SUBMIT_SM_RESP, status, 6, b"")] == own_pdus(client)
    assert [(consts.DELIVER_SM_RESP, status, 6, b"\0")] == own_pdus(carrier)
    assert client.statistics().bodies_refused == carrier.statistics().bodies_refused == 1


def test_text_in_both_places_is_refused_to_a_client_but_taken_from_a_carrier() -> None:
    body = codec.encode_sm(source_addr=b"13105550199", short_message=b"STOP") + PAYLOAD
    client, carrier = bound_session("smsc"), bound_session("esme")

    assert client.receive_data(codec.pdu(consts.SUBMIT_SM, 0, 7, body), 0.0) == []
    (delivered,) = carrier.receive_data(codec.pdu(consts.DELIVER_SM, 0, 7, body), 0.0)

    assert own_pdus(client)[0][1] == consts.ESME_ROPTPARNOTALLWD
    assert isinstance(delivered, Deliver)
    assert delivered.sm.short_message == b"STOP"
    assert own_pdus(carrier) == []


# -------------------------------------------------------------------------------------- responses


def test_an_answer_comes_with_what_the_request_was_made_with() -> None:
    session = esme_with("a", "b")
    body = b"0a1b2c\0"

    events = session.receive_data(
        codec.pdu(consts.SUBMIT_SM_RESP, 0x58, 3) + codec.pdu(consts.SUBMIT_SM_RESP, 0, 2, body),
        0.0,
    )

    assert [
        Answer("b", consts.SUBMIT_SM_RESP, 0x58, b""),
        Answer("a", consts.SUBMIT_SM_RESP, 0, body),
    ] == events
    assert session.outstanding == 0


@pytest.mark.parametrize(
    ("command_id", "sequence_number"),
    [
        (consts.SUBMIT_SM_RESP, 2),  # a second time
        (consts.SUBMIT_SM_RESP, 99),  # to nothing
        (consts.DELIVER_SM_RESP, 3),  # of another kind
        (consts.ENQUIRE_LINK_RESP, 3),
        (0x80000111, 3),
        (consts.GENERIC_NACK, 0),
        (consts.UNBIND_RESP, 1),
        (consts.BIND_TRANSCEIVER_RESP, 1),
    ],
)
def test_an_answer_to_nothing_is_counted_and_ignored(command_id: int, sequence_number: int) -> None:
    session = esme_with("a", "b")
    session.receive_data(codec.pdu(consts.SUBMIT_SM_RESP, 0, 2, b"1\0"), 0.0)

    assert session.receive_data(codec.pdu(command_id, 0, sequence_number), 0.0) == []

    assert session.statistics().answers_unmatched == 1
    assert session.data_to_send() == b""
    assert ["b"] == session.abandon()


@pytest.mark.parametrize(
    ("said", "status"),
    [(consts.ESME_RINVCMDID, consts.ESME_RINVCMDID), (consts.ESME_ROK, consts.ESME_RUNKNOWNERR)],
)
def test_a_nack_to_a_request_is_its_answer_and_never_a_yes(said: int, status: int) -> None:
    session = esme_with("a")

    events = session.receive_data(codec.pdu(consts.GENERIC_NACK, said, 2), 0.0)

    assert [Answer("a", consts.GENERIC_NACK, status, b"")] == events
    assert session.statistics().nacks_received == 1


def test_a_nack_to_our_bind_does_not_bind() -> None:
    session = new_session("esme")
    session.bind(consts.BIND_TRANSCEIVER, BIND, 0.0)

    events = session.receive_data(codec.pdu(consts.GENERIC_NACK, 0, 1), 0.0)

    assert [BindAnswer(consts.ESME_RUNKNOWNERR, b"")] == events
    assert states.OPEN == session.state


def test_the_peers_sequence_numbers_are_its_own() -> None:
    session = esme_with("a")

    (delivered,) = session.receive_data(codec.pdu(consts.DELIVER_SM, 0, 2, SUBMIT_BODY), 0.0)
    (answer,) = session.receive_data(codec.pdu(consts.SUBMIT_SM_RESP, 0, 2, b"1\0"), 0.0)

    assert isinstance(delivered, Deliver)
    assert isinstance(answer, Answer)


# --------------------------------------------------------------------------------------- requests


def test_requests_take_room_and_answers_give_it_back() -> None:
    session = bound_session("esme", window=3)
    assert session.room == 3

    pdus = session.requests(consts.SUBMIT_SM, [(SUBMIT_BODY, "a"), (SUBMIT_BODY, "b")], 0.0)
    one = session.request(consts.SUBMIT_SM, SUBMIT_BODY, "c", 0.0)

    assert [codec.pdu(consts.SUBMIT_SM, 0, n, SUBMIT_BODY) for n in (2, 3, 4)] == [*pdus, one]
    assert (0, 3) == (session.room, session.outstanding)
    with pytest.raises(LocalProtocolError, match="room for 0"):
        session.request(consts.SUBMIT_SM, SUBMIT_BODY, "d", 0.0)
    session.receive_data(codec.pdu(consts.SUBMIT_SM_RESP, 0, 3), 0.0)
    assert session.room == 1


def test_a_late_answer_in_the_same_instant_as_its_time_out_counts_as_an_answer() -> None:
    session = esme_with("a")

    (answer,) = session.receive_data(codec.pdu(consts.SUBMIT_SM_RESP, 0, 2), 60.0)

    assert isinstance(answer, Answer)
    assert session.on_deadline(60.0) == []


def test_requests_that_never_left_are_taken_back() -> None:
    session = esme_with("a", "b", "c")

    assert ["b", "c"] == session.withdraw(2)
    assert session.outstanding == 1
    again = session.request(consts.SUBMIT_SM, SUBMIT_BODY, "d", 0.0)
    assert codec.pdu(consts.SUBMIT_SM, 0, 3, SUBMIT_BODY) == again


@pytest.mark.parametrize("count", [-1, 4])
def test_more_than_was_ever_made_cannot_be_taken_back(count: int) -> None:
    session = esme_with("a", "b", "c")

    with pytest.raises(LocalProtocolError, match="taken back"):
        session.withdraw(count)


@pytest.mark.parametrize("room", [1, 10])
def test_numbers_go_on_at_one_after_the_last(room: int) -> None:
    session = bound_session("esme", window=room)
    session._window._next = consts.SEQUENCE_NUMBER_MAX

    for expected in (consts.SEQUENCE_NUMBER_MAX, 1, 2):
        sent = session.request(consts.SUBMIT_SM, SUBMIT_BODY, expected, 0.0)
        (answer,) = session.receive_data(
            codec.pdu(consts.SUBMIT_SM_RESP, 0, codec.HEADER.unpack_from(sent)[3]), 0.0
        )
        assert Answer(expected, consts.SUBMIT_SM_RESP, 0, b"") == answer


def test_an_abandoned_session_gives_everything_back_and_says_nothing_more() -> None:
    session = esme_with("a", "b")
    session.receive_data(codec.pdu(consts.ENQUIRE_LINK, 0, 1), 0.0)

    assert ["a", "b"] == session.abandon()
    assert [] == session.abandon()
    assert session.data_to_send() == b""
    assert session.room == 0
    assert states.CLOSED == session.state


# ------------------------------------------------------------------------------------------ binds


@pytest.mark.parametrize(
    ("command_id", "state"),
    [
        (consts.BIND_TRANSMITTER, states.BOUND_TX),
        (consts.BIND_RECEIVER, states.BOUND_RX),
        (consts.BIND_TRANSCEIVER, states.BOUND_TRX),
    ],
)
def test_a_bind_that_is_answered_well_binds_both_sides(command_id: int, state: int) -> None:
    esme, smsc = new_session("esme"), new_session("smsc")

    asked = smsc.receive_data(esme.bind(command_id, BIND, 0.0), 0.0)
    assert [BindRequest(1, command_id, BIND)] == asked
    assert (states.OPEN, states.OPEN) == (esme.state, smsc.state)
    answered = esme.receive_data(
        smsc.respond(command_id | consts.RESPONSE, 0, 1, b"smppgate\0"), 0.0
    )

    assert [BindAnswer(0, b"smppgate\0")] == answered
    assert (state, state) == (esme.state, smsc.state)
    assert esme.statistics().state == states.NAMES[state]


def test_a_bind_that_is_refused_leaves_both_open_and_may_be_tried_again() -> None:
    esme, smsc = new_session("esme"), new_session("smsc")
    for sequence_number in (1, 2):
        smsc.receive_data(esme.bind(consts.BIND_TRANSCEIVER, BIND, 0.0), 0.0)
        refusal = smsc.respond(consts.BIND_TRANSCEIVER_RESP, consts.ESME_RINVPASWD, sequence_number)
        assert [BindAnswer(consts.ESME_RINVPASWD, b"")] == esme.receive_data(refusal, 0.0)
        assert (states.OPEN, states.OPEN) == (esme.state, smsc.state)


def test_a_second_bind_is_refused_while_the_first_is_judged_and_when_it_is_bound() -> None:
    session = new_session("smsc")
    bind = codec.encode_bind(BIND)
    session.receive_data(codec.pdu(consts.BIND_TRANSCEIVER, 0, 1, bind), 0.0)
    for state in (states.OPEN, states.BOUND_TRX):
        assert state == session.state
        assert session.receive_data(codec.pdu(consts.BIND_RECEIVER, 0, 2, bind), 0.0) == []
        expected = (consts.BIND_RECEIVER_RESP, consts.ESME_RALYBND, 2, b"")
        assert [expected] == own_pdus(session)
        if state == states.OPEN:
            session.respond(consts.BIND_TRANSCEIVER_RESP, 0, 1, b"\0")
    assert session.statistics().commands_refused == 2


def test_a_bind_that_cannot_be_read_is_refused() -> None:
    session = new_session("smsc")

    assert session.receive_data(codec.pdu(consts.BIND_TRANSMITTER, 0, 1, b"shop"), 0.0) == []

    assert [(consts.BIND_TRANSMITTER_RESP, consts.ESME_RBINDFAIL, 1, b"")] == own_pdus(session)
    assert session.statistics().bodies_refused == 1


def test_a_message_sent_before_its_bind_is_answered_is_refused() -> None:
    session = new_session("smsc")
    bind = codec.pdu(consts.BIND_TRANSCEIVER, 0, 1, codec.encode_bind(BIND))

    (asked,) = session.receive_data(bind + SUBMIT, 0.0)

    assert isinstance(asked, BindRequest)
    assert [(consts.SUBMIT_SM_RESP, consts.ESME_RINVBNDSTS, 7, b"")] == own_pdus(session)


# ----------------------------------------------------------------------------------------- unbind


def test_the_peer_unbinds_and_is_answered_after_what_is_owed() -> None:
    session = bound_session("smsc")

    events = session.receive_data(SUBMIT + codec.pdu(consts.UNBIND, 0, 8) + SUBMIT, 0.0)

    assert [Submit(7, sm_of(SUBMIT_BODY)), Unbound(8)] == events
    assert [(consts.SUBMIT_SM_RESP, consts.ESME_RINVBNDSTS, 7, b"")] == own_pdus(session)
    assert session.room == 0
    owed = session.responses(consts.SUBMIT_SM_RESP, [(0, 7, b"1\0")])
    assert [codec.pdu(consts.SUBMIT_SM_RESP, 0, 7, b"1\0")] == owed
    assert codec.pdu(consts.UNBIND_RESP, 0, 8) == session.respond(consts.UNBIND_RESP, 0, 8)
    assert states.CLOSED == session.state


def test_what_crosses_our_unbind_is_taken_and_may_be_answered() -> None:
    session = esme_with("a")
    unbind = session.unbind(0.0)

    events = session.receive_data(
        DELIVER + codec.pdu(consts.SUBMIT_SM_RESP, 0, 2) + codec.pdu(consts.UNBIND_RESP, 0, 3), 0.0
    )

    assert codec.pdu(consts.UNBIND, 0, 3) == unbind
    assert [
        Deliver(7, sm_of(SUBMIT_BODY)),
        Answer("a", consts.SUBMIT_SM_RESP, 0, b""),
        UnbindAnswer(0),
    ] == events
    assert states.CLOSED == session.state


def test_what_follows_the_end_in_the_same_read_is_not_heard() -> None:
    session = bound_session("esme")
    session.unbind(0.0)

    end = codec.pdu(consts.UNBIND_RESP, 0, 2)
    events = session.receive_data(end + DELIVER + codec.pdu(consts.ENQUIRE_LINK, 0, 8), 0.0)

    assert [UnbindAnswer(0)] == events
    assert session.data_to_send() == b""


def test_two_unbinds_that_cross_are_both_answered() -> None:
    esme, smsc = bound_session("esme"), bound_session("smsc")
    ours, theirs = esme.unbind(0.0), smsc.unbind(0.0)

    assert [Unbound(1)] == esme.receive_data(theirs, 0.0)
    assert [Unbound(2)] == smsc.receive_data(ours, 0.0)
    assert [UnbindAnswer(0)] == esme.receive_data(smsc.respond(consts.UNBIND_RESP, 0, 2), 0.0)

    assert (states.UNBOUND, states.CLOSED) == (esme.state, smsc.state)
    assert math.inf == esme.next_deadline()  # only we owe anything now
    assert codec.pdu(consts.UNBIND_RESP, 0, 1) == esme.respond(consts.UNBIND_RESP, 0, 1)
    assert states.CLOSED == esme.state


@pytest.mark.parametrize("state", sorted(states.ENDING))
def test_to_unbind_what_ends_already_says_nothing(state: int) -> None:
    session = session_in("esme", state)

    assert session.unbind(0.0) == b""
    assert state == session.state


def test_a_late_turn_that_answers_a_closed_session_says_nothing() -> None:
    session = session_in("smsc", states.CLOSED)

    assert session.respond(consts.UNBIND_RESP, 0, 1) == b""
    assert session.responses(consts.SUBMIT_SM_RESP, [(0, 7, b"1\0")]) == []


def test_many_responses_are_as_each_alone() -> None:
    session = bound_session("smsc")
    answers = [(0, 7, b"1\0"), (0x58, 8, b"")]

    many = session.responses(consts.SUBMIT_SM_RESP, answers)

    assert [session.respond(consts.SUBMIT_SM_RESP, *answer) for answer in answers] == many


def test_statistics_do_not_change_afterwards() -> None:
    session = esme_with("a")
    before = session.statistics()
    session.abandon()

    assert (1, 1, "bound_trx") == (before.requests, before.outstanding, before.state)
    with pytest.raises(AttributeError):
        before.outstanding = 2  # type: ignore[misc]
