"""Sessions for tests: in any state, alone or two of them with a link between (h11's manner)."""

from typing import Any

from gateway.smpp import codec, consts, states
from gateway.smpp.codec import Bind
from gateway.smpp.events import BindAnswer, BindRequest, Event
from gateway.smpp.session import Session
from gateway.smpp.states import Role

DEFAULTS: dict[str, Any] = {
    "window": 10,
    "enquire_link_s": 30.0,
    "response_timeout_s": 60.0,
    "bind_timeout_s": 10.0,
    "pdu_timeout_s": 5.0,
}
BIND = Bind(system_id=b"shop", password=b"secret")

BIND_OF = {
    states.BOUND_TX: consts.BIND_TRANSMITTER,
    states.BOUND_RX: consts.BIND_RECEIVER,
    states.BOUND_TRX: consts.BIND_TRANSCEIVER,
}

SUBMIT_BODY = codec.encode_sm(
    source_addr_ton=1,
    source_addr_npi=1,
    source_addr=b"12025550123",
    dest_addr_ton=1,
    dest_addr_npi=1,
    destination_addr=b"13105550199",
    registered_delivery=1,
    short_message=b"hello",
)


def new_session(role: Role, **changes: Any) -> Session:
    """An open session; its clock starts at 0."""
    return Session(role, **(DEFAULTS | changes))


def bound_session(role: Role, state: int = states.BOUND_TRX, **changes: Any) -> Session:
    """A session that was bound at 0, with nothing left to send."""
    session = new_session(role, **changes)
    command_id = BIND_OF[state]
    response = command_id | consts.RESPONSE
    if role == "esme":
        session.bind(command_id, BIND, 0.0)
        session.receive_data(codec.pdu(response, 0, 1, b"carrier\0"), 0.0)
    else:
        session.receive_data(codec.pdu(command_id, 0, 1, codec.encode_bind(BIND)), 0.0)
        session.respond(response, 0, 1, b"smppgate\0")
    assert state == session.state
    return session


def session_in(role: Role, state: int) -> Session:
    """A session in this state."""
    if state == states.OPEN:
        return new_session(role)
    if state in states.BOUND:
        return bound_session(role, state)
    session = bound_session(role)
    if state == states.UNBINDING:
        session.unbind(0.0)
    elif state == states.UNBOUND:
        session.receive_data(codec.pdu(consts.UNBIND, 0, 99), 0.0)
    else:
        session.abandon()
    assert state == session.state
    return session


class Pair:
    """An ESME and an SMSC; what one says, the other hears."""

    def __init__(self, **changes: Any) -> None:
        self.esme = new_session("esme", **changes)
        self.smsc = new_session("smsc", **changes)

    def say(self, speaker: Session, data: bytes, now: float = 0.0) -> list[Event]:
        """The other side hears these octets, and the speaker what the other said by itself."""
        hearer = self.smsc if speaker is self.esme else self.esme
        events = hearer.receive_data(data, now)
        own = hearer.data_to_send()
        if own:
            events.extend(speaker.receive_data(own, now))
        return events

    def bind(self, command_id: int = consts.BIND_TRANSCEIVER, now: float = 0.0) -> None:
        """Binds the two."""
        (asked,) = self.say(self.esme, self.esme.bind(command_id, BIND, now), now)
        assert isinstance(asked, BindRequest)
        response = command_id | consts.RESPONSE
        body = codec.encode_bind_resp(b"smppgate", consts.INTERFACE_VERSION)
        data = self.smsc.respond(response, 0, asked.sequence_number, body)
        (answered,) = self.say(self.smsc, data, now)
        assert BindAnswer(0, body) == answered
