"""Core: the door between the shells and a message's life. One method an event, all synchronous.

Each method takes a batch and `now`, changes the state, appends to the open turn, and lets the
lanes send what they can. What leaves at once (refusals) is returned; all else leaves when the
driver has committed the turn and releases it. The verbs themselves are in the modules beside this.
"""

import heapq

from gateway.model import tables
from gateway.model.now import NO_BOOT, Boot, Now
from gateway.model.room import Room
from gateway.registry.catalog import Plan
from gateway.relay import admit, answers, decisions, due, inbound, outbox, recover, schedule
from gateway.relay.parties import Bind, ClientLink
from gateway.relay.rebuild import Rebuild
from gateway.relay.state import State
from gateway.relay.sweep import Sweep
from gateway.relay.turn import Owed, Released, Ticket
from gateway.smpp.events import Answer, Deliver, Submit


class Core:
    """The whole relay, pure. `state` is for reading by those who report."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.sweep = Sweep()
        self.rebuild = Rebuild()
        self._gone: dict[int, Bind] = {}
        """Binds by the link they lost, while a turn still names it."""

    def start(self, now: Now, boot: Boot = NO_BOOT) -> list[str]:
        """Recovers from disk; the open turn must be committed before anything is accepted."""
        return recover.recover(self.state, now, boot)

    # Clients

    def client_up(self, link_id: int, client_name: str, *, receives: bool, now: Now) -> None:
        """A client has bound."""
        client = self.state.clients[client_name]
        link = ClientLink(link_id, client, receives=receives, room=client.deliver_window)
        client.links[link_id] = link
        self.state.client_links[link_id] = link
        outbox.pump(self.state, client, now)

    def client_down(self, link_id: int, owed: list[Owed], now: Now) -> None:
        """A client's link is gone; `owed` are the deliver_sm it did not answer."""
        link = self.state.client_links.pop(link_id, None)
        if link is None:
            return
        del link.client.links[link_id]
        outbox.take_back(link.client, owed)
        outbox.pump(self.state, link.client, now)

    def submits(self, link_id: int, events: list[Submit], now: Now) -> list[bytes]:
        """submit_sm of one link; gives the refusals, to leave at once."""
        return admit.submits(self.state, self.state.client_links[link_id], events, now)

    def deliver_answers(self, link_id: int, events: list[Answer], now: Now) -> None:
        """deliver_sm_resp of one client link."""
        link = self.state.client_links[link_id]
        for event in events:
            if isinstance(event.ref, Owed):
                outbox.answered(self.state, link, event.ref, event.command_status, now)
        outbox.pump(self.state, link.client, now)
        self.state.machine.open.events += len(events)

    # Carriers

    def bind_up(self, bind: Bind, link_id: int, *, window: int, sends: bool, now: Now) -> None:
        """A session with a carrier is bound."""
        bind.link_id = link_id
        bind.room = window
        bind.sends = sends
        bind.clogged = False
        self.state.binds[link_id] = bind
        if sends:
            bind.carrier.bound.append(bind)
        schedule.pump(self.state, now)
        self._pump_clients(now)

    def bind_down(self, link_id: int, now: Now) -> None:
        """It is gone: what it was sent and did not answer is in doubt.

        What is in the open turn, or on its way to disk, comes back as unsent from the release.
        """
        bind = self.state.binds.pop(link_id, None)
        if bind is None:
            return
        if bind.sends:
            bind.carrier.bound.remove(bind)
        bind.room = 0
        self._gone[link_id] = bind
        machine = self.state.machine
        waiting: set[int] = set()
        for turn in (machine.open, machine.committing):
            if turn is not None:  # all its links: this bind may have had another one since
                for messages in turn.submits.values():
                    waiting.update(message.id for message in messages)
        for message in [m for m in bind.flights.values() if m.id not in waiting]:
            del bind.flights[message.id]
            answers.in_doubt(self.state, message, now, why="the link was lost before the answer")
        self.state.touch(bind)
        schedule.pump(self.state, now)
        self._pump_clients(now)

    def bind_writable(self, link_id: int, now: Now) -> None:
        """Its socket takes octets again, after it gave some messages back."""
        bind = self.state.binds.get(link_id)
        if bind is not None:
            bind.clogged = False
            schedule.pump(self.state, now)
            self._pump_clients(now)

    def answers(self, link_id: int, events: list[Answer], now: Now) -> None:
        """submit_sm_resp of one carrier link."""
        bind = self.state.binds.get(link_id)
        if bind is not None:
            answers.answers(self.state, bind, events, now)
            schedule.pump(self.state, now)
            self._pump_clients(now)

    def delivers(self, link_id: int, events: list[Deliver], now: Now) -> list[bytes]:
        """deliver_sm of one carrier link; gives the refusals, to leave at once."""
        refused = inbound.delivers(self.state, self.state.binds[link_id], events, now)
        self._pump_clients(now)
        return refused

    # The driver

    def close_turn(self) -> None:
        """The open turn is about to be taken: writes what it owes once."""
        self.state.close_turn()

    def released(self, back: Released, now: Now) -> None:
        """A turn was released; takes back what it could not hand over."""
        state = self.state
        state.counters.acks_undelivered += back.answers_undelivered
        for link_id, messages in back.unsent:
            bind = state.binds.get(link_id) or self._gone[link_id]
            for message in messages:
                bind.flights.pop(message.id, None)
            if link_id in state.binds:  # else it is gone, and a new link of this bind owes nothing
                bind.room += len(messages)
                bind.clogged = True
            answers.unsent(state, messages, now)
            state.touch(bind)
        for link_id, owed in back.undelivered:
            self._undelivered(link_id, owed, now)
        if self._gone:
            named = state.machine.open.submits
            self._gone = {key: bind for key, bind in self._gone.items() if key in named}
        schedule.stamped(state)
        schedule.pump(state, now)
        self._pump_clients(now)

    def tick(self, now: Now) -> None:
        """Time has passed: wakes lanes, offers again, sweeps a bite."""
        state = self.state
        due.step(state, now)
        schedule.wake(state, now)
        schedule.pump(state, now)
        while state.retries and state.retries[0][0] <= now.monotonic:
            _, name = heapq.heappop(state.retries)
            outbox.pump(state, state.clients[name], now)
        self.rebuild.step(state, now)
        self.sweep.step(state, now)
        self._pump_clients(now)

    def next_wake(self) -> float:
        """Monotonic time of the next tick that is of use."""
        retry_at = self.state.retries[0][0] if self.state.retries else float("inf")
        return min(
            schedule.next_wake(self.state),
            retry_at,
            self.sweep.due_at,
            self.rebuild.due_at,
            self.state.due_wake,
        )

    def release_parked(self, message_ids: list[int], ticket: Ticket, now: Now) -> int:
        """Messages that are held or in doubt go back into their lanes; how many did."""
        self.state.machine.open.tickets.append(ticket)
        released = decisions.release(self.state, message_ids, now)
        schedule.pump(self.state, now)
        self._pump_clients(now)
        return released

    def expire_parked(self, message_ids: list[int], ticket: Ticket, now: Now) -> int:
        """Messages that are held or in doubt end as expired; how many did."""
        self.state.machine.open.tickets.append(ticket)
        expired = decisions.expire(self.state, message_ids, now)
        self._pump_clients(now)
        return expired

    def stop(self) -> None:
        """Nothing new goes to the carriers from here on."""
        self.state.draining = True

    def room_changed(self, room: Room) -> None:
        """The disk has so much room."""
        self.state.room = room

    # The registry

    def registry_apply(self, plan: Plan, ticket: Ticket, now: Now) -> None:
        """Applies a checked import; the ticket is done when it is on disk."""
        self.state.machine.open.writes[tables.REGISTRY].update(plan.rows)
        self.state.catalog.apply(plan)
        self.state.registry_changed(now)
        self.state.machine.open.tickets.append(ticket)
        schedule.look_again(self.state)
        schedule.pump(self.state, now)
        self._pump_clients(now)

    def _undelivered(self, link_id: int, owed: list[Owed], now: Now) -> None:
        client = owed[0].chunk.client
        outbox.take_back(client, owed)
        link = self.state.client_links.get(link_id)
        if link is not None:
            link.room += len(owed)  # offered again with its next answer, or when it is gone
        else:
            outbox.pump(self.state, client, now)

    def _pump_clients(self, now: Now) -> None:
        """Clients who came to be owed something in this batch are offered it."""
        for client in {
            chunk.client.name: chunk.client for chunk in self.state.open_chunks
        }.values():
            outbox.pump(self.state, client, now)
