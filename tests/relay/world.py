"""World: the whole gateway without its shells.

The real core, turn machine and overlay on a dict for a disk, two clocks that tests move, and fake
links with the outside behind them.

`turn()` is what `daemon.flow` does in one round; `take`, `commit` and `release` are its steps, for
those who let things happen in between. `crash()` throws away all that was not committed. After
every turn the rows are audited by brute force, and every effect is held against the disk.
"""

import itertools
from typing import Any, Final

from gateway.model import ids, records, states, tables
from gateway.model.now import Boot, Now
from gateway.model.records import Ending, Message
from gateway.registry.importer import parse
from gateway.relay import sweep
from gateway.relay import turn as turns
from gateway.relay.core import Core
from gateway.relay.parties import Bind, Client
from gateway.relay.state import State
from gateway.relay.turn import Overlay, Turn, TurnMachine
from gateway.smpp import consts, tlv
from gateway.smpp.codec import HEADER, encode_sm, message_id_body
from gateway.smpp.events import Answer, Deliver, Submit
from gateway.smpp.receipt import encode_receipt
from tests.relay import audit
from tests.relay.disk import Disk
from tests.relay.links import CarrierLink, ClientLink, Clock, Sent, sm_of
from tests.relay.setups import NUMBER, Setup

WALL: Final = 1_790_000_000.0
"""2026-09-21, a Monday, early in the day in America/Los_Angeles."""

HANDSET: Final = "13105550123"
WALK: Final = len(sweep._WALK)
"""Tables that the sweep walks over, one a bite while there is little in them."""
TURNS_MAX: Final = 1_000
"""Rounds in which the gateway must come to rest."""


class Done:
    """A ticket."""

    def __init__(self) -> None:
        self.is_done = False

    def done(self) -> None:
        self.is_done = True


