"""The states of a message, and which moves between them are legal.

    queued -> in_flight -> submitted -> delivered | failed | expired | rejected | unknown
       |          |            `------> (final itself when nobody asked for a receipt)
       |          +-> queued    throttled, refused for a moment, or it never left
       |          +-> failed    refused for good
       |          `-> in_doubt  may have been sent, never answered
       +-> held | expired | canceled | failed
    in_doubt -> queued (resend) | held | failed | expired
    held     -> queued (released) | expired | canceled | failed
    unknown  -> delivered | failed | ...   a late receipt corrects it

Every accepted message is in exactly one of them: `totals` counts them in the very turn that moves
one, and `ctl audit` recounts the rows. `LEGAL` is the table; `Totals.move` is the one mover.
"""

from typing import Final

import msgspec

QUEUED: Final = 0
HELD: Final = 1
IN_FLIGHT: Final = 2
SUBMITTED: Final = 3
IN_DOUBT: Final = 4
DELIVERED: Final = 5
FAILED: Final = 6
EXPIRED: Final = 7
CANCELED: Final = 8
REJECTED: Final = 9
UNKNOWN: Final = 10

NAMES: Final = (
    "queued",
    "held",
    "in_flight",
    "submitted",
    "in_doubt",
    "delivered",
    "failed",
    "expired",
    "canceled",
    "rejected",
    "unknown",
)

FINAL: Final = frozenset((DELIVERED, FAILED, EXPIRED, CANCELED, REJECTED, UNKNOWN))
_ENDS: Final = frozenset((FAILED, EXPIRED, CANCELED))

LEGAL: Final[tuple[frozenset[int], ...]] = (
    frozenset((IN_FLIGHT, HELD, *_ENDS)),  # queued
    frozenset((QUEUED, *_ENDS)),  # held
    frozenset((QUEUED, SUBMITTED, IN_DOUBT, FAILED, EXPIRED)),  # in flight
    FINAL,  # submitted
    frozenset((QUEUED, HELD, *_ENDS)),  # in doubt
    frozenset(),  # delivered
    frozenset(),  # failed
    frozenset(),  # expired
    frozenset(),  # canceled
    frozenset(),  # rejected
    frozenset((DELIVERED, FAILED, EXPIRED, CANCELED, REJECTED)),  # unknown
)


class IllegalMoveError(Exception):
    """A bug of ours: a message was moved where the table does not let it go."""


class Totals(msgspec.Struct, array_like=True):
    """How many messages were ever accepted, are in each state now, and were purged since."""

    accepted: int = 0
    purged: int = 0
    in_state: list[int] = msgspec.field(default_factory=lambda: [0] * len(NAMES))

    def admit(self) -> None:
        """One more, queued."""
        self.accepted += 1
        self.in_state[QUEUED] += 1

    def move(self, origin: int, target: int) -> None:
        """One message changes its state."""
        if target not in LEGAL[origin]:
            raise IllegalMoveError(f"{NAMES[origin]} -> {NAMES[target]}")
        self.in_state[origin] -= 1
        self.in_state[target] += 1
