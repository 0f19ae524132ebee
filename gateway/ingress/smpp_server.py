"""SMPP server: clients bind to us here.

One task an address accepts, one link a connection serves (`link.Link`). A bind is checked for, in
this order: system_id, password (in constant time, also for a system_id that nobody has), the
network it comes from, the number of its binds. Each "no" is a status of the specification, a log
line with the address and never the password, and the end of the link.
"""

import ipaddress
import logging
import socket
from typing import Final, Protocol

import trio

from gateway.config.address import Address
from gateway.config.schema import Client, Network, Smpp
from gateway.config.secret import Secret
from gateway.link.gate import Gate
from gateway.link.link import Link, prepare
from gateway.smpp import consts
from gateway.smpp.codec import encode_bind_resp
from gateway.smpp.events import Answer, BindRequest, Deliver, Event, Submit
from gateway.smpp.session import Session

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
"""Connections that wait to be accepted: a restart brings all clients at once."""

ACCEPT_PAUSE_S: Final = 0.2
"""After a failed accept (no descriptor left): the listener would be ready again at once."""

SYSTEM_ID: Final = b"smppgate"
"""What we call ourselves in a bind response."""

_NOBODY: Final = Secret(b"no password")


class Door(Protocol):
    """What the server needs of the daemon. None of these waits."""

    client_gate: Gate

    def client_bound(self, link: Link, client: str, *, receives: bool) -> None:
        """A client's link is bound."""

    def client_gone(self, link: Link) -> None:
        """A client's link has ended."""

    def submits(self, link: Link, events: list[Submit]) -> list[bytes]:
        """A client submits; gives the refusals, encoded."""

    def deliver_answers(self, link: Link, events: list[Answer]) -> None:
        """A client answers what it was delivered."""


