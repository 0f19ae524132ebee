"""State: all that the core remembers between two events, and nothing else.

Plain owners without behaviour of their own beyond look-ups; the verbs stand beside it, one module
each (`admit`, `schedule`, `answers`, `receipts`, `inbound`, `outbox`, `recover`, `sweep`). What is
here in memory is either rebuilt from the disk by `recover` or may be forgotten.
"""

import heapq
from typing import Final

import msgspec

from gateway.model import ids, tables
from gateway.model.now import NO_BOOT, Now
from gateway.model.outcomes import StatusStyle
from gateway.model.records import encode, encode_flights
from gateway.model.room import Room
from gateway.model.states import Totals
from gateway.model.view import View
from gateway.registry.catalog import Catalog
from gateway.relay.lanes import Lane, WorkingSet
from gateway.relay.parties import Bind, Carrier, Chunk, Client, ClientLink, Match, Route
from gateway.relay.turn import TurnMachine
from gateway.throttle.day import Days
from gateway.throttle.limit import Charge, Limit
from gateway.throttle.window import GUARD_S

COUNT_TOTALS: Final = b"totals"
COUNT_LEVEL: Final = b"level\0"
COUNT_CLIENT: Final = b"client\0"
COUNT_OUTBOX: Final = b"outbox\0"


