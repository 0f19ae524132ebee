"""Snapshot: the View on LMDB: one read transaction, renewed after each commit.

Reads are short, on the loop's own thread, and never held across a renewal: an old snapshot would
keep every page that later turns freed.
"""

from collections.abc import Iterable

import lmdb

from gateway.store.environment import Environment


class Snapshot:
    """The rows as of the last renewal."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._txn = self._begin()

    def renew(self) -> None:
        """Sees the last commit from here on."""
        self._txn.abort()
        self._txn = self._begin()

    def close(self) -> None:
        """Holds nothing, until it is renewed."""
        self._txn.abort()

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row at this key, or None."""
        return self._txn.get(key, db=self._environment.tables[table])

    def get_many(self, table: int, keys: Iterable[bytes]) -> list[bytes | None]:
        """The rows at these keys, in their order."""
        get, database = self._txn.get, self._environment.tables[table]
        return [get(key, db=database) for key in keys]

    def scan(
        self, table: int, prefix: bytes, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """At most `limit` rows whose key starts with `prefix` and is greater than `after`."""
        found: list[tuple[bytes, bytes]] = []
        with self._txn.cursor(self._environment.tables[table]) as cursor:
            start = max(after, prefix)
            if not (cursor.set_range(start) if start else cursor.first()):
                return found
            for key, row in cursor:
                if not key.startswith(prefix) or len(found) >= limit:
                    break
                if key > after:
                    found.append((key, row))
        return found

    def _begin(self) -> "lmdb.Transaction[bytes]":
        """A read transaction whose rows are bytes of their own, not views into the map."""
        return self._environment.lmdb.begin(buffers=False)
