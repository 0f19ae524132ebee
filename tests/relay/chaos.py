"""Chaos: one seeded run of a gateway to which everything happens, in any order.

Turns are taken, committed and released one step at a time, so that submits, answers, receipts,
lost links and crashes fall between the steps. What the outside knows (what carriers got, what
clients were promised and told) is kept apart from the gateway and outlives its crashes; `verdict`
holds the one against the other.
"""

import datetime
import random
from collections import Counter, defaultdict
from typing import Final
from zoneinfo import ZoneInfo

from gateway.model import ids, records, states, tables
from gateway.registry.importer import parse
from gateway.relay.parties import Match
from gateway.relay.state import Policy
from gateway.relay.turn import Owed, Turn
from gateway.smpp import consts
from gateway.throttle.day import BORDER_S
from tests.relay.links import CarrierLink, ClientLink, receipt_of, sm_of
from tests.relay.setups import COMPANIES, Setup, Shop, Smsc, Way, campaign, limits
from tests.relay.world import Done, World

LA: Final = ZoneInfo("America/Los_Angeles")
NUMBERS: Final = {
    "CFREE01": "12025550101",
    "CHOLD01": "12025550102",
    "CFAIL01": "12025550103",
    "CTWICE1": "12025550104",
    "COTHER1": "12025550200",
}
SENDERS: Final = {
    "shop": ["12025550101", "12025550102", "12025550103", "12025550104", "12025559999"],
    "till": ["12025550101", "12025550104"],
    "solo": ["12025550200", "12025550101"],
}
RESENDS: Final = {"CFREE01": 1, "CHOLD01": 0, "CFAIL01": 0, "CTWICE1": 2, "COTHER1": 1}
SECONDS: Final = {"CHOLD01": (6, 1.0), "CFAIL01": (40, 60.0), "CTWICE1": (9, 1.0)}
"""Segments in a window of so many seconds."""
DAY_CAP: Final = 150
CARRIER_TPS: Final = 25

REGISTRY: Final = (
    COMPANIES
    + campaign("CFREE01", NUMBERS["CFREE01"])
    + campaign("CHOLD01", NUMBERS["CHOLD01"], in_doubt='"hold"', limits=limits(("second", 6)))
    + campaign(
        "CFAIL01",
        NUMBERS["CFAIL01"],
        in_doubt='"fail"',
        limits=limits(("minute", 40)),
        use_case='"2FA"',
    )
    + campaign(
        "CTWICE1",
        NUMBERS["CTWICE1"],
        in_doubt_resends="2",
        limits=limits(("second", 9), ("day", DAY_CAP)),
    )
    + campaign("COTHER1", NUMBERS["COTHER1"], brand='"BOTHER1"')
)

SETUP: Final = Setup(
    clients=(
        Shop("shop", deliver_window=6, queue_limit=120),
        Shop("till", deliver_window=2),
        Shop("solo", company="other", deliver_window=20),
    ),
    carriers=(
        Smsc("carrier-a", tps=float(CARRIER_TPS), throttle_pause_s=0.3),
        Smsc("carrier-b", always_receipts=False),
        Smsc("spare"),
    ),
    routes=(
        Way("uk", (("carrier-b", 1.0),), match=Match(to=b"44")),
        Way("us", (("carrier-a", 1.0), ("carrier-b", 2.0)), backup=("spare",)),
    ),
    registry=REGISTRY,
    policy=Policy(in_doubt="resend", in_doubt_resends=1),
    working_set=25,
)

STATUSES: Final = (
    *[consts.ESME_ROK] * 12,
    consts.ESME_RTHROTTLED,
    consts.ESME_RMSGQFUL,
    consts.ESME_RSYSERR,
    consts.ESME_RX_T_APPN,
    consts.ESME_RINVDSTADR,
    consts.ESME_RSUBMITFAIL,
)
ENDS: Final = (
    *[consts.DELIVERED] * 6,
    consts.UNDELIVERABLE,
    consts.EXPIRED,
    consts.REJECTED,
    consts.ENROUTE,
)


