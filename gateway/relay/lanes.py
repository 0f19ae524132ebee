"""Lanes: the queues of messages, on disk, with a bounded head in memory.

A lane holds what waits for one (route, campaign); inside it stands one level a priority. On disk a
level is the rows of `queue` under its prefix, in id order; in memory it is `head`, the first of
them, already decoded.

Theory. `rows` is exact: it counts the rows on disk, uncommitted turns included. `loaded_to` is the
greatest id that was ever in memory, so every row up to it is in `head` (or was taken), and every
row behind it is on disk only. Hence:

    a new message    goes to the tail: into memory only if nothing is on disk only
    one put back     at or before `loaded_to` goes into `head` at its old place; behind it, it is
                     found by the next refill like any other
    refill           scans from behind `loaded_to` until `rows == len(head)`. An empty scan proves
                     nothing; the count does

All levels together hold about `WorkingSet.size` messages; when it is full, a level that must be
served gets its room from the tails of others, which only move `loaded_to` back. With many levels
each loads no more than its share, so what one loads is not another's to drop before it is sent.
Beyond the size go only what comes back from the carriers' windows, and the few that every level
may keep (SPARED).
"""

from collections import deque
from enum import IntEnum
from typing import Final

from gateway.model import ids, tables
from gateway.model.records import Message, decode_message
from gateway.model.view import View
from gateway.relay.turn import Turn
from gateway.smpp import tlv
from gateway.throttle.limit import Limit

PRIORITIES: Final = 4
"""priority_flag is 0 to 3 (SMPP 3.4 section 5.2.14); a higher one is sent first."""

REFILL: Final = 256
"""Messages that one refill brings into memory at most: about a millisecond of reading."""

SPARED: Final = 16
"""Messages that a level may keep in memory when another takes its room: a turn of its lane."""
TO_SPARE: Final = 8
"""Part of the working set that is freed beyond what is needed: the next few refills find room."""

RESEND_TLV: Final = 0x3A05
"""Our TLV: how often this message was sent before without an answer."""


RESENDS_MAX: Final = 255
"""Where that count stays: it is one octet on the wire and on disk, and people may release a message
that is in doubt as often as they like."""


class LaneState(IntEnum):
    """Where a lane is. `schedule` is the only one that moves it."""

    IDLE = 0
    """It has no rows: what comes may go at once."""
    READY = 1
    """In its route's `ready`: to be served when a carrier has room."""
    TIMED = 2
    """In the timer heap: a limit opens at a known time."""
    STAMP = 3
    """A limit is full of segments that are not written yet: looked at after the next release."""
    BLOCKED = 4
    """Its campaign may not send: looked at after the next change of the registry."""
    LINE = 5
    """In the line of a limit, not as the first: looked at when it is."""


