"""Supervisor: keeps one bind to a carrier up: connect, bind, serve, wait, again; for ever.

It never gives up and never ends by itself. How soon it tries again depends on how the last attempt
ended (`backoff`), and on the carrier's other binds (`pacer`). What ended a session, and since when,
is kept for `ctl carrier`. Messages are not its business: `link.Link` carries them to the door.

A `pair` is two supervisors, a transmitter and a receiver.
"""

import logging
import random
import time
from typing import Final, Literal, NamedTuple, Protocol

import trio

from gateway.carriers.backoff import Backoff, End
from gateway.carriers.connect import Connector, NoConnectionError
from gateway.carriers.pacer import Pacer
from gateway.config.schema import Carrier as Settings
from gateway.link.gate import Gate
from gateway.link.link import Link
from gateway.link.transport import Transport
from gateway.relay.parties import Bind
from gateway.smpp import codec, consts
from gateway.smpp.events import Answer, BindAnswer, Deliver, Event, Submit
from gateway.smpp.session import Session

log = logging.getLogger(__name__)

OWED_MAX: Final = 5_000
"""deliver_sm of one bind that wait for the disk, before it is read on."""

BIND_COMMANDS: Final = {
    "transceiver": consts.BIND_TRANSCEIVER,
    "transmitter": consts.BIND_TRANSMITTER,
    "receiver": consts.BIND_RECEIVER,
}

REFUSED_FOR_GOOD: Final = {
    consts.ESME_RINVPASWD: "check the password",
    consts.ESME_RINVSYSID: "check system_id",
    consts.ESME_RINVSYSTYP: "check system_type",
    consts.ESME_RBINDFAIL: "ask the carrier whether the account may bind, in this way, from here",
}
"""Statuses of a bind_resp that waiting does not mend, and what does. ESME_RALYBND is none of them:
after a lost link the carrier may not have noticed yet."""

Kind = Literal["transceiver", "transmitter", "receiver"]


class Ended(NamedTuple):
    """How an attempt ended: the kind, and why, for people."""

    end: End
    why: str


class Door(Protocol):
    """What a bind needs of the daemon. None of these waits."""

    carrier_gate: Gate

    def bind_up(self, bind: Bind, link: Link, *, window: int, sends: bool) -> None:
        """A carrier's link is bound."""

    def bind_down(self, link: Link) -> None:
        """A carrier's link has ended."""

    def bind_writable(self, link: Link) -> None:
        """A carrier's link takes octets again."""

    def answers(self, link: Link, events: list[Answer]) -> None:
        """A carrier answers submit_sm."""

    def delivers(self, link: Link, events: list[Deliver]) -> list[bytes]:
        """A carrier delivers; gives the refusals, encoded."""


