"""Rebuild: brings what awaits a receipt back into the carriers' maps after a start.

A bite at a time, while traffic goes on already: with millions of rows it takes some seconds, and
`ready` does not wait for it. A receipt that comes before its row was read is an orphan meanwhile,
kept like any other; it finds its message when the row is read.
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

    __slots__ = ("_after", "due_at", "is_done")

    def __init__(self) -> None:
        self._after = b""
        self.is_done = False
        self.due_at = 0.0

    def step(self, state: State, now: Now) -> None:
        """One bite, if it is due."""
        if now.monotonic < self.due_at:
            return
        rows = state.view.scan(tables.AWAITING, b"", self._after, BITE)
        first_of_this_start = ids.first(state.starts)
        for key, row in rows:
            message_id = ids.from_key(key)
            if message_id >= first_of_this_start:
                rows = []  # the map has these and all behind them
                break
            waiting = records.decode_awaiting(row)
            carrier = state.carriers.get(waiting.carrier)
            if carrier is not None:
                carrier.receipts.restore(waiting.carrier_id, message_id, state.view)
                receipts.match_orphan(state, carrier, waiting.carrier_id, now)
        for carrier in state.carriers.values():
            carrier.receipts.make_room(state.machine.open.writes[tables.RUN], now.wall)
        if len(rows) == BITE:
            self._after = rows[-1][0]
            self.due_at = now.monotonic + REST_S
        else:
            self.is_done = True
            self.due_at = float("inf")
