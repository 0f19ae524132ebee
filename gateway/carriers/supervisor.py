"""Supervisor: keeps one bind to a carrier up: connect, bind, serve, wait, again; for ever.

It never gives up and never ends by itself. What ended a session, and since when, is kept for
`ctl carrier`. Messages are not its business: `link.Link` carries them to the door.

A `pair` is two supervisors, a transmitter and a receiver.
"""

import contextlib
import logging
import os
import random
import socket
import time
from typing import Final, Literal, Protocol

import trio

from gateway.carriers.backoff import Backoff
from gateway.config.schema import Carrier as Settings
from gateway.link.gate import Gate
from gateway.link.link import Link, prepare
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

Kind = Literal["transceiver", "transmitter", "receiver"]


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

    def __init__(self, settings: Settings, kind: Kind, bind: Bind, door: Door) -> None:
        self.settings = settings
        self.kind = kind
        self.bind = bind
        self.link: Link | None = None
        self.status = "starting"
        self.since_wall = time.time()
        self.last_error = ""
        self.bound_times = 0
        self.stopped = trio.Event()
        self._door = door
        self._backoff = Backoff(settings.backoff_min_s, settings.backoff_max_s, random.random)
        self._is_bound = False
        self._stopping = False
        self._at_once = trio.Event()

    async def run(self) -> None:
        """Keeps the bind up until it is told to stop."""
        while not self._stopping:
            began = trio.current_time()
            why = await self._attempt()
            if self._stopping:
                self._set("stopped", why)
                break
            self._set("waiting", why)
            self._backoff.held(trio.current_time() - began)
            wait_s = self._backoff.wait_s()
            log.warning(
                "carrier %s, %s %d: %s; again in %.1f s",
                self.settings.name,
                self.kind,
                self.bind.index,
                why,
                wait_s,
            )
            self._at_once = trio.Event()
            with trio.move_on_after(wait_s):
                await self._at_once.wait()
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

    async def _attempt(self) -> str:
        """One session, from the connection to its end; returns why it ended."""
        self._set("connecting")
        try:
            with trio.fail_after(self.settings.connect_timeout_s):
                sock = await self._connect()
        except trio.TooSlowError:
            return (
                f"no connection to {self.settings.address} in {self.settings.connect_timeout_s} s"
            )
        except OSError as error:
            return f"no connection to {self.settings.address}: {error.strerror or error}"
        self._set("binding")
        self._is_bound = False
        link = self.link = self._new_link(sock)
        try:
            return await link.run()
        finally:
            self.link = None
            if self._is_bound:
                self._is_bound = False
                self._door.bind_down(link)

    async def _connect(self) -> socket.socket:
        host, port = self.settings.address
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            prepare(sock)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
            await trio.lowlevel.wait_writable(sock)
            fault = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if fault:
                raise OSError(fault, os.strerror(fault))
        except BaseException:
            sock.close()
            raise
        return sock

    def _new_link(self, sock: socket.socket) -> Link:
        settings = self.settings
        session = Session(
            "esme",
            window=settings.window,
            enquire_link_s=settings.enquire_link_s,
            response_timeout_s=settings.response_timeout_s,
            bind_timeout_s=settings.connect_timeout_s,
            now=trio.current_time(),
        )
        shortest_s = min(
            settings.enquire_link_s, settings.response_timeout_s, settings.connect_timeout_s
        )
        link = Link(
            sock, session, self, self._door.carrier_gate, owed_max=OWED_MAX, shortest_s=shortest_s
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
            link.end(f"the bind was refused: {consts.status_name(event.command_status)}")
            return
        self._is_bound = True
        self.bound_times += 1
        self._set("bound")
        log.info("carrier %s, %s %d: bound", self.settings.name, self.kind, self.bind.index)
        sends = self.kind != "receiver"
        self._door.bind_up(self.bind, link, window=self.settings.window, sends=sends)

    def _set(self, status: str, error: str = "") -> None:
        self.status = status
        self.since_wall = time.time()
        if error:
            self.last_error = error
