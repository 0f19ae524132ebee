"""The tables on disk, as the pure core knows them: an index each, with what a row holds.

A turn keeps its writes per table, the store has one LMDB database per table. The order is also
the order in which a turn writes them. ARCHITECTURE.md lists the rows of a message's life.
"""

from typing import Final

META: Final = 0
"""name -> value: schema version, number of starts."""
REGISTRY: Final = 1
"""`kind:id` -> the record of a company, brand, campaign or number."""
MESSAGE: Final = 2
"""id -> Message: what was accepted; written once."""
QUEUE: Final = 3
"""lane, level, id -> resends: what waits to be sent. The row goes when the message does."""
PARKED: Final = 4
"""id -> Parked: held, and in doubt without a resend."""
IN_FLIGHT: Final = 5
"""carrier, bind -> the (id, resends) of its window, one row a bind, rewritten by each turn that
changes it: two rows a turn instead of two rows a message, and a restart reads just these."""
AWAITING: Final = 6
"""id -> Awaiting: the carrier has it, its receipt has not come."""
FINAL: Final = 7
"""id -> Ending: how it ended."""
OUTBOX: Final = 8
"""client, number -> up to OUTBOX_ROW ids that are owed to this client as deliver_sm."""
INBOUND: Final = 9
"""id -> Inbound: a message from a handset."""
ORPHAN: Final = 10
"""carrier, carrier's id -> Orphan: a receipt whose message is not known (yet)."""
HISTORY: Final = 11
"""id, moment -> Step: what is out of the ordinary in a message's life."""
COUNT: Final = 12
"""name -> how many rows; written by the turn that changes them, so a start scans no queue."""
USAGE: Final = 13
"""limit -> what is used of it, by day or by second."""
RUN: Final = 14
"""carrier, run, bucket -> entries of the receipt map that left memory (`relay.runs`)."""
LATE: Final = 15
"""carrier, carrier's id -> a message that ended `unknown`, which a late receipt corrects."""
DUE: Final = 16
"""moment, id -> empty: when a message that is held until then may go."""

NAMES: Final = (
    "meta",
    "registry",
    "message",
    "queue",
    "parked",
    "in_flight",
    "awaiting",
    "final",
    "outbox",
    "inbound",
    "orphan",
    "history",
    "count",
    "usage",
    "run",
    "late",
    "due",
)

Rows = tuple[dict[bytes, bytes | None], ...]
"""The writes of a turn: per table, key -> row, or None for a row to delete."""


def no_rows() -> Rows:
    """An empty set of writes, one dict a table."""
    return tuple([{} for _ in NAMES])
