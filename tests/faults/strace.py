"""strace as the faulty disk: the Nth call of a kind on a store's files fails, all others are real.

Only calls on the store's own files are counted and failed (`-P`), so N is small and what fails is
the store's business. strace counts each thread by itself.
"""

import os
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from gateway.store.folder import (
    BALLAST_FILE,
    DATA_FILE,
    LOCK_FILE,
    NEW_FILE,
    READERS_FILE,
)

FILES: Final = (DATA_FILE, NEW_FILE, READERS_FILE, f"{NEW_FILE}-lock", BALLAST_FILE, LOCK_FILE)


class Fault(NamedTuple):
    """Which call fails, and how."""

    call: str
    error: str

    def __str__(self) -> str:
        return f"{self.call}={self.error}"


FAULTS: Final = (
    Fault("pwrite64", "ENOSPC"),
    Fault("pwrite64", "EIO"),
    Fault("writev", "ENOSPC"),
    Fault("writev", "EIO"),
    Fault("pwritev", "EIO"),
    Fault("write", "EIO"),
    Fault("fdatasync", "EIO"),
    Fault("fdatasync", "ENOSPC"),
    Fault("fsync", "EIO"),
    Fault("fsync", "ENOSPC"),
    Fault("msync", "EIO"),
    Fault("openat", "EMFILE"),
    Fault("openat", "EIO"),
    Fault("openat", "ENOSPC"),
    Fault("mmap", "ENOMEM"),
    Fault("mmap", "EMFILE"),
    Fault("ftruncate", "ENOSPC"),
    Fault("fallocate", "ENOSPC"),
    Fault("fallocate", "EIO"),
    Fault("rename", "EIO"),
    Fault("unlink", "EIO"),
)
"""Write, fsync, open and mmap under each name that a C library has for them, and what else a store
asks of the system. A kind that is never called ends at once: nothing is injected for N = 1."""


def needs_strace() -> None:
    """Skips, or fails where CI must have it."""
    if shutil.which("strace") is None:
        text = "strace is not installed (apt-get install strace): no call can be made to fail"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)


def failing(fault: Fault, nth: int, data_dir: Path, log: Path) -> tuple[str, ...]:
    """The command that runs another one, whose Nth call of this kind on the store's files fails."""
    paths = [word for path in paths_of(data_dir) for word in ("-P", str(path))]
    return (
        *("strace", "-D", "-f", "-qq", "-o", str(log), "-e", "signal=none", *paths),
        *("-e", f"trace={fault.call}"),
        *("-e", f"inject={fault.call}:error={fault.error}:when={nth}"),
    )


def paths_of(data_dir: Path) -> list[Path]:
    """The folder, and the files in it."""
    return [data_dir, *(data_dir / name for name in FILES)]


def was_injected(log: Path) -> bool:
    """Whether the run came as far as the Nth call."""
    return "INJECTED" in log.read_text()
