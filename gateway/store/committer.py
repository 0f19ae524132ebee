"""Committer: one turn, one write transaction, one flush, in one worker thread.

py-lmdb gives up the GIL in every call, so the loop goes on while rows are put and the disk
flushes. A commit is never abandoned: a cancelled loop still waits for its end, so it is never torn.

A failed commit is tried again from the reserve if room was what it lacked; anything else is
`CommitFailedError`, which ends the process: what is on disk is the truth, and a restart begins
from there.
"""

import time
from typing import Final

import lmdb
import trio

from gateway.model import tables
from gateway.model.room import Room
from gateway.store.environment import Environment, write_rows
from gateway.store.snapshot import Snapshot

RESERVES_MAX: Final = 4
"""Commits of one turn that may each open a reserve: a turn is bounded, so this many suffice."""


class CommitFailedError(Exception):
    """The turn is not on disk, and nothing that it owes may leave."""


class Committer:
    """Commits turns, one after the other. Plain counts for those who report."""

    def __init__(self, environment: Environment, snapshot: Snapshot) -> None:
        self._environment = environment
        self._snapshot = snapshot
        self._thread = trio.CapacityLimiter(1)
        self.commits = 0
        self.rows = 0
        self.seconds = 0.0
        self.slowest_s = 0.0
        self.last_wall = 0.0
        self.room: Room = "plenty"
        self.room_bytes = 0

    async def commit(self, writes: tables.Rows) -> None:
        """Puts the rows on disk and lets the snapshot see them; raises if it cannot."""
        for _ in range(RESERVES_MAX):
            try:
                await trio.to_thread.run_sync(self._commit, writes, limiter=self._thread)
            except lmdb.Error as error:
                if not self._environment.is_short_of_room(error):
                    raise CommitFailedError(f"a turn could not be committed: {error}") from error
                self._snapshot.close()
                self._environment.open_reserve()
                self._snapshot.renew()
                continue
            self._snapshot.renew()
            return
        raise CommitFailedError("a turn could not be committed: no room, even in the reserve")

    async def look_at_room(self) -> None:
        """Measures the room without a commit: while nothing is admitted, nothing is committed."""
        await trio.to_thread.run_sync(self._look_at_room, limiter=self._thread)

    def _look_at_room(self) -> None:
        environment = self._environment
        # Not while the map may move, or an audit reads it: commits would wait behind this look.
        if not environment.map_lock.acquire(blocking=False):
            return
        try:
            with environment.lmdb.begin() as txn:
                room, octets = environment.room(txn)
        finally:
            environment.map_lock.release()
        if environment.can_close_reserve(octets):
            environment.close_reserve()
        self.room, self.room_bytes = room, octets

    def _commit(self, writes: tables.Rows) -> None:
        began = time.perf_counter()
        environment = self._environment
        with environment.lmdb.begin(write=True) as txn:
            self.rows += write_rows(txn, environment.tables, writes)
            room, octets = environment.room(txn)
        if environment.can_close_reserve(octets):
            environment.close_reserve()
        self.room, self.room_bytes = room, octets
        took = time.perf_counter() - began
        self.commits += 1
        self.seconds += took
        self.slowest_s = max(self.slowest_s, took)
        self.last_wall = time.time()
