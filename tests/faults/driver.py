"""Driver: the store alone in a process of its own, committing turns whose content is known.

`python -m tests.faults.driver DATA_DIR TURNS` commits turn after turn, and after each writes a line
with its number: from then on that turn is acknowledged, and must be there whatever happens. The
turns fill a small map until the reserve opens, then empty it again until it is closed, and so on,
so that every call the store makes is made.

Its exit status: 0 all turns are acknowledged; 3 a fault that is foreseen, told in one line. Anything
else (a traceback, a signal, no end) is a bug of the store.
"""

import sys
from pathlib import Path
from typing import Final

import lmdb
import trio

from gateway.model import tables
from gateway.store.committer import CommitFailedError, Committer
from gateway.store.environment import Environment
from gateway.store.folder import StoreError
from gateway.store.snapshot import Snapshot

MAP_BYTES: Final = 1 << 20
RESERVE_BYTES: Final = 1 << 18

FORESEEN: Final = (CommitFailedError, StoreError, lmdb.Error, OSError)
FAULT: Final = 3

ROWS: Final = 60
"""Rows of a turn in `message`: 50 KB."""
TIDE: Final = 20
"""So many turns fill the store, the next so many empty it. 20 turns are 1 MB of rows, more than
a map of 1 MiB takes."""

TURN: Final = b"turn"


def rows_of(turn: int) -> tables.Rows:
    """What this turn writes: its number, and rows in two tables, or the end of earlier ones."""
    writes = tables.no_rows()
    writes[tables.META][TURN] = turn.to_bytes(4, "big")
    wave, place = divmod(turn - 1, 2 * TIDE)
    if place < TIDE:
        for number in range(ROWS):
            writes[tables.MESSAGE][_key(turn, number)] = _content(turn, number)
        writes[tables.QUEUE][_key(turn, 0)] = b"\0"
    else:
        emptied = wave * 2 * TIDE + place - TIDE + 1
        for number in range(ROWS):
            writes[tables.MESSAGE][_key(emptied, number)] = None
        writes[tables.QUEUE][_key(emptied, 0)] = None
        writes[tables.FINAL][_key(emptied, 0)] = turn.to_bytes(4, "big")
    return writes


def what_is_wrong(environment: Environment, acknowledged: int) -> list[str]:
    """Holds an open store against what was acknowledged; in words, nothing if all is well.

    One turn more may be there, whole: it was committed, and the line that says so was not written.
    """
    with environment.lmdb.begin() as txn:
        found = [dict(txn.cursor(table)) for table in environment.tables]
    turn = int.from_bytes(found[tables.META].get(TURN, b""), "big")
    if not acknowledged <= turn <= acknowledged + 1:
        return [f"turn {acknowledged} was acknowledged, turn {turn} is there"]
    expected = _after(turn)
    return [
        f"turn {turn}: {name} has {len(found[table])} rows, {len(expected[table])} are right"
        for table, name in enumerate(tables.NAMES)
        if table != tables.META and found[table] != expected[table]
    ]


def _after(turn: int) -> list[dict[bytes, bytes]]:
    """All rows after so many turns."""
    rows: list[dict[bytes, bytes]] = [{} for _ in tables.NAMES]
    for number in range(1, turn + 1):
        for table, writes in zip(rows, rows_of(number), strict=True):
            for key, row in writes.items():
                if row is None:
                    del table[key]
                else:
                    table[key] = row
    return rows


def _key(turn: int, number: int) -> bytes:
    return turn.to_bytes(4, "big") + number.to_bytes(4, "big")


def _content(turn: int, number: int) -> bytes:
    return b"%d of turn %d;" % (number, turn) * 60


async def _commit_all(environment: Environment, turns: int) -> None:
    snapshot = Snapshot(environment)
    try:
        committer = Committer(environment, snapshot)
        for turn in range(1, turns + 1):
            await committer.commit(rows_of(turn))
            sys.stdout.write(f"{turn}\n")
            sys.stdout.flush()
            await committer.look_at_room()
    finally:
        snapshot.close()


def main(data_dir: Path, turns: int) -> int:
    """Opens, commits, closes."""
    try:
        environment = Environment(data_dir, map_size_bytes=MAP_BYTES, reserve_bytes=RESERVE_BYTES)
        try:
            trio.run(_commit_all, environment, turns)
        finally:
            environment.close()
    except FORESEEN as fault:
        sys.stderr.write(f"{type(fault).__name__}: {fault}\n")
        return FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
