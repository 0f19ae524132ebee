"""Sweep: what time does to rows that nobody touches, a bite at a time.

    queue      past their validity: expired
    parked     the same: held and in doubt messages expire, too
    awaiting   the carrier's receipt_timeout_s is over: unknown, corrected by a late receipt
    run        all of it has had its receipt, or is unknown: dropped
    late       older than LATE_KEEP_S: dropped
    orphan     older than ORPHAN_KEEP_S: dropped
    outbox     owed to a client that has not come to receive for undelivered_s: dropped, and counted
    message    the text goes text_days after the end, the rest record_days after it, with `final`
               and `history`: purged, and counted as purged
    inbound    the same, by when it came
    usage      of a campaign that is gone from the registry, when no limit can need it: dropped

It walks each table from front to end, BITE rows a call, and begins again every PASS_S. Where rows
stand in the order of their arrival it ends at the first that is too young, or it would never catch
up with traffic; and it leaves a long table after VISIT bites, to go on there in the next round, so
that no table waits for another's end. It rides in ordinary turns: it never holds up traffic for
longer than a bite.

What ends a message goes by the wall clock. What forgets something (FORGETS) goes by the slower of the
wall clock and that of the start, carried on: a clock that steps ahead for a moment must not cost what
cannot be had again. Orphans, which are kept for an hour only, go by that of the start alone.
"""

from typing import Final

import msgspec

from gateway.model import ids, records, states, tables
from gateway.model.now import Now
from gateway.relay import finish, outbox, parked, receipts, runs
from gateway.relay.lanes import mark_resends
from gateway.relay.receipt_map import LATE_KEEP_S, late_since
from gateway.relay.state import State
from gateway.smpp.codec import Sm, decode_sm_leniently
from gateway.throttle.limit import last_used

BITE: Final = 500
"""Rows looked at a call: 1 to 3 ms."""

REST_S: Final = 0.05
"""Between two bites: at most a twentieth of the time goes to the sweep."""

BUSY_REST_S: Final = REST_S / 4
"""The same while most of what it looks at is due: 40,000 rows a second, more than traffic leaves."""

VISIT: Final = 100
"""Bites in one table before the next has its turn: 5 s, 50,000 rows."""

PASS_S: Final = 10.0
"""Between two walks over everything: how late an expiry may be noticed in a lane that stands."""

ORPHAN_KEEP_S: Final = 3600.0
"""A response that comes an hour after its receipt is not coming."""

USAGE_KEEP_S: Final = 3 * 86_400.0
"""After the end of the last day that was charged, in the zone where it ends last; and two to spare."""

FORMER_TIMEOUT_S: Final = 72 * 3600.0
"""How long a message waits for the receipt of a carrier that is not configured any more: as long as
by default, since it may be configured again."""

RUN_MARGIN_S: Final = 3600.0
"""A run is kept so much longer than its messages wait: a walk of the sweep may take a while."""


class Sweep:
    """Where the walk is: a place in each table, and how long it has been in this one."""

    __slots__ = ("_after", "_bites", "_is_whole", "_place", "due_at")

    def __init__(self) -> None:
        self.due_at = 0.0
        self._place = 0
        self._after = [b""] * len(_WALK)
        self._bites = 0
        self._is_whole = True
        """Whether each table of this round was walked to its end."""

    def step(self, state: State, now: Now) -> None:
        """One bite, if it is due."""
        if now.monotonic < self.due_at:
            return
        place = self._place
        table, look, is_young = _WALK[place]
        if table in FORGETS:
            now = state.unhurried(now)
        rows = state.view.scan(table, b"", self._after[place], BITE)
        if rows and is_young(state, *rows[0], now):
            rows = []
        writes = state.machine.open.writes[table]
        before = len(writes)
        for key, row in rows:
            look(state, key, row, now)
        is_at_end = len(rows) < BITE
        self._after[place] = b"" if is_at_end else rows[-1][0]
        self._bites += 1
        if is_at_end or self._bites == VISIT:
            self._is_whole = self._is_whole and is_at_end
            self._go_on(now)
        else:
            is_busy = len(writes) - before > BITE // 2
            self.due_at = now.monotonic + (BUSY_REST_S if is_busy else REST_S)

    def _go_on(self, now: Now) -> None:
        """To the next table; behind the last one it rests, unless it has left something out."""
        self._bites = 0
        self._place = (self._place + 1) % len(_WALK)
        is_done = self._place == 0 and self._is_whole
        self.due_at = now.monotonic + (PASS_S if is_done else REST_S)
        if self._place == 0:
            self._is_whole = True


