"""SMPP server: clients bind to us here, over TCP and over TLS.

One task an address accepts, one link a connection serves (`link.Link`). A bind is checked for, in
this order: system_id, password (in constant time, also for a system_id that nobody has), the
network it comes from, the number of its binds. Each "no" is a status of the specification and the
end of the link, said late to who is refused often (`strangers`), logged with the address and never
with the password.

A stranger has `bind_timeout_s` for everything: the TLS handshake, its bind, whatever it dribbles.
When `max_connections` are open, the one that has been a stranger longest makes room for the next, so
a crowd that says nothing keeps no client out that says who it is; if all are clients, the next is
closed as it comes. Both happen fifty times a second at most, and the rest waits in the backlog:
a flood costs next to nothing. So does the want of descriptors.
"""

import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import trio

from gateway.config.schema import Client, Network, Smpp
from gateway.config.secret import Secret
from gateway.ingress.listener import Listener, open_listener
from gateway.ingress.strangers import PERIOD_S, Seldom, Strangers
from gateway.link import tls
from gateway.link.gate import Gate
from gateway.link.link import Link
from gateway.link.transport import Plain, Transport, peer_name, prepare
from gateway.smpp import consts
from gateway.smpp.codec import encode_bind_resp
from gateway.smpp.events import Answer, BindRequest, Deliver, Event, Submit
from gateway.smpp.session import Session

log = logging.getLogger(__name__)

ACCEPT_PAUSE_S: Final = 0.2
"""After a failed accept (no descriptor left): the listener would be ready again at once."""

REFUSAL_PAUSE_S: Final = 0.02
"""After a connection while we are full, for the same reason: fifty a second, each with a stranger
that makes room, take 3 to 4 % of a core."""

SYSTEM_ID: Final = b"smppgate"
"""What we call ourselves in a bind response."""

_NOBODY: Final = Secret(b"no password")


