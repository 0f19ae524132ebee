"""Clients: the applications beyond the links: what they submit, and how they take what we deliver.

They submit one by one or in bursts, of every priority, with and without validity, to and from
numbers that are and are not theirs, long messages among them, and ask for all receipts, for
failures, or for none. What they are delivered they answer after a while, sometimes with a "not now",
sometimes with an error, sometimes never (their session ends then). Some links only send.
"""

import itertools
from typing import Final

from gateway.relay.turn import Owed
from gateway.smpp import consts
from gateway.smpp.codec import encode_sm
from gateway.smpp.time import format_time
from tests.sim.gateway import Gateway
from tests.sim.links import ClientLink
from tests.sim.script import Script

LINKS: Final = 2
"""Binds of a client: the second sometimes only sends."""

TIMEOUT_S: Final = 10.0
"""Our `response_timeout_s` towards clients."""

BURST: Final = (1, 1, 1, 2, 5, 20)

TEXTS: Final = (*[5] * 8, 160, 200, 254)
"""Octets: of one, and of two segments."""

VALIDITIES: Final = (
    *[b""] * 8,
    b"000000000005000R",  # 5 seconds
    b"000000000030000R",
    b"000000001000000R",  # 10 minutes
)


SCHEDULES_S: Final = (*[None] * 12, -60.0, 2.0, 30.0, 120.0)
"""When a message is to be sent, from now; a moment that has passed means at once."""


class Client:
    """One application."""

    def __init__(
        self, name: str, gateway: Gateway, script: Script, link_ids: "itertools.count[int]"
    ) -> None:
        self.name = name
        self.gateway = gateway
        self.agenda = gateway.agenda
        self.script = script
        self.random = script.stream(f"client {name}")
        self.links: dict[int, ClientLink] = {}
        self.submits = True
        self.is_well = False
        self.share = 1.0
        """Of the traffic that is asked for: how much there is at this time of the day."""
        self._senders = script.senders[name]
        self._weights = [
            next(p.weight for p in script.programmes if p.number == number)
            for number in self._senders
        ]
        self._link_ids = link_ids
        self._sequence = itertools.count(1)
        gateway.on_ready.append(self.connect_all)

    # Binds

    def connect_all(self) -> None:
        """The gateway listens."""
        for place in range(LINKS):
            self.agenda.after(self._pause_s(), lambda p=place: self._connect(p))  # type: ignore[misc]

    def _pause_s(self) -> float:
        return 0.01 if self.is_well else self.random.expovariate(1.0)

    def _connect(self, place: int) -> None:
        if not self.gateway.ready or place in self.links:
            return
        link = ClientLink(next(self._link_ids), self.gateway, self.random, self, self.name)
        self.links[place] = link
        receives = place == 0 or self.is_well or self.random.random() < 0.6
        self.gateway.watch.note("client bound", self.name, place)
        self.gateway.client_up(link.id, link, self.name, receives=receives)

    def lost(self, link: ClientLink) -> None:
        for place, one in list(self.links.items()):
            if one is link:
                del self.links[place]
                self.agenda.after(self._pause_s(), lambda p=place: self._connect(p))  # type: ignore[misc]

    # What it submits

    def traffic(self, per_second: float) -> None:
        """Submits so many a second, in bursts, from now on."""
        bursts_per_second = self.share * per_second * len(BURST) / sum(BURST)
        self.agenda.after(
            self.random.expovariate(bursts_per_second), lambda: self._burst(per_second)
        )

    def _burst(self, per_second: float) -> None:
        if not self.submits:
            return
        links = list(self.links.values())
        if links:
            link = self.random.choice(links)
            for _ in range(self.random.choice(BURST)):
                source = self.random.choices(self._senders, self._weights)[0]
                if self.random.random() < 0.02:
                    source = "12025559999"
                self.submit(link, source)
        self.traffic(per_second)

    def backlog(self, campaign: str, count: int) -> None:
        """Submits so many of one campaign at once."""
        number = self.script.programme(campaign).number
        for link in list(self.links.values())[:1]:
            for _ in range(count):
                self.submit(link, number, is_plain=True)

    def submit(self, link: ClientLink, source: str, *, is_plain: bool = False) -> None:
        """One submit_sm."""
        draw = self.random
        wished_s = None if is_plain else draw.choice(SCHEDULES_S)
        area = "1310555" if is_plain or draw.random() < 0.85 else "4420718"
        link.send(
            next(self._sequence),
            encode_sm(
                source_addr_ton=1,
                source_addr_npi=1,
                source_addr=source.encode(),
                dest_addr_ton=1,
                dest_addr_npi=1,
                destination_addr=b"%s%04d" % (area.encode(), draw.randrange(200)),
                priority_flag=0 if is_plain else draw.choice((0, 0, 0, 1, 2, 3)),
                schedule_delivery_time=b"" if wished_s is None else self._moment(wished_s),
                validity_period=b"" if is_plain or wished_s else draw.choice(VALIDITIES),
                registered_delivery=draw.choice((0, 1, 1, 1, 2)),
                short_message=b"x" * (5 if is_plain else draw.choice(TEXTS)),
            ),
        )

    def _moment(self, wished_s: float) -> bytes:
        """Relative, or absolute in some zone."""
        if wished_s > 0.0 and self.random.random() < 0.5:
            return b"00000000%02d%02d000R" % divmod(int(wished_s), 60)
        return format_time(self.gateway.clock.true_wall + wished_s)

    def got_answer(self, sequence_number: int, status: int, message_id: int) -> None:
        assert sequence_number > 0
        assert (status == consts.ESME_ROK) == bool(message_id)

    # What it is delivered

    def got_deliver(self, link: ClientLink, owed: Owed) -> None:
        self.gateway.watch.heard(self.name, owed)
        chance = 1.0 if self.is_well else self.random.random()
        if chance < 0.004:
            self.agenda.after(TIMEOUT_S, link.reset)
            return
        status = consts.ESME_ROK
        if chance < 0.03:
            status = consts.ESME_RMSGQFUL
        elif chance < 0.05:
            status = consts.ESME_RX_R_APPN
        delay_s = 0.001 if self.is_well else self.random.choice((0.001, 0.01, 0.01, 0.1, 1.0))
        self.agenda.after(delay_s, lambda: link.respond(owed, status))

    def get_well(self) -> None:
        """From here on it only listens."""
        self.is_well = True
        self.submits = False
        for link in list(self.links.values()):
            link.reset()