class Counters:
    """Plain counts since the start, read when somebody asks."""

    __slots__ = (
        "acks_undelivered",
        "corrected",
        "damaged",
        "delivers_refused",
        "in_doubt",
        "inbound",
        "intermediate",
        "orphans",
        "receipts",
        "repeated",
        "resent",
        "undelivered",
        "unsent",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    acks_undelivered: int
    corrected: int
    damaged: int
    delivers_refused: int
    in_doubt: int
    inbound: int
    intermediate: int
    orphans: int
    receipts: int
    repeated: int
    resent: int
    undelivered: int
    unsent: int


class Policy(msgspec.Struct, frozen=True):
    """What the configuration says about messages, for the whole daemon."""

    status_style: StatusStyle = "specific"
    in_doubt: str = "resend"
    in_doubt_resends: int = 1
    guard_s: float = GUARD_S
    text_keep_s: float = 7 * 86400.0
    record_keep_s: float = 90 * 86400.0
    undelivered_keep_s: float = 72 * 3600.0


class State:
    """Everything, in one place."""

    __slots__ = (
        "binds",
        "boot",
        "carriers",
        "catalog",
        "charges",
        "client_links",
        "clients",
        "counters",
        "days",
        "dirty_binds",
        "dirty_clients",
        "dirty_limits",
        "draining",
        "due_at",
        "due_wake",
        "first_route",
        "former",
        "ids",
        "lanes",
        "limits",
        "machine",
        "open_chunks",
        "outbox_ids",
        "outboxes",
        "policy",
        "pump_again",
        "retries",
        "room",
        "route_by_name",
        "routes",
        "saved_totals",
        "started",
        "starts",
        "timers",
        "timers_pushed",
        "totals",
        "unstamped",
        "view",
        "working",
    )

    def __init__(
        self, *, view: View, machine: TurnMachine, policy: Policy, working_set: int
    ) -> None:
        self.view = view
        self.machine = machine
        self.policy = policy
        self.catalog = Catalog()
        self.clients: dict[str, Client] = {}
        self.former: dict[str, Client] = {}
        """Clients that are not configured any more, as far as messages of theirs wait."""
        self.client_links: dict[int, ClientLink] = {}
        self.carriers: dict[str, Carrier] = {}
        self.binds: dict[int, Bind] = {}
        self.routes: list[Route] = []
        self.route_by_name: dict[str, Route] = {}
        self.pump_again = False
        self.first_route = 0
        """The place of the route that is looked at first: the one behind who sent last."""
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.limits: dict[str, tuple[Limit, ...]] = {}
        self.days: dict[str, Days] = {}
        self.charges: dict[int, list[Charge]] = {}
        self.working = WorkingSet(working_set)
        self.totals = Totals()
        self.saved_totals = b""
        self.counters = Counters()
        self.room: Room = "plenty"
        self.draining = False
        self.due_at = 0.0
        """Wall time of the first moment in `due`, or before it."""
        self.due_wake = 0.0
        """The monotonic time at which that is looked at."""
        self.starts = 0
        self.started = Now(0.0, 0.0)
        self.boot = NO_BOOT
        self.ids = ids.IdSource(0)
        self.outbox_ids = ids.IdSource(0)
        self.timers: list[tuple[float, int, Lane]] = []
        self.timers_pushed = 0
        """Makes two timers of one moment differ, even of one lane."""
        self.unstamped: list[Lane] = []
        self.retries: list[tuple[float, str]] = []
        """When to offer a client its deliver_sm again: (monotonic time, client), a heap."""
        self.dirty_binds: list[Bind] = []
        self.dirty_limits: set[Limit] = set()
        self.dirty_clients: set[Client] = set()
        self.open_chunks: list[Chunk] = []
        self.outboxes: set[Client] = set()

    def flying(self) -> int:
        """Messages that were sent, or are about to be, and not answered yet."""
        return sum(len(b.flights) for c in self.carriers.values() for b in c.binds.values())

    def counted(self, client: str) -> Client:
        """The client whose queue a message counts against, configured or not: it may be again."""
        found = self.clients.get(client) or self.former.get(client)
        if found is None:
            found = Client(name=client, company="", queue_limit=0, deliver_window=0)
            self.former[client] = found
        return found

    def unhurried(self, now: Now) -> Now:
        """This moment by the slower of two wall clocks: the one there is, and that of the start.

        What forgets anything goes by it, so a clock that steps ahead does not do so early.
        """
        return Now(now.monotonic, min(now.wall, self.steady_wall(now)))

    def steady_wall(self, now: Now) -> float:
        """The wall time of the start, carried on: no step of the wall clock moves it."""
        return self.started.wall + (now.monotonic - self.started.monotonic)

    def count_queued(self, client: str, change: int) -> None:
        """So many more messages wait for this client, in lanes or until their moment."""
        counted = self.counted(client)
        counted.queued += change
        self.dirty_clients.add(counted)

    def lane(self, route: str, campaign: str, now: Now) -> Lane:
        """The lane of this pair, made when first needed."""
        found = self.lanes.get((route, campaign))
        if found is None:
            if route not in self.route_by_name:  # it was configured when the message came
                self.add_route(Route(route, Match(to=b"none"), [], []))
            found = self.lanes[route, campaign] = Lane(route, campaign, self.working)
            found.limits = self.limits_of(campaign, now)
        return found

    def add_route(self, route: Route) -> None:
        """Routes match in the order in which they are added."""
        self.routes.append(route)
        self.route_by_name[route.name] = route
        for carrier in [carrier for carrier, _ in route.primary] + route.backup:
            carrier.routes.append(route)

    def limits_of(self, campaign: str, now: Now) -> tuple[Limit, ...]:
        """The limits of a campaign, built from its record when first needed.

        Nothing of it was sent in this run before that, so what the last run used is taken up as of
        the start, whenever it is.
        """
        found = self.limits.get(campaign)
        if found is None:
            found = self.limits[campaign] = self._build_limits(campaign, now, self.started)
        return found

    def registry_changed(self, now: Now) -> None:
        """The catalogue has new records: limits change in place, and what is used of them stays."""
        for campaign, limits in list(self.limits.items()):
            self._save_limits(limits)
            self.limits[campaign] = self._build_limits(campaign, now, now, limits)
        for lane in self.lanes.values():
            lane.limits = self.limits_of(lane.campaign, now)

    def touch(self, bind: Bind) -> None:
        """The in_flight row of this bind must be written with the open turn."""
        if not bind.dirty:
            bind.dirty = True
            self.dirty_binds.append(bind)

    def close_turn(self) -> None:
        """Writes the rows that a turn owes once, however many messages it moved."""
        writes = self.machine.open.writes
        for bind in self.dirty_binds:
            bind.dirty = False
            row = encode_flights(bind.flights) if bind.flights else None
            writes[tables.IN_FLIGHT][bind.key] = row
        self.dirty_binds.clear()
        for chunk in self.open_chunks:
            writes[tables.OUTBOX][chunk.key] = b"".join(chunk.ids)
            chunk.client.outbox.open = None
            self.outboxes.add(chunk.client)
        for client in self.outboxes:
            row = _count(client.outbox.rows)
            writes[tables.COUNT][COUNT_OUTBOX + client.name.encode()] = row
        self.outboxes.clear()
        self.open_chunks.clear()
        self._save_limits(tuple(self.dirty_limits))
        self.dirty_limits.clear()
        self._save_counts(writes[tables.COUNT])

    def _save_limits(self, limits: tuple[Limit, ...]) -> None:
        rows = self.machine.open.writes[tables.USAGE]
        for limit in limits:
            if limit.dirty:
                rows[limit.key] = limit.row()

    def _save_counts(self, rows: dict[bytes, bytes | None]) -> None:
        totals = encode(self.totals)
        if totals != self.saved_totals:
            self.saved_totals = totals
            rows[COUNT_TOTALS] = totals
        for level in self.working.dirty:
            rows[COUNT_LEVEL + level.prefix] = _count(level.rows)
        self.working.dirty.clear()
        for client in self.dirty_clients:
            rows[COUNT_CLIENT + client.name.encode()] = _count(client.queued)
        self.dirty_clients.clear()

    def _build_limits(
        self, campaign: str, now: Now, since: Now, old: tuple[Limit, ...] = ()
    ) -> tuple[Limit, ...]:
        entry = self.catalog.campaigns.get(campaign)
        if entry is None:
            return ()
        before = {limit.key: limit for limit in old}
        built: list[Limit] = []
        for record in entry.limits:
            # Its place among those of its kind, so that another kind may be put before it.
            place = sum(limit.per == record.per for limit in built)
            key = b"%b\0%b\0%d" % (campaign.encode(), record.per.encode(), place)
            segments, at_cap = record.segments, record.at_cap
            days = self._days_of(record.zone) if record.per == "day" else None
            limit = before.get(key)
            if limit is not None:
                limit.change(segments=segments, at_cap=at_cap, days=days, now=now)
            else:
                limit = Limit(
                    key=key,
                    per=record.per,
                    segments=segments,
                    at_cap=at_cap,
                    days=days,
                    guard_s=self.policy.guard_s,
                    boot=self.boot,
                )
                limit.restore(self.view.get(tables.USAGE, key), since)
            built.append(limit)
        return tuple(built)

    def _days_of(self, zone: str) -> Days:
        """The days of a zone, by the clocks of the start, whenever it is first needed."""
        found = self.days.get(zone)
        if found is None:
            found = self.days[zone] = Days(zone, self.started)
        return found


def _count(value: int) -> bytes | None:
    return value.to_bytes(8, "big") if value else None


def push_timer(state: State, at: float, lane: Lane) -> None:
    """Wakes a lane at a monotonic time."""
    lane.wake_at = at
    state.timers_pushed += 1
    heapq.heappush(state.timers, (at, state.timers_pushed, lane))
