"""Mirror: the rows on disk, followed write by write, so that each commit is audited as it is made.

It is told what every turn writes and nothing else: it never looks into the core. From the rows alone
it knows where each message is, how many are where, what clients are owed, and what the rows of
counts say, so an audit costs what the turn has written, not what the store holds. Who trusts nobody
runs `tests.relay.audit` over all rows now and then; the driver does.
"""

from collections import Counter
from typing import Final, NamedTuple

import msgspec

from gateway.model import ids, records, states, tables
from gateway.relay.state import COUNT_CLIENT, COUNT_LEVEL, COUNT_OUTBOX, COUNT_TOTALS
from tests.relay.links import sm_of

QUEUED, PARKED, FLYING, AWAITING, ENDED = range(5)
PLACES: Final = ("queued", "parked", "in flight", "awaiting", "ended")
NOWHERE: Final = 0
SHIFT: Final = 8
"""How often a message is in each place: an octet a place."""
ONE_PLACE: Final = frozenset(1 << SHIFT * place for place in range(len(PLACES)))


class Stored(NamedTuple):
    """What the row of a message said when it was accepted."""

    client: str
    campaign: str
    registered_delivery: int
    accepted_at: float
    expires_at: float
    body: bytes


class Ended(NamedTuple):
    """One message got its final row, or another one."""

    message_id: int
    before: records.Ending | None
    after: records.Ending


class Changes:
    """What one commit did."""

    def __init__(self) -> None:
        self.touched: set[int] = set()
        self.ended: list[Ended] = []
        self.purged: list[int] = []
        self.counted: set[bytes] = set()
        """Names of counts whose rows have changed, or should have."""


