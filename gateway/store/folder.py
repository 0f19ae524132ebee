"""Folder: what lies in data_dir beside the rows: who holds it, the ballast, how a store comes to be.

Nothing here knows LMDB's rows. Each function leaves the folder whole whenever it is cut off: a file
counts when it has its name, and it has its name when it is complete and flushed. What fails is an
OSError of the system, raised; but a volume without room never keeps a daemon from starting, since
what is under way can still be finished.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

DATA_FILE: Final = "data.mdb"
NEW_FILE: Final = "data.mdb.new"
READERS_FILE: Final = "data.mdb-lock"
"""LMDB's table of readers, beside its file and under its name."""
LOCK_FILE: Final = "lock"
BALLAST_FILE: Final = "ballast"

READERS_BYTES: Final = 8192
"""Two pages of readers: more than READERS_MAX need."""

HOLDER_BYTES: Final = 16
"""The line in the lock file, padded: written again it takes no more room than it has."""

NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


class StoreError(Exception):
    """The store cannot be opened; the text says why and what to do."""


class DataDirLockedError(StoreError):
    """Another daemon has it."""


def make(data_dir: Path) -> None:
    """The folder, if it is not there yet."""
    if not data_dir.is_dir():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        flush(data_dir.parent)


def lock(data_dir: Path) -> int:
    """Takes the folder for this process; a descriptor that holds it until it is closed."""
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
    with contextlib.suppress(OSError):  # who it is helps people, and the lock holds without
        os.pwrite(descriptor, f"{os.getpid()}\n".encode().rjust(HOLDER_BYTES), 0)
        os.truncate(descriptor, HOLDER_BYTES)
    return descriptor


def create(data_dir: Path, fill: Callable[[Path], None]) -> None:
    """A new store: made beside its place by `fill`, and moved there when it is whole and flushed.

    LMDB writes its first pages unflushed: a power loss could leave half of them under the real
    name, and that file would open never again.
    """
    if (data_dir / DATA_FILE).exists():
        return
    new = data_dir / NEW_FILE
    new.unlink(missing_ok=True)
    fill(new)
    flush(new)
    new.rename(data_dir / DATA_FILE)
    flush(data_dir)
    Path(f"{new}-lock").unlink(missing_ok=True)


def lay_readers(data_dir: Path) -> None:
    """Real blocks for the table of readers.

    LMDB writes it through a map: a page that a full volume cannot give would end us by SIGBUS.
    """
    _lay(data_dir / READERS_FILE, READERS_BYTES)


def lay_ballast(data_dir: Path, reserve_bytes: int) -> bool:
    """A file of real blocks, to be deleted when the volume is full; whether there is room for it."""
    path = data_dir / BALLAST_FILE
    try:
        is_laid = _lay(path, reserve_bytes)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    if not is_laid:
        path.unlink(missing_ok=True)
    return is_laid


def drop_ballast(data_dir: Path) -> None:
    """Gives its room to the others."""
    (data_dir / BALLAST_FILE).unlink(missing_ok=True)


def volume_free(data_dir: Path) -> int:
    """Octets that this user may still write on the volume."""
    volume = os.statvfs(data_dir)
    return volume.f_bavail * volume.f_frsize


def flush(path: Path) -> None:
    """A file, or a folder with the names in it, is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lay(path: Path, size_bytes: int) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < size_bytes:
            os.posix_fallocate(descriptor, 0, size_bytes)
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return False
    finally:
        os.close(descriptor)
    return True
