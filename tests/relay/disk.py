"""The disk of the simulated gateway: a dict a table, and the View on it.

It forgets nothing, and what was not committed it never knew.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator

from gateway.model import ids, records, tables


class Disk:
    """Rows by table and key; `commit` is the only way in."""

    def __init__(self) -> None:
        self.rows: list[dict[bytes, bytes]] = [{} for _ in tables.NAMES]
        self.commits = 0
        self._keys: list[list[bytes]] = [[] for _ in tables.NAMES]

    def commit(self, writes: tables.Rows) -> None:
        self.commits += 1
        for rows, keys, written in zip(self.rows, self._keys, writes, strict=True):
            for key, row in written.items():
                if row is not None:
                    if key not in rows:
                        insort(keys, key)
                    rows[key] = row
                elif rows.pop(key, None) is not None:
                    del keys[bisect_right(keys, key) - 1]

    # The View

    def get(self, table: int, key: bytes) -> bytes | None:
        return self.rows[table].get(key)

    def get_many(self, table: int, keys: Iterable[bytes]) -> list[bytes | None]:
        return [self.rows[table].get(key) for key in keys]

    def scan(
        self, table: int, prefix: bytes, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        keys, rows = self._keys[table], self.rows[table]
        found: list[tuple[bytes, bytes]] = []
        at = bisect_right(keys, after)
        if prefix > after:
            at = bisect_right(keys, prefix)
            if at and keys[at - 1] == prefix:
                at -= 1
        while at < len(keys) and len(found) < limit and keys[at].startswith(prefix):
            found.append((keys[at], rows[keys[at]]))
            at += 1
        return found

    # For those who look

    def flights(self) -> Iterator[tuple[int, int]]:
        """(id, resends) of what is in flight."""
        for row in self.rows[tables.IN_FLIGHT].values():
            yield from records.decode_flights(row)

    def queued(self) -> Iterator[int]:
        """The ids that wait in lanes."""
        for key in self.rows[tables.QUEUE]:
            yield ids.from_key(key[-ids.KEY_LENGTH :])

    def owed(self) -> Iterator[int]:
        """The ids that clients are owed as deliver_sm, as often as they are."""
        for row in self.rows[tables.OUTBOX].values():
            for at in range(0, len(row), ids.KEY_LENGTH):
                yield ids.from_key(row[at : at + ids.KEY_LENGTH])