class WorkingSet:
    """How many messages all levels together may hold in memory, and who holds them."""

    __slots__ = ("dirty", "held", "levels", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0
        self.levels: set[Level] = set()
        self.dirty: set[Level] = set()
        """Levels whose count must be written with the open turn."""

    def share(self) -> int:
        """What one level may load, of those that hold messages now; at least one."""
        return max(self.size // (len(self.levels) + 1), 1)

    def make_room(self, wanted: int, keep: "Level") -> None:
        """Takes `wanted` places, and some to spare, from the tails of others, the longest first."""
        lacking = self.held + wanted - self.size
        if lacking <= 0:
            return
        lacking += self.size // TO_SPARE  # else thousands of levels were sorted for each refill
        spared = min(SPARED, self.share())
        for level in sorted(self.levels, key=lambda level: -len(level.head)):
            if level is keep:
                continue
            lacking -= level.shed(lacking, spared)
            if lacking <= 0:
                return

    def let_go(self, level: "Level", count: int) -> None:
        """So many messages of this level have left memory."""
        self.held -= count
        if not level.head:
            self.levels.discard(level)


class Level:
    """The messages of one priority of one lane."""

    __slots__ = ("head", "loaded_to", "prefix", "rows", "working")

    def __init__(self, prefix: bytes, working: WorkingSet, rows: int = 0) -> None:
        self.prefix = prefix
        self.working = working
        self.rows = rows
        self.head: deque[Message] = deque()
        self.loaded_to = -1

    def append(self, message: Message, turn: Turn) -> None:
        """A new message, at the tail."""
        self._write(message, turn)
        if self.rows == len(self.head) and self.working.held < self.working.size:
            self._hold()
            self.head.append(message)
            self.loaded_to = message.id
        self.rows += 1

    def pass_through(self, message: Message) -> None:
        """A message that was sent without ever being queued; nothing was waiting before it."""
        self.loaded_to = message.id

    def put_back(self, message: Message, turn: Turn) -> None:
        """A message returns to its old place."""
        self._write(message, turn)
        if message.id <= self.loaded_to or self.rows == len(self.head):
            self._hold()
            self._insert(message)
            self.loaded_to = max(self.loaded_to, message.id)
        self.rows += 1

    def take(self, turn: Turn) -> Message:
        """Takes the first message out, in memory and on disk."""
        message = self.head.popleft()
        self.working.let_go(self, 1)
        self.rows -= 1
        self.working.dirty.add(self)
        turn.writes[tables.QUEUE][self.prefix + ids.to_key(message.id)] = None
        return message

    def drop(self, message_id: int, turn: Turn) -> None:
        """Takes one message out of the middle: it ended where it stood."""
        if message_id <= self.loaded_to:
            del self.head[[message.id for message in self.head].index(message_id)]
            self.working.let_go(self, 1)
        self.rows -= 1
        self.working.dirty.add(self)
        turn.writes[tables.QUEUE][self.prefix + ids.to_key(message_id)] = None

    def refill(self, view: View) -> list[bytes]:
        """Brings the next messages into memory; gives the keys of rows without a message."""
        wanted = min(self.rows - len(self.head), REFILL, self.working.share())
        if wanted <= 0:
            return []
        self.working.make_room(wanted, keep=self)
        after = self.prefix + ids.to_key(self.loaded_to) if self.loaded_to >= 0 else self.prefix
        rows = view.scan(tables.QUEUE, self.prefix, after, wanted)
        keys = [key[-ids.KEY_LENGTH :] for key, _ in rows]
        damaged: list[bytes] = []
        for (key, value), row in zip(rows, view.get_many(tables.MESSAGE, keys), strict=True):
            self.loaded_to = ids.from_key(key[-ids.KEY_LENGTH :])
            if row is None:
                damaged.append(key)
                continue
            message = decode_message(row)
            mark_resends(message, value[0])
            self._hold()
            self.head.append(message)
        return damaged

    def shed(self, count: int, spared: int) -> int:
        """Leaves up to `count` messages of the tail to the disk alone; how many it did."""
        shed = max(min(count, len(self.head) - spared), 0)
        for _ in range(shed):
            self.head.pop()
        if shed:
            self.loaded_to = self.head[-1].id
            self.working.held -= shed
        return shed

    def rewind(self) -> None:
        """Forgets what is in memory: the next refill starts at the first row."""
        held = len(self.head)
        self.head.clear()
        self.working.let_go(self, held)
        self.loaded_to = -1

    def _write(self, message: Message, turn: Turn) -> None:
        key = self.prefix + ids.to_key(message.id)
        turn.writes[tables.QUEUE][key] = b"%c" % message.resends
        self.working.dirty.add(self)

    def _hold(self) -> None:
        self.working.held += 1
        self.working.levels.add(self)

    def _insert(self, message: Message) -> None:
        for place, waiting in enumerate(self.head):
            if waiting.id > message.id:
                self.head.insert(place, message)
                return
        self.head.append(message)


class Lane:
    """The queue of one (route, campaign), by priority and then arrival."""

    __slots__ = (
        "campaign",
        "levels",
        "limits",
        "line",
        "prefix",
        "route",
        "state",
        "wake_at",
    )

    def __init__(self, route: str, campaign: str, working: WorkingSet) -> None:
        self.route = route
        self.campaign = campaign
        self.prefix = lane_prefix(route, campaign)
        self.levels = tuple(
            Level(self.prefix + bytes((PRIORITIES - 1 - priority,)), working)
            for priority in range(PRIORITIES)
        )
        self.limits: tuple[Limit, ...] = ()
        self.line: Limit | None = None
        """The limit in whose line it stands, the first of it included."""
        self.state = LaneState.IDLE
        self.wake_at = 0.0

    @property
    def rows(self) -> int:
        """Messages that wait in it."""
        return sum(level.rows for level in self.levels)

    def first(self) -> Level | None:
        """The level to serve: the highest priority that has messages."""
        for level in reversed(self.levels):
            if level.rows:
                return level
        return None


def lane_prefix(route: str, campaign: str) -> bytes:
    """The key prefix of a lane in `queue`, and its name in `count`."""
    return b"%b\0%b\0" % (route.encode(), campaign.encode())


def mark_resends(message: Message, resends: int) -> None:
    """Sets how often a message was sent again; its body tells the carrier (RESEND_TLV)."""
    resends = min(resends, RESENDS_MAX)
    if resends == message.resends:
        return
    mark = tlv.encode(RESEND_TLV, b"\0")
    body = message.body[: -len(mark)] if message.resends else message.body
    message.body = body + tlv.encode(RESEND_TLV, bytes((resends,))) if resends else body
    message.resends = resends
