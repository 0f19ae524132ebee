"""Mutants: the gateway with one guard taken out, to see that the simulation notices.

A test that cannot fail proves nothing, and an invariant that never broke may be deaf. So each guard
of the product that an invariant stands for is taken out here by name, and seeds are run until one
fails: by the invariant that is meant, or the mutant counts as survived. `seed` is one that is known
to fail; after a change of the product it may be another, so the search goes on behind it.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from gateway.model import states
from gateway.model.records import Message
from gateway.relay import (
    admit,
    answers,
    decisions,
    due,
    inbound,
    lanes,
    notice,
    outbox,
    parked,
    receipt_map,
    receipts,
    recover,
    schedule,
    sweep,
)
from gateway.relay import state as state_module
from gateway.relay import turn as turns
from gateway.throttle import day, limit, window
from tests.sim import gateway as driver
from tests.sim.scale import replaced
from tests.sim.world import Result, run

Guard = tuple[Any, str, object]


class Mutant(NamedTuple):
    """One guard, taken out."""

    invariant: str
    guard: str
    """What was taken out, or what happens instead."""
    replaces: tuple[Guard, ...]
    seed: int


class Caught(NamedTuple):
    """What a search has found."""

    mutant: Mutant
    result: Result | None
    """The first run that failed; None if none did."""

    @property
    def is_as_meant(self) -> bool:
        """By the invariant that it was meant for."""
        return self.result is not None and self.result.invariant == self.mutant.invariant


def seeds(mutant: Mutant, count: int) -> Iterator[int]:
    """The known one, then others."""
    yield mutant.seed
    yield from (seed for seed in range(count) if seed != mutant.seed)


def hunt(mutant: Mutant, count: int) -> Caught:
    """Runs so many seeds, until one fails."""
    with replaced(*mutant.replaces):
        for seed in seeds(mutant, count):
            result = run(seed)
            if result.invariant:
                return Caught(mutant, result)
    return Caught(mutant, None)


# ---------------------------------------------------------------- what happens in place of a guard


def _nothing(*_args: object, **_named: object) -> None:
    """It is not done."""


def _release_first(gateway: driver.Gateway) -> None:
    """A turn is released, then committed (the order of `daemon.flow`, the other way round)."""
    del gateway._entries["turn"]
    gateway.core.close_turn()
    turn = gateway.machine.take()
    if turn is not None:
        gateway.watch.turn_taken()
        gateway._release(turn)
        gateway._commit(turn)


def _hasty(original: Callable[..., Any], link: str) -> Callable[..., Any]:
    """Positive answers leave at once, like refusals."""

    def handle(state: Any, party: Any, events: Any, now: Any) -> Any:
        refused = original(state, party, events, now)
        return refused + state.machine.open.answers.pop(getattr(party, link), [])

    return handle


def _stamped_first(original: Callable[..., Any]) -> Callable[..., Any]:
    """The windows are stamped before the octets are written."""

    def release(turn: Any, links: Any, clock: Callable[[], float]) -> Any:
        stamp = clock()
        for slot in turn.slots:
            slot.stamp = stamp
        turn.slots = []
        return original(turn, links, clock)

    return release


def _half_a_guard(original: Callable[..., None]) -> Callable[..., None]:
    def measure(self: Any, segments: float) -> None:
        original(self, segments)
        self.span_s -= self._guard_s / 2

    return measure


def _free_for_carriers(original: Callable[..., float]) -> Callable[..., float]:
    """A carrier's own rate never keeps anything waiting."""

    def free_at(self: Any, now: Any, segments: int) -> float:
        is_carrier = self.key.startswith(b"carrier\0")
        return float(now.monotonic) if is_carrier else original(self, now, segments)

    return free_at


def _back_to_the_rate(original: Callable[..., None]) -> Callable[..., None]:
    """What a carrier refused gives its place in the window back."""

    def give_back(state: Any, message: Any, *, unsent: bool) -> None:
        original(state, message, unsent=unsent or True)

    return give_back


def _late_timer(original: Callable[..., None]) -> Callable[..., None]:
    def push(state: Any, at: float, lane: Any) -> None:
        original(state, at + 0.05, lane)

    return push


def _forgets_days(original: Callable[..., None]) -> Callable[..., None]:
    """A start does not take up what was used of a day."""

    def restore(self: Any, row: Any, since: Any) -> None:
        original(self, None if self.day is not None else row, since)

    return restore


def _wall_alone(self: day.Days, now: Any) -> int:
    """A day opens when the wall clock says so."""
    if now.wall >= self.ends_wall:
        self._enter(now.wall)
    return self.ordinal


def _refund_newest(self: day.DayCap, charged: tuple[int, ...], segments: int) -> None:
    """A refund goes to the newest day there is."""
    assert charged
    self.used[max(self.used)] -= segments


def _unmarked(message: Any, resends: int) -> None:
    """A message that is sent again does not tell so."""
    message.resends = min(resends, lanes.RESENDS_MAX)


MARKERS: Final = (answers, decisions, due, lanes, parked, recover, sweep)


