"""Receipts: a carrier's deliver_sm that tells how a message ended finds its message.

The map from (carrier, carrier's id) to message lives in memory and is rebuilt at start from
`awaiting`. A receipt that finds nothing is an orphan: kept on disk and in memory, since the
response that names its message may still be on its way (over another bind it often is), counted,
and matched when that response comes. Intermediate ones (ENROUTE, ACCEPTD) end nothing. Whatever it
is, the deliver_sm is answered after its turn is on disk; handling one twice changes nothing.
"""

from typing import Final

from gateway.model import ids, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message, Orphan, decode_awaiting, decode_message
from gateway.relay import finish
from gateway.relay.parties import Carrier
from gateway.relay.state import State
from gateway.smpp import consts
from gateway.smpp.receipt import Receipt

ORPHANS_MAX: Final = 10_000
"""Orphans a carrier that are matched from memory; older ones stay on disk until the sweep."""

ENDS: Final[dict[int, tuple[int, str]]] = {
    consts.DELIVERED: (states.DELIVERED, ""),
    consts.EXPIRED: (states.EXPIRED, "handset_unavailable"),
    consts.DELETED: (states.CANCELED, "carrier_refused"),
    consts.UNDELIVERABLE: (states.FAILED, "handset_unavailable"),
    consts.UNKNOWN: (states.UNKNOWN, "no_receipt"),
    consts.REJECTED: (states.REJECTED, "carrier_refused"),
}
"""message_state (SMPP 3.4 section 5.2.28) -> our final state and outcome."""


def receipt(state: State, carrier: Carrier, found: Receipt | None, now: Now) -> None:
    """Handles one receipt of a carrier; None is one that names no message, and never will."""
    state.counters.receipts += 1
    if found is None:
        state.counters.orphans += 1
        carrier.orphaned += 1
        return
    ends = ENDS.get(found.state)
    if ends is None or found.intermediate:
        state.counters.intermediate += 1
        return
    waiting = carrier.awaiting.pop(found.message_id, None)
    if waiting is None:
        _keep_orphan(state, carrier, found, now)
        return
    _conclude(state, carrier, waiting, found.message_id, ends=ends, error=found.error, now=now)


def match_orphan(state: State, carrier: Carrier, carrier_id: bytes, now: Now) -> None:
    """The response that an orphan was waiting for has come."""
    orphan = carrier.orphans.pop(carrier_id)
    state.machine.open.writes[tables.ORPHAN][orphan_key(carrier, carrier_id)] = None
    waiting = carrier.awaiting.pop(carrier_id)
    ends = ENDS[orphan.message_state]
    _conclude(state, carrier, waiting, carrier_id, ends=ends, error=orphan.error, now=now)


def orphan_key(carrier: Carrier, carrier_id: bytes) -> bytes:
    """The key of an orphan's row."""
    return b"%b\0%b" % (carrier.name.encode(), carrier_id)


def _conclude(
    state: State,
    carrier: Carrier,
    waiting: Message | int,
    carrier_id: bytes,
    *,
    ends: tuple[int, str],
    error: bytes,
    now: Now,
) -> None:
    if isinstance(waiting, Message):
        message = waiting
        key = message.id.to_bytes(8, "big")
    else:
        key = ids.to_key(waiting)
        message_row = state.view.get(tables.MESSAGE, key)
        awaiting_row = state.view.get(tables.AWAITING, key)
        if message_row is None or awaiting_row is None:
            state.counters.damaged += 1
            return
        message = decode_message(message_row)
        awaiting = decode_awaiting(awaiting_row)
        message.submitted_at, message.resends = awaiting.submitted_at, awaiting.resends
        message.answered_at = awaiting.answered_at
    state.machine.open.writes[tables.AWAITING][key] = None
    final = records.Ending(
        ends[0],
        ends[1],
        now.wall,
        carrier.name,
        carrier_id,
        message.submitted_at,
        message.answered_at,
        error,
        message.resends,
    )
    finish.conclude(state, message, states.SUBMITTED, final)


def _keep_orphan(state: State, carrier: Carrier, found: Receipt, now: Now) -> None:
    state.counters.orphans += 1
    carrier.orphaned += 1
    orphan = Orphan(now.wall, found.message_id, found.state, found.error)
    key = orphan_key(carrier, found.message_id)
    state.machine.open.writes[tables.ORPHAN][key] = records.encode(orphan)
    carrier.orphans[found.message_id] = orphan
    if len(carrier.orphans) > ORPHANS_MAX:
        del carrier.orphans[next(iter(carrier.orphans))]
