"""Environment: the LMDB environment in `data_dir`, opened by one daemon at a time.

One database a table, one write transaction a turn, flushed always (`SYNC`): a commit that returns
is on disk. A lock file is held from start to end; who finds it held is told by whom. The schema's
version is a row: a store that a later release wrote is refused.

A new store is made beside its place and moved there whole (`folder`). Faults of the disk: whatever
fails while it is opened is raised, and the process ends; the next start finds the store as the last
commit left it. docs/decisions/0007 has what is tried again, and why nothing else is.

Room. Below `reserve` octets of room, on the volume or in the map, the core admits nothing new, so
that what is under way can be finished. Should a commit find map or volume full all the same,
`open_reserve` grows the map and deletes a ballast file from the volume, once, and the same writes
are committed again; `close_reserve` lays the ballast back when there is room.
"""

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lmdb

from gateway.model import tables
from gateway.model.room import Room
from gateway.store import folder
from gateway.store.folder import DATA_FILE, StoreError

SYNC: Final = True
"""Data and meta page are flushed before a commit returns: P1 stands on it, so nothing configures
it. Its test turns it off, and has to fail then."""

SCHEMA_KEY: Final = b"schema"
SCHEMA_VERSION: Final = 2
"""2 added the tables run, late and due. A release that knows nothing of them must not open the store:
what is held until a moment would be held for ever."""
UPGRADED: Final = frozenset((1,))
"""Schemas that become this one by its number alone: the tables that are new are empty."""

READERS_MAX: Final = 64
"""Our own snapshot, the audit, a backup, and who looks at the file from outside."""

RESERVE_SHARE: Final = 4
"""The reserve is at most this part of the map: a small map must still take traffic."""

ENOUGH: Final = 2
"""Reserves of room that must be there before it counts as plenty again."""

SHORT_WRITE_BYTES: Final = 1 << 20
"""LMDB writes at most 64 pages at once. A write that was cut short for lack of room leaves a volume
with less than this; on one with more, EIO is what it says."""

NO_DATABASE: Final = (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError)

FULL: Final = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
"""py-lmdb keeps no error number, only its text."""


