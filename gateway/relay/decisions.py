"""Decisions: what people say about messages that are parked (`ctl queue release|expire`).

A released message is checked again as if it were new when its turn comes; one in doubt then counts
as sent again. One that is held until a moment may be released before it.
"""

from gateway.model import ids, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message, Parked
from gateway.relay import schedule
from gateway.relay.history import note
from gateway.relay.lanes import mark_resends
from gateway.relay.parked import end_expired, leave
from gateway.relay.state import State


def release(state: State, message_ids: list[int], now: Now) -> int:
    """Puts these back into their lanes; how many were parked."""
    released = 0
    for message, parked in _take(state, message_ids):
        released += 1
        state.totals.move(parked.state, states.QUEUED)
        again = parked.resends + (parked.state == states.IN_DOUBT)
        mark_resends(message, again)
        note(state, message.id, now, "released")
        schedule.put_back(state, message, now)
    return released


def expire(state: State, message_ids: list[int], now: Now) -> int:
    """Ends these as expired; how many were parked."""
    expired = 0
    for message, parked in _take(state, message_ids):
        expired += 1
        note(state, message.id, now, "expired", detail="by the operator")
        end_expired(state, message, parked, now)
    return expired


def _take(state: State, message_ids: list[int]) -> list[tuple[Message, Parked]]:
    taken = []
    for message_id in message_ids:
        key = ids.to_key(message_id)
        row = state.view.get(tables.PARKED, key)
        message_row = state.view.get(tables.MESSAGE, key)
        if row is not None and message_row is not None:
            message, parked = records.decode_message(message_row), records.decode_parked(row)
            leave(state, message, parked)
            taken.append((message, parked))
    return taken
