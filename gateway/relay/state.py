"""State: all that the core remembers between two events, and nothing else.

Plain owners without behaviour of their own beyond look-ups; the verbs stand beside it, one module
each (`admit`, `schedule`, `answers`, `receipts`, `inbound`, `outbox`, `recover`, `sweep`). What is
here in memory is either rebuilt from the disk by `recover` or may be forgotten.
"""

import heapq
import zlib
from collections import deque
from math import log
from typing import Final

import msgspec

from gateway.model import ids, tables
from gateway.model.now import Now
from gateway.model.outcomes import StatusStyle
from gateway.model.records import Message, Orphan, encode, encode_flights
from gateway.model.room import Room
from gateway.model.states import Totals
from gateway.model.view import View
from gateway.registry.catalog import Catalog
from gateway.relay.lanes import Lane, WorkingSet
from gateway.relay.turn import Owed, TurnMachine
from gateway.throttle.day import Days
from gateway.throttle.limit import Charge, Limit
from gateway.throttle.window import GUARD_S

OUTBOX_ROW: Final = 200
"""Ids in one outbox row: 1,600 octets, below the 2,000 that LMDB keeps inside a page."""

COUNT_TOTALS: Final = b"totals"
COUNT_LEVEL: Final = b"level\0"
COUNT_CLIENT: Final = b"client\0"
COUNT_OUTBOX: Final = b"outbox\0"


class Chunk:
    """One row of the outbox while some of it is in memory: the row goes when all is answered."""

    __slots__ = ("client", "ids", "in_memory", "key", "left")

    def __init__(self, client: "Client", key: bytes, *, in_memory: bool) -> None:
        self.client = client
        self.key = key
        self.in_memory = in_memory
        self.ids: list[bytes] = []
        self.left = 0


class Outbox:
    """What one client is owed as deliver_sm. `rows` counts rows on disk, `loaded` those in memory.

    As in a lane: what is on disk only lies behind `loaded_to`. `put_off` is what the client did not
    want for now: all of it is offered again at `retry_at`.
    """

    __slots__ = ("loaded", "loaded_to", "open", "put_off", "ready", "retry_at", "rows")

    def __init__(self) -> None:
        self.ready: deque[Owed] = deque()
        self.put_off: list[Owed] = []
        self.open: Chunk | None = None
        self.rows = 0
        self.loaded = 0
        self.loaded_to = 0
        self.retry_at = 0.0


class ClientLink:
    """One bound session of a client. `room`: deliver_sm that its window still takes."""

    __slots__ = ("client", "id", "receives", "room")

    def __init__(self, link_id: int, client: "Client", *, receives: bool, room: int) -> None:
        self.id = link_id
        self.client = client
        self.receives = receives
        self.room = room


class Client:
    """One application that may bind to us."""

    __slots__ = (
        "accepted",
        "company",
        "deliver_window",
        "delivered",
        "links",
        "name",
        "outbox",
        "queue_limit",
        "queued",
        "refused",
    )

    def __init__(self, *, name: str, company: str, queue_limit: int, deliver_window: int) -> None:
        self.name = name
        self.company = company
        self.queue_limit = queue_limit
        self.deliver_window = deliver_window
        self.queued = 0
        self.links: dict[int, ClientLink] = {}
        self.outbox = Outbox()
        self.accepted = 0
        self.delivered = 0
        self.refused: dict[str, int] = {}


class Bind:
    """One bound session with a carrier. `flights`: what was sent or is about to be, unanswered.

    `clogged`: its socket took no more octets; nothing goes to it until it does.
    """

    __slots__ = (
        "carrier",
        "clogged",
        "dirty",
        "flights",
        "index",
        "key",
        "link_id",
        "room",
        "sends",
    )

    def __init__(self, carrier: "Carrier", index: int) -> None:
        self.carrier = carrier
        self.index = index
        self.key = b"%b\0%d" % (carrier.name.encode(), index)
        self.link_id = 0
        self.sends = False
        self.room = 0
        self.flights: dict[int, Message] = {}
        self.dirty = False
        self.clogged = False


