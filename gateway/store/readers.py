"""Readers: who reads the store now, since when, and what that costs the file.

A reader keeps every page that commits after its snapshot freed: the file grows by what it would have
used again. Our own snapshot moves with each commit, an audit ends when the file grows under it;
but anybody may look at the file from outside (a backup, mdb_stat), and who is killed while it reads
leaves its place taken. `look` clears the places of the dead, and notes the oldest of the living.

LMDB says which snapshot each reader holds, not since when: that is since the first look that found
it. Called now and then, never while a turn waits for it.
"""

from typing import Final, NamedTuple

from gateway.store.environment import Environment

OLD_S: Final = 60.0
"""A reader that lags for so long is worth a warning: an audit or a copy takes seconds to minutes."""


class Reader(NamedTuple):
    """One process that reads an old snapshot."""

    process_id: int
    seconds: float
    commits_behind: int


class Readers:
    """What the last look found. Plain values for those who report."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._since: dict[tuple[str, ...], float] = {}
        self.oldest: Reader | None = None
        self.cleared = 0
        """Places of dead readers that were given back, since the start."""
        self.file_bytes = 0
        self.free_bytes = 0
        """Pages in the file without rows: used again before it grows, unless a reader holds them."""

    @property
    def held_bytes(self) -> int:
        """What the oldest reader keeps from being used again, at most."""
        return 0 if self.oldest is None else self.free_bytes

    def look(self, monotonic: float) -> None:
        """Clears, measures, notes. Nothing is changed while the map moves or an audit reads it."""
        environment = self._environment
        if not environment.map_lock.acquire(blocking=False):
            return
        try:
            self.cleared += environment.lmdb.reader_check()
            last = environment.lmdb.info()["last_txnid"]
            self._note(environment.lmdb.readers(), last, monotonic)
            self._measure()
        finally:
            environment.map_lock.release()

    def _note(self, listed: str, last: int, monotonic: float) -> None:
        """Takes in LMDB's list: `pid thread txnid` a line below a head; txnid `-` reads nothing."""
        rows = [tuple(line.split()) for line in listed.splitlines()[1:]]
        behind = [row for row in rows if row[2] != "-" and int(row[2]) < last]
        self._since = {row: self._since.get(row, monotonic) for row in behind}
        self.oldest = None
        if behind:
            row = min(behind, key=lambda row: (self._since[row], int(row[2])))
            self.oldest = Reader(int(row[0]), monotonic - self._since[row], last - int(row[2]))

    def _measure(self) -> None:
        environment = self._environment
        with environment.lmdb.begin() as txn:
            used = environment.pages(txn)
        psize = environment.lmdb.stat()["psize"]
        self.file_bytes = (environment.lmdb.info()["last_pgno"] + 1) * psize
        self.free_bytes = max(self.file_bytes - used * psize, 0)
