"""Due: messages that are held until a moment which is known: `schedule_delivery_time`.

Such a message is `held`, a row of `parked` like any other that is, and a row of `due` whose key
begins with its moment. When that has come by the wall clock, it goes into its lane, to the place
that its arrival gives it. Until then it counts against its client's queue like one that waits in a
lane. People may release or expire it before (`ctl queue`), the sweep expires it.

Nothing of it is in memory but the first moment.
"""

from typing import Final

from gateway.model import ids, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message
from gateway.relay import parked, schedule
from gateway.relay.lanes import mark_resends
from gateway.relay.state import State

SCHEDULED: Final = "scheduled"
"""The reason that is shown for it; no outcome, since nothing is wrong with it."""

BITE: Final = 500
"""Messages that go into their lanes at one tick: a few milliseconds."""

LOOK_S: Final = 10.0
"""The longest nap until the first moment: a wall clock may step."""


def hold(state: State, message: Message, until: float, now: Now) -> None:
    """An admitted message stays where it is until this wall time."""
    state.totals.move(states.QUEUED, states.HELD)
    parked.park(state, message, now, as_state=states.HELD, reason=SCHEDULED, until=until)
    state.machine.open.writes[tables.DUE][parked.due_key(until, message.id)] = b""
    state.count_queued(message.client, +1)
    state.due_at = min(state.due_at, until)
    state.due_wake = min(state.due_wake, _next_wake(state, now))


def step(state: State, now: Now) -> None:
    """Those whose moment has come go into their lanes."""
    if now.wall >= state.due_at:
        _look(state, now)
    state.due_wake = _next_wake(state, now)


def _look(state: State, now: Now) -> None:
    rows = state.view.scan(tables.DUE, b"", b"", BITE)
    state.due_at = float("inf")
    for key, _ in rows:
        until, message_id = parked.due_of(key)
        if until > now.wall:
            state.due_at = until
            return
        _go(state, key, message_id, now)
    if len(rows) == BITE:
        state.due_at = now.wall


def _next_wake(state: State, now: Now) -> float:
    """The monotonic time at which the first moment may have come; infinity if there is none."""
    if state.due_at == float("inf"):
        return state.due_at
    return now.monotonic + min(max(state.due_at - now.wall, 0.0), LOOK_S)


def _go(state: State, key: bytes, message_id: int, now: Now) -> None:
    row_key = ids.to_key(message_id)
    row = state.view.get(tables.PARKED, row_key)
    message_row = state.view.get(tables.MESSAGE, row_key)
    if row is None or message_row is None:
        state.counters.damaged += 1
        state.machine.open.writes[tables.DUE][key] = None
        return
    message, held = records.decode_message(message_row), records.decode_parked(row)
    parked.leave(state, message, held)
    state.totals.move(held.state, states.QUEUED)
    mark_resends(message, held.resends)
    schedule.put_back(state, message, now)