class Supervisor:
    """One bind. `status`, `since` and `last_error` are for people."""

    def __init__(
        self,
        settings: Settings,
        kind: Kind,
        bind: Bind,
        door: Door,
        *,
        connector: Connector,
        pacer: Pacer,
    ) -> None:
        """`connector` and `pacer` are shared by the binds of one carrier."""
        self.settings = settings
        self.kind = kind
        self.bind = bind
        self.link: Link | None = None
        self.status = "starting"
        self.since_wall = time.time()
        self.last_error = ""
        self.bound_times = 0
        self.bugs = 0
        self.stopped = trio.Event()
        self._door = door
        self._connector = connector
        self._pacer = pacer
        self._backoff = Backoff(settings.backoff_min_s, settings.backoff_max_s, random.random)
        self._is_bound = False
        self._end: End = "lost"
        self._stopping = False
        self._at_once = trio.Event()

    async def run(self) -> None:
        """Keeps the bind up until it is told to stop."""
        while True:
            await self._pacer.turn(self._at_once)
            if self._stopping:
                break
            self._at_once = trio.Event()
            began = trio.current_time()
            ended = await self._attempt()
            if self._stopping:
                self._set("stopped", ended.why)
                break
            self._set("waiting", ended.why)
            self._backoff.held(trio.current_time() - began)
            if not self._at_once.is_set():
                await self._wait(ended)
        self.stopped.set()

    def rebind(self) -> None:
        """Ends the session, or the wait, and binds again at once."""
        self._at_once.set()
        if self.link is not None:
            self.link.end("rebound by the operator")

    def stop(self) -> None:
        """Tells the carrier that we go; its unbind_resp ends the link, and it stays so."""
        self._stopping = True
        self._at_once.set()
        if self.link is not None:
            if self._is_bound:
                self.link.unbind()
            else:
                self.link.end("the daemon stops")

    async def _wait(self, ended: Ended) -> None:
        """Until it is time for the next attempt."""
        wait_s = self._backoff.wait_s(ended.end)
        log.log(
            logging.ERROR if ended.end == "final" else logging.WARNING,
            "carrier %s, %s %d: %s; again in %.1f s",
            self.settings.name,
            self.kind,
            self.bind.index,
            ended.why,
            wait_s,
        )
        if ended.end == "final":  # that another bind comes up changes nothing
            with trio.move_on_after(wait_s):
                await self._at_once.wait()
        else:
            await self._pacer.pause(wait_s, self._at_once)

    async def _attempt(self) -> Ended:
        """One session, from the connection to its end; how it ended."""
        self._set("connecting")
        try:
            transport, peer = await self._connector.connect()
        except NoConnectionError as error:
            return Ended(error.end, str(error))
        if self._stopping:
            transport.close()
            return Ended("lost", "the daemon stops")
        self._set("binding")
        self._end = "lost"
        link = self.link = self._new_link(transport, peer)
        try:
            why = await link.run()
        finally:
            self.link = None
            if self._is_bound:
                self._is_bound = False
                self._pacer.went_down()
                self._door.bind_down(link)
        await link.close()
        return Ended(self._end, why)

    def _new_link(self, transport: Transport, peer: str) -> Link:
        settings = self.settings
        session = Session(
            "esme",
            window=settings.window,
            enquire_link_s=settings.enquire_link_s,
            response_timeout_s=settings.response_timeout_s,
            bind_timeout_s=settings.connect_timeout_s,
            pdu_timeout_s=settings.pdu_timeout_s,
            now=trio.current_time(),
        )
        link = Link(
            transport,
            session,
            self,
            self._door.carrier_gate,
            peer=peer,
            owed_max=OWED_MAX,
            shortest_s=min(
                settings.enquire_link_s,
                settings.response_timeout_s,
                settings.connect_timeout_s,
                settings.pdu_timeout_s,
            ),
            silence_s=settings.enquire_link_s
            + min(settings.enquire_link_s, settings.response_timeout_s),
        )
        link.ask_receipts = settings.receipts == "always"
        bind = codec.Bind(
            system_id=settings.system_id.encode(),
            password=settings.password.reveal(),
            system_type=settings.system_type.encode(),
            interface_version=consts.INTERFACE_VERSION,
            addr_ton=0,
            addr_npi=0,
            address_range=b"",
        )
        link.send(session.bind(BIND_COMMANDS[self.kind], bind, trio.current_time()))
        return link

    # What the link hands over (`link.Owner`)

    def on_messages(self, link: Link, messages: list[Submit | Deliver]) -> list[bytes]:
        """deliver_sm of the carrier."""
        return self._door.delivers(link, messages)  # type: ignore[arg-type]

    def on_answers(self, link: Link, answers: list[Answer]) -> None:
        """submit_sm_resp of the carrier."""
        self._door.answers(link, answers)

    def on_writable(self, link: Link) -> None:
        """The carrier reads again."""
        self._door.bind_writable(link)

    def on_event(self, link: Link, event: Event) -> None:
        """The answer to our bind."""
        if not isinstance(event, BindAnswer):
            return
        if event.command_status != consts.ESME_ROK:
            self._refused(link, event.command_status)
            return
        self._is_bound = True
        self._pacer.came_up()
        self.bound_times += 1
        self._set("bound")
        log.info("carrier %s, %s %d: bound", self.settings.name, self.kind, self.bind.index)
        sends = self.kind != "receiver"
        self._door.bind_up(self.bind, link, window=self.settings.window, sends=sends)

    def on_bug(self, _link: Link) -> None:
        """What this carrier sends, our session fails on: it is left alone for a while."""
        self.bugs += 1
        self._end = "final"

    def _refused(self, link: Link, status: int) -> None:
        why = f"the bind was refused: {consts.status_name(status)}"
        mend = REFUSED_FOR_GOOD.get(status)
        if mend is not None:
            self._end = "final"
            why += f" ({mend}, then `smppgate ctl carrier rebind {self.settings.name}`)"
        link.end(why)

    def _set(self, status: str, error: str = "") -> None:
        self.status = status
        self.since_wall = time.time()
        if error:
            self.last_error = error
