"""Parties: who takes part, as the core remembers them: clients, carriers, routes between them.

Plain owners with look-ups of their own and nothing else. What they hold in memory is rebuilt from
the disk by `recover`, or may be forgotten.
"""

import zlib
from collections import deque
from math import log

import msgspec

from gateway.model.records import Message
from gateway.relay.lanes import Lane
from gateway.relay.receipt_map import Mode, ReceiptMap
from gateway.relay.turn import Owed
from gateway.throttle.limit import Limit


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
        "binds",
        "bound",
        "name",
        "orphaned",
        "orphans",
        "orphans_unloaded",
        "paused",
        "rate",
        "receipt_timeout_s",
        "receipts",
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
        receipt_id_mode: Mode = "same",
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
        self.receipts = ReceiptMap(name, receipt_id_mode)
        self.orphans: dict[bytes, int] = {}
        """How many receipts without a message there are of each id, as `receipt_fold` spells it."""
        self.orphans_unloaded = 0
        """Those of which even the id is on disk only."""
        self.submitted = 0
        self.throttled = 0
        self.refused: dict[int, int] = {}
        self.orphaned = 0

    def takes(self, segments: int) -> bool:
        """Whether it is bound, and its rate ever lets so many segments pass together."""
        return bool(self.bound) and (self.rate is None or self.rate.capacity >= segments)

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

    __slots__ = ("backup", "longest", "match", "name", "only", "primary", "ready")

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
        rates = [carrier.rate for carrier in [*(carrier for carrier, _ in primary), *backup]]
        self.longest = max(
            [float("inf") if rate is None else rate.capacity for rate in rates],
            default=float("inf"),
        )
        """The longest message, in segments, that any of its carriers ever takes."""
        self.only = primary[0][0] if len(primary) == 1 and not backup else None
        """The carrier, where there is no choice."""
        self.ready: deque[Lane] = deque()

    def carrier_for(self, message: Message) -> Carrier | None:
        """The bound carrier for this (number, handset) pair, the same while it stays bound.

        Weighted rendezvous hashing: a carrier that drops out moves only its own pairs.
        """
        if self.only is not None:
            return self.only if self.only.bound else None
        segments = message.segments
        bound = [(carrier, weight) for carrier, weight in self.primary if carrier.takes(segments)]
        if len(bound) == 1:
            return bound[0][0]
        if not bound:
            return next((carrier for carrier in self.backup if carrier.takes(segments)), None)
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
