"""Every command in every state for both roles, generated from the table of operations."""

import pytest

from gateway.smpp import codec, consts, states
from gateway.smpp.events import (
    BindRequest,
    Deliver,
    Event,
    Submit,
    Unbound,
)
from gateway.smpp.session import LocalProtocolError, Session
from gateway.smpp.states import PEER, Role
from tests.smpp.pair import BIND, SUBMIT_BODY, session_in

ROLES: tuple[Role, ...] = ("esme", "smsc")
STATES = range(len(states.NAMES))
SEQUENCE_NUMBER = 41
UNKNOWN_COMMANDS = (0x00000000, 0x0000000A, 0x00000111, 0x7FFFFFFF)
ROWS = {row.command_id: row for row in states.OPERATIONS}

BODIES = {
    **dict.fromkeys(consts.BINDS, codec.encode_bind(BIND)),
    consts.SUBMIT_SM: SUBMIT_BODY,
    consts.DELIVER_SM: SUBMIT_BODY,
}
EVENTS: dict[int, type[Event]] = {
    **dict.fromkeys(consts.BINDS, BindRequest),
    consts.SUBMIT_SM: Submit,
    consts.DELIVER_SM: Deliver,
    consts.UNBIND: Unbound,
}

each_role = pytest.mark.parametrize("role", ROLES)
each_state = pytest.mark.parametrize("state", STATES, ids=states.NAMES.__getitem__)
each_command = pytest.mark.parametrize(
    "command_id", [*ROWS, *UNKNOWN_COMMANDS], ids=consts.command_name
)


def is_legal(role: Role, state: int, command_id: int) -> bool:
    """Whether a peer of this role's may request this in this state, by the rows alone."""
    row = ROWS[command_id]
    if PEER[role] not in row.sides or not row.supported:
        return False
    if command_id == consts.ENQUIRE_LINK:
        return True
    crosses_our_unbind = state == states.UNBINDING and bool(row.states & states.BOUND)
    return state in row.states or crosses_our_unbind


def refusal(role: Role, command_id: int) -> bytes:
    """What an illegal request is answered."""
    row = ROWS.get(command_id)
    if row is None:
        return codec.pdu(consts.GENERIC_NACK, consts.ESME_RINVCMDID, SEQUENCE_NUMBER)
    if not row.has_response:
        return b""
    if PEER[role] not in row.sides or not row.supported:
        status = consts.ESME_RINVCMDID
    else:
        status = consts.ESME_RALYBND if command_id in consts.BINDS else consts.ESME_RINVBNDSTS
    body = b"\0" if command_id == consts.DELIVER_SM else b""
    return codec.pdu(command_id | consts.RESPONSE, status, SEQUENCE_NUMBER, body)


@each_role
@each_state
@each_command
def test_a_request_is_taken_where_the_table_has_it_and_refused_elsewhere(
    role: Role, state: int, command_id: int
) -> None:
    session = session_in(role, state)
    body = BODIES.get(command_id, b"")

    events = session.receive_data(codec.pdu(command_id, 0, SEQUENCE_NUMBER, body), 1.0)

    said = session.data_to_send()
    if state == states.CLOSED:
        assert (events, said) == ([], b"")
    elif command_id not in ROWS or not is_legal(role, state, command_id):
        assert ([], refusal(role, command_id)) == (events, said)
        assert state == session.state
        assert said != b"" or session.statistics().commands_ignored == 1
        assert said == b"" or session.statistics().commands_refused == 1
    elif command_id == consts.ENQUIRE_LINK:
        assert codec.pdu(consts.ENQUIRE_LINK_RESP, 0, SEQUENCE_NUMBER) == said
        assert (events, session.state) == ([], state)
    else:
        assert [EVENTS[command_id]] == [type(event) for event in events]
        assert said == b""
        assert (states.UNBOUND if command_id == consts.UNBIND else state) == session.state


@each_role
@each_state
@each_command
def test_a_response_to_nothing_is_ignored_in_every_state(
    role: Role, state: int, command_id: int
) -> None:
    session = session_in(role, state)
    response = codec.pdu(command_id | consts.RESPONSE, 0, SEQUENCE_NUMBER)

    assert session.receive_data(response, 1.0) == []

    assert (session.data_to_send(), session.state) == (b"", state)
    assert (state != states.CLOSED) == session.statistics().answers_unmatched


