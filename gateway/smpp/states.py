"""The states of a session, what is legal in each, and what leads from one to the next.

One machine serves both roles: `esme` (we bind to a carrier) and `smsc` (clients bind to us). Each
side of a link keeps its own state, and the two agree except while a PDU is under way:

    OPEN ──bind answered ESME_ROK──> BOUND_TX | BOUND_RX | BOUND_TRX
                                        │ we send unbind        │ the peer sends unbind
                                        ▼                       ▼
                                    UNBINDING ──it crosses──> UNBOUND
                                        │ the peer answers      │ we answer
                                        └───────> CLOSED <──────┘     CLOSED also when the link goes

The specification (SMPP 3.4 section 2.2) goes from bound to open at unbind. Here it takes a state
of its own on each side, for both are owed something:

- UNBINDING: we asked. The peer may not know yet, so its submits and receipts may still be on their
  way, and are taken: a refused deliver_sm may be a STOP that its carrier then forgets. We start
  nothing new.
- UNBOUND: the peer asked. It must start nothing new; we still owe the answers to what it sent
  before, then unbind_resp, which closes.

What may be requested when, and by whom, is table 2-1 of section 2.3, quoted as `OPERATIONS`. All
else is derived from it. One row is wider than the table: enquire_link may come before the bind, as
SMPP 5.0 has it; load balancers do it, and refusing helps nobody. A response is legal as long as
its request is unanswered, which is the window's to know.

A state changes in one place only, `Session._move`, and only along `MOVES`; anything else is a bug
of ours and raises.
"""

from typing import Final, Literal, NamedTuple

from gateway.smpp import consts
from gateway.smpp.consts import RESPONSE

Role = Literal["esme", "smsc"]
PEER: Final[dict[Role, Role]] = {"esme": "smsc", "smsc": "esme"}

OPEN: Final = 0
BOUND_TX: Final = 1
BOUND_RX: Final = 2
BOUND_TRX: Final = 3
UNBINDING: Final = 4
UNBOUND: Final = 5
CLOSED: Final = 6

NAMES: Final = ("open", "bound_tx", "bound_rx", "bound_trx", "unbinding", "unbound", "closed")
BOUND: Final = frozenset((BOUND_TX, BOUND_RX, BOUND_TRX))
ENDING: Final = frozenset((UNBINDING, UNBOUND, CLOSED))

_TRANSMITS: Final = frozenset((BOUND_TX, BOUND_TRX))
_RECEIVES: Final = frozenset((BOUND_RX, BOUND_TRX))
_ONLY_OPEN: Final = frozenset((OPEN,))
_ESME: Final[frozenset[Role]] = frozenset(("esme",))
_SMSC: Final[frozenset[Role]] = frozenset(("smsc",))
_EITHER: Final = _ESME | _SMSC


class Operation(NamedTuple):
    """One row of table 2-1: in these states, these sides may request it."""

    command_id: int
    states: frozenset[int]
    sides: frozenset[Role]
    has_response: bool = True
    supported: bool = True


OPERATIONS: Final = (
    Operation(consts.BIND_TRANSMITTER, _ONLY_OPEN, _ESME),
    Operation(consts.BIND_RECEIVER, _ONLY_OPEN, _ESME),
    Operation(consts.BIND_TRANSCEIVER, _ONLY_OPEN, _ESME),
    Operation(consts.OUTBIND, _ONLY_OPEN, _SMSC, has_response=False, supported=False),
    Operation(consts.UNBIND, BOUND, _EITHER),
    Operation(consts.SUBMIT_SM, _TRANSMITS, _ESME),
    Operation(consts.SUBMIT_MULTI, _TRANSMITS, _ESME, supported=False),
    Operation(consts.DATA_SM, BOUND, _EITHER, supported=False),
    Operation(consts.DELIVER_SM, _RECEIVES, _SMSC),
    Operation(consts.QUERY_SM, _TRANSMITS, _ESME, supported=False),
    Operation(consts.CANCEL_SM, _TRANSMITS, _ESME, supported=False),
    Operation(consts.REPLACE_SM, _TRANSMITS, _ESME, supported=False),
    Operation(consts.ENQUIRE_LINK, BOUND, _EITHER),
    Operation(consts.ALERT_NOTIFICATION, _RECEIVES, _SMSC, has_response=False, supported=False),
)

# ----------------------------------------------------------------------------------------- moves

BOUND_AS: Final = {
    consts.BIND_TRANSMITTER: "transmitter is bound",
    consts.BIND_RECEIVER: "receiver is bound",
    consts.BIND_TRANSCEIVER: "transceiver is bound",
}
WE_UNBIND: Final = "we ask to unbind"
PEER_UNBINDS: Final = "the peer asks to unbind"
PEER_ANSWERED: Final = "the peer answered our unbind"
WE_ANSWERED: Final = "we answered the peer's unbind"
LINK_LOST: Final = "the link is gone"

MOVES: Final[dict[tuple[int, str], int]] = {
    (OPEN, BOUND_AS[consts.BIND_TRANSMITTER]): BOUND_TX,
    (OPEN, BOUND_AS[consts.BIND_RECEIVER]): BOUND_RX,
    (OPEN, BOUND_AS[consts.BIND_TRANSCEIVER]): BOUND_TRX,
    **{(state, WE_UNBIND): UNBINDING for state in BOUND},
    **{(state, PEER_UNBINDS): UNBOUND for state in BOUND},
    (UNBINDING, PEER_UNBINDS): UNBOUND,
    (UNBINDING, PEER_ANSWERED): CLOSED,
    (UNBOUND, PEER_ANSWERED): UNBOUND,  # the two crossed: we still owe ours
    (UNBOUND, WE_ANSWERED): CLOSED,
    **{(state, LINK_LOST): CLOSED for state in range(len(NAMES))},
}

# --------------------------------------------------------------------------- derived from the rows


def _may_send(role: Role, state: int) -> frozenset[int]:
    """Requests that this side may send."""
    return frozenset(
        row.command_id
        for row in OPERATIONS
        if role in row.sides and row.supported and state in row.states
    )


def _may_take(role: Role, state: int) -> frozenset[int]:
    """Requests of the peer that this side takes."""
    taken = set(_may_send(PEER[role], state))
    if state == UNBINDING:
        for bound in BOUND:
            taken |= _may_send(PEER[role], bound)
    if state != CLOSED:
        taken.add(consts.ENQUIRE_LINK)
    return frozenset(taken)


def _may_answer(role: Role, state: int) -> frozenset[int]:
    """Responses that the shell may have sent; those to enquire_link the session sends itself."""
    taken = _may_take(role, state) - {consts.ENQUIRE_LINK, consts.UNBIND}
    if state == UNBOUND:
        taken = _may_take(role, UNBINDING) - {consts.ENQUIRE_LINK}
    return frozenset(command_id | RESPONSE for command_id in taken)


MAY_SEND: Final = {r: tuple(_may_send(r, s) for s in range(len(NAMES))) for r in PEER}
MAY_TAKE: Final = {r: tuple(_may_take(r, s) for s in range(len(NAMES))) for r in PEER}
MAY_ANSWER: Final = {r: tuple(_may_answer(r, s) for s in range(len(NAMES))) for r in PEER}

PEER_REQUESTS: Final = {
    role: frozenset(
        row.command_id for row in OPERATIONS if PEER[role] in row.sides and row.supported
    )
    for role in PEER
}
"""What a peer of this role's may ever request: refused, it is the wrong time for it."""

KNOWN: Final = {row.command_id: row.has_response for row in OPERATIONS}
"""Every command of the table, and whether it has a response."""
