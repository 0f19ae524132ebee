"""Store: what the simulated gateway calls its disk. A dict, or a real LMDB without its flush.

Both keep exactly what was committed: a crash drops the rest. The dict is `tests.relay.disk`; the
LMDB environment is closed and opened again by a crash, as the next process would do it. Flushes are
the business of `tests/daemon/test_durability.py`: nothing here is ever cut off from its power.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from unittest.mock import patch

from gateway.model import tables
from gateway.model.view import View
from gateway.store import environment as environments
from gateway.store.audit import audit
from gateway.store.environment import Environment, write_rows
from gateway.store.snapshot import Snapshot
from tests.relay.disk import Disk

MAP_BYTES = 256 * 1024 * 1024
RESERVE_BYTES = 64 * 1024


class Store(Protocol):
    """A disk."""

    view: View

    def commit(self, writes: tables.Rows) -> None:
        """Puts the rows on disk; the view may still be the one before."""

    def renew(self) -> None:
        """The view shows the last commit."""

    def crash(self) -> None:
        """The process is gone; the next one opens what is there."""

    def audit(self) -> list[str]:
        """What the store's own audit finds wrong."""

    def copy(self) -> Disk:
        """All rows, for an audit by brute force."""


class DictStore:
    """A dict a table."""

    def __init__(self) -> None:
        self._disk = Disk()
        self.view: View = self._disk

    def commit(self, writes: tables.Rows) -> None:
        self._disk.commit(writes)

    def renew(self) -> None:
        """It has no snapshots: the overlay lays the same rows over it once more."""

    def crash(self) -> None:
        """Nothing is open."""

    def audit(self) -> list[str]:
        return []

    def copy(self) -> Disk:
        return self._disk


class LmdbStore:
    """The environment and the snapshot of the daemon, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open()

    def commit(self, writes: tables.Rows) -> None:
        with self._environment.lmdb.begin(write=True) as txn:
            write_rows(txn, self._environment.tables, writes)

    def renew(self) -> None:
        self._snapshot.renew()

    def crash(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        self._snapshot.close()
        self._environment.close()

    def audit(self) -> list[str]:
        return audit(self._environment).differences

    def copy(self) -> Disk:
        disk = Disk()
        rows = tables.no_rows()
        with self._environment.lmdb.begin(buffers=False) as txn:
            for database, found in zip(self._environment.tables, rows, strict=True):
                found.update(txn.cursor(database))
        rows[tables.META].pop(environments.SCHEMA_KEY, None)
        disk.commit(rows)
        return disk

    def _open(self) -> None:
        self._environment = Environment(
            self._folder, map_size_bytes=MAP_BYTES, reserve_bytes=RESERVE_BYTES
        )
        self._snapshot = Snapshot(self._environment)
        self.view: View = self._snapshot


@contextmanager
def lmdb_store(folder: Path) -> Iterator[LmdbStore]:
    """A store in this folder, closed at the end.

    A kill does not lose the page cache, so it does without the flush.
    """
    with patch.object(environments, "SYNC", new=False):
        store = LmdbStore(folder)
        try:
            yield store
        finally:
            store.close()