def say(session: Session, command_id: int) -> bytes:
    """This request from us, by the method that is for it."""
    if command_id in consts.BINDS:
        return session.bind(command_id, BIND, 0.0)
    if command_id == consts.UNBIND:
        return session.unbind(0.0)
    return session.request(command_id, SUBMIT_BODY, "ref", 0.0)


@each_role
@each_state
@each_command
def test_a_request_of_ours_that_is_illegal_is_our_own_error(
    role: Role, state: int, command_id: int
) -> None:
    session = session_in(role, state)
    row = ROWS.get(command_id)
    is_ours = row is not None and row.supported and role in row.sides and state in row.states

    if command_id == consts.UNBIND and state in states.ENDING:
        assert say(session, command_id) == b""
    elif is_ours and command_id != consts.ENQUIRE_LINK:  # those are the session's own
        assert command_id == codec.HEADER.unpack_from(say(session, command_id))[1]
        assert (states.UNBINDING if command_id == consts.UNBIND else state) == session.state
    else:
        with pytest.raises(LocalProtocolError, match=f"as {role} in state {states.NAMES[state]}"):
            say(session, command_id)
        assert state == session.state


@each_role
@each_state
@each_command
def test_a_response_of_ours_that_is_illegal_is_our_own_error(
    role: Role, state: int, command_id: int
) -> None:
    session = session_in(role, state)
    request = codec.pdu(command_id, 0, SEQUENCE_NUMBER, BODIES.get(command_id, b""))
    response = command_id | consts.RESPONSE
    events = session.receive_data(request, 1.0)

    if state == states.CLOSED:
        assert session.respond(response, 0, SEQUENCE_NUMBER) == b""
    elif events or response in states.MAY_ANSWER[role][session.state]:
        assert codec.pdu(response, 0, SEQUENCE_NUMBER) == session.respond(
            response, 0, SEQUENCE_NUMBER
        )
    else:
        with pytest.raises(LocalProtocolError, match="as"):
            session.respond(response, 0, SEQUENCE_NUMBER)


@each_role
@each_state
def test_whether_we_may_unbind_is_known_before(role: Role, state: int) -> None:
    assert (state in states.BOUND) == session_in(role, state).may_unbind


@each_role
@each_state
def test_only_responses_to_messages_come_many_at_once(role: Role, state: int) -> None:
    session = session_in(role, state)
    message = consts.DELIVER_SM_RESP if role == "esme" else consts.SUBMIT_SM_RESP
    for command_id in (message, consts.UNBIND_RESP, consts.BIND_TRANSCEIVER_RESP):
        if state == states.CLOSED:
            assert session.responses(command_id, []) == []
        elif command_id == message and message in states.MAY_ANSWER[role][state]:
            assert len(session.responses(command_id, [(0, 1, b"\0"), (0, 2, b"\0")])) == 2
        else:
            with pytest.raises(LocalProtocolError, match="many"):
                session.responses(command_id, [])


def test_a_bind_is_answered_once_and_by_its_own_response() -> None:
    session = session_in("smsc", states.OPEN)
    bind = codec.pdu(consts.BIND_RECEIVER, 0, SEQUENCE_NUMBER, codec.encode_bind(BIND))
    session.receive_data(bind, 0.0)

    for command_id, sequence_number in (
        (consts.BIND_TRANSCEIVER_RESP, SEQUENCE_NUMBER),
        (consts.BIND_RECEIVER_RESP, SEQUENCE_NUMBER + 1),
    ):
        with pytest.raises(LocalProtocolError, match="to nothing"):
            session.respond(command_id, 0, sequence_number)
    session.respond(consts.BIND_RECEIVER_RESP, 0, SEQUENCE_NUMBER)
    with pytest.raises(LocalProtocolError, match="bind_receiver_resp"):
        session.respond(consts.BIND_RECEIVER_RESP, 0, SEQUENCE_NUMBER)


def test_a_second_bind_of_ours_before_the_first_is_answered_is_our_own_error() -> None:
    session = session_in("esme", states.OPEN)
    session.bind(consts.BIND_RECEIVER, BIND, 0.0)

    with pytest.raises(LocalProtocolError, match="bind_transmitter"):
        session.bind(consts.BIND_TRANSMITTER, BIND, 0.0)
