"""Environment: the LMDB environment in `data_dir`, opened by one daemon at a time.

One database a table, one write transaction a turn, flushed always (`SYNC`): a commit that returns
is on disk. A lock file is held from start to end; who finds it held is told by whom. The schema's
version is a row: a store that a later release wrote is refused.

Room. Below `reserve` octets of room, on the volume or in the map, the core admits nothing new, so
that what is under way can be finished. Should a commit find map or volume full all the same,
`open_reserve` grows the map and deletes a ballast file from the volume, once, and the same writes
are committed again; `close_reserve` lays the ballast back when there is room.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lmdb

from gateway.model import tables
from gateway.model.room import Room

SYNC: Final = True
"""Data and meta page are flushed before a commit returns: P1 stands on it, so nothing configures
it. Its test turns it off, and has to fail then."""

SCHEMA_KEY: Final = b"schema"
SCHEMA_VERSION: Final = 1

DATA_FILE: Final = "data.mdb"
LOCK_FILE: Final = "lock"
BALLAST_FILE: Final = "ballast"

READERS_MAX: Final = 64
"""Our own snapshot, the audit, a backup, and who looks at the file from outside."""

RESERVE_SHARE: Final = 4
"""The reserve is at most this part of the map: a small map must still take traffic."""

ENOUGH: Final = 2
"""Reserves of room that must be there before it counts as plenty again."""


class StoreError(Exception):
    """The store cannot be opened; the text says why and what to do."""


class DataDirLockedError(StoreError):
    """Another daemon has it."""


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
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(data_dir)
        try:
            self.lmdb = _open(data_dir, map_size_bytes)
            self.tables = [self.lmdb.open_db(name.encode()) for name in tables.NAMES]
            _check_schema(self.lmdb, self.tables[tables.META])
            self._lay_first_ballast()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Closes the environment and lets another daemon have it."""
        self.lmdb.close()
        os.close(self._lock)

    def _lay_first_ballast(self) -> None:
        """A full volume is no reason not to start: what is under way can still be finished."""
        try:
            _lay_ballast(self.data_dir, self.reserve_bytes)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.reserve_open = True

    def open_reserve(self) -> None:
        """Makes room for one commit. No transaction of this process may be open: the map moves.

        Waits for a long read to give up: a few milliseconds.
        """
        self.reserve_open = True
        (self.data_dir / BALLAST_FILE).unlink(missing_ok=True)
        self.map_size_bytes += self.reserve_bytes
        self.map_must_move = True
        with self.map_lock:
            self.lmdb.set_mapsize(self.map_size_bytes)
        self.map_must_move = False

    def close_reserve(self) -> None:
        """Lays the ballast back; the map stays as it grew until the next start."""
        try:
            _lay_ballast(self.data_dir, self.reserve_bytes)
        except OSError:
            return
        self.reserve_open = False

    def room(self, txn: lmdb.Transaction) -> tuple[Room, int]:
        """How much can still be written, and the octets: the lesser of map and volume.

        `none` only when the volume's reserve, too, is nearly used up: until then what carriers
        bring is taken, since it is what ends messages. A map that is full grows.
        """
        psize = self.lmdb.stat()["psize"]
        pages = 0
        for table in self.tables:
            stat = txn.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        volume = _volume_free(self.data_dir)
        octets = min(volume, self.map_size_bytes - pages * psize)
        if self.reserve_open and volume < self.reserve_bytes // 4:
            return "none", octets
        if octets < self.reserve_bytes or self.reserve_open:
            return "low", octets
        return "plenty", octets

    def can_close_reserve(self, octets: int) -> bool:
        """Whether there is room enough again to lay the reserve back."""
        return self.reserve_open and octets > ENOUGH * self.reserve_bytes

    def is_short_of_room(self, error: lmdb.Error) -> bool:
        """Whether this failed commit is one for the reserve.

        LMDB reports a short write as EIO, so the volume is asked, not the error number alone.
        """
        if isinstance(error, lmdb.MapFullError):
            return True
        return (
            "No space left" in str(error) or _volume_free(self.data_dir) < self.reserve_bytes // 4
        )


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


def _open(data_dir: Path, map_size_bytes: int) -> lmdb.Environment:
    environment = lmdb.open(
        str(data_dir / DATA_FILE),
        subdir=False,
        map_size=map_size_bytes,
        max_dbs=len(tables.NAMES),
        max_readers=READERS_MAX,
        sync=SYNC,
        metasync=SYNC,
        mode=0o600,
        readahead=False,
    )
    environment.reader_check()
    return environment


def _lock(data_dir: Path) -> int:
    path = data_dir / LOCK_FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = path.read_text().strip() or "unknown"
        os.close(descriptor)
        raise DataDirLockedError(
            f"{data_dir} is in use by the daemon with process id {holder}: "
            "stop that one first, or give this one a data_dir of its own"
        ) from None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _check_schema(environment: lmdb.Environment, meta: Any) -> None:
    with environment.begin(write=True) as txn:
        found = txn.get(SCHEMA_KEY, db=meta)
        if found is None:
            txn.put(SCHEMA_KEY, SCHEMA_VERSION.to_bytes(4, "big"), db=meta)
            return
    version = int.from_bytes(found, "big")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the store has schema version {version}, this release reads {SCHEMA_VERSION}: "
            "run the release that wrote it"
        )


def _lay_ballast(data_dir: Path, reserve_bytes: int) -> None:
    """A file of real blocks, to be deleted when the volume is full."""
    path = data_dir / BALLAST_FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < reserve_bytes:
            os.posix_fallocate(descriptor, 0, reserve_bytes)
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _volume_free(data_dir: Path) -> int:
    volume = os.statvfs(data_dir)
    return volume.f_bavail * volume.f_frsize
