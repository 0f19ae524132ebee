"""Rebuild: brings what awaits a receipt back into the carriers' maps after a start.

A bite at a time, while traffic goes on already: with millions of rows it takes some seconds, and
`ready` does not wait for it. Until it is done a receipt finds its message by the exact id only,
since one that is spelled alike may be still to come; what finds none is an orphan like any other.
When all is known that waits, the orphans are gone through once.
"""

from typing import Final

from gateway.model import ids, records, tables
from gateway.model.now import Now
from gateway.relay import receipts
from gateway.relay.state import State

BITE: Final = 2_000
"""Rows a step: about 5 ms."""

REST_S: Final = 0.005
"""Between two steps: traffic has at least half of the time."""


class Rebuild:
    """Where it is. `due_at` is when it goes on, infinity once it is done."""

    __slots__ = ("_after", "_table", "due_at")

    def __init__(self) -> None:
        self._table = tables.AWAITING
        self._after = b""
        self.due_at = 0.0

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to read."""
        return self.due_at == float("inf")

    def step(self, state: State, now: Now) -> None:
        """One bite, if it is due."""
        if now.monotonic < self.due_at:
            return
        rows = state.view.scan(self._table, b"", self._after, BITE)
        look = _awaiting if self._table == tables.AWAITING else _orphan
        for key, row in rows:
            look(state, key, row, now)
        for carrier in state.carriers.values():
            carrier.receipts.make_room(state.machine.open.writes[tables.RUN], now.wall)
        self.due_at = now.monotonic + REST_S
        if len(rows) == BITE and not self._is_past(state, rows[-1][0]):
            self._after = rows[-1][0]
        elif self._table == tables.AWAITING:
            for carrier in state.carriers.values():
                carrier.receipts.is_whole = True
            self._table, self._after = tables.ORPHAN, b""
        else:
            self.due_at = float("inf")

    def _is_past(self, state: State, key: bytes) -> bool:
        """Whether only messages of this start come behind this key: the maps have those."""
        return self._table == tables.AWAITING and ids.from_key(key) >= ids.first(state.starts)


def _awaiting(state: State, key: bytes, row: bytes, _now: Now) -> None:
    message_id = ids.from_key(key)
    waiting = records.decode_awaiting(row)
    carrier = state.carriers.get(waiting.carrier)
    if carrier is not None and message_id < ids.first(state.starts):
        carrier.receipts.restore(waiting.carrier_id, message_id, state.view)


def _orphan(state: State, key: bytes, row: bytes, now: Now) -> None:
    carrier = state.carriers.get(key.split(b"\0", 1)[0].decode())
    if carrier is not None:
        receipts.try_orphan(state, carrier, key, records.decode_orphan(row), now)
