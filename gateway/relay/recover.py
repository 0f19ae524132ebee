"""Recover: from the rows on disk to the state in memory, once, before anything is accepted.

No queue is scanned: counts are rows. What is read is the registry, the counts, the in_flight rows
(no larger than the windows), and the receipts that found nothing. What awaits a receipt may be
millions of rows: `rebuild` reads them while traffic goes on already.

Whatever was in flight is in doubt, even if it never left: nobody can know. Its charges stand.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from gateway.model import ids, records, states, tables
from gateway.model.now import Boot, Now
from gateway.relay import answers, receipts, schedule
from gateway.relay.lanes import PRIORITIES, Lane, LaneState, mark_resends
from gateway.relay.parties import Match, Route
from gateway.relay.state import COUNT_CLIENT, COUNT_LEVEL, COUNT_OUTBOX, COUNT_TOTALS, State

STARTS: Final = b"starts"
PAGE: Final = 10_000
"""Rows that one scan brings: bounds the memory that recovery needs."""


def recover(state: State, now: Now, boot: Boot) -> list[str]:
    """Rebuilds the state; the open turn then holds what must be committed before `ready`.

    Returns warnings for the people who run it.
    """
    state.started = now
    state.boot = boot
    _begin_start(state)
    warnings = [
        f"the registry's row {key} cannot be read: import that record again; until then its "
        "messages are refused"
        for key in state.catalog.load(_scan(state, tables.REGISTRY))
    ]
    warnings += _counts(state, now)
    for carrier in state.carriers.values():
        carrier.receipts.runs.load(state.view)
        carrier.receipts.is_whole = False
    _orphans(state)
    _in_flight(state, now)
    for carrier in state.carriers.values():
        if carrier.rate is not None:
            carrier.rate.restore(None, now)
    return warnings


def _begin_start(state: State) -> None:
    """One more start: its number stands above every id that it hands out."""
    row = state.view.get(tables.META, STARTS)
    state.starts = (int.from_bytes(row, "big") if row else 0) + 1
    state.machine.open.writes[tables.META][STARTS] = state.starts.to_bytes(8, "big")
    state.ids = ids.IdSource(state.starts)
    state.outbox_ids = ids.IdSource(state.starts)


def _counts(state: State, now: Now) -> list[str]:
    warnings = []
    for key, row in _scan(state, tables.COUNT):
        if key == COUNT_TOTALS:
            state.totals = msgspec.msgpack.decode(row, type=states.Totals)
            state.saved_totals = row
        elif key.startswith(COUNT_LEVEL):
            warnings += _level(state, key[len(COUNT_LEVEL) :], int.from_bytes(row, "big"), now)
        elif key.startswith(COUNT_CLIENT):
            name = key[len(COUNT_CLIENT) :].decode()
            state.counted(name).queued = int.from_bytes(row, "big")
        elif key.startswith(COUNT_OUTBOX):
            client = state.clients.get(key[len(COUNT_OUTBOX) :].decode())
            if client is not None:
                client.outbox.rows = int.from_bytes(row, "big")
            else:
                warnings.append(
                    f"client {key[len(COUNT_OUTBOX) :].decode()!r} is not configured any more, "
                    "but is owed receipts or messages: they are kept until they are too old"
                )
    return warnings


def _level(state: State, prefix: bytes, rows: int, now: Now) -> list[str]:
    route, campaign, place = prefix.split(b"\0", 2)
    name = route.decode()
    warnings = []
    if name not in state.route_by_name:
        state.add_route(Route(name, Match(to=b"none"), [], []))
        warnings.append(
            f"route {name!r} is not configured any more, but messages wait for it: "
            "they are kept until they expire; configure the route again to send them"
        )
    lane: Lane = state.lane(name, campaign.decode(), now)
    level = lane.levels[PRIORITIES - 1 - place[0]]
    level.rows = rows
    if lane.state is LaneState.IDLE:
        schedule.ready(state, lane)
    return warnings


def _orphans(state: State) -> None:
    for key, row in _scan(state, tables.ORPHAN):
        carrier = state.carriers.get(key.split(b"\0", 1)[0].decode())
        if carrier is not None:
            message_id = records.decode_orphan(row).message_id
            receipts.count_orphan(carrier, carrier.receipts.receipt_fold(message_id))


def _in_flight(state: State, now: Now) -> None:
    for bind_key, row in _scan(state, tables.IN_FLIGHT):
        state.machine.open.writes[tables.IN_FLIGHT][bind_key] = None
        for message_id, resends in records.decode_flights(row):
            message_row = state.view.get(tables.MESSAGE, ids.to_key(message_id))
            if message_row is None:
                state.counters.damaged += 1
                continue
            message = records.decode_message(message_row)
            mark_resends(message, resends)
            answers.in_doubt(state, message, now, why="the daemon stopped before the answer came")


def _scan(state: State, table: int) -> Iterator[tuple[bytes, bytes]]:
    """All rows of a table, a page at a time."""
    after = b""
    while page := state.view.scan(table, b"", after, PAGE):
        yield from page
        after = page[-1][0]
