"""Runs: the part of the receipt map that is on disk only, in large batches written once.

Carriers' ids are random, so a row for each would dirty a page for each (design section 4). Instead
the oldest RUN entries of a carrier's map leave memory together: a *run*. It is at most BUCKETS rows,
each holding the entries whose digest falls into it, 16 octets an entry: eight of a digest of the
carrier's id, eight of the message id. To look an id up costs one read a run.

A run is never changed. An entry is only a hint where to look: whether that message still waits, and
whether its id is the one asked for, its own row says. So nothing is deleted when a receipt comes;
the rows go when all they point to has had its receipt or is `unknown` (`sweep`), which their key
tells: the milliseconds of the wall clock at which they were written.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

from gateway.model import ids, tables
from gateway.model.view import View

RUN: Final = 50_000
"""Entries of one run: two million that wait are 40 runs, so 40 reads to find one of them."""

BUCKETS: Final = 640
"""Rows of one run: 80 entries each, 1,280 octets, well below the 2,000 that stay in a page."""

DIGEST: Final = 8
_ENTRY: Final = DIGEST + ids.KEY_LENGTH
_MOMENT: Final = 6
_BUCKET: Final = 2
_LAST_BUCKET: Final = b"\xff" * _BUCKET


def digest_of(folded: bytes) -> bytes:
    """What stands for a carrier's id in a run."""
    return blake2b(folded, digest_size=DIGEST).digest()


class Runs:
    """The runs of one carrier: which there are, and the one that is being collected."""

    __slots__ = ("_collected", "_prefix", "_rows", "moments")

    def __init__(self, carrier: str) -> None:
        self._prefix = carrier.encode() + b"\0"
        self.moments: list[bytes] = []
        """Of each run on disk, the oldest first."""
        self._rows: dict[bytes, bytearray] = {}
        self._collected = 0

    def load(self, view: View) -> None:
        """Finds what earlier starts have written: one read a run."""
        self.moments.clear()
        after = self._prefix
        while found := view.scan(tables.RUN, self._prefix, after, 1):
            moment = found[0][0][len(self._prefix) : -_BUCKET]
            self.moments.append(moment)
            after = self._prefix + moment + _LAST_BUCKET

    def collect(self, folded: bytes, message_id: int) -> bool:
        """Adds an entry to the run to be written; whether that is full now."""
        digest = digest_of(folded)
        bucket = _bucket(digest)
        row = self._rows.get(bucket)
        if row is None:
            row = self._rows[bucket] = bytearray()
        row += digest + ids.to_key(message_id)
        self._collected += 1
        return self._collected >= RUN

    def write(self, rows: dict[bytes, bytes | None], wall: float) -> None:
        """Puts the collected run into the open turn."""
        moment = int(wall * 1000).to_bytes(_MOMENT, "big")
        if self.moments and moment <= self.moments[-1]:
            moment = (int.from_bytes(self.moments[-1], "big") + 1).to_bytes(_MOMENT, "big")
        for bucket, row in sorted(self._rows.items()):
            rows[self._prefix + moment + bucket] = bytes(row)
        self.moments.append(moment)
        self._rows = {}
        self._collected = 0

    def find(self, view: View, folded: bytes) -> Iterator[int]:
        """The messages to which this id may point, those of the newest run first."""
        if not self.moments:
            return
        digest = digest_of(folded)
        bucket = _bucket(digest)
        for moment in reversed(self.moments):
            row = view.get(tables.RUN, self._prefix + moment + bucket)
            if row is not None:
                yield from _entries(row, digest)

    def forget(self, moment: bytes) -> None:
        """The rows of this run are being deleted."""
        if moment in self.moments:
            self.moments.remove(moment)


def written_at(key: bytes) -> tuple[str, bytes, float]:
    """The carrier of a run's row, the run, and the wall time at which it was written."""
    moment = key[-_MOMENT - _BUCKET : -_BUCKET]
    carrier = key[: -_MOMENT - _BUCKET - 1].decode()
    return carrier, moment, int.from_bytes(moment, "big") / 1000


def _bucket(digest: bytes) -> bytes:
    return (int.from_bytes(digest[:4], "big") % BUCKETS).to_bytes(_BUCKET, "big")


def _entries(row: bytes, digest: bytes) -> Iterable[int]:
    at = row.find(digest)
    while at >= 0:
        if at % _ENTRY == 0:
            yield ids.from_key(row[at + DIGEST : at + _ENTRY])
        at = row.find(digest, at + 1)