class Mirror:
    """All rows that matter to an invariant."""

    def __init__(self) -> None:
        self.messages: dict[int, Stored] = {}
        self.place: dict[int, int] = {}
        self.queue: dict[int, bytes] = {}
        self.flights: dict[bytes, dict[int, int]] = {}
        self.flying: dict[int, int] = {}
        """How often it was sent again, of what is in flight."""
        self.parked: dict[int, records.Parked] = {}
        self.awaiting: dict[int, records.Awaiting] = {}
        self.final: dict[int, records.Ending] = {}
        self.owed: Counter[tuple[str, int]] = Counter()
        self.inbound_texts: set[bytes] = set()
        """Of every message of a handset that was ever on disk."""
        self.in_state: Counter[int] = Counter()
        self.counts: Counter[bytes] = Counter()
        self.said: dict[bytes, int] = {}
        self.totals = states.Totals()
        self._outbox: dict[bytes, bytes] = {}
        self._waiting: set[bytes] = set()
        """Keys of `due`."""

    def apply(self, writes: tables.Rows) -> Changes:
        """A turn is on disk."""
        changes = Changes()
        self._messages(writes[tables.MESSAGE], changes)
        self._queue(writes[tables.QUEUE], changes)
        self._parked(writes[tables.PARKED], changes)
        self._in_flight(writes[tables.IN_FLIGHT], changes)
        self._awaiting(writes[tables.AWAITING], changes)
        self._final(writes[tables.FINAL], changes)
        self._due(writes[tables.DUE], changes)
        self._owed(writes[tables.OUTBOX], changes)
        for row in writes[tables.INBOUND].values():
            body = records.decode_inbound(row).body if row is not None else b""
            if body:  # the text goes before the rest of the record
                self.inbound_texts.add(sm_of(body).short_message)
        for name, row in writes[tables.COUNT].items():
            if name == COUNT_TOTALS:
                assert row is not None
                self.totals = msgspec.msgpack.decode(row, type=states.Totals)
            else:
                changes.counted.add(name)
                self.said[name] = int.from_bytes(row or b"", "big")
        return changes

    def where(self, message_id: int) -> str:
        """In words."""
        packed = self.place.get(message_id, NOWHERE)
        found = [
            f"{name} {count}x" if count > 1 else name
            for place, name in enumerate(PLACES)
            if (count := packed >> SHIFT * place & (1 << SHIFT) - 1)
        ]
        return " and ".join(found) or "nowhere"

    def _move(self, message_id: int, place: int, by: int, changes: Changes) -> None:
        self.place[message_id] = self.place.get(message_id, NOWHERE) + (by << SHIFT * place)
        changes.touched.add(message_id)

    def _messages(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            message_id = ids.from_key(key)
            if row is None:
                self.messages.pop(message_id, None)
                changes.purged.append(message_id)
            elif message_id not in self.messages:
                m = records.decode_message(row)
                self.messages[message_id] = Stored(
                    m.client, m.campaign, m.registered_delivery, m.accepted_at, m.expires_at, m.body
                )
            changes.touched.add(message_id)

    def _queue(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            message_id = ids.from_key(key[-ids.KEY_LENGTH :])
            prefix = key[: -ids.KEY_LENGTH]
            was = self.queue.get(message_id) == prefix
            if (row is not None) == was:
                continue
            by = 1 if row is not None else -1
            if row is not None:
                self.queue[message_id] = prefix
            else:
                del self.queue[message_id]
            self._move(message_id, QUEUED, by, changes)
            self.in_state[states.QUEUED] += by
            self._count(COUNT_LEVEL + prefix, by, changes)
            stored = self.messages.get(message_id)
            if stored is not None:
                self._count(COUNT_CLIENT + stored.client.encode(), by, changes)

    def _parked(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            message_id = ids.from_key(key)
            before = self.parked.pop(message_id, None)
            if before is not None:
                self._move(message_id, PARKED, -1, changes)
                self.in_state[before.state] -= 1
            if row is not None:
                parked = self.parked[message_id] = records.decode_parked(row)
                self._move(message_id, PARKED, +1, changes)
                self.in_state[parked.state] += 1

    def _due(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            stored = self.messages.get(ids.from_key(key[-ids.KEY_LENGTH :]))
            by = (row is not None) - (key in self._waiting)
            self._waiting ^= {key} if by else set()
            if stored is not None and by:
                self._count(COUNT_CLIENT + stored.client.encode(), by, changes)

    def _in_flight(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            before = self.flights.pop(key, {})
            after = dict(records.decode_flights(row)) if row is not None else {}
            if after:
                self.flights[key] = after
            for message_id in before.keys() - after.keys():
                self._move(message_id, FLYING, -1, changes)
                self.in_state[states.IN_FLIGHT] -= 1
            for message_id in after.keys() - before.keys():
                self._move(message_id, FLYING, +1, changes)
                self.in_state[states.IN_FLIGHT] += 1
            for message_id in before:
                self.flying.pop(message_id, None)
        for key in rows:
            self.flying.update(self.flights.get(key, {}))

    def _awaiting(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            message_id = ids.from_key(key)
            if self.awaiting.pop(message_id, None) is not None:
                self._move(message_id, AWAITING, -1, changes)
                self.in_state[states.SUBMITTED] -= 1
            if row is not None:
                self.awaiting[message_id] = records.decode_awaiting(row)
                self._move(message_id, AWAITING, +1, changes)
                self.in_state[states.SUBMITTED] += 1

    def _final(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            message_id = ids.from_key(key)
            before = self.final.pop(message_id, None)
            if before is not None:
                self._move(message_id, ENDED, -1, changes)
                self.in_state[before.state] -= 1
            if row is not None:
                after = self.final[message_id] = records.decode_ending(row)
                self._move(message_id, ENDED, +1, changes)
                self.in_state[after.state] += 1
                changes.ended.append(Ended(message_id, before, after))

    def _owed(self, rows: dict[bytes, bytes | None], changes: Changes) -> None:
        for key, row in rows.items():
            name = key[: -ids.KEY_LENGTH - 1]
            before = self._outbox.pop(key, None)
            if row is not None:
                self._outbox[key] = row
            self._count(COUNT_OUTBOX + name, (row is not None) - (before is not None), changes)
            for owed, by in ((before, -1), (row, +1)):
                for at in range(0, len(owed or b""), ids.KEY_LENGTH):
                    assert owed is not None
                    message_id = ids.from_key(owed[at : at + ids.KEY_LENGTH])
                    self.owed[name.decode(), message_id] += by
                    if not self.owed[name.decode(), message_id]:
                        del self.owed[name.decode(), message_id]

    def _count(self, name: bytes, by: int, changes: Changes) -> None:
        self.counts[name] += by
        changes.counted.add(name)
