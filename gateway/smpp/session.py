"""One SMPP session, either role, without I/O: bytes and time in, events and bytes out.

The shell's side of the contract, in order:

1. what a read brought goes to `receive_data(data, now)`, which gives back events in wire order;
2. `data_to_send()` after that: what the session answered by itself;
3. `requests(...)`, `respond(...)`, `bind(...)`, `unbind(...)` give the bytes to write. Requests are
   made just before they are written; those that did not leave are taken back by `withdraw(...)`;
4. `on_deadline(now)` when `next_deadline()` has come;
5. after a `LinkFault`, an `UnbindAnswer`, our unbind_resp, or the end of the link: close the link,
   and `abandon()` hands back the requests that nobody answered (first `withdraw` what never left).

By itself it answers what is owed to nothing on disk: enquire_link, bodies that break the rules of
their fields (`codec`), commands that are illegal in this state or not done here (`states`). What a
submit_sm deserves it does not know: that is the shell's, after the commit.

Nothing a peer sends raises: its faults are answers, counts (`statistics`) and, where the stream
itself cannot be trusted any longer, a `LinkFault`. `LocalProtocolError` means a bug of ours.

Times are monotonic seconds; `pause` and `resume` make them stand still (`timers`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.smpp import codec, consts, states
from gateway.smpp.codec import HEADER, Bind, BodyFault, Sm
from gateway.smpp.consts import GENERIC_NACK, RESPONSE
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
from gateway.smpp.states import Role
from gateway.smpp.timers import Timers
from gateway.smpp.window import Window

_NO_COMMAND: Final = -1


class LocalProtocolError(Exception):
    """We broke the protocol: a bug of ours, never a peer's doing."""


class Statistics(msgspec.Struct, frozen=True):
    """What happened in this session so far, and how it stands."""

    state: str
    outstanding: int
    requests: int
    answers_unmatched: int
    bodies_refused: int
    commands_refused: int
    commands_ignored: int
    nacks_received: int
    probes_sent: int