class Counts:
    """What happened to those who are no clients, since the start."""

    __slots__ = ("binds_refused", "bugs", "connections_refused", "handshakes_failed")

    def __init__(self) -> None:
        self.connections_refused = 0
        self.handshakes_failed = 0
        self.binds_refused = 0
        self.bugs = 0


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
        self._listeners: list[Listener] = []
        self._links: set[Link] = set()
        self._unbound: dict[Transport, Callable[[], None]] = {}
        """Connections of strangers, the oldest first, and what ends each when room is needed."""
        self._ending = trio.Event()
        self._waits: set[trio.CancelScope] = set()
        """What connections without a link wait for: cut short when we leave."""
        self._is_leaving = False
        self._strangers = Strangers()
        self._failures, self._refusals = Seldom(), Seldom()
        self.connections = 0
        self.connections_max = settings.max_connections
        self.counts = Counts()
        self._context = tls.server_context(settings.tls) if settings.tls.listen else None

    def listen(self) -> list[str]:
        """Opens the listeners; the addresses they really have. Raises OSError if one is taken."""
        for address in self._settings.listen:
            self._listeners.append(Listener(open_listener(address), None))
        for address in self._settings.tls.listen:
            self._listeners.append(Listener(open_listener(address), self._context))
        return [listener.address for listener in self._listeners]

    async def serve(self) -> None:
        """Accepts and serves until `drain` has closed the listeners and the last link has ended."""
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as listeners:
                listeners.start_soon(self._report)
                for listener in self._listeners:
                    listeners.start_soon(self._accept, listener, connections)
                await self._ending.wait()
                listeners.cancel_scope.cancel()
            for listener in self._listeners:
                listener.socket.close()
        self._say_what_is_unsaid()

    def stop_listening(self) -> None:
        """Takes no new connections."""
        self._ending.set()

    def end_links(self, why: str) -> None:
        """Ends every connection; what is owed is durable."""
        self._is_leaving = True
        for wait in self._waits:
            wait.cancel()
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

    async def _accept(self, listener: Listener, connections: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener.socket)
            try:
                sock, (host, *_) = listener.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                continue
            except OSError as error:
                if times := self._failures.count(trio.current_time()):
                    log.error("clients cannot be accepted: %s (%d times)", error, times)
                await trio.sleep(ACCEPT_PAUSE_S)
                continue
            is_full = self.connections >= self.connections_max
            if self._has_place(host, is_full=is_full):
                self.connections += 1
                connections.start_soon(self._serve, sock, host, listener.context)
            else:
                sock.close()
            if is_full:
                await trio.sleep(REFUSAL_PAUSE_S)

    async def _serve(self, sock: socket.socket, host: str, context: ssl.SSLContext | None) -> None:
        """One connection, from its socket to its end."""
        opened_at = trio.current_time()
        try:
            try:
                prepare(sock)
            except OSError:  # gone already
                sock.close()
                return
            peer = peer_name(sock)
            transport: Transport | None = Plain(sock)
            if context is not None:
                transport = await self._shake_hands(tls.Tls(sock, context, server_name=None), host)
            if transport is not None:
                visitor = _Visitor(self, transport, host)
                await self._serve_link(self._new_link(peer, visitor, opened_at), visitor)
        finally:
            self.connections -= 1

    async def _serve_link(self, link: Link, visitor: "_Visitor") -> None:
        self._links.add(link)
        self._unbound[visitor.transport] = lambda: link.drop("it made room for another")
        try:
            why = await link.run()
        finally:
            self._links.discard(link)
            self._unbound.pop(visitor.transport, None)
            if visitor.client is not None:
                del self._bound[visitor.client.name][link.id]
                self._door.client_gone(link)
        if visitor.client is not None:
            log.info("client %s at %s: %s", visitor.client.name, link.peer, why)
        try:
            await self._delay(visitor)
        finally:
            if visitor.refusal:
                link.send(visitor.refusal)
            await link.close(linger=True)

    async def _delay(self, visitor: "_Visitor") -> None:
        """Lets who was refused wait for it, in the connection's own task and unread."""
        if not visitor.delay_s:
            return
        self._strangers.waits(visitor.host, +1)
        try:
            with self._patience(visitor.delay_s):
                await trio.sleep_forever()
        finally:
            self._strangers.waits(visitor.host, -1)

    async def _shake_hands(self, transport: tls.Tls, host: str) -> Transport | None:
        """TLS, if the peer gets there in time; else None, and the connection is closed."""
        why = "no end of the handshake in time"
        is_done = False
        try:
            with self._patience(self._settings.bind_timeout_s) as wait:
                self._unbound[transport] = wait.cancel
                await transport.shake_hands()
                is_done = True
        except tls.HandshakeError as error:
            why = "" if error.was_silent else str(error)
        finally:
            self._unbound.pop(transport, None)
            if not is_done:
                transport.close()
        if is_done:
            return transport
        if why:
            self.counts.handshakes_failed += 1
            _, is_to_say = self._strangers.failed(host, why, trio.current_time())
            if is_to_say:
                log.warning("no TLS with a client at %s: %s", host, why)
        return None

    @contextlib.contextmanager
    def _patience(self, at_most_s: float) -> Iterator[trio.CancelScope]:
        """A wait of a connection that has no link: so long, and no longer than we are here."""
        with trio.move_on_after(at_most_s) as wait:
            if self._is_leaving:
                wait.cancel()
            self._waits.add(wait)
            try:
                yield wait
            finally:
                self._waits.discard(wait)

    def _new_link(self, peer: str, visitor: "_Visitor", opened_at: float) -> Link:
        settings = self._settings
        session = Session(
            "smsc",
            window=self._window,
            enquire_link_s=settings.enquire_link_s,
            response_timeout_s=settings.response_timeout_s,
            bind_timeout_s=settings.bind_timeout_s,
            pdu_timeout_s=settings.pdu_timeout_s,
            command_length_max=settings.max_pdu_bytes,
            now=opened_at,
        )
        return Link(
            visitor.transport,
            session,
            visitor,
            self._door.client_gate,
            peer=peer,
            owed_max=0,
            shortest_s=min(
                settings.enquire_link_s,
                settings.response_timeout_s,
                settings.bind_timeout_s,
                settings.pdu_timeout_s,
            ),
            silence_s=settings.enquire_link_s
            + min(settings.enquire_link_s, settings.response_timeout_s),
        )

    def _has_place(self, host: str, *, is_full: bool) -> bool:
        """Whether a connection from there is served; if we are full, whether one makes room."""
        is_crowded = self._strangers.is_crowded(host)
        if not is_full and not is_crowded:
            return True
        self.counts.connections_refused += 1
        oldest = None if is_crowded else next(iter(self._unbound), None)
        times = self._refusals.count(trio.current_time())
        if times:
            why = f"{self.connections} are open (smpp.max_connections), and all have bound"
            if is_crowded:
                why = f"too many binds from {host} wait to be refused"
            elif oldest is not None:
                why = (
                    f"{self.connections} are open (smpp.max_connections): those who do not bind go"
                )
            log.warning("refused a connection: %s; %d times", why, times)
        if oldest is None:
            return False
        self._unbound.pop(oldest)()
        return True

    async def _report(self) -> None:
        """What the log was spared is said with a count, once a period."""
        while True:
            await trio.sleep(PERIOD_S)
            self._say_what_is_unsaid()

    def _say_what_is_unsaid(self) -> None:
        for host, count, what in self._strangers.unsaid(trio.current_time()):
            log.warning("%d more failed from %s; the last: %s", count, host, what)

    def authenticate(self, link: Link, request: BindRequest) -> Client | int:
        """The client that may bind with this request, or the status that says why not."""
        bind = request.bind
        if self._ending.is_set():
            return consts.ESME_RSYSERR  # we are about to leave
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

    def refuse(self, host: str, system_id: bytes, status: int) -> float:
        """A bind was refused: notes it; how long its answer is to wait."""
        self.counts.binds_refused += 1
        what = f"a bind as {system_id!r}: {consts.status_name(status)}"
        delay_s, is_to_say = self._strangers.failed(host, what, trio.current_time())
        if is_to_say:
            log.warning("refused at %s: %s", host, what)
        return delay_s

    def admit(self, link: Link, visitor: "_Visitor", client: Client, *, receives: bool) -> None:
        """The bind is answered: the link is the client's."""
        self._unbound.pop(visitor.transport, None)
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

    def __init__(self, server: Server, transport: Transport, host: str) -> None:
        self.transport = transport
        self.host = host
        self.client: Client | None = None
        self.refusal = b""
        """What it is told after `delay_s`, and nothing after that."""
        self.delay_s = 0.0
        self._server = server

    def on_messages(self, link: Link, messages: list[Submit | Deliver]) -> list[bytes]:
        return self._server.door.submits(link, messages)  # type: ignore[arg-type]

    def on_answers(self, link: Link, answers: list[Answer]) -> None:
        self._server.door.deliver_answers(link, answers)

    def on_writable(self, link: Link) -> None:
        """Only links to carriers submit."""

    def on_bug(self, _link: Link) -> None:
        self._server.counts.bugs += 1

    def on_event(self, link: Link, event: Event) -> None:
        if not isinstance(event, BindRequest):
            return
        verdict = self._server.authenticate(link, event)
        response = event.command_id | consts.RESPONSE
        if isinstance(verdict, int):
            self.refusal = link.session.respond(response, verdict, event.sequence_number)
            self.delay_s = self._server.refuse(self.host, event.bind.system_id, verdict)
            link.end("its bind was refused")
            return
        body = encode_bind_resp(SYSTEM_ID, consts.INTERFACE_VERSION)
        link.send(link.session.respond(response, consts.ESME_ROK, event.sequence_number, body))
        self.client = verdict
        receives = event.command_id != consts.BIND_TRANSMITTER
        self._server.admit(link, self, verdict, receives=receives)


def _is_within(peer: str, networks: tuple[Network, ...]) -> bool:
    """Whether a peer comes from one of these; one that is gone already has no address."""
    try:
        host = ipaddress.ip_address(peer.rsplit(":", 1)[0].strip("[]"))
    except ValueError:
        return False
    return any(host in network for network in networks)