def _never_sent(state: Any, message: Any, now: Any, *, why: str) -> None:
    """What may have left is taken for what never did."""
    assert why
    state.charges.pop(message.id, None)
    state.totals.move(states.IN_FLIGHT, states.QUEUED)
    schedule.put_back(state, message, now)


def _timeless(original: Callable[..., Any]) -> Callable[..., Any]:
    """Nobody asks whether a message has expired before it is sent."""

    def serve(state: Any, route: Any, lane: Any, now: Any) -> Any:
        served = original(state, route, lane, now._replace(wall=0.0))
        for messages in state.machine.open.submits.values():
            for message in messages:
                message.submitted_at = message.submitted_at or now.wall
        return served

    return serve


def _whatever_its_campaign(original: Callable[..., Any]) -> Callable[..., Any]:
    """Nobody asks whether the campaign is active before a message is sent."""

    def serve(state: Any, route: Any, lane: Any, now: Any) -> Any:
        entry = state.catalog.campaigns[lane.campaign]
        blocked, entry.blocked = entry.blocked, None
        try:
            return original(state, route, lane, now)
        finally:
            entry.blocked = blocked

    return serve


def _takes_again(original: Callable[..., Any]) -> Callable[..., Any]:
    """A message whose receipt has come goes on waiting for one."""

    def take(self: Any, receipt_id: bytes) -> Any:
        found = original(self, receipt_id)
        if isinstance(found, Message):
            self._waiting[self._answer_key(found.carrier_id)] = found
        return found

    return take


def _answered_when_sent(original: Callable[..., Any]) -> Callable[..., Any]:
    """A row of the outbox goes when its deliver_sm are sent, not when they are answered."""

    def release(turn: Any, links: Any, clock: Any) -> Any:
        back = original(turn, links, clock)
        for link_id, owed in turn.delivers.items():
            link = links.get(link_id)
            for entry in owed if link is not None and not back.undelivered else ():
                state = link.gateway.state
                if link_id in state.client_links:
                    outbox.answered(
                        state, state.client_links[link_id], entry, 0, link.gateway.clock.now
                    )
        return back

    return release


def _first_client(state: Any, _number: bytes) -> Any:
    return next(iter(state.clients.values()))


def _always_in_memory(self: lanes.Level, message: Any, turn: Any) -> None:
    """What comes in stays in memory, whatever the working set."""
    self._write(message, turn)
    if self.rows == len(self.head):
        self._hold()
        self.head.append(message)
        self.loaded_to = message.id
    self.rows += 1


def _keeps_its_place(original: Callable[..., None]) -> Callable[..., None]:
    """Who is first in line stays it, served or not."""

    def step_out(state: Any, lane: Any, limit: Any, served: int) -> None:
        assert served >= 0
        original(state, lane, limit, 0)

    return step_out


def _without_a_line(original: Callable[..., None]) -> Callable[..., None]:
    """Each lane waits for the time at which its own message would fit."""

    def wait(state: Any, route: Any, lane: Any, at: float) -> None:
        lane.line = None
        original(state, route, lane, at)

    return wait


def _undercounted(original: Callable[..., None]) -> Callable[..., None]:
    """A client's queue is counted up and never down."""

    def count(self: Any, client: str, change: int) -> None:
        original(self, client, max(change, 0))

    return count


def _silently(original: Callable[..., Any]) -> Callable[..., Any]:
    """A level that gives a message away does not tell that its count has changed."""

    def take(self: Any, turn: Any) -> Any:
        was = self in self.working.dirty
        message = original(self, turn)
        if not was:
            self.working.dirty.discard(self)
        return message

    return take


def _not_late(original: Callable[..., int]) -> Callable[..., int]:
    """What is charged and has not left when a day opens is not charged to that day."""

    def today(self: Any, now: Any) -> int:
        self._leaving.clear()
        return original(self, now)

    return today


def _dropped(client: Any, owed: list[Any]) -> None:
    """What a lost link has not answered is not offered again."""
    assert client is not None
    assert owed is not None


