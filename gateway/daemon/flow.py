"""Flow: the loops that join everything. START READING HERE.

    readers (one a link) ──events──> core ──> the open turn
    turns   (one)        take ──> commit, fsync ──> release ──> links, windows stamped
    ticks   (one)        time that passes: limits that open, expiry, retries, the sweep

The one rule: no effect leaves the process before its cause is on disk. It holds here, in eight
lines of `turns`: what a turn owes is released after `commit` has returned, and nowhere else. What
the core returns at once (refusals) owes nothing to the disk.

A reader's batch is handled synchronously, from its bytes to the rows and effects in the open turn:
no await, task, lock, log line or metric a message. While one turn is on its way to the disk the
next one fills; so the worse the disk, the larger the turns.

Errors. A link that fails ends that link (`link.Link`). A bug in the core, or a commit that fails
beyond the reserve, ends the process: what is on disk is the truth, and the restart begins there.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import trio

from gateway.link.gate import Gate
from gateway.link.link import Link
from gateway.model.now import Now
from gateway.model.room import Room
from gateway.relay.parties import Bind
from gateway.relay.turn import Owed, Released, Ticket, TurnMachine, release
from gateway.smpp.events import Answer, Deliver, Submit
from gateway.store.committer import Committer

T = TypeVar("T")

ROOM_POLL_S: Final = 1.0
"""How often a full disk is looked at again while nothing is committed."""

LONGEST_NAP_S: Final = 3600.0
"""trio takes no infinite sleep together with a clock that steps; nothing depends on this."""


class Driven(Protocol):
    """The core as the loops see it: `relay.core.Core`, or the bare relay of the bench."""

    def client_up(self, link_id: int, client_name: str, *, receives: bool, now: Now) -> None:
        """A client has bound."""

    def client_down(self, link_id: int, owed: list[Owed], now: Now) -> None:
        """Its link is gone."""

    def submits(self, link_id: int, events: list[Submit], now: Now) -> list[bytes]:
        """submit_sm; gives the refusals."""

    def deliver_answers(self, link_id: int, events: list[Answer], now: Now) -> None:
        """deliver_sm_resp."""

    def bind_up(self, bind: Bind, link_id: int, *, window: int, sends: bool, now: Now) -> None:
        """A carrier is bound."""

    def bind_down(self, link_id: int, now: Now) -> None:
        """Its link is gone."""

    def bind_writable(self, link_id: int, now: Now) -> None:
        """Its socket takes octets again."""

    def answers(self, link_id: int, events: list[Answer], now: Now) -> None:
        """submit_sm_resp."""

    def delivers(self, link_id: int, events: list[Deliver], now: Now) -> list[bytes]:
        """deliver_sm; gives the refusals."""

    def close_turn(self) -> None:
        """The open turn is about to be taken."""

    def released(self, back: Released, now: Now) -> None:
        """A turn was released, but for what comes back."""

    def tick(self, now: Now) -> None:
        """Time has passed."""

    def next_wake(self) -> float:
        """When time alone has something to do."""

    def room_changed(self, room: Room) -> None:
        """The disk has so much room."""

    def stop(self) -> None:
        """Nothing new goes out."""


class Flow:
    """Joins links, core and committer. Implements the doors of `ingress` and `carriers`."""

    def __init__(
        self,
        core: Driven,
        machine: TurnMachine,
        committer: Committer,
        *,
        turn_events_max: int,
        turn_octets_max: int,
    ) -> None:
        self.core = core
        self.machine = machine
        self.committer = committer
        self.links: dict[int, Link] = {}
        self.client_gate = Gate()
        self.carrier_gate = Gate()
        self.turned = trio.lowlevel.ParkingLot()
        self._turn_events_max = turn_events_max
        self._turn_octets_max = turn_octets_max
        self._stopped = False
        self._work = trio.Event()
        self._earlier = trio.Event()
        self._napping_until = float("inf")

    # The loops

    async def turns(self) -> None:
        """Takes the open turn, commits it, releases it; for ever."""
        while True:
            self.core.close_turn()
            turn = self.machine.take()
            if turn is None:
                await self._wait_for_work()
                continue
            self._open_gates()
            if turn.has_writes():
                await self.committer.commit(turn.writes)
                self.core.room_changed(self.committer.room)
            self.machine.committed(turn)
            back = release(turn, self.links, trio.current_time)
            self.core.released(back, now())
            self._check()
            self.turned.unpark_all()

    async def ticks(self) -> None:
        """Wakes the core when something is due by time alone."""
        while True:
            self._napping_until = self.core.next_wake()
            nap_s = self._napping_until - trio.current_time()
            if nap_s > 0:
                self._earlier = trio.Event()
                with trio.move_on_after(min(nap_s, LONGEST_NAP_S)):
                    await self._earlier.wait()
            else:
                await trio.lowlevel.checkpoint()
            self.core.tick(now())
            self._check()

    async def watch_room(self) -> None:
        """A disk that was full is looked at until it is not."""
        while True:
            await trio.sleep(ROOM_POLL_S)
            if self.committer.room != "plenty":
                await self.committer.look_at_room()
                self.core.room_changed(self.committer.room)

    async def _wait_for_work(self) -> None:
        self._work = trio.Event()
        self.turned.unpark_all()
        await self._work.wait()

    def _check(self) -> None:
        """After every batch: a turn to take, gates to close, an earlier tick."""
        turn = self.machine.open
        if not self._work.is_set():
            self._work.set()
        if turn.events >= self._turn_events_max or turn.octets >= self._turn_octets_max:
            self.client_gate.close()
            twice = turn.events >= 2 * self._turn_events_max
            if twice or turn.octets >= 2 * self._turn_octets_max:
                self.carrier_gate.close()
        if self.core.next_wake() < self._napping_until:
            self._earlier.set()

    def _open_gates(self) -> None:
        self.client_gate.open()
        self.carrier_gate.open()

    # The door of ingress

    def client_bound(self, link: Link, client: str, *, receives: bool) -> None:
        """A client's link is bound."""
        self.links[link.id] = link
        self.core.client_up(link.id, client, receives=receives, now=now())
        self._check()

    def client_gone(self, link: Link) -> None:
        """A client's link has ended."""
        self.links.pop(link.id, None)
        owed = [ref for ref in link.session.abandon() if isinstance(ref, Owed)]
        self.core.client_down(link.id, owed, now())
        self._check()

    def submits(self, link: Link, events: list[Submit]) -> list[bytes]:
        """A client submits; gives the refusals.

        While we stop, nothing: without an answer the client knows that it is to submit again.
        """
        if self._stopped:
            return []
        refusals = self.core.submits(link.id, events, now())
        self._check()
        return refusals

    def deliver_answers(self, link: Link, events: list[Answer]) -> None:
        """A client answers what it was delivered."""
        self.core.deliver_answers(link.id, events, now())
        self._check()

    # The door of the carriers

    def bind_up(self, bind: Bind, link: Link, *, window: int, sends: bool) -> None:
        """A carrier's link is bound."""
        self.links[link.id] = link
        self.core.bind_up(bind, link.id, window=window, sends=sends, now=now())
        self._check()

    def bind_down(self, link: Link) -> None:
        """A carrier's link has ended; what it left unanswered is in doubt."""
        self.links.pop(link.id, None)
        link.session.abandon()
        self.core.bind_down(link.id, now())
        self._check()

    def bind_writable(self, link: Link) -> None:
        """A carrier's link takes octets again, after it gave some messages back."""
        self.core.bind_writable(link.id, now())
        self._check()

    def answers(self, link: Link, events: list[Answer]) -> None:
        """A carrier answers submit_sm."""
        self.core.answers(link.id, events, now())
        self._check()

    def delivers(self, link: Link, events: list[Deliver]) -> list[bytes]:
        """A carrier delivers receipts and messages; gives the refusals."""
        refusals = self.core.delivers(link.id, events, now())
        self._check()
        return refusals

    # The door of everybody else

    async def change(self, act: Callable[[Ticket, Now], T]) -> T:
        """Lets `act` change the core and leave its ticket; returns when that is on disk."""
        ticket = Done()
        result = act(ticket, now())
        self._check()
        await ticket.event.wait()
        return result

    def stop(self) -> None:
        """Nothing new is taken from clients, and nothing new goes to the carriers."""
        self._stopped = True
        self.core.stop()

    def has_work(self) -> bool:
        """Whether anything is open or on its way to the disk."""
        turn = self.machine.open
        return self.machine.committing is not None or turn.has_writes() or turn.has_effects()

    async def settled(self) -> None:
        """Returns when a turn was released, or none is open."""
        await self.turned.park()


class Done:
    """A ticket that somebody awaits."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def done(self) -> None:
        """Its turn is on disk."""
        self.event.set()


def now() -> Now:
    """This moment, on the loop's clock and on the wall's."""
    return Now(trio.current_time(), time.time())