def _never(_state: State, _key: bytes, _row: bytes, _now: Now) -> bool:
    """Rows that stand in no order of time are all looked at."""
    return False


def _arrived_after(state: State, key: bytes, moment: float) -> bool:
    """Whether this message, and so every one behind it, was accepted later than that."""
    row = state.view.get(tables.MESSAGE, key)
    return row is not None and records.decode_message(row).accepted_at > moment


def _final_is_young(state: State, key: bytes, _row: bytes, now: Now) -> bool:
    """Nothing ends before it was accepted."""
    return _arrived_after(state, key, now.wall - state.policy.text_keep_s)


def _awaiting_is_young(state: State, key: bytes, _row: bytes, now: Now) -> bool:
    timeouts = [carrier.receipt_timeout_s for carrier in state.carriers.values()]
    return _arrived_after(state, key, now.wall - min(timeouts, default=FORMER_TIMEOUT_S))


def _inbound_is_young(state: State, _key: bytes, row: bytes, now: Now) -> bool:
    return records.decode_inbound(row).received_at > now.wall - state.policy.text_keep_s


def _queue(state: State, key: bytes, row: bytes, now: Now) -> None:
    message_row = state.view.get(tables.MESSAGE, key[-ids.KEY_LENGTH :])
    if message_row is None:
        return
    message = records.decode_message(message_row)
    if message.expires_at > now.wall:
        return
    lane = state.lane(message.route, message.campaign, now)
    level = lane.levels[message.priority]
    level.drop(message.id, state.machine.open)
    state.count_queued(message.client, -1)
    mark_resends(message, row[0])
    finish.end(state, message, states.QUEUED, "expired", now)


def _awaiting(state: State, key: bytes, row: bytes, now: Now) -> None:
    waiting = records.decode_awaiting(row)
    carrier = state.carriers.get(waiting.carrier)
    timeout_s = FORMER_TIMEOUT_S if carrier is None else carrier.receipt_timeout_s
    if waiting.answered_at + timeout_s > now.wall:
        return
    message_row = state.view.get(tables.MESSAGE, key)
    if message_row is None:
        return
    message = records.decode_message(message_row)
    state.machine.open.writes[tables.AWAITING][key] = None
    if carrier is not None:
        carrier.receipts.awaited -= 1
        carrier.receipts.give_up(waiting.carrier_id, message.id)
        receipts.keep_late(state, carrier, waiting.carrier_id, message.id, now)
    final = records.Ending(
        state=states.UNKNOWN,
        outcome="no_receipt",
        at=now.wall,
        carrier=waiting.carrier,
        carrier_id=waiting.carrier_id,
        submitted_at=waiting.submitted_at,
        answered_at=waiting.answered_at,
        error=b"",
        resends=waiting.resends,
    )
    finish.conclude(state, message, states.SUBMITTED, final)


def _orphan(state: State, key: bytes, row: bytes, now: Now) -> None:
    orphan = records.decode_orphan(row)
    if orphan.received_at + ORPHAN_KEEP_S > state.steady_wall(now):
        return
    carrier = state.carriers.get(key.split(b"\0", 1)[0].decode())
    if carrier is not None:
        receipts.drop_orphan(state, carrier, key, orphan)
    else:
        state.machine.open.writes[tables.ORPHAN][key] = None


def _run(state: State, key: bytes, _row: bytes, now: Now) -> None:
    name, moment, written_at = runs.written_at(key)
    carrier = state.carriers.get(name)
    timeout_s = FORMER_TIMEOUT_S if carrier is None else carrier.receipt_timeout_s
    if written_at + timeout_s + RUN_MARGIN_S <= now.wall:
        state.machine.open.writes[tables.RUN][key] = None
        if carrier is not None:
            carrier.receipts.runs.forget(moment)