MUTANTS: Final = (
    Mutant(
        "durable-before-effect",
        "effects wait for the commit",
        ((driver.Gateway, "_take", _release_first),),
        1,
    ),
    Mutant(
        "durable-before-effect",
        "a handset's message is stored before it is answered",
        ((inbound, "delivers", _hasty(inbound.delivers, "link_id")),),
        1,
    ),
    Mutant(
        "durable-before-effect",
        "a client is answered when its message is on disk",
        ((admit, "submits", _hasty(admit.submits, "id")),),
        1,
    ),
    Mutant("nothing-lost", "the in_flight row", ((state_module.State, "touch", _nothing),), 1),
    Mutant(
        "counts",
        "what was in flight at a crash is taken up",
        ((recover, "_in_flight", _nothing),),
        1,
    ),
    Mutant(
        "nothing-lost",
        "what a lost link has not answered is in doubt",
        ((answers, "in_doubt", _nothing),),
        1,
    ),
    Mutant(
        "counts",
        "a level's count is written when it changes",
        ((lanes.Level, "take", _silently(lanes.Level.take)),),
        1,
    ),
    Mutant(
        "counts",
        "a client's queue is counted down",
        ((state_module.State, "count_queued", _undercounted(state_module.State.count_queued)),),
        1,
    ),
    Mutant(
        "nothing-lost", "what waits in a lane has a row", ((lanes.Level, "_write", _nothing),), 1
    ),
    Mutant(
        "rate",
        "windows are stamped after the write",
        ((turns, "release", _stamped_first(turns.release)),),
        1,
    ),
    Mutant(
        "rate",
        "the whole guard",
        ((window.Window, "_measure", _half_a_guard(window.Window._measure)),),
        1,
    ),
    Mutant(
        "rate",
        "limits a second start closed",
        ((window.Window, "start_closed", _nothing),),
        2,
    ),
    Mutant("rate", "the use a minute is noted", ((limit.Limit, "_note", _nothing),), 14),
    Mutant(
        "rate",
        "a carrier's tps",
        ((limit.Limit, "free_at", _free_for_carriers(limit.Limit.free_at)),),
        1,
    ),
    Mutant(
        "rate",
        "what was refused keeps its place in the window",
        ((answers, "_give_back", _back_to_the_rate(answers._give_back)),),
        1,
    ),
    Mutant(
        "use",
        "a lane is woken when its limit opens",
        ((schedule, "push_timer", _late_timer(state_module.push_timer)),),
        4,
    ),
    Mutant(
        "day-cap",
        "a start takes up the day's use",
        ((limit.Limit, "restore", _forgets_days(limit.Limit.restore)),),
        3,
    ),
    Mutant("day-cap", "both days are charged near a border", ((day, "BORDER_S", -1.0),), 16),
    Mutant(
        "day-cap",
        "both clocks must say that a day opens",
        ((day.Days, "turn_over", _wall_alone),),
        8,
    ),
    Mutant(
        "day-cap",
        "a refund goes to the day that was charged",
        ((day.DayCap, "refund", _refund_newest),),
        19,
    ),
    Mutant(
        "day-cap",
        "what leaves late is charged to the day on which it leaves",
        ((day.DayCap, "_today", _not_late(day.DayCap._today)),),
        168,
    ),
    Mutant(
        "sent-twice-only-in-doubt",
        "a message that is sent again tells so",
        tuple((module, "mark_resends", _unmarked) for module in MARKERS),
        1,
    ),
    Mutant(
        "sent-twice-only-in-doubt",
        "the policy's number of resends",
        ((answers, "_policy", lambda _state, _campaign: ("resend", 9)),),
        1,
    ),
    Mutant(
        "sent-twice-only-in-doubt",
        "what may have left is in doubt",
        ((answers, "in_doubt", _never_sent),),
        1,
    ),
    Mutant(
        "expiry",
        "expiry is asked before the submit",
        ((schedule, "_serve", _timeless(schedule._serve)),),
        2,
    ),
    Mutant(
        "expiry",
        "a message waits for its schedule_delivery_time",
        ((admit, "_until", lambda _sm, _now: 0.0),),
        1,
    ),
    Mutant(
        "active",
        "the campaign is asked before the submit",
        ((schedule, "_serve", _whatever_its_campaign(schedule._serve)),),
        1,
    ),
    Mutant("receipts", "orphans are kept", ((receipts, "_keep_orphan", _nothing),), 1),
    Mutant(
        "receipts",
        "a receipt ends a message once",
        ((receipt_map.ReceiptMap, "take", _takes_again(receipt_map.ReceiptMap.take)),),
        1,
    ),
    Mutant(
        "receipts", "a late receipt corrects `unknown`", ((receipts, "keep_late", _nothing),), 12
    ),
    Mutant(
        "receipts",
        "ids are compared without zeros and case",
        ((receipt_map.ReceiptMap, "_spelled_alike", _nothing),),
        1,
    ),
    Mutant(
        "receipts",
        "a client hears only what it asked for",
        ((notice, "is_wanted", lambda _registered_delivery, _final_state: True),),
        1,
    ),
    Mutant(
        "durable-before-effect",
        "a row of the outbox stays until all of it is answered",
        ((turns, "release", _answered_when_sent(turns.release)),),
        1,
    ),
    Mutant(
        "receipts",
        "what a lost link has not answered is offered again",
        ((outbox, "take_back", _dropped),),
        11,
    ),
    Mutant(
        "mo-delivered",
        "a handset's message goes to the client of its number",
        ((inbound, "client_for", _first_client),),
        1,
    ),
    Mutant(
        "bounded-memory",
        "the working set is limited",
        ((lanes.Level, "append", _always_in_memory),),
        2,
    ),
    Mutant(
        "bounded-memory",
        "of the oldest ids less is kept",
        ((receipt_map.ReceiptMap, "make_room", _nothing),),
        1,
    ),
    Mutant(
        "fair",
        "who was served stands at the end of the line",
        ((schedule, "_step_out", _keeps_its_place(schedule._step_out)),),
        4,
    ),
    Mutant(
        "fair",
        "lanes stand in line at a rate that is full",
        ((schedule, "_wait", _without_a_line(schedule._wait)),),
        117,
    ),
)