class Chaos:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(SETUP, audited=False)
        self.committing: Turn | None = None
        self.is_committed = False
        # What the outside knows.
        self.acknowledged: dict[int, str] = {}
        self.refused: set[int] = set()  # indexes of world.sent
        self.released: Counter[int] = Counter()
        self.taken_for_good: dict[int, int] = {}  # message -> how many were sent until then
        self._taken: list[set[int]] = [set(), set()]  # by turn: open, committing
        self.due: list[tuple[str, bytes, int]] = []  # receipts: carrier, its id, state
        self.told: dict[int, set[int]] = defaultdict(set)  # message -> states its client was told
        self.told_to: dict[int, set[str]] = defaultdict(set)
        self.inbound: dict[bytes, tuple[CarrierLink, int]] = {}
        self.heard: set[bytes] = set()
        self.crashes = 0
        self._names: dict[int, str] = {}

    # Who is there

    def carriers(self) -> list[CarrierLink]:
        return [link for link in self.world.links.values() if isinstance(link, CarrierLink)]

    def clients(self) -> list[ClientLink]:
        return [link for link in self.world.links.values() if isinstance(link, ClientLink)]

    # What happens

    def run(self, events: int) -> None:
        acts = {
            self.submit: 60,
            self.answer: 60,
            self.early_receipt: 6,
            self.receipt: 40,
            self.handset: 10,
            self.read: 40,
            self.carrier_up: 12,
            self.carrier_down: 4,
            self.clog: 6,
            self.unclog: 10,
            self.client_up: 12,
            self.client_down: 4,
            self.wait: 40,
            self.wait_long: 3,
            self.step: 130,
            self.operate: 6,
            self.reimport: 3,
            self.fill_the_disk: 2,
            self.crash: 1,
        }
        chosen = self.random.choices(list(acts), list(acts.values()), k=events)
        for place, act in enumerate(chosen):
            act()
            if place % 60 == 0 and self.committing is None:
                self.look()

    def look(self) -> None:
        """The audit of what is on disk, and of what is in memory."""
        self.world.audited = True
        self.world.check()
        self.world.audited = False

    def submit(self) -> None:
        links = self.clients()
        if not links:
            return
        link = self.random.choice(links)
        for _ in range(self.random.randint(1, 6)):
            self.world.submit(
                link,
                b"x" * self.random.choice([5, 5, 5, 254]),
                source=self.random.choice(SENDERS[self._names[link.id]]),
                to=self.random.choice(["1310555", "4420718"]) + f"{self.random.randint(0, 30):04}",
                registered_delivery=self.random.choice([0, 1, 1, 1, 2]),
                priority=self.random.choice([0, 0, 1, 3]),
                validity=self.random.choice([b"", b"", b"", b"000000000020000R"]),
            )

    def answer(self) -> None:
        links = [link for link in self.carriers() if link.unanswered]
        if not links:
            return
        link = self.random.choice(links)
        flying = list(link.unanswered)
        for message_id in self.random.sample(flying, self.random.randint(1, len(flying))):
            self._answer(link, message_id, self.random.choice(STATUSES))

    def _answer(
        self, link: CarrierLink, message_id: int, status: int, carrier_id: bytes | None = None
    ) -> None:
        if status != consts.ESME_ROK:
            sent = self.world.sent
            last = max(i for i, one in enumerate(sent) if one.message_id == message_id)
            self.refused.add(last)
        asks = link.unanswered[message_id].registered_delivery & 3
        carrier = link.bind.carrier
        carrier_id = self.world.respond(link, message_id, status, carrier_id)
        if status == consts.ESME_ROK:
            self._taken[0].add(message_id)
            if asks or carrier.always_receipts:
                for _ in range(self.random.choice([0, 1, 1, 1, 1, 2])):
                    self.due.append((carrier.name, carrier_id, self.random.choice(ENDS)))

    def early_receipt(self) -> None:
        """The receipt comes before the response, over any bind; sometimes that is lost then."""
        links = [link for link in self.carriers() if link.unanswered]
        if links:
            link = self.random.choice(links)
            message_id = self.random.choice(list(link.unanswered))
            carrier_id = b"early-%d" % len(self.world.sent)
            name = link.bind.carrier.name
            over = [one for one in self.carriers() if one.bind.carrier.name == name]
            self.world.receipt(self.random.choice(over), carrier_id, self.random.choice(ENDS))
            if self.random.random() < 0.8:
                self._answer(link, message_id, consts.ESME_ROK, carrier_id)

    def receipt(self) -> None:
        for _ in range(self.random.randint(1, 8)):
            if not self.due:
                return
            place = self.random.randrange(len(self.due))
            name, carrier_id, state = self.due[place]
            over = [one for one in self.carriers() if one.bind.carrier.name == name]
            if over:
                link = self.random.choice(over)
                sequence_number = self.world.receipt(link, carrier_id, state)
                if link.answered.get(sequence_number) is None:  # refused: it comes again
                    del self.due[place]

    def handset(self) -> None:
        links = self.carriers()
        if links:
            link = self.random.choice(links)
            text = b"MO %d" % len(self.inbound)
            number = self.random.choice(list(NUMBERS.values()))
            self.inbound[text] = link, self.world.inbound(link, number, text)

    def read(self) -> None:
        links = [link for link in self.clients() if link.inbox]
        if links:
            link = self.random.choice(links)
            status = self.random.choice([0] * 12 + [consts.ESME_RMSGQFUL, consts.ESME_RX_R_APPN])
            self._read(link, status, self.random.randint(1, len(link.inbox)))

    def _read(self, link: ClientLink, status: int, count: int) -> None:
        for owed in link.inbox[:count]:
            if status == consts.ESME_RMSGQFUL:
                continue
            self._hear(self._names[link.id], owed)
        self.world.acknowledge(link, status, count)

    def _hear(self, name: str, owed: Owed) -> None:
        receipt = receipt_of(owed)
        if receipt is None:
            self.heard.add(sm_of(owed.body).short_message)
        else:
            self.told[owed.message_id].add(receipt.state)
            self.told_to[owed.message_id].add(name)

    def carrier_up(self) -> None:
        bound = {(link.bind.carrier.name, link.bind.index) for link in self.carriers()}
        free = [
            (carrier.name, index)
            for carrier in self.world.state.carriers.values()
            for index in carrier.binds
            if (carrier.name, index) not in bound
        ]
        if free:
            name, index = self.random.choice(free)
            window = self.random.choice([1, 3, 10, 30])
            sends = self.random.random() < 0.9
            self.world.bind(name, index, window=window, sends=sends)

    def carrier_down(self) -> None:
        links = self.carriers()
        if links:
            self.world.unbind(self.random.choice(links))

    def clog(self) -> None:
        links = self.carriers()
        if links:
            self.random.choice(links).takes = self.random.randint(0, 3)

    def unclog(self) -> None:
        for link in self.carriers():
            if link.takes is not None and self.random.random() < 0.5:
                link.takes = None
                self.world.core.bind_writable(link.id, self.world.now)

    def client_up(self) -> None:
        if len(self.clients()) < 6:
            name = self.random.choice(list(SENDERS))
            link = self.world.connect(name, receives=self.random.random() < 0.8)
            self._names[link.id] = name

    def client_down(self) -> None:
        links = self.clients()
        if links:
            link = self.random.choice(links)
            self._note_answers(link)
            self.world.disconnect(link)

    def wait(self) -> None:
        self._wait(self.random.choice([0.001, 0.01, 0.1, 0.4]))

    def wait_long(self) -> None:
        """Not over a turn: one that takes longer than BORDER_S over a reset is late for its day."""
        while self.committing is not None or self.world.machine.open.submits:
            self.step()
        self._wait(self.random.choice([5.0, 70.0, 3_600.0, 20_000.0]))

    def _wait(self, seconds: float) -> None:
        world = self.world
        end = world.clock.monotonic + seconds
        for _ in range(20):
            wake = world.core.next_wake()
            if wake > end:
                break
            world.pass_time(max(wake - world.clock.monotonic, 0.0))
            world.core.tick(world.now)
            self.step()
        while seconds > BORDER_S and (self.committing or world.machine.open.submits):
            self.step()
        world.pass_time(max(end - world.clock.monotonic, 0.0))

    def step(self) -> None:
        """One step of the flow: take, commit, or release."""
        world = self.world
        if self.committing is None:
            self.committing = world.take()
            self.is_committed = False
            self._taken = [set(), self._taken[0]]
            if self.committing is None:
                self._keep_taken()
        elif not self.is_committed:
            world.commit(self.committing)
            self.is_committed = True
            self._keep_taken()
        else:
            world.release(self.committing)
            self.committing = None

    def _keep_taken(self) -> None:
        for message_id in self._taken[1]:
            self.taken_for_good[message_id] = len(self.world.sent)
        self._taken[1] = set()

    def operate(self) -> None:
        """Somebody releases or expires what is parked."""
        parked = list(self.world.disk.rows[tables.PARKED])
        chosen = [ids.from_key(key) for key in self.random.sample(parked, min(3, len(parked)))]
        if self.random.random() < 0.5:
            view = self.world.state.view
            self.released.update(
                one for one in chosen if view.get(tables.PARKED, ids.to_key(one)) is not None
            )
            self.world.core.release_parked(chosen, Done(), self.world.now)
        else:
            self.world.core.expire_parked(chosen, Done(), self.world.now)

    def reimport(self) -> None:
        """The same registry but for a name; limits and what is used of them stay."""
        text = REGISTRY.replace('"acme"\n', f'"acme"\nname = "{self.random.random()}"\n', 1)
        plan = self.world.state.catalog.plan(parse(text))
        assert () == plan.faults
        self.world.core.registry_apply(plan, Done(), self.world.now)

    def fill_the_disk(self) -> None:
        self.world.core.room_changed(self.random.choice(["plenty", "plenty", "low", "none"]))

    def crash(self) -> None:
        """At any step: before the commit, after it, or after the release."""
        for link in self.clients():
            self._note_answers(link)
        self._taken = [set(), set()]
        self.committing = None
        self.world.pass_time(self.random.choice([0.0, 0.05, 2.0]))
        self.world.crash()
        self.crashes += 1
        self.look()

    def _note_answers(self, link: ClientLink) -> None:
        for answered in link.answered.values():
            if answered.status == consts.ESME_ROK:
                self.acknowledged[answered.message_id] = self._names[link.id]

    # The end

    def settle(self) -> None:
        """All is well again: whatever can end does, and all that is owed is read."""
        world = self.world
        while self.committing is not None:
            self.step()
        world.core.room_changed("plenty")
        for link in self.carriers():
            world.unbind(link)
        for carrier in world.state.carriers.values():
            for index in carrier.binds:
                world.bind(carrier.name, index, window=50)
        for name in SENDERS:
            self._names[world.connect(name).id] = name
        for place in range(600):
            self._finish()
            parked = [ids.from_key(key) for key in world.disk.rows[tables.PARKED]]
            world.core.expire_parked(parked, Done(), world.now)
            world.tick([0.2, 0.2, 0.2, 30.0, 6_000.0][place % 5])
            open_tables = (tables.QUEUE, tables.IN_FLIGHT, tables.AWAITING, tables.OUTBOX)
            if not any(world.disk.rows[table] for table in open_tables) and place > 20:
                break
        for client in self.clients():
            self._note_answers(client)
        self.look()

    def _finish(self) -> None:
        world = self.world
        world.settle()
        for link in self.carriers():
            for message_id in list(link.unanswered):
                self._answer(link, message_id, consts.ESME_ROK)
        over = {link.bind.carrier.name: link for link in self.carriers()}
        for name, carrier_id, state in self.due:
            world.receipt(over[name], carrier_id, state)
        self.due.clear()
        world.settle()
        for client in self.clients():
            self._read(client, consts.ESME_ROK, len(client.inbox))
        world.settle()

    # The verdict

    def verdict(self) -> list[str]:
        """Every promise that was broken, in words."""
        return [
            *self._lost(),
            *self._sent_twice(),
            *self._too_fast(),
            *self._over_the_cap(),
            *self._not_told(),
        ]

    def _lost(self) -> list[str]:
        rows = self.world.disk.rows
        wrong = [
            f"{message_id} of {client} was acknowledged and is gone"
            for message_id, client in self.acknowledged.items()
            if ids.to_key(message_id) not in rows[tables.MESSAGE]
        ]
        wrong += [
            f"{ids.from_key(key)} has no final state"
            for key in rows[tables.MESSAGE]
            if key not in rows[tables.FINAL]
        ]
        wrong += [
            f"{text.decode()} was answered and reached nobody"
            for text, (link, sequence_number) in self.inbound.items()
            if link.answered.get(sequence_number) == consts.ESME_ROK and text not in self.heard
        ]
        return wrong

    def _sent_twice(self) -> list[str]:
        wrong = []
        earlier: Counter[int] = Counter()
        for place, sent in enumerate(self.world.sent):
            message_id = sent.message_id
            doubts_allowed = RESENDS[sent.campaign] + self.released[message_id]
            if earlier[message_id] > doubts_allowed:
                wrong.append(f"{message_id} of {sent.campaign} was sent again too often")
            if not earlier[message_id] <= sent.resends <= doubts_allowed:
                wrong.append(f"{message_id}: TLV {sent.resends}, {earlier[message_id]} in doubt")
            if place >= self.taken_for_good.get(message_id, place + 1):
                wrong.append(f"{message_id} was sent again after the carrier had taken it")
            earlier[message_id] += place not in self.refused
        return wrong

    def _too_fast(self) -> list[str]:
        by_campaign: dict[str, list[tuple[float, int]]] = defaultdict(list)
        by_carrier: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for sent in self.world.sent:
            by_campaign[sent.campaign].append((sent.monotonic, sent.segments))
            by_carrier[sent.carrier].append((sent.monotonic, sent.segments))
        wrong = [
            f"{name} sent more than {limit} in {period_s} s"
            for name, (limit, period_s) in SECONDS.items()
            if most_in(by_campaign[name], period_s) > limit
        ]
        if most_in(by_carrier["carrier-a"], 1.0) > CARRIER_TPS:
            wrong.append("carrier-a was sent more than it takes")
        return wrong

    def _over_the_cap(self) -> list[str]:
        days: Counter[datetime.date] = Counter()
        for place, sent in enumerate(self.world.sent):
            if sent.campaign == "CTWICE1" and place not in self.refused:
                day = datetime.datetime.fromtimestamp(sent.wall, LA).date()
                days[day] += sent.segments
        return [f"{count} on {day}" for day, count in days.items() if count > DAY_CAP]

    def _not_told(self) -> list[str]:
        wrong = []
        rows = self.world.disk.rows
        for key, row in rows[tables.FINAL].items():
            message_id = ids.from_key(key)
            message = records.decode_message(rows[tables.MESSAGE][key])
            state = records.decode_ending(row).state
            told = self.told[message_id]
            asked = message.registered_delivery & 3
            is_wanted = asked == 1 or (asked == 2 and state != states.DELIVERED)
            if state == states.SUBMITTED:
                is_wanted = False
            if is_wanted != bool(told):
                wrong.append(
                    f"{message_id} ended {states.NAMES[state]}, asked {asked}, told {told}"
                )
            if told and self.told_to[message_id] != {message.client}:
                wrong.append(f"{message_id} of {message.client}: {self.told_to[message_id]} heard")
            if told and told != {MESSAGE_STATE[state]}:
                wrong.append(f"{message_id} ended {states.NAMES[state]}, told {told}")
        return wrong


MESSAGE_STATE: Final = {
    states.DELIVERED: consts.DELIVERED,
    states.FAILED: consts.UNDELIVERABLE,
    states.EXPIRED: consts.EXPIRED,
    states.CANCELED: consts.DELETED,
    states.REJECTED: consts.REJECTED,
    states.UNKNOWN: consts.UNKNOWN,
}


def most_in(left: list[tuple[float, int]], span_s: float) -> int:
    """The most segments in any window of this length; `left` is in order."""
    most = inside = first = 0
    for at, segments in left:
        inside += segments
        while left[first][0] <= at - span_s:
            inside -= left[first][1]
            first += 1
        most = max(most, inside)
    return most
