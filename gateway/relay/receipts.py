"""Receipts: a carrier's deliver_sm that tells how a message ended finds its message.

Which message an id means is the business of `receipt_map`. A receipt that finds nothing is an
orphan: kept on disk, its id in memory, since the response that names its message may still be on its
way (over another bind it often is), counted, and matched when that response comes. Intermediate
ones (ENROUTE, ACCEPTD) end nothing. A message that ended `unknown`, because no receipt came or the
carrier itself did not know, is corrected by one that does; nothing else ends twice. Whatever it is,
the deliver_sm is answered after its turn is on disk; handling one twice changes nothing.
"""

from typing import Final

from gateway.model import ids, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message, Orphan, decode_awaiting, decode_message
from gateway.relay import finish
from gateway.relay.parties import Carrier
from gateway.relay.receipt_map import ENDED, late_key, late_row
from gateway.relay.runs import digest_of
from gateway.relay.state import State
from gateway.smpp import consts
from gateway.smpp.receipt import Receipt

ORPHANS_MAX: Final = 10_000
"""Orphans a carrier whose ids are in memory; with more, each answer costs a look at the disk."""

ALIKE_MAX: Final = 10
"""Orphans that are spelled alike, of those that one answer looks at."""

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
    waiting = carrier.receipts.take(found.message_id)
    if waiting is None:
        waiting = carrier.receipts.look_further(state.view, found.message_id)
    if waiting is None:
        _keep_orphan(state, carrier, found, now)
    elif waiting == ENDED:
        state.counters.repeated += 1
    else:
        _conclude(state, carrier, waiting, ends=ends, error=found.error, now=now)


def match_orphan(state: State, carrier: Carrier, carrier_id: bytes, now: Now) -> None:
    """A message has got this id: a receipt that came before it may have been waiting for it."""
    folded = carrier.receipts.answer_fold(carrier_id)
    if folded not in carrier.orphans and not carrier.orphans_unloaded:
        return
    prefix = orphan_prefix(carrier, folded)
    for key, row in state.view.scan(tables.ORPHAN, prefix, prefix, ALIKE_MAX):
        try_orphan(state, carrier, key, records.decode_orphan(row), now)


def try_orphan(state: State, carrier: Carrier, key: bytes, orphan: Orphan, now: Now) -> None:
    """Matches an orphan if its message is known by now."""
    waiting = carrier.receipts.take(orphan.message_id)
    if waiting is None:
        waiting = carrier.receipts.look_further(state.view, orphan.message_id)
    if waiting is None:
        return
    drop_orphan(state, carrier, key, orphan)
    if waiting == ENDED:
        state.counters.repeated += 1
        return
    ends = ENDS[orphan.message_state]
    _conclude(state, carrier, waiting, ends=ends, error=orphan.error, now=now)


def drop_orphan(state: State, carrier: Carrier, key: bytes, orphan: Orphan) -> None:
    """It has found its message, or nobody waits for it any longer."""
    state.machine.open.writes[tables.ORPHAN][key] = None
    folded = carrier.receipts.receipt_fold(orphan.message_id)
    count = carrier.orphans.get(folded, 0)
    if count > 1:
        carrier.orphans[folded] = count - 1
    elif count:
        del carrier.orphans[folded]
    else:
        carrier.orphans_unloaded -= 1


def count_orphan(carrier: Carrier, folded: bytes) -> None:
    """One more is on disk; in memory it is known by its id, as long as there is room."""
    if folded in carrier.orphans or len(carrier.orphans) < ORPHANS_MAX:
        carrier.orphans[folded] = carrier.orphans.get(folded, 0) + 1
    else:
        carrier.orphans_unloaded += 1


def orphan_prefix(carrier: Carrier, folded: bytes) -> bytes:
    """What the keys of all orphans begin with whose ids are spelled alike."""
    return b"%b\0%b" % (carrier.name.encode(), digest_of(folded))


def _conclude(
    state: State,
    carrier: Carrier,
    waiting: Message | int,
    *,
    ends: tuple[int, str],
    error: bytes,
    now: Now,
) -> None:
    """The message ends as its receipt says."""
    rows = state.machine.open.writes
    origin = states.SUBMITTED
    if isinstance(waiting, Message):
        message = waiting
        key = message.id.to_bytes(8, "big")
        carrier_id = message.carrier_id
    else:
        key = ids.to_key(waiting)
        found = _stored(state, key)
        if found is None:
            state.counters.damaged += 1
            return
        message, carrier_id, origin = found
    if origin == states.UNKNOWN:
        if ends[0] == states.UNKNOWN:
            state.counters.repeated += 1
            return
        state.counters.corrected += 1
        folded = carrier.receipts.answer_fold(carrier_id)
        rows[tables.LATE][late_key(carrier.name, folded)] = None
    else:
        carrier.receipts.awaited -= 1
        rows[tables.AWAITING][key] = None
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
    if ends[0] == states.UNKNOWN:
        keep_late(state, carrier, carrier_id, message.id, now)
    finish.conclude(state, message, origin, final)


def keep_late(state: State, carrier: Carrier, carrier_id: bytes, message_id: int, now: Now) -> None:
    """This message ends `unknown`: a receipt that says more may still come."""
    folded = carrier.receipts.answer_fold(carrier_id)
    row = late_row(message_id, now.wall)
    state.machine.open.writes[tables.LATE][late_key(carrier.name, folded)] = row


def _stored(state: State, key: bytes) -> tuple[Message, bytes, int] | None:
    """A message whose row must be read, the carrier's id for it, and its state.

    It is `submitted`, or `unknown`; None if the rows do not fit together.
    """
    message_row = state.view.get(tables.MESSAGE, key)
    if message_row is None:
        return None
    message = decode_message(message_row)
    awaiting_row = state.view.get(tables.AWAITING, key)
    if awaiting_row is not None:
        awaiting = decode_awaiting(awaiting_row)
        origin = states.SUBMITTED
        last: records.Awaiting | records.Ending = awaiting
    else:
        final_row = state.view.get(tables.FINAL, key)
        if final_row is None:
            return None
        last, origin = records.decode_ending(final_row), states.UNKNOWN
    message.submitted_at, message.answered_at = last.submitted_at, last.answered_at
    message.resends = last.resends
    return message, last.carrier_id, origin


def _keep_orphan(state: State, carrier: Carrier, found: Receipt, now: Now) -> None:
    folded = carrier.receipts.receipt_fold(found.message_id)
    key = orphan_prefix(carrier, folded) + found.message_id
    row = state.view.get(tables.ORPHAN, key)
    if row is None:
        count_orphan(carrier, folded)
    elif records.decode_orphan(row).message_state not in {found.state, consts.UNKNOWN}:
        state.counters.repeated += 1  # how a message ended is what was said first
        return
    state.counters.orphans += 1
    carrier.orphaned += 1
    orphan = Orphan(state.steady_wall(now), found.message_id, found.state, found.error)
    state.machine.open.writes[tables.ORPHAN][key] = records.encode(orphan)
