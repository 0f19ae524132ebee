"""Gateway: the driver: the steps of `daemon.flow` and `daemon.app`, in virtual time.

    take ──(the commit takes a while)──> on disk ──(the loop turns)──> release

The real core, turn machine, overlay and `release`; what is not here is a loop, a thread and sockets.
Events go on arriving in each of the gaps, ticks come when the core wants one, and at every step
`faults` may say that the process is gone: then nothing of it is left but what the store has.

A commit that finds no room is tried again, as the committer does after it has opened its reserve. One
that fails otherwise ends the process.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from gateway.model.room import Room
from gateway.relay import turn as turns
from gateway.relay.core import Core
from gateway.relay.parties import Bind
from gateway.relay.state import State
from gateway.relay.turn import LinkOut, Overlay, Owed, Turn, TurnMachine
from gateway.smpp.events import Answer, Deliver, Submit
from tests.relay import audit
from tests.sim.clock import Agenda, Clock, Entry
from tests.sim.script import Script
from tests.sim.store import Store
from tests.sim.watch import Watch

T = TypeVar("T")

LOOP_S: Final = 0.00005
"""From an event to the next turn of the daemon's loop."""

TURN_EVENTS_MAX: Final = 60
"""Clients are not read beyond (`limits.turn_events`, scaled down)."""

BINDS: Final = 3
"""Of each carrier: two that send and receive, one that only receives."""

LOOK_TURNS: Final = 150
"""Turns between two audits of all rows and of all memory."""


class LinkDown(LinkOut, Protocol):
    """A link that can be gone."""

    def cut(self) -> None:
        """The process at our end is gone."""


class Faults(Protocol):
    """What may go wrong in the driver's own steps."""

    def commit_s(self) -> float:
        """How long this commit takes."""

    def commit_fails(self) -> bool:
        """It finds no room, this time."""

    def crashes_now(self, step: str) -> bool:
        """The process is killed here."""