class Session:
    """The state machine of one bind; see the module."""

    def __init__(
        self,
        role: Role,
        *,
        window: int,
        enquire_link_s: float,
        response_timeout_s: float,
        bind_timeout_s: float,
        pdu_timeout_s: float,
        command_length_max: int = consts.COMMAND_LENGTH_MAX,
        now: float = 0.0,
    ) -> None:
        self.role: Final = role
        self.state = states.OPEN
        self._window = Window(window)
        self._timers = Timers(
            enquire_link_s=enquire_link_s,
            response_timeout_s=response_timeout_s,
            bind_timeout_s=bind_timeout_s,
            pdu_timeout_s=pdu_timeout_s,
            now=now,
        )
        self._command_length_max = command_length_max
        self._buffer = b""
        self._out: list[bytes] = []
        self._bind_request: tuple[int, int] | None = None
        # The request that carries messages to us, what it becomes, and the one that carries ours.
        # `_message_taken` is the first while this state takes it: all that the hot path compares.
        is_smsc = role == "smsc"
        self._message_command = consts.SUBMIT_SM if is_smsc else consts.DELIVER_SM
        self._message_event: type[Submit | Deliver] = Submit if is_smsc else Deliver
        self._message_taken = _NO_COMMAND
        self._our_command = consts.DELIVER_SM if is_smsc else consts.SUBMIT_SM
        self._answers_unmatched = 0
        self._bodies_refused = 0
        self._commands_refused = 0
        self._commands_ignored = 0
        self._nacks_received = 0
        self._probes_sent = 0

    # -------------------------------------------------------------------------------- receiving

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """What these bytes mean, as far as they complete PDUs. Not expected to raise."""
        events: list[Event] = []
        if self.state == states.CLOSED:
            return events
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        header, decode, event = HEADER.unpack_from, codec.decode_sm, self._message_event
        waiting, append = self._window.waiting, events.append
        message_taken, length_max = self._message_taken, self._command_length_max
        while end - at >= 16:
            length, command_id, command_status, sequence_number = header(buffer, at)
            if not 16 <= length <= length_max:
                self._on_framing_fault(length, sequence_number, events)
                return events
            stop = at + length
            if stop > end:
                break
            body = buffer[at + 16 : stop]
            at = stop
            if command_id == message_taken:
                sm = decode(body)
                if isinstance(sm, Sm):
                    append(event(sequence_number, sm))
                else:
                    self._on_body_fault(sequence_number, sm, body, events)
                continue
            entry = waiting.get(sequence_number)
            if entry is not None and entry[1] == command_id:
                del waiting[sequence_number]
                append(Answer(entry[0], command_id, command_status, body))
                continue
            if command_id & RESPONSE:
                self._on_response(command_id, command_status, sequence_number, body, events)
            else:
                self._on_request(command_id, sequence_number, body, events)
            if self.state == states.CLOSED:
                return events
            message_taken = self._message_taken
        if at:
            self._timers.heard(now)
        if at == end:
            self._timers.whole()
        elif at or not self._buffer:
            self._timers.partial(now)
        self._buffer = buffer[at:]
        return events

    def _on_framing_fault(self, length: int, sequence_number: int, events: list[Event]) -> None:
        """A command_length that cannot be: nobody knows where the next PDU begins (section 4.3).

        Below 16 the octets were no header, so there is no sequence_number to quote.
        """
        quoted = sequence_number if length > self._command_length_max else 0
        status = consts.ESME_RINVCMDLEN
        self._out.append(codec.pdu(GENERIC_NACK, status, quoted))
        self._end_link(f"a PDU of {length} octets", status, events)

    def _on_body_fault(
        self, sequence_number: int, fault: BodyFault, body: bytes, events: list[Event]
    ) -> None:
        if self.role == "esme":
            lenient = codec.decode_sm_leniently(body)
            if isinstance(lenient, Sm):
                events.append(Deliver(sequence_number, lenient))
                return
        self._bodies_refused += 1
        self._refuse(self._message_command, fault.command_status, sequence_number)

    def _on_request(
        self, command_id: int, sequence_number: int, body: bytes, events: list[Event]
    ) -> None:
        if command_id not in states.MAY_TAKE[self.role][self.state]:
            self._on_illegal_request(command_id, sequence_number)
        elif command_id == consts.ENQUIRE_LINK:
            self._out.append(codec.pdu(consts.ENQUIRE_LINK_RESP, 0, sequence_number))
        elif command_id == consts.UNBIND:
            self._move(states.PEER_UNBINDS)
            events.append(Unbound(sequence_number))
        elif self._bind_request is not None:
            self._commands_refused += 1
            self._refuse(command_id, consts.ESME_RALYBND, sequence_number)
        else:
            bind = codec.decode_bind(body)
            if isinstance(bind, Bind):
                self._bind_request = (command_id, sequence_number)
                events.append(BindRequest(sequence_number, command_id, bind))
            else:
                self._bodies_refused += 1
                self._refuse(command_id, bind.command_status, sequence_number)

    def _on_illegal_request(self, command_id: int, sequence_number: int) -> None:
        """Refuse what the peer may not ask now, not ask at all, or what is not done here.

        A known command that is not done here (data_sm, query_sm, ...) is answered by its own
        response with ESME_RINVCMDID: generic_nack is for a command_id that nobody knows (section
        4.3), and client libraries match a response by its kind.
        """
        has_response = states.KNOWN.get(command_id)
        if has_response is None:
            self._commands_refused += 1
            self._out.append(codec.pdu(GENERIC_NACK, consts.ESME_RINVCMDID, sequence_number))
        elif not has_response:  # outbind, alert_notification
            self._commands_ignored += 1
        else:
            if command_id not in states.PEER_REQUESTS[self.role]:
                status = consts.ESME_RINVCMDID
            elif command_id in consts.BINDS:
                status = consts.ESME_RALYBND
            else:
                status = consts.ESME_RINVBNDSTS
            self._commands_refused += 1
            self._refuse(command_id, status, sequence_number)

    def _refuse(self, command_id: int, command_status: int, sequence_number: int) -> None:
        """An error response: without a body (section 4.4.2), but deliver_sm_resp always has one."""
        body = b"\0" if command_id == consts.DELIVER_SM else b""
        self._out.append(codec.pdu(command_id | RESPONSE, command_status, sequence_number, body))

    def _on_response(
        self,
        command_id: int,
        command_status: int,
        sequence_number: int,
        body: bytes,
        events: list[Event],
    ) -> None:
        """A response that no request of the window has been waiting for under this command_id."""
        window = self._window
        if command_id == GENERIC_NACK:
            self._nacks_received += 1
            # Some send it with ESME_ROK; nobody must take that for a yes.
            command_status = command_status or consts.ESME_RUNKNOWNERR
            entry = window.waiting.pop(sequence_number, None)
            if entry is not None:
                events.append(Answer(entry[0], command_id, command_status, body))
                return
        own = window.own.get(sequence_number)
        if own is None or command_id not in (own | RESPONSE, GENERIC_NACK):
            self._answers_unmatched += 1  # late, a second time, to nothing, or of the wrong kind
            return
        del window.own[sequence_number]
        if own == consts.UNBIND:
            self._timers.unbind_answered()
            self._move(states.PEER_ANSWERED)
            events.append(UnbindAnswer(command_status))
        elif own in consts.BINDS:
            if command_status == consts.ESME_ROK:
                self._move(states.BOUND_AS[own])
            events.append(BindAnswer(command_status, body))

    # ---------------------------------------------------------------------------------- sending

    def data_to_send(self) -> bytes:
        """What the session has to say by itself, once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    @property
    def outstanding(self) -> int:
        """Requests that nobody has answered yet."""
        return len(self._window.waiting)

    @property
    def room(self) -> int:
        """How many more messages may be sent now; none in a state that lets us send none."""
        if self._our_command not in states.MAY_SEND[self.role][self.state]:
            return 0
        return self._window.limit - len(self._window.waiting)

    def requests(
        self, command_id: int, items: Sequence[tuple[bytes, object]], now: float
    ) -> list[bytes]:
        """Messages with these bodies, as PDUs in their order; each answer comes with its ref."""
        if command_id != self._our_command or len(items) > self.room:
            raise self._error(
                f"{len(items)} {consts.command_name(command_id)}, room for {self.room}"
            )
        return self._window.send(command_id, items, self._timers.clock(now))

    def request(self, command_id: int, body: bytes, ref: object, now: float) -> bytes:
        """One request."""
        return self.requests(command_id, [(body, ref)], now)[0]

    def withdraw(self, count: int) -> list[object]:
        """The last `count` requests made never left the process: their refs, in their order."""
        if not 0 <= count <= self._window.made:
            raise self._error(f"{count} requests taken back of {self._window.made}")
        return self._window.withdraw(count)

    def respond(
        self, command_id: int, command_status: int, sequence_number: int, body: bytes = b""
    ) -> bytes:
        """The response that the peer is owed; to a bind it binds, to an unbind it closes.

        Of a closed session, which a late turn may find, it is nothing.
        """
        if self.state == states.CLOSED:
            return b""
        if command_id not in states.MAY_ANSWER[self.role][self.state]:
            raise self._error(consts.command_name(command_id))
        if command_id == consts.UNBIND_RESP:
            self._move(states.WE_ANSWERED)
        elif command_id & ~RESPONSE in consts.BINDS:
            if self._bind_request != (command_id & ~RESPONSE, sequence_number):
                raise self._error(f"{consts.command_name(command_id)} to nothing")
            self._bind_request = None
            if command_status == consts.ESME_ROK:
                self._move(states.BOUND_AS[command_id & ~RESPONSE])
        return codec.pdu(command_id, command_status, sequence_number, body)

    def responses(self, command_id: int, answers: Iterable[tuple[int, int, bytes]]) -> list[bytes]:
        """Responses to messages, many at once: command_status, sequence_number, body of each."""
        if self.state == states.CLOSED:
            return []
        taken = command_id in states.MAY_ANSWER[self.role][self.state]
        if not taken or command_id != self._message_command | RESPONSE:
            raise self._error(f"many {consts.command_name(command_id)}")
        pack = HEADER.pack
        return [
            pack(16 + len(body), command_id, command_status, sequence_number) + body
            for command_status, sequence_number, body in answers
        ]

    def bind(self, command_id: int, bind: Bind, now: float) -> bytes:
        """Our bind; its time-out counts from here."""
        may_bind = command_id in states.MAY_SEND[self.role][self.state] & consts.BINDS
        if not may_bind or self._window.own:
            raise self._error(consts.command_name(command_id))
        self._timers.opened(now)
        return self._window.send_own(command_id, codec.encode_bind(bind))

    @property
    def may_unbind(self) -> bool:
        """Whether `unbind` is legal now: bound, and nobody unbinds already."""
        return (self.state, states.WE_UNBIND) in states.MOVES

    def unbind(self, now: float) -> bytes:
        """Our unbind; nothing new is requested after it. Nothing if the end is under way already."""
        if self.state in states.ENDING:
            return b""
        self._move(states.WE_UNBIND)
        self._timers.unbind_sent(now)
        return self._window.send_own(consts.UNBIND)

    # ------------------------------------------------------------------------------------- time

    def next_deadline(self) -> float:
        """When `on_deadline` is to be called, unless something else happens before."""
        return self._timers.due(self.state, self._window.oldest_at()).at

    def on_deadline(self, now: float) -> list[Event]:
        """What the passing of time does: an enquire_link, or the end of the link."""
        events: list[Event] = []
        due = self._timers.due(self.state, self._window.oldest_at())
        if due.at > now:
            return events
        if due.why:
            self._end_link(due.why, consts.ESME_ROK, events)
            return events
        self._window.drop_own(consts.ENQUIRE_LINK)  # one that another PDU has answered
        self._out.append(self._window.send_own(consts.ENQUIRE_LINK))
        self._timers.probed(now)
        self._probes_sent += 1
        return events

    def pause(self, now: float) -> None:
        """We stop reading: the deadlines stand still."""
        self._timers.pause(now)

    def resume(self, now: float) -> None:
        """We read again."""
        self._timers.resume(now)

    # ------------------------------------------------------------------------------------- ends

    def abandon(self) -> list[object]:
        """The link is gone: the refs of all requests that nobody answered, in their order."""
        self._move(states.LINK_LOST)
        self._out.clear()
        self._buffer = b""
        return self._window.abandon()

    def statistics(self) -> Statistics:
        """The counts so far."""
        return Statistics(
            state=states.NAMES[self.state],
            outstanding=self.outstanding,
            requests=self._window.made,
            answers_unmatched=self._answers_unmatched,
            bodies_refused=self._bodies_refused,
            commands_refused=self._commands_refused,
            commands_ignored=self._commands_ignored,
            nacks_received=self._nacks_received,
            probes_sent=self._probes_sent,
        )

    def _end_link(self, why: str, command_status: int, events: list[Event]) -> None:
        self._move(states.LINK_LOST)
        self._buffer = b""
        events.append(LinkFault(why, command_status))

    def _move(self, why: str) -> None:
        """The one place where the state changes."""
        target = states.MOVES.get((self.state, why))
        if target is None:
            raise self._error(why)
        self.state = target
        taken = self._message_command in states.MAY_TAKE[self.role][target]
        self._message_taken = self._message_command if taken else _NO_COMMAND

    def _error(self, what: str) -> LocalProtocolError:
        return LocalProtocolError(f"{what}, as {self.role} in state {states.NAMES[self.state]}")