class Carrier:
    """One downstream SMSC, its binds, and the receipts it still owes."""

    __slots__ = (
        "always_receipts",
        "awaiting",
        "binds",
        "bound",
        "name",
        "orphaned",
        "orphans",
        "paused",
        "rate",
        "receipt_timeout_s",
        "recent",
        "refused",
        "routes",
        "submitted",
        "throttle_pause_s",
        "throttled",
    )

    def __init__(
        self,
        name: str,
        *,
        rate: Limit | None,
        always_receipts: bool,
        receipt_timeout_s: float,
        throttle_pause_s: float,
    ) -> None:
        self.name = name
        self.rate = rate
        self.always_receipts = always_receipts
        self.receipt_timeout_s = receipt_timeout_s
        self.throttle_pause_s = throttle_pause_s
        self.binds: dict[int, Bind] = {}
        self.bound: list[Bind] = []
        self.routes: list[Route] = []
        self.paused: dict[str, float] = {}
        self.awaiting: dict[bytes, Message | int] = {}
        self.recent: deque[bytes] = deque()
        self.orphans: dict[bytes, Orphan] = {}
        self.submitted = 0
        self.throttled = 0
        self.refused: dict[int, int] = {}
        self.orphaned = 0

    def roomiest(self) -> Bind | None:
        """The bound session with most room in its window; None if none has any."""
        best = None
        room = 0
        for bind in self.bound:
            if bind.room > room and not bind.clogged:
                best, room = bind, bind.room
        return best


class Route:
    """One way to the carriers: whom it matches, who shares it, who waits for room on it."""

    __slots__ = ("backup", "match", "name", "only", "primary", "ready")

    def __init__(
        self,
        name: str,
        match: "Match",
        primary: list[tuple[Carrier, float]],
        backup: list[Carrier],
    ) -> None:
        self.name = name
        self.match = match
        self.primary = primary
        self.backup = backup
        self.only = primary[0][0] if len(primary) == 1 and not backup else None
        """The carrier, where there is no choice."""
        self.ready: deque[Lane] = deque()

    def carrier_for(self, message: Message) -> Carrier | None:
        """The bound carrier for this (number, handset) pair, the same while it stays bound.

        Weighted rendezvous hashing: a carrier that drops out moves only its own pairs.
        """
        if self.only is not None:
            return self.only if self.only.bound else None
        bound = [(carrier, weight) for carrier, weight in self.primary if carrier.bound]
        if len(bound) == 1:
            return bound[0][0]
        if not bound:
            return next((carrier for carrier in self.backup if carrier.bound), None)
        pair = message.source + b"\0" + message.destination
        return min(bound, key=lambda entry: _distance(entry[0].name, entry[1], pair))[0]


def _distance(name: str, weight: float, pair: bytes) -> float:
    """How far a carrier is from a pair: an exponential variable, independent by carrier.

    A CRC is linear: those of two names over the same pair differ by a constant, and weights would
    not be honoured. So its bits are mixed (the finalizer of MurmurHash3).
    """
    mixed = zlib.crc32(pair, zlib.crc32(name.encode()))
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    hashed = ((mixed ^ mixed >> 16) + 0.5) / 2**32
    return -log(hashed) / weight if weight > 0 else float("inf")


class Match(msgspec.Struct, frozen=True):
    """What a route asks for; "" matches anything. Numbers are prefixes, digits without `+`."""

    to: bytes = b""
    source: bytes = b""
    campaign: str = ""
    client: str = ""


class Counters:
    """Plain counts since the start, read when somebody asks."""

    __slots__ = (
        "acks_undelivered",
        "damaged",
        "delivers_refused",
        "in_doubt",
        "inbound",
        "intermediate",
        "orphans",
        "receipts",
        "resent",
        "undelivered",
        "unsent",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    acks_undelivered: int
    damaged: int
    delivers_refused: int
    in_doubt: int
    inbound: int
    intermediate: int
    orphans: int
    receipts: int
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
        self.starts = 0
        self.started = Now(0.0, 0.0)
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
            days = self._days_of(record.zone, now) if record.per == "day" else None
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
                )
                limit.restore(self.view.get(tables.USAGE, key), since)
            built.append(limit)
        return tuple(built)

    def _days_of(self, zone: str, now: Now) -> Days:
        found = self.days.get(zone)
        if found is None:
            found = self.days[zone] = Days(zone, now)
        return found


def _count(value: int) -> bytes | None:
    return value.to_bytes(8, "big") if value else None


def push_timer(state: State, at: float, lane: Lane) -> None:
    """Wakes a lane at a monotonic time."""
    lane.wake_at = at
    state.timers_pushed += 1
    heapq.heappush(state.timers, (at, state.timers_pushed, lane))