class Server:
    """All listeners and connections of clients."""

    def __init__(self, settings: Smpp, clients: tuple[Client, ...], door: Door) -> None:
        self._settings = settings
        self._clients = {client.system_id.encode(): client for client in clients}
        self._door = door
        self._bound: dict[str, dict[int, Link]] = {client.name: {} for client in clients}
        self._window = max((client.deliver_window for client in clients), default=1)
        """Of every session, since it is made before its client is known; the core keeps to the
        client's own."""
        self._listeners: list[socket.socket] = []
        self._links: set[Link] = set()
        self._ending = trio.Event()

    def listen(self) -> list[str]:
        """Opens the listeners; the addresses they really have. Raises OSError if one is taken."""
        for address in self._settings.listen:
            self._listeners.append(open_listener(address))
        return [_address(listener) for listener in self._listeners]

    async def serve(self) -> None:
        """Accepts and serves until `drain` has closed the listeners and the last link has ended."""
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as listeners:
                for listener in self._listeners:
                    listeners.start_soon(self._accept, listener, connections)
                await self._ending.wait()
                listeners.cancel_scope.cancel()
            for listener in self._listeners:
                listener.close()

    def stop_listening(self) -> None:
        """Takes no new connections."""
        self._ending.set()

    def end_links(self, why: str) -> None:
        """Ends every connection; what is owed is durable."""
        for links in self._bound.values():
            for link in links.values():
                link.unbind()
        for link in list(self._links):
            link.end(why)

    def bound(self) -> dict[str, list[Link]]:
        """The bound links of each client."""
        return {name: list(links.values()) for name, links in self._bound.items()}

    def kick(self, name: str) -> int:
        """Ends the links of one client; how many."""
        links = list(self._bound.get(name, {}).values())
        for link in links:
            link.end("kicked by the operator")
        return len(links)

    async def _accept(self, listener: socket.socket, connections: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                continue
            except OSError as error:
                log.error("a client could not be accepted: %s", error)
                await trio.sleep(ACCEPT_PAUSE_S)
                continue
            if len(self._links) >= self._settings.max_connections:
                log.warning(
                    "refused a connection: %d are open (smpp.max_connections)", len(self._links)
                )
                sock.close()
                continue
            connections.start_soon(self._serve, sock)

    async def _serve(self, sock: socket.socket) -> None:
        prepare(sock)
        settings = self._settings
        session = Session(
            "smsc",
            window=self._window,
            enquire_link_s=settings.enquire_link_s,
            response_timeout_s=settings.response_timeout_s,
            bind_timeout_s=settings.bind_timeout_s,
            command_length_max=settings.max_pdu_bytes,
            now=trio.current_time(),
        )
        visitor = _Visitor(self)
        link = Link(
            sock,
            session,
            visitor,
            self._door.client_gate,
            owed_max=0,
            shortest_s=min(
                settings.enquire_link_s, settings.response_timeout_s, settings.bind_timeout_s
            ),
        )
        self._links.add(link)
        try:
            why = await link.run()
        finally:
            self._links.discard(link)
            if visitor.client is not None:
                del self._bound[visitor.client.name][link.id]
                self._door.client_gone(link)
        if visitor.client is not None:
            log.info("client %s at %s: %s", visitor.client.name, link.peer, why)

    def authenticate(self, link: Link, request: BindRequest) -> Client | int:
        """The client that may bind with this request, or the status that says why not."""
        bind = request.bind
        client = self._clients.get(bind.system_id)
        matches = (client.password if client is not None else _NOBODY).matches(bind.password)
        if client is None:
            return consts.ESME_RINVSYSID
        if not matches:
            return consts.ESME_RINVPASWD
        if client.allowed_networks and not _is_within(link.peer, client.allowed_networks):
            return consts.ESME_RBINDFAIL
        if len(self._bound[client.name]) >= client.max_binds:
            return consts.ESME_RALYBND
        return client

    def admit(self, link: Link, client: Client, *, receives: bool) -> None:
        """The bind is answered: the link is the client's."""
        link.owed_max = client.window
        self._bound[client.name][link.id] = link
        self._door.client_bound(link, client.name, receives=receives)
        log.info("client %s bound from %s", client.name, link.peer)

    @property
    def door(self) -> Door:
        """Where events go."""
        return self._door


class _Visitor:
    """The owner of one link: a stranger until its bind is accepted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.client: Client | None = None

    def on_messages(self, link: Link, messages: list[Submit | Deliver]) -> list[bytes]:
        return self._server.door.submits(link, messages)  # type: ignore[arg-type]

    def on_answers(self, link: Link, answers: list[Answer]) -> None:
        self._server.door.deliver_answers(link, answers)

    def on_writable(self, link: Link) -> None:
        """Only links to carriers submit."""

    def on_event(self, link: Link, event: Event) -> None:
        if not isinstance(event, BindRequest):
            return
        verdict = self._server.authenticate(link, event)
        response = event.command_id | consts.RESPONSE
        if isinstance(verdict, int):
            link.send(link.session.respond(response, verdict, event.sequence_number))
            name = consts.status_name(verdict)
            log.warning(
                "a bind as %r from %s was refused: %s", event.bind.system_id, link.peer, name
            )
            link.end(f"bind refused: {name}")
            return
        body = encode_bind_resp(SYSTEM_ID, consts.INTERFACE_VERSION)
        link.send(link.session.respond(response, consts.ESME_ROK, event.sequence_number, body))
        self.client = verdict
        receives = event.command_id != consts.BIND_TRANSMITTER
        self._server.admit(link, verdict, receives=receives)


def open_listener(address: Address) -> socket.socket:
    """A listening socket that never blocks."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _is_within(peer: str, networks: tuple[Network, ...]) -> bool:
    """Whether a peer comes from one of these; one that is gone already has no address."""
    try:
        host = ipaddress.ip_address(peer.rsplit(":", 1)[0].strip("[]"))
    except ValueError:
        return False
    return any(host in network for network in networks)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
