"""Parked: messages that go nowhere for now: held, or in doubt.

Each is a row of `parked`; nothing of it is in memory. Some are held until a moment (`due`), the
others until somebody decides (`decisions`); the sweep expires what is past its validity.
"""

from typing import Final

from gateway.model import ids, records, tables
from gateway.model.now import Now
from gateway.model.records import Message, Parked
from gateway.relay import finish
from gateway.relay.lanes import lane_prefix, mark_resends
from gateway.relay.state import State

_MOMENT: Final = 8
"""Octets of the milliseconds in a key of `due`."""


def park(
    state: State, message: Message, now: Now, *, as_state: int, reason: str, until: float = 0.0
) -> None:
    """The message, already moved to this state, stays there."""
    row = Parked(
        state=as_state,
        reason=reason,
        since=now.wall,
        resends=message.resends,
        lane=lane_prefix(message.route, message.campaign),
        until=until,
    )
    state.machine.open.writes[tables.PARKED][ids.to_key(message.id)] = records.encode(row)


def expire_if_due(state: State, key: bytes, row: bytes, now: Now) -> None:
    """Ends the one at this key if its validity is over."""
    message_row = state.view.get(tables.MESSAGE, key)
    if message_row is None:
        return
    message = records.decode_message(message_row)
    if message.expires_at <= now.wall:
        parked = records.decode_parked(row)
        leave(state, message, parked)
        end_expired(state, message, parked, now)


def leave(state: State, message: Message, parked: Parked) -> None:
    """It is not parked any longer; the caller moves it to another state."""
    writes = state.machine.open.writes
    writes[tables.PARKED][ids.to_key(message.id)] = None
    if parked.until:
        writes[tables.DUE][due_key(parked.until, message.id)] = None
        state.count_queued(message.client, -1)


def due_key(until: float, message_id: int) -> bytes:
    """The key of a row of `due`: the moment in milliseconds, rounded up, then the id."""
    return int(-(-until * 1000 // 1)).to_bytes(_MOMENT, "big") + ids.to_key(message_id)


def due_of(key: bytes) -> tuple[float, int]:
    """The moment and the message of a row of `due`."""
    return int.from_bytes(key[:_MOMENT], "big") / 1000, ids.from_key(key[_MOMENT:])


def end_expired(state: State, message: Message, parked: Parked, now: Now) -> None:
    """It is past its validity, or somebody says so."""
    mark_resends(message, parked.resends)
    finish.end(state, message, parked.state, "expired", now)
