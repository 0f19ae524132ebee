"""Scale: limits of memory and of time so small that a few hundred messages reach every one of them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from gateway.relay import (
    due,
    lanes,
    outbox,
    rebuild,
    receipt_map,
    receipts,
    recover,
    runs,
    schedule,
    sweep,
)

SCALED: Final[tuple[tuple[Any, str, object], ...]] = (
    (lanes, "REFILL", 8),
    (lanes, "SPARED", 2),
    (outbox, "READY_MAX", 8),
    (outbox, "OUTBOX_ROW", 4),
    (receipt_map, "RECENT_MAX", 10),
    (receipt_map, "OLD_MAX", 10),
    (receipt_map, "SPILL", 5),
    (runs, "RUN", 8),
    (rebuild, "BITE", 7),
    (receipts, "ORPHANS_MAX", 20),
    (due, "BITE", 3),
    (recover, "PAGE", 7),
    (schedule, "PUMP_MAX", 40),
    (sweep, "BITE", 25),
    (sweep, "PASS_S", 30.0),
)


@contextmanager
def replaced(*guards: tuple[Any, str, object]) -> Iterator[None]:
    """These attributes have other values for a while."""
    with ExitStack() as stack:
        for owner, name, value in guards:
            stack.enter_context(patch.object(owner, name, value))
        yield


@contextmanager
def scaled() -> Iterator[None]:
    """The gateway in small."""
    with replaced(*SCALED):
        yield
