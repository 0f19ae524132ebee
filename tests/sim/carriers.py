"""Carriers: the SMSCs beyond the links: what they answer, and what they tell of a message later.

Each takes a submit_sm, answers after a while (or late, twice, in another order, never), and sends
receipts: none, one, several, the final one before or behind the others, before the answer, over
another bind, after we were restarted, until one of ours acknowledges it. It throttles now and then,
or refuses everything for a minute. It knows nothing of the gateway but what comes over the links.
"""

import itertools
from collections import deque
from typing import Final, NamedTuple

from gateway.model.records import Message
from gateway.smpp import consts
from gateway.smpp.codec import encode_sm, message_id_body
from gateway.smpp.receipt import encode_receipt
from tests.sim.gateway import Gateway
from tests.sim.links import CarrierLink
from tests.sim.script import Script

RETRY_S: Final = 2.0
"""How soon a deliver_sm that was not acknowledged comes again."""

TIMEOUT_S: Final = 10.0
"""Our `response_timeout_s`: after it a link with a submit_sm that nobody answered is given up."""

UNASKED: Final = 0.05
"""Receipts that come though nobody asked for one."""

REFUSALS: Final = (
    consts.ESME_RTHROTTLED,
    consts.ESME_RTHROTTLED,
    consts.ESME_RMSGQFUL,
    consts.ESME_RSYSERR,
    consts.ESME_RX_T_APPN,
    consts.ESME_RINVDSTADR,
    consts.ESME_RSUBMITFAIL,
)
ENDS: Final = (
    *[consts.DELIVERED] * 7,
    consts.UNDELIVERABLE,
    consts.EXPIRED,
    consts.REJECTED,
    consts.DELETED,
    consts.UNKNOWN,
)


class Due(NamedTuple):
    """A deliver_sm that is on its way, until it is acknowledged."""

    body: bytes
    text: bytes
    receipt: tuple[bytes, int] | None


