"""Audit: counts the rows and holds them against the counters. P2 as arithmetic.

    accepted ever = messages in each state + finals purged since
    a counter     = the rows that it counts

All in one read transaction, so both sides are of the same moment, while traffic goes on. It reads
every row of the queue, in_flight, parked, awaiting and final: minutes for a hundred million. What
is freed meanwhile is not used again, so it gives up when the file grows under it with little left
to grow into; `ctl status` shows it as any reader that lags.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import lmdb
import msgspec

from gateway.model import ids, records, states, tables
from gateway.store.environment import Environment

LOOK_UP_ROWS: Final = 10_000
"""Rows between two looks whether the map has to move: about ten milliseconds."""


class Report(msgspec.Struct):
    """What was counted, and every difference, in words. No differences: it agrees."""

    accepted: int
    purged: int
    counted: dict[str, int]
    expected: dict[str, int]
    differences: list[str]


class InterruptedAuditError(Exception):
    """The store needs the room that this read holds back. Ask again."""


def audit(environment: Environment) -> Report:
    """Counts everything. Blocks: call it in a thread."""
    with environment.map_lock, environment.lmdb.begin(buffers=True) as txn:
        look_up = partial(_look_up, environment, environment.lmdb.info()["last_pgno"])
        totals = _totals(environment, txn)
        counted = _count_states(environment, txn, look_up)
        differences = _compare(totals, counted)
        differences += _check_counters(environment, txn, look_up)
        differences += _check_messages(environment, txn, counted)
    return Report(
        accepted=totals.accepted,
        purged=totals.purged,
        counted={name: counted[state] for state, name in enumerate(states.NAMES)},
        expected={name: totals.in_state[state] for state, name in enumerate(states.NAMES)},
        differences=differences,
    )


def _totals(environment: Environment, txn: lmdb.Transaction) -> states.Totals:
    row = txn.get(b"totals", db=environment.tables[tables.COUNT])
    return states.Totals() if row is None else msgspec.msgpack.decode(row, type=states.Totals)


def _count_states(
    environment: Environment, txn: lmdb.Transaction, look_up: Callable[[int], None]
) -> list[int]:
    counted = [0] * len(states.NAMES)
    counted[states.QUEUED] = txn.stat(environment.tables[tables.QUEUE])["entries"]
    counted[states.SUBMITTED] = txn.stat(environment.tables[tables.AWAITING])["entries"]
    for _, row in txn.cursor(environment.tables[tables.IN_FLIGHT]):
        counted[states.IN_FLIGHT] += len(row) // records.FLIGHT
    for _, row in txn.cursor(environment.tables[tables.PARKED]):
        counted[records.decode_parked(row).state] += 1
    for place, (_, row) in enumerate(txn.cursor(environment.tables[tables.FINAL])):
        counted[records.decode_ending(row).state] += 1
        look_up(place)
    return counted


def _compare(totals: states.Totals, counted: list[int]) -> list[str]:
    differences = [
        f"{name}: the counter says {totals.in_state[state]}, the rows say {counted[state]}"
        for state, name in enumerate(states.NAMES)
        if totals.in_state[state] != counted[state]
    ]
    ended = sum(counted) + totals.purged
    if ended != totals.accepted:
        differences.append(
            f"accepted ever {totals.accepted}, but the rows and the purged make {ended}"
        )
    return differences


def _check_counters(
    environment: Environment, txn: lmdb.Transaction, look_up: Callable[[int], None]
) -> list[str]:
    """The counter of each level of a lane, and of each outbox, against its rows."""
    found: dict[bytes, int] = {}
    keys = txn.cursor(environment.tables[tables.QUEUE]).iternext(values=False)
    for place, key in enumerate(keys):
        look_up(place)
        name = b"level\0" + bytes(key[: -ids.KEY_LENGTH])
        found[name] = found.get(name, 0) + 1
    for key in txn.cursor(environment.tables[tables.OUTBOX]).iternext(values=False):
        name = b"outbox\0" + bytes(key[: -ids.KEY_LENGTH - 1])
        found[name] = found.get(name, 0) + 1
    said = {
        bytes(key): int.from_bytes(row, "big")
        for key, row in txn.cursor(environment.tables[tables.COUNT])
        if bytes(key).startswith((b"level\0", b"outbox\0"))
    }
    return [
        f"{name.decode(errors='replace')!r}: the counter says {said.get(name, 0)}, "
        f"the rows say {found.get(name, 0)}"
        for name in sorted(said.keys() | found.keys())
        if said.get(name, 0) != found.get(name, 0)
    ]


def _check_messages(
    environment: Environment, txn: lmdb.Transaction, counted: list[int]
) -> list[str]:
    """Every message row is in exactly one state: as many rows as states."""
    messages = txn.stat(environment.tables[tables.MESSAGE])["entries"]
    if messages == sum(counted):
        return []
    return [f"{messages} messages are stored, {sum(counted)} have a state"]


def _look_up(environment: Environment, began_page: int, place: int) -> None:
    """Now and then, whether this read is in the way."""
    if place % LOOK_UP_ROWS == 0 and environment.must_let_go(began_page):
        raise InterruptedAuditError(
            "the store runs out of room while it is read; ask again in a moment"
        )