def _late(state: State, key: bytes, row: bytes, now: Now) -> None:
    if late_since(row) + LATE_KEEP_S <= now.wall:
        state.machine.open.writes[tables.LATE][key] = None


def _outbox(state: State, key: bytes, row: bytes, now: Now) -> None:
    name = key[: -ids.KEY_LENGTH - 1].decode()
    client = state.clients.get(name)
    if client is not None and any(link.receives for link in client.links.values()):
        return
    if _owed_since(state, row[-ids.KEY_LENGTH :]) + state.policy.undelivered_keep_s > now.wall:
        return
    if client is None:
        outbox.drop_nobodys(state, name, key)
    elif not outbox.drop(state, client, key):
        return
    state.counters.undelivered += len(row) // ids.KEY_LENGTH


def _owed_since(state: State, key: bytes) -> float:
    """When the last of an outbox row came to be owed; long ago, if its message is gone."""
    final = state.view.get(tables.FINAL, key)
    if final is not None:
        return records.decode_ending(final).at
    inbound = state.view.get(tables.INBOUND, key)
    return 0.0 if inbound is None else records.decode_inbound(inbound).received_at


def _final(state: State, key: bytes, row: bytes, now: Now) -> None:
    final = records.decode_ending(row)
    writes = state.machine.open.writes
    if final.at + state.policy.text_keep_s > now.wall:
        return
    if final.at + state.policy.record_keep_s > now.wall:
        message_row = state.view.get(tables.MESSAGE, key)
        message = records.decode_message(message_row) if message_row is not None else None
        if message is not None and message.body:
            message.body = b""
            writes[tables.MESSAGE][key] = records.encode(message)
        return
    steps = state.view.scan(tables.HISTORY, key, key, BITE)
    for step_key, _ in steps:
        writes[tables.HISTORY][step_key] = None
    if len(steps) == BITE:
        return  # a long history: the rest of it, and the message, with a later walk
    writes[tables.FINAL][key] = None
    writes[tables.MESSAGE][key] = None
    state.totals.in_state[final.state] -= 1
    state.totals.purged += 1


def _inbound(state: State, key: bytes, row: bytes, now: Now) -> None:
    inbound = records.decode_inbound(row)
    if inbound.received_at + state.policy.text_keep_s > now.wall:
        return
    writes = state.machine.open.writes[tables.INBOUND]
    if inbound.received_at + state.policy.record_keep_s <= now.wall:
        writes[key] = None
    elif inbound.body:
        sm = decode_sm_leniently(inbound.body)
        source, destination = (b"", b"")
        if isinstance(sm, Sm):
            source, destination = sm.source_addr, sm.destination_addr
        gone = msgspec.structs.replace(inbound, body=b"", source=source, destination=destination)
        writes[key] = records.encode(gone)


def _usage(state: State, key: bytes, row: bytes, now: Now) -> None:
    """A campaign may come back: what it used counts for as long as any limit would look at it."""
    campaign = key.split(b"\0", 1)[0].decode()
    if campaign not in state.catalog.campaigns and last_used(key, row) + USAGE_KEEP_S <= now.wall:
        state.machine.open.writes[tables.USAGE][key] = None


FORGETS: Final = frozenset(
    (tables.RUN, tables.LATE, tables.ORPHAN, tables.FINAL, tables.INBOUND, tables.USAGE)
)

_WALK: Final = (
    (tables.QUEUE, _queue, _never),
    (tables.PARKED, parked.expire_if_due, _never),
    (tables.AWAITING, _awaiting, _awaiting_is_young),
    (tables.RUN, _run, _never),
    (tables.LATE, _late, _never),
    (tables.ORPHAN, _orphan, _never),
    (tables.OUTBOX, _outbox, _never),
    (tables.FINAL, _final, _final_is_young),
    (tables.INBOUND, _inbound, _inbound_is_young),
    (tables.USAGE, _usage, _never),
)