class Carrier:
    """One SMSC with its binds."""

    def __init__(
        self, name: str, gateway: Gateway, script: Script, link_ids: "itertools.count[int]"
    ) -> None:
        self.name = name
        self.gateway = gateway
        self.agenda = gateway.agenda
        self.random = script.stream(f"carrier {name}")
        self.links: dict[int, CarrierLink] = {}
        self.storm_until_s = -1.0
        self.slow_until_s = -1.0
        """It takes its time to refuse."""
        self.storm = 0.0
        """Share of the submit_sm that are refused while it lasts."""
        self.is_well = False
        self.is_calm = name == "calm"
        """As long as it is, it only answers."""
        self._lost_share = script.rates.lost
        self._window = script.windows[name]
        smsc = next(one for one in script.setup.carriers if one.name == name)
        self._always = smsc.always_receipts
        self._mode = smsc.receipt_id_mode
        self._timeout_s = smsc.receipt_timeout_s
        self._latency_s = self.random.choice([0.005, 0.05, 0.3])
        self._link_ids = link_ids
        self._ids = itertools.count(0xA001)
        self._sequence = itertools.count(1)
        self._sending: dict[int, Due] = {}
        self._due: deque[Due] = deque()
        gateway.on_ready.append(self.connect_all)

    # Binds

    def connect_all(self) -> None:
        """Our gateway is there: its supervisors bind."""
        for index in range(3):
            self.agenda.after(self._pause_s(), lambda i=index: self._connect(i))  # type: ignore[misc]

    def _pause_s(self) -> float:
        return 0.01 if self.is_well or self.is_calm else self.random.expovariate(1.0)

    def _connect(self, index: int) -> None:
        gateway = self.gateway
        if not gateway.ready or index in self.links or self.name not in gateway.state.carriers:
            return
        link = CarrierLink(
            next(self._link_ids),
            self.gateway,
            self.random,
            self,
            carrier=self.name,
            index=index,
            window=self._window,
            timeout_s=TIMEOUT_S,
        )
        self.links[index] = link
        self.gateway.watch.note("bound", self.name, index)
        self.gateway.bind_up(link.id, link, self.name, index, window=self._window, sends=link.sends)
        self._flush()

    def lost(self, link: CarrierLink) -> None:
        """What it did not get acknowledged comes again, over whatever link there is."""
        if self.links.get(link.index) is link:
            del self.links[link.index]
        for due in self._sending.values():
            self._due.append(due)
        self._sending.clear()
        self.agenda.after(self._pause_s(), lambda: self._connect(link.index))

    # What it is sent

    def got_submit(self, link: CarrierLink, sequence_number: int, message: Message) -> None:
        status = self._verdict()
        if status != consts.ESME_ROK:
            self._answer(link, sequence_number, status, b"")
            return
        number = next(self._ids)
        carrier_id = self._spelled(number, in_answer=True)
        answer_s = self._answer(link, sequence_number, status, message_id_body(carrier_id))
        asked = self._always or message.registered_delivery & 3
        if asked or self.random.random() < UNASKED:
            self._tell(number, answer_s)

    def _spelled(self, number: int, *, in_answer: bool) -> bytes:
        """Its id of a message, as it writes it here: zeros, case and base differ."""
        if self._mode == "same":
            text = b"%x" % number if in_answer else b"%X" % number
            zeros = number % 3 if in_answer else number % 2
            return b"0" * zeros + text
        is_hex = (self._mode == "resp_hex_receipt_dec") == in_answer
        return b"%08X" % number if is_hex else b"%d" % number

    def _verdict(self) -> int:
        if self.is_well or self.is_calm:
            return consts.ESME_ROK
        share = self.storm if self.gateway.clock.true_s < self.storm_until_s else 0.04
        if self.random.random() >= share:
            return consts.ESME_ROK
        return consts.ESME_RTHROTTLED if share > 0.9 else self.random.choice(REFUSALS)

    def _answer(self, link: CarrierLink, sequence_number: int, status: int, body: bytes) -> float:
        """Answers after a while; returns when."""
        delay_s = self._latency_s * self.random.uniform(0.5, 1.5)
        if status != consts.ESME_ROK and self.gateway.clock.true_s < self.slow_until_s:
            delay_s = self.random.uniform(0.1, 0.8) * TIMEOUT_S
        if self.is_well or self.is_calm:
            delay_s = 0.005
        elif self.random.random() < self._lost_share:
            self.agenda.after(TIMEOUT_S, link.reset)
            return delay_s
        elif self.random.random() < 0.02:
            delay_s = self.random.uniform(0.5, 0.8) * TIMEOUT_S
        times = 2 if self.random.random() < 0.02 else 1
        for again in range(times):
            self.agenda.after(
                delay_s + again * 0.05, lambda: link.respond(sequence_number, status, body)
            )
        return delay_s

    # What it tells

    def _tell(self, number: int, answer_s: float) -> None:
        end = consts.DELIVERED if self.is_calm else self.random.choice(ENDS)
        chance = self.random.random()
        if self.is_well or self.is_calm:
            said = [end]
        elif chance < 0.04:
            return
        elif chance < 0.12:
            said = [consts.ENROUTE, end]
        elif chance < 0.20:
            said = [end, consts.ACCEPTED]
        elif chance < 0.30:
            said = [end, end]
        elif chance < 0.36:
            said = [end, self.random.choice(ENDS)]
        else:
            said = [end]
        early = not self.is_well and not self.is_calm and self.random.random() < 0.1
        at_s = answer_s * self.random.random() if early else answer_s
        for state in said:
            at_s += 0.0 if early else self.random.expovariate(1 / (4 * self._latency_s))
            known = self._spelled(number, in_answer=True)
            self.gateway.watch.receipts.said(self.name, known, state)
            self.agenda.after(at_s, lambda s=state: self._receipt(number, s))  # type: ignore[misc]
            if not self.is_well and self.random.random() < 0.02:
                at_s += self.random.choice((self.random.uniform(5.0, 60.0), self._timeout_s))

    def _receipt(self, number: int, state: int) -> None:
        carrier_id = self._spelled(number, in_answer=False)
        known = self._spelled(number, in_answer=True)
        wall = self.gateway.clock.true_wall
        body = encode_receipt(
            message_id=carrier_id,
            message_state=state,
            submitted_at=wall,
            done_at=wall,
            source_ton_npi=b"\x01\x01",
            source_addr=b"13105550123",
            dest_ton_npi=b"\x01\x01",
            destination_addr=b"12025550100",
        )
        self._due.append(Due(body, b"receipt %b %d" % (carrier_id, state), (known, state)))
        self._flush()

    def stray_receipt(self) -> None:
        """For an id that nobody knows."""
        self._receipt(next(self._ids), consts.DELIVERED)

    def handset(self, number: str, text: bytes) -> None:
        """A handset sends something to one of our numbers."""
        body = encode_sm(
            source_addr=b"13105550123", destination_addr=number.encode(), short_message=text
        )
        self._due.append(Due(body, text, None))
        self._flush()

    def is_idle(self) -> bool:
        """Whether all that it had to tell was acknowledged."""
        return not self._due and not self._sending

    def _flush(self) -> None:
        """Sends what is due over links of its choice."""
        links = [link for link in self.links.values() if link.is_up]
        while self._due and links:
            due = self._due.popleft()
            sequence_number = next(self._sequence)
            self._sending[sequence_number] = due
            self.random.choice(links).send(sequence_number, due.body, due.text, due.receipt)

    def got_answer(self, sequence_number: int, status: int) -> None:
        due = self._sending.pop(sequence_number, None)
        if due is not None and status != consts.ESME_ROK:
            self._due.append(due)
            self.agenda.after(RETRY_S, self._flush)

    # What happens to it

    def calm_ends(self) -> None:
        """From here on it is like the others."""
        self.is_calm = False

    def get_well(self) -> None:
        """From here on it does what it should."""
        self.is_well = True
        self.is_calm = False
        self.storm_until_s = self.slow_until_s = -1.0
        self._latency_s = 0.005
        for link in list(self.links.values()):
            link.reset()
