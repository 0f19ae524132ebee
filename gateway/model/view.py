"""View: how the core reads the disk. It is an argument, like `now`.

`store` implements it on LMDB, the simulation on a dict; `relay.turn.Overlay` lays the turns that
are not yet committed over either, so that the core always sees its own writes.
"""

from collections.abc import Iterable
from typing import Protocol


class View(Protocol):
    """Rows by table and key, as of the last commit (or later, through an overlay)."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row at this key, or None."""

    def get_many(self, table: int, keys: Iterable[bytes]) -> list[bytes | None]:
        """The rows at these keys, in their order."""

    def scan(
        self, table: int, prefix: bytes, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """At most `limit` rows whose key starts with `prefix` and is greater than `after`."""
