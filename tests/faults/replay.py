"""Replay: what a disk may hold after the power was lost, made from the writes that were recorded.

The model. What a flush covered when it returned is there. Of what was written since, any part may
be there: each sector of 512 octets by itself, in any order. A write through a descriptor that
flushes by itself (O_DSYNC) is on disk when it returns, and may be before. A new name is there when
the folder was flushed, and may be before. So: all calls up to a cut, and of what no flush has
covered, some.

What it is not: a disk that lies about a flush, or that loses what it once had.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gateway.store.folder import DATA_FILE, NEW_FILE
from tests.daemon.trace import Call, read

CALLS: Final = (
    "openat,close,lseek,pwrite64,writev,pwritev,write,ftruncate,fdatasync,fsync,msync,rename"
)
STRING_MAX: Final = 1 << 20
SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all. LMDB's meta data is 120 octets inside one."""

WRITES: Final = frozenset(("pwrite64", "writev", "pwritev", "write"))
FLUSHES: Final = frozenset(("fdatasync", "fsync", "msync"))


def recorded(log: Path, data_dir: Path, lines: Path) -> tuple[str, ...]:
    """The command that records another one: its calls on the data files, and the lines it writes."""
    paths = (data_dir, data_dir / DATA_FILE, data_dir / NEW_FILE, lines)
    return (
        *("strace", "-D", "-f", "-qq", "-o", str(log), "-xx", "-s", str(STRING_MAX)),
        *("-e", "signal=none", "-e", f"trace={CALLS}"),
        *(word for path in paths for word in ("-P", str(path))),
    )


class Step(NamedTuple):
    """What happened to the store: a write, a flush, a new name, or a line of the driver."""

    what: str
    file: str = ""
    offset: int = 0
    data: bytes = b""
    is_flushed: bool = False


class Recording:
    """One run of the driver, as steps."""

    def __init__(self, log: Path) -> None:
        self.steps = list(_steps(read(log)))

    def acknowledged(self, cut: int) -> int:
        """The last turn whose line had been written when the power was lost."""
        lines = [step.data for step in self.steps[:cut] if step.what == "line"]
        return int(lines[-1].split()[-1]) if lines else 0

    def files(self, cut: int, dice: random.Random) -> dict[str, bytes]:
        """One of the disks that may be found: all files by name."""
        images: dict[str, bytearray] = {}
        pending: dict[str, list[tuple[int, bytes]]] = {}
        renamed: bool | None = None
        for place, step in enumerate(self.steps[: cut + 1]):
            is_done = place < cut  # the last one was under way
            if step.what == "write":
                image = images.setdefault(step.file, bytearray())
                if step.is_flushed and is_done:
                    _put(image, step.offset, step.data)
                else:
                    pending.setdefault(step.file, []).append((step.offset, step.data))
            elif step.what == "flush" and is_done:
                for offset, data in pending.pop(step.file, []):
                    _put(images.setdefault(step.file, bytearray()), offset, data)
            elif step.what == "rename":
                renamed = False
                for known in (images, pending):
                    if NEW_FILE in known:
                        known[DATA_FILE] = known.pop(NEW_FILE)  # type: ignore[assignment]
            elif step.what == "flush folder" and is_done and renamed is not None:
                renamed = True
        share = dice.choice((0.0, 0.5, 0.9, 1.0))
        for file, writes in pending.items():
            for offset, sector in _sectors(writes):
                if dice.random() < share:
                    _put(images.setdefault(file, bytearray()), offset, sector)
        if renamed is False and dice.random() < 0.5:
            images[NEW_FILE] = images.pop(DATA_FILE)
        return {file: bytes(image) for file, image in images.items()}


def _steps(calls: Iterator[Call]) -> Iterator[Step]:
    names: dict[int, tuple[str, bool]] = {}
    places: dict[int, int] = {}
    for call in calls:
        if call.result < 0:
            continue
        name, is_flushed = names.get(call.descriptor, ("", False))
        match call.name:
            case "openat":
                names[call.result] = (Path(call.data.decode()).name, "O_DSYNC" in call.arguments)
                places[call.result] = 0
            case "close":
                names.pop(call.descriptor, None)
            case "lseek":
                places[call.descriptor] = call.result
            case "rename":
                yield Step("rename")
            case "write" if name not in (DATA_FILE, NEW_FILE):
                yield Step("line", data=call.data)
            case _ if call.name in WRITES:
                offset = places[call.descriptor]
                if call.name in ("pwrite64", "pwritev"):
                    offset = _last_number(call.arguments)
                else:
                    places[call.descriptor] += call.result
                assert call.result == len(call.data), call.name
                yield Step("write", name, offset, call.data, is_flushed)
            case _ if call.name in FLUSHES:
                is_file = name in (DATA_FILE, NEW_FILE)
                yield Step("flush" if is_file else "flush folder", name)


def _last_number(arguments: str) -> int:
    found = re.search(r", (\d+)$", arguments)
    assert found, arguments[-80:]
    return int(found[1])


def _put(image: bytearray, offset: int, data: bytes) -> None:
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _sectors(writes: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for offset, data in writes:
        at = 0
        while at < len(data):
            end = min(at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES, len(data))
            yield offset + at, data[at:end]
            at = end
