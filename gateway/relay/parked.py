"""Parked: messages that go nowhere by themselves, held or in doubt, until somebody decides.

Each is a row of `parked`; nothing of it is in memory. People release or expire it (`ctl queue`),
the sweep expires what is past its validity. A released message is checked again as if it were new
when its turn comes; one in doubt then counts as sent again.
"""

from gateway.model import ids, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message, Parked
from gateway.relay import finish, schedule
from gateway.relay.history import note
from gateway.relay.lanes import lane_prefix, mark_resends
from gateway.relay.state import State


def park(state: State, message: Message, now: Now, *, as_state: int, reason: str) -> None:
    """The message, already moved to this state, stays there; `reason` is an outcome."""
    row = Parked(
        state=as_state,
        reason=reason,
        since=now.wall,
        resends=message.resends,
        lane=lane_prefix(message.route, message.campaign),
    )
    state.machine.open.writes[tables.PARKED][ids.to_key(message.id)] = records.encode(row)


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
        mark_resends(message, parked.resends)
        note(state, message.id, now, "expired", detail="by the operator")
        finish.end(state, message, parked.state, "expired", now)
    return expired


def _take(state: State, message_ids: list[int]) -> list[tuple[Message, Parked]]:
    taken = []
    for message_id in message_ids:
        key = ids.to_key(message_id)
        parked = state.view.get(tables.PARKED, key)
        message = state.view.get(tables.MESSAGE, key)
        if parked is not None and message is not None:
            state.machine.open.writes[tables.PARKED][key] = None
            taken.append((records.decode_message(message), records.decode_parked(parked)))
    return taken