class Environment:
    """The open store. Closed exactly once, by who opened it."""

    def __init__(self, data_dir: Path, *, map_size_bytes: int, reserve_bytes: int) -> None:
        self.data_dir = data_dir
        self.map_size_bytes = map_size_bytes
        self.reserve_bytes = min(reserve_bytes, map_size_bytes // RESERVE_SHARE)
        self.reserve_open = False
        self.map_lock = threading.Lock()
        """Held by long reads in other threads: the map must not move under them."""
        self.map_must_move = False
        """Set while the map waits to move: long reads give up."""
        folder.make(data_dir)
        self._lock = folder.lock(data_dir)
        try:
            folder.create(data_dir, lambda path: _fill_new(path, map_size_bytes))
            folder.lay_readers(data_dir)
            self.lmdb = _open(data_dir / DATA_FILE, map_size_bytes)
            try:
                # A file that once grew beyond what is configured keeps its size.
                self.map_size_bytes = self.lmdb.info()["map_size"]
                self.tables = _tables(self.lmdb)
                _check_schema(self.lmdb, self.tables[tables.META])
                self.reserve_open = not folder.lay_ballast(data_dir, self.reserve_bytes)
            except BaseException:
                self.lmdb.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Closes the environment and lets another daemon have it."""
        self.lmdb.close()
        os.close(self._lock)

    def open_reserve(self) -> None:
        """Makes room for one commit. No transaction of this process may be open: the map moves.

        Waits for a long read to give up: a few milliseconds.
        """
        self.reserve_open = True
        folder.drop_ballast(self.data_dir)
        self.map_size_bytes += self.reserve_bytes
        self.map_must_move = True
        with self.map_lock:
            self.lmdb.set_mapsize(self.map_size_bytes)
        self.map_must_move = False

    def close_reserve(self) -> None:
        """Lays the ballast back; the map stays as it grew until the next start."""
        try:
            self.reserve_open = not folder.lay_ballast(self.data_dir, self.reserve_bytes)
        except OSError:
            return  # the reserve stays open, and is tried again

    def pages(self, txn: lmdb.Transaction) -> int:
        """Pages with rows in them, as this transaction sees it."""
        pages = 0
        for table in self.tables:
            stat = txn.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages

    def room(self, txn: lmdb.Transaction) -> tuple[Room, int]:
        """How much can still be written, and the octets: the lesser of map and volume.

        `none` only when the volume's reserve, too, is nearly used up: until then what carriers
        bring is taken, since it is what ends messages. A map that is full grows.
        """
        volume = folder.volume_free(self.data_dir)
        octets = min(volume, self.map_size_bytes - self.pages(txn) * self.lmdb.stat()["psize"])
        if self.reserve_open and volume < self.reserve_bytes // 4:
            return "none", octets
        if octets < self.reserve_bytes or self.reserve_open:
            return "low", octets
        return "plenty", octets

    def must_let_go(self, began_page: int) -> bool:
        """Whether a long read, that began when this was the file's last page, is in the way.

        It is when the map waits to move, or when the file has grown under it and little is left
        to grow into: what the read holds back would be used instead.
        """
        if self.map_must_move:
            return True
        info = self.lmdb.info()
        if info["last_pgno"] <= began_page:
            return False
        left = self.map_size_bytes - (info["last_pgno"] + 1) * self.lmdb.stat()["psize"]
        return min(left, folder.volume_free(self.data_dir)) < ENOUGH * self.reserve_bytes

    def can_close_reserve(self, octets: int) -> bool:
        """Whether there is room enough again to lay the reserve back."""
        return self.reserve_open and octets > ENOUGH * self.reserve_bytes

    def is_short_of_room(self, error: lmdb.Error) -> bool:
        """Whether this failed commit is one for the reserve; anything else is final.

        LMDB reports a short write as EIO, so then the volume is asked.
        """
        if isinstance(error, lmdb.MapFullError):
            return True
        text = str(error)
        if any(full in text for full in FULL):
            return True
        is_cut_short = folder.volume_free(self.data_dir) < SHORT_WRITE_BYTES
        return os.strerror(errno.EIO) in text and is_cut_short


def write_rows(txn: lmdb.Transaction, databases: Sequence[Any], writes: tables.Rows) -> int:
    """Puts and deletes the rows of a turn; how many rows it touched."""
    count = 0
    for database, rows in zip(databases, writes, strict=True):
        if not rows:
            continue
        count += len(rows)
        puts = [(key, row) for key, row in rows.items() if row is not None]
        if puts:
            with txn.cursor(database) as cursor:
                cursor.putmulti(puts)
        if len(puts) != len(rows):
            delete = txn.delete
            for key, row in rows.items():
                if row is None:
                    delete(key, db=database)
    return count


def _open(path: Path, map_size_bytes: int) -> lmdb.Environment:
    try:
        environment = lmdb.open(
            str(path),
            subdir=False,
            map_size=map_size_bytes,
            max_dbs=len(tables.NAMES),
            max_readers=READERS_MAX,
            sync=SYNC,
            metasync=SYNC,
            mode=0o600,
            readahead=False,
        )
    except NO_DATABASE as error:
        raise StoreError(
            f"{path} is not a database of this daemon, or a damaged one ({error}): "
            "put a backup in its place"
        ) from error
    environment.reader_check()
    return environment


def _tables(environment: lmdb.Environment) -> list[Any]:
    return [environment.open_db(name.encode()) for name in tables.NAMES]


def _fill_new(path: Path, map_size_bytes: int) -> None:
    """A store without rows, of this release's schema."""
    environment = _open(path, map_size_bytes)
    try:
        meta = _tables(environment)[tables.META]
        with environment.begin(write=True) as txn:
            txn.put(SCHEMA_KEY, SCHEMA_VERSION.to_bytes(4, "big"), db=meta)
    finally:
        environment.close()


def _check_schema(environment: lmdb.Environment, meta: Any) -> None:
    with environment.begin() as txn:
        version = int.from_bytes(txn.get(SCHEMA_KEY, b"", db=meta), "big")
    if version in UPGRADED:
        with environment.begin(write=True) as txn:
            txn.put(SCHEMA_KEY, SCHEMA_VERSION.to_bytes(4, "big"), db=meta)
    elif version != SCHEMA_VERSION:
        raise StoreError(
            f"the store has schema version {version}, this release reads {SCHEMA_VERSION}: "
            "run the release that wrote it"
        )
