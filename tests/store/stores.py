"""Real stores in a temporary folder, small enough to fill."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.model import tables
from gateway.store.environment import Environment
from gateway.store.folder import DATA_FILE

MAP_BYTES = 1 << 20
RESERVE_BYTES = 1 << 18

READ_AND_WAIT = """
import sys, lmdb
environment = lmdb.open(sys.argv[1], subdir=False, readonly=True)
txn = environment.begin()
print("reading", flush=True)
sys.stdin.read()
"""

Writes = dict[int, dict[bytes, bytes | None]]


@contextlib.contextmanager
def opened(
    data_dir: Path, *, map_size_bytes: int = MAP_BYTES, reserve_bytes: int = RESERVE_BYTES
) -> Iterator[Environment]:
    """A store, closed in any case."""
    environment = Environment(data_dir, map_size_bytes=map_size_bytes, reserve_bytes=reserve_bytes)
    try:
        yield environment
    finally:
        environment.close()


def rows_of(writes: Writes) -> tables.Rows:
    """The writes of a turn."""
    rows = tables.no_rows()
    for table, entries in writes.items():
        rows[table].update(entries)
    return rows


def put(environment: Environment, writes: Writes) -> None:
    """Commits without a committer."""
    with environment.lmdb.begin(write=True) as txn:
        for table, entries in writes.items():
            for key, row in entries.items():
                if row is None:
                    txn.delete(key, db=environment.tables[table])
                else:
                    txn.put(key, row, db=environment.tables[table])


def all_rows(environment: Environment, table: int) -> dict[bytes, bytes]:
    """What is on disk now."""
    with environment.lmdb.begin() as txn:
        return dict(txn.cursor(environment.tables[table]))


def reader(data_dir: Path) -> "subprocess.Popen[str]":
    """Somebody else's process, in the middle of a read."""
    process = subprocess.Popen(
        [sys.executable, "-c", READ_AND_WAIT, str(data_dir / DATA_FILE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "reading\n" == process.stdout.readline()
    return process


def end(process: "subprocess.Popen[str]") -> None:
    """Kill -9, in the middle of its read."""
    process.kill()
    process.communicate()