class Gateway:
    """One process after the other on one store."""

    def __init__(
        self, script: Script, store: Store, clock: Clock, agenda: Agenda, watch: Watch
    ) -> None:
        self.script = script
        self.store = store
        self.clock = clock
        self.agenda = agenda
        self.watch = watch
        self.faults: Faults
        self.on_ready: list[Callable[[], None]] = []
        self.links: dict[int, LinkDown] = {}
        self.ready = False
        self.room: Room = "plenty"
        self.crashes = 0
        self._entries: dict[str, Entry] = {}
        self._tick_s = float("inf")
        self._turns = 0

    # The process

    def start(self) -> None:
        """A process begins: it recovers, and is ready when that is on disk."""
        self.machine = TurnMachine()
        view = Overlay(self.store.view, self.machine)
        self.state: State = self.script.setup_now().build(view, self.machine)
        self.core = Core(self.state)
        for carrier in self.state.carriers.values():
            carrier.binds = {index: Bind(carrier, index) for index in range(BINDS)}
        self.core.start(self.clock.now, self.clock.boot)
        self.core.close_turn()
        turn = self.machine.take()
        assert turn is not None, "every start is counted on disk"
        self._later("commit", self.faults.commit_s(), lambda: self._recovered(turn))

    def _recovered(self, turn: Turn) -> None:
        if self.faults.crashes_now("recovery"):
            self.crash()
            return
        self._commit(turn)
        self.store.renew()
        self.machine.committed(turn)
        self.core.room_changed(self.room)
        self.ready = True
        self.look()
        self.check()
        for act in self.on_ready:
            act()

    def crash(self) -> None:
        """A kill -9: links and memory are gone."""
        self.ready = False
        self.crashes += 1
        for entry in self._entries.values():
            entry.cancel()
        self._entries.clear()
        self._tick_s = float("inf")
        links, self.links = self.links, {}
        for link in links.values():
            link.cut()
        self.watch.crashed()
        self.store.crash()

    # The loops of the flow

    def check(self) -> None:
        """After every batch: a turn to take, an earlier tick (`Flow._check`)."""
        if "turn" not in self._entries and self.machine.committing is None:
            self._later("turn", LOOP_S, self._take)
        wake_s = self.core.next_wake() - self.clock.origin_s
        if wake_s < self._tick_s:
            self._nap(wake_s)

    def _take(self) -> None:
        del self._entries["turn"]
        self.core.close_turn()
        turn = self.machine.take()
        if turn is None:
            return
        self.watch.turn_taken()
        if self.faults.crashes_now("taken"):
            self.crash()
        elif turn.has_writes():
            self._later("commit", self.faults.commit_s(), lambda: self._commit_turn(turn))
        else:
            self._release(turn)

    def _commit_turn(self, turn: Turn) -> None:
        if self.faults.crashes_now("before the commit"):
            self.crash()
        elif self.faults.commit_fails():
            self.watch.note("commit failed")
            self.room = "low"
            self._later("commit", self.faults.commit_s(), lambda: self._commit_turn(turn))
        else:
            self._commit(turn)
            if self.faults.crashes_now("after the commit"):
                self.crash()
            else:
                self._later("release", LOOP_S, lambda: self._release(turn))

    def _commit(self, turn: Turn) -> None:
        self.store.commit(turn.writes)
        self.watch.committed(turn.writes)
        self.watch.durable.committed_turns = self.machine.taken

    def _release(self, turn: Turn) -> None:
        self.store.renew()
        self.core.room_changed(self.room)
        self.machine.committed(turn)
        if not turn.has_writes():
            self.watch.durable.committed_turns = self.machine.taken
        back = turns.release(turn, self.links, self.clock.monotonic)
        self.core.released(back, self.clock.now)
        self._entries.pop("commit", None)
        self.watch.released(turn, self.state)
        if self.faults.crashes_now("released"):
            self.crash()
            return
        self._turns += 1
        if self._turns % LOOK_TURNS == 0:
            self.look()
        self.check()

    def _nap(self, wake_s: float) -> None:
        napping = self._entries.get("tick")
        if napping is not None:
            napping.cancel()
        self._tick_s = max(wake_s, self.clock.true_s + LOOP_S)
        if self._tick_s < float("inf"):
            self._entries["tick"] = self.agenda.at(self._tick_s, self._tick)

    def _tick(self) -> None:
        self._tick_s = float("inf")
        self.core.tick(self.clock.now)
        self.check()

    def _later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        self._entries[name] = self.agenda.after(seconds, act)

    def look(self) -> None:
        """All rows, and all that is in memory, by brute force; only between two turns."""
        if self.machine.committing is None and self.ready:
            self.watch.counts.audited(audit.rows_that_disagree(self.store.copy()))
            self.watch.counts.audited(audit.memory_that_lies(self.state))
            self.watch.counts.audited(self.store.audit())

    # The doors

    @property
    def open_turn(self) -> int:
        """Which turn is being filled."""
        return self.machine.taken

    @property
    def reads_clients(self) -> bool:
        """Whether the gate of clients is open."""
        return self.machine.open.events < TURN_EVENTS_MAX

    def client_up(self, link_id: int, link: LinkDown, name: str, *, receives: bool) -> None:
        self.links[link_id] = link
        self.core.client_up(link_id, name, receives=receives, now=self.clock.now)
        self.check()

    def client_down(self, link_id: int, owed: list[Owed]) -> None:
        del self.links[link_id]
        self.core.client_down(link_id, owed, self.clock.now)
        self.check()

    def submits(self, link_id: int, events: list[Submit]) -> list[bytes]:
        refused = self.core.submits(link_id, events, self.clock.now)
        self.check()
        return refused

    def deliver_answers(self, link_id: int, events: list[Answer]) -> None:
        self.core.deliver_answers(link_id, events, self.clock.now)
        self.check()

    def bind_up(
        self, link_id: int, link: LinkDown, carrier: str, index: int, *, window: int, sends: bool
    ) -> None:
        self.links[link_id] = link
        bind = self.state.carriers[carrier].binds[index]
        self.core.bind_up(bind, link_id, window=window, sends=sends, now=self.clock.now)
        self.check()

    def bind_down(self, link_id: int) -> None:
        del self.links[link_id]
        self.core.bind_down(link_id, self.clock.now)
        self.check()

    def bind_writable(self, link_id: int) -> None:
        self.core.bind_writable(link_id, self.clock.now)
        self.check()

    def answers(self, link_id: int, events: list[Answer]) -> None:
        self.core.answers(link_id, events, self.clock.now)
        self.check()

    def delivers(self, link_id: int, events: list[Deliver]) -> list[bytes]:
        refused = self.core.delivers(link_id, events, self.clock.now)
        self.check()
        return refused

    def change(self, act: Callable[[Core, Any], T]) -> T:
        """Somebody at the admin socket."""
        result = act(self.core, self.clock.now)
        self.check()
        return result

    def set_room(self, room: Room) -> None:
        """The store has so much room from here on."""
        self.room = room
        if self.ready:
            self.core.room_changed(room)
            self.check()