class World:
    """One gateway and all around it."""

    def __init__(
        self, setup: Setup | None = None, *, audited: bool = True, rebuilds: bool = True
    ) -> None:
        self.setup = Setup() if setup is None else setup
        self.disk = self.new_disk()
        self.clock = Clock(1_000.0, WALL)
        self.sent: list[Sent] = []
        self.audited = audited
        self.rebuilds = rebuilds
        """Whether a start reads what awaits a receipt at once, not a bite a tick."""
        self.warnings: list[str] = []
        self.links: dict[int, CarrierLink | ClientLink] = {}
        self._link_ids = itertools.count(1)
        self._sequence = itertools.count(1)
        self._carrier_ids = itertools.count(0xA001)
        self.start()
        self.register(self.setup.registry)

    def new_disk(self) -> Disk:
        """What it writes to."""
        return Disk()

    # The gateway

    def start(self) -> None:
        """A new core on what is on disk, as `daemon.app` makes it."""
        self.machine = TurnMachine()
        view = Overlay(self.disk, self.machine)
        self.state: State = self.setup.build(view, self.machine)
        self.core = Core(self.state)
        for carrier in self.state.carriers.values():
            carrier.binds = {index: Bind(carrier, index) for index in range(2)}
        self.warnings = self.core.start(self.now, Boot(b"boot", 0.0))
        turn = self.take()
        if turn is not None:
            self.commit(turn)
            self.machine.committed(turn)
        while self.rebuilds and not self.core.rebuild.is_done:
            due = self.now._replace(monotonic=self.core.rebuild.due_at)
            self.core.rebuild.step(self.state, due)

    def crash(self, setup: Setup | None = None) -> None:
        """A kill -9 and a restart: the links are gone, and what was not committed never was."""
        self.setup = setup or self.setup
        self.links.clear()
        self.start()
        self.check()

    def take(self) -> Turn | None:
        self.core.close_turn()
        return self.machine.take()

    def commit(self, turn: Turn) -> None:
        self.disk.commit(turn.writes)

    def release(self, turn: Turn) -> None:
        self.machine.committed(turn)
        back = turns.release(turn, self.links, lambda: self.clock.monotonic)
        self.core.released(back, self.now)

    def turn(self) -> bool:
        """One round of the flow; whether there was anything to do."""
        turn = self.take()
        if turn is None:
            return False
        self.commit(turn)
        self.release(turn)
        self.check()
        return True

    def settle(self) -> None:
        """Turns until nothing is left to do without time passing."""
        for _ in range(TURNS_MAX):
            if not self.turn():
                return
        raise AssertionError("the gateway does not come to rest")

    def check(self) -> None:
        """The audit."""
        if self.audited:
            assert [] == audit.rows_that_disagree(self.disk)
            assert [] == audit.memory_that_lies(self.state)

    # Time

    @property
    def now(self) -> Now:
        return Now(self.clock.monotonic, self.clock.wall)

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on; nobody notices yet."""
        self.clock.monotonic += seconds
        self.clock.wall += seconds

    def tick(self, seconds: float = 0.0) -> None:
        """Time passes, then the gateway looks once and comes to rest."""
        self.pass_time(seconds)
        self.core.tick(self.now)
        self.settle()

    def run(self, seconds: float) -> None:
        """Time passes as in the daemon: a tick whenever the core wants one."""
        end = self.clock.monotonic + seconds
        self.settle()
        while (wake := self.core.next_wake()) <= end:
            self.tick(max(wake - self.clock.monotonic, 0.0))
        self.tick(end - self.clock.monotonic)

    # The registry

    def register(self, text: str) -> None:
        """`registry import`, and its turn."""
        plan = self.state.catalog.plan(parse(text))
        assert () == plan.faults
        ticket = Done()
        self.core.registry_apply(plan, ticket, self.now)
        self.settle()
        assert ticket.is_done

    # Clients

    def client(self, name: str = "shop") -> Client:
        return self.state.clients[name]

    def connect(self, name: str = "shop", *, receives: bool = True) -> ClientLink:
        """A client binds."""
        link = ClientLink(next(self._link_ids), self.disk)
        self.links[link.id] = link
        self.core.client_up(link.id, name, receives=receives, now=self.now)
        return link

    def disconnect(self, link: ClientLink) -> None:
        """A client's link is lost; what it did not answer is owed still."""
        del self.links[link.id]
        self.core.client_down(link.id, link.inbox, self.now)

    def submit(
        self,
        link: ClientLink,
        text: bytes = b"hello",
        *,
        source: str = NUMBER,
        to: str = HANDSET,
        registered_delivery: int = 1,
        priority: int = 0,
        validity: bytes = b"",
        schedule: bytes = b"",
        dest_ton: int = 1,
        data_coding: int = 0,
        tlvs: bytes = b"",
    ) -> int:
        """One submit_sm; its sequence number. What is refused is in `link.answered` at once."""
        body = encode_sm(
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr=source.encode(),
            dest_addr_ton=dest_ton,
            dest_addr_npi=1,
            destination_addr=to.encode(),
            priority_flag=priority,
            validity_period=validity,
            schedule_delivery_time=schedule,
            registered_delivery=registered_delivery,
            data_coding=data_coding,
            short_message=text,
            tlvs=tlvs,
        )
        sequence_number = next(self._sequence)
        event = Submit(sequence_number, sm_of(body))
        link.answer(self.core.submits(link.id, [event], self.now))
        return sequence_number

    def accepted(self, link: ClientLink, text: bytes = b"hello", **fields: Any) -> int:
        """Submits and settles; the id of the message."""
        sequence_number = self.submit(link, text, **fields)
        self.settle()
        answered = link.answered[sequence_number]
        assert consts.ESME_ROK == answered.status, consts.status_name(answered.status)
        return answered.message_id

    def acknowledge(self, link: ClientLink, status: int = 0, count: int | None = None) -> None:
        """The client answers the first of its deliver_sm, all if no count is given."""
        count = len(link.inbox) if count is None else count
        answered, link.inbox = link.inbox[:count], link.inbox[count:]
        events = [Answer(owed, consts.DELIVER_SM_RESP, status, b"\0") for owed in answered]
        self.core.deliver_answers(link.id, events, self.now)

    # Carriers

    def bind(
        self, carrier: str = "carrier-a", index: int = 0, *, window: int = 10, sends: bool = True
    ) -> CarrierLink:
        """A session with a carrier is bound."""
        bind = self.state.carriers[carrier].binds[index]
        link = CarrierLink(next(self._link_ids), bind, self.disk, self.clock, self.sent)
        self.links[link.id] = link
        self.core.bind_up(bind, link.id, window=window, sends=sends, now=self.now)
        return link

    def unbind(self, link: CarrierLink) -> None:
        """A carrier's link is lost."""
        del self.links[link.id]
        self.core.bind_down(link.id, self.now)

    def respond(
        self,
        link: CarrierLink,
        message_id: int,
        status: int = consts.ESME_ROK,
        carrier_id: bytes | None = None,
    ) -> bytes:
        """The carrier answers one submit_sm; its own id of the message."""
        message = link.unanswered.pop(message_id)
        if carrier_id is None:
            carrier_id = b"%x" % next(self._carrier_ids)
        body = message_id_body(carrier_id) if status == consts.ESME_ROK else b""
        answer = Answer(message, consts.SUBMIT_SM_RESP, status, body)
        self.core.answers(link.id, [answer], self.now)
        return carrier_id

    def receipt(
        self,
        link: CarrierLink,
        carrier_id: bytes,
        message_state: int = consts.DELIVERED,
        error: bytes = b"000",
    ) -> int:
        """The carrier's deliver_sm with a receipt; its sequence number."""
        body = encode_receipt(
            message_id=carrier_id,
            message_state=message_state,
            submitted_at=self.clock.wall,
            done_at=self.clock.wall,
            source_ton_npi=b"\x01\x01",
            source_addr=HANDSET.encode(),
            dest_ton_npi=b"\x01\x01",
            destination_addr=NUMBER.encode(),
            error=error,
        )
        return self.deliver(link, body)

    def inbound(
        self, link: CarrierLink, to: str = NUMBER, text: bytes = b"STOP", esm_class: int = 0
    ) -> int:
        """A message from a handset; its sequence number."""
        return self.deliver(
            link,
            encode_sm(
                source_addr=HANDSET.encode(),
                destination_addr=to.encode(),
                esm_class=esm_class,
                short_message=text,
            ),
        )

    def deliver(self, link: CarrierLink, body: bytes) -> int:
        """A deliver_sm of a carrier; what is refused is in `link.answered` at once."""
        sequence_number = next(self._sequence)
        events = [Deliver(sequence_number, sm_of(body))]
        link.answer(self.core.delivers(link.id, events, self.now))
        return sequence_number

    # What there is

    def state_of(self, message_id: int) -> str:
        """The name of the one state in which a message is, by the rows on disk."""
        (state,) = audit.states_of(self.disk)[message_id]
        return states.NAMES[state]

    def message(self, message_id: int) -> Message:
        row = self.disk.get(tables.MESSAGE, ids.to_key(message_id))
        assert row is not None
        return records.decode_message(row)

    def ending(self, message_id: int) -> Ending:
        row = self.disk.get(tables.FINAL, ids.to_key(message_id))
        assert row is not None
        return records.decode_ending(row)

    def history(self, message_id: int) -> list[str]:
        """What was out of the ordinary with a message, in order."""
        rows = self.disk.scan(tables.HISTORY, ids.to_key(message_id), b"", 1_000)
        return [records.decode_step(row).what for _, row in rows]

    def sent_ids(self) -> list[int]:
        """The messages that carriers got, in order, as often as they got them."""
        return [sent.message_id for sent in self.sent]


def outcome_of(body: bytes) -> bytes | None:
    """Our TLV with the outcome's code, of a receipt."""
    return tlv.find(sm_of(body).tlvs, 0x3A04)


def status_of(pdu: bytes) -> int:
    status: int = HEADER.unpack_from(pdu)[2]
    return status
