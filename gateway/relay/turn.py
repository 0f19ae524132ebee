"""The turn: what a batch of events writes, and what it owes once that is on disk.

Theory (design section 2). *No effect leaves the process before its cause is on disk.* The core
handles events and appends to the one open turn; a driver takes it, commits its writes, and
releases its effects; events that arrive meanwhile gather in the next.

    OPEN ──take──> COMMITTING ──committed──> released
                      │ ^
                      └─┘ commit again (after the store made room)

At most one turn is committing. Turns are released in the order in which they were taken. A turn is
never undone: its driver commits the same writes again or ends the process. A turn without writes
is released without a commit, but still in its place.

What an effect names is a link by id, and ids are never used twice. At release the link may be gone
or still hold bytes that its socket did not take; then a submit comes back as unsent, answers are
counted as undelivered (the message stands), a deliver_sm stays owed.

This module is the machine itself and knows no loop: `daemon.flow` drives it with LMDB and sockets,
the simulation with a dict and a seeded crash at any point.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from gateway.model import tables
from gateway.model.records import Message
from gateway.model.view import View
from gateway.throttle.limit import Slots


class Ticket(Protocol):
    """Somebody outside who waits until this turn is on disk (an admin verb)."""

    def done(self) -> None:
        """Its cause is on disk."""


class Owed:
    """One deliver_sm that a client is owed: part of a row of the outbox."""

    __slots__ = ("body", "chunk", "message_id")

    def __init__(self, chunk: Any, message_id: int, body: bytes) -> None:
        self.chunk = chunk
        self.message_id = message_id
        self.body = body


class LinkOut(Protocol):
    """What release needs of a link. None of these waits."""

    def answer(self, pdus: list[bytes]) -> None:
        """Responses, encoded, to requests of the peer."""

    def submit(self, messages: list[Message]) -> list[Message]:
        """Writes submit_sm; gives back, in order, those of which no octet left."""

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        """Writes deliver_sm; gives back those it could not take."""


class Turn:
    """One batch: writes by table, effects by link, and the window slots to stamp."""

    __slots__ = ("answers", "delivers", "events", "octets", "slots", "submits", "tickets", "writes")

    def __init__(self) -> None:
        self.writes: tables.Rows = tables.no_rows()
        self.answers: dict[int, list[bytes]] = {}
        self.submits: dict[int, list[Message]] = {}
        self.delivers: dict[int, list[Owed]] = {}
        self.slots: Slots = []
        self.tickets: list[Ticket] = []
        self.events = 0
        self.octets = 0

    def answer(self, link_id: int, pdu: bytes) -> None:
        """Owes an encoded response to the peer of this link."""
        pdus = self.answers.get(link_id)
        if pdus is None:
            self.answers[link_id] = [pdu]
        else:
            pdus.append(pdu)

    def has_writes(self) -> bool:
        """Whether it needs a commit."""
        return any(self.writes)

    def has_effects(self) -> bool:
        """Whether its release does anything."""
        return bool(self.answers or self.submits or self.delivers or self.tickets or self.slots)


class Released:
    """What a release could not hand over."""

    __slots__ = ("answers_undelivered", "undelivered", "unsent")

    def __init__(self) -> None:
        self.answers_undelivered = 0
        self.unsent: list[tuple[int, list[Message]]] = []
        self.undelivered: list[tuple[int, list[Owed]]] = []


def release(turn: Turn, links: Mapping[int, LinkOut], clock: Callable[[], float]) -> Released:
    """Hands every effect of a committed turn to its link: answers first, then submits.

    The windows are stamped after the writes, so no stamp is earlier than its bytes.
    """
    back = Released()
    for link_id, pdus in turn.answers.items():
        link = links.get(link_id)
        if link is None:
            back.answers_undelivered += len(pdus)
        else:
            link.answer(pdus)
    for link_id, messages in turn.submits.items():
        link = links.get(link_id)
        unsent = messages if link is None else link.submit(messages)
        if unsent:
            back.unsent.append((link_id, unsent))
    if turn.slots:
        stamp = clock()
        for slot in turn.slots:
            slot.stamp = stamp
    for link_id, owed in turn.delivers.items():
        link = links.get(link_id)
        undelivered = owed if link is None else link.deliver(owed)
        if undelivered:
            back.undelivered.append((link_id, undelivered))
    for ticket in turn.tickets:
        ticket.done()
    return back


class TurnMachine:
    """Which turn is open, which is committing."""

    __slots__ = ("committing", "open", "taken")

    def __init__(self) -> None:
        self.open = Turn()
        self.committing: Turn | None = None
        self.taken = 0

    def take(self) -> Turn | None:
        """Closes the open turn and makes it the committing one; None if it owes nothing."""
        if self.committing is not None:
            raise AssertionError("two turns cannot commit at once")
        turn = self.open
        if not turn.has_writes() and not turn.has_effects():
            turn.events = turn.octets = 0
            return None
        for slot in turn.slots:
            slot.window.close()
        self.open = Turn()
        self.committing = turn
        self.taken += 1
        return turn

    def committed(self, turn: Turn) -> None:
        """Its writes are on disk and the snapshot below the overlay shows them."""
        if self.committing is not turn:
            raise AssertionError("another turn was committing")
        self.committing = None


class Overlay:
    """The view with the turns laid over it that are not yet in its snapshot."""

    __slots__ = ("_below", "_machine")

    def __init__(self, below: View, machine: TurnMachine) -> None:
        self._below = below
        self._machine = machine

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row as the open turn, the committing one, or the disk has it."""
        rows = self._machine.open.writes[table]
        if key in rows:
            return rows[key]
        committing = self._machine.committing
        if committing is not None:
            rows = committing.writes[table]
            if key in rows:
                return rows[key]
        return self._below.get(table, key)

    def get_many(self, table: int, keys: Iterable[bytes]) -> list[bytes | None]:
        """The rows at these keys, in their order."""
        return [self.get(table, key) for key in keys]

    def scan(
        self, table: int, prefix: bytes, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """At most `limit` rows behind `after`, the uncommitted ones included, in key order."""
        laid: dict[bytes, bytes | None] = {}
        committing = self._machine.committing
        for turn in (committing, self._machine.open):
            if turn is not None:
                laid.update(
                    (key, row)
                    for key, row in turn.writes[table].items()
                    if key > after and key.startswith(prefix)
                )
        gone = sum(1 for row in laid.values() if row is None)
        below = self._below.scan(table, prefix, after, limit + gone)
        if not laid:
            return below
        horizon = below[-1][0] if len(below) == limit + gone else None
        merged = dict(below)
        for key, row in laid.items():
            if row is None:
                merged.pop(key, None)
            elif horizon is None or key <= horizon:
                merged[key] = row
        return sorted(merged.items())[:limit]
