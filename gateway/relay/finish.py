"""Finish: the one way in which a message reaches its final state, and its client hears of it.

Whatever ends a message (a receipt, a refusal, expiry, doubt), the same three things are written in
the same turn: its `final` row, the totals, and, if the client asked for it, the receipt that it is
owed. The receipt carries our id, in the text and in receipted_message_id.
"""

from typing import Final

from gateway.model import ids, outcomes, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message
from gateway.relay import outbox
from gateway.relay.state import State
from gateway.smpp import consts, tlv
from gateway.smpp import receipt as receipts

OUTCOME_TLV: Final = 0x3A04
"""Our TLV: the outcome's code, in ASCII."""

WANTS_RECEIPT: Final = 0x03
"""registered_delivery bits 1-0 (SMPP 3.4 section 5.2.17): 1 = always, 2 = on failure only."""

MESSAGE_STATE: Final = {
    states.DELIVERED: consts.DELIVERED,
    states.FAILED: consts.UNDELIVERABLE,
    states.EXPIRED: consts.EXPIRED,
    states.CANCELED: consts.DELETED,
    states.REJECTED: consts.REJECTED,
    states.UNKNOWN: consts.UNKNOWN,
}
"""Our final states as message_state (SMPP 3.4 section 5.2.28)."""

NO_ERROR: Final = b"000"


def end(state: State, message: Message, origin: int, outcome: str, now: Now) -> None:
    """A message ends for a reason of ours, without having reached a carrier's receipt."""
    target = outcomes.OUTCOMES[outcome].final_state
    final = records.Ending(
        state=states.FAILED if target is None else target,
        outcome=outcome,
        at=now.wall,
        carrier="",
        carrier_id=b"",
        submitted_at=message.submitted_at,
        answered_at=0.0,
        error=b"",
        resends=message.resends,
    )
    conclude(state, message, origin, final)


def conclude(state: State, message: Message, origin: int, final: records.Ending) -> None:
    """Writes the final row, moves the totals, and owes the client its receipt."""
    state.totals.move(origin, final.state)
    key = ids.to_key(message.id)
    state.machine.open.writes[tables.FINAL][key] = records.encode(final)
    if is_wanted(message.registered_delivery, final.state):
        client = state.clients.get(message.client)
        if client is not None:
            outbox.owe(state, client, message.id, receipt_body(message, final))


def is_wanted(registered_delivery: int, final_state: int) -> bool:
    """Whether a client that set this registered_delivery hears of this final state."""
    wants = registered_delivery & WANTS_RECEIPT
    return wants == 1 or (wants == 2 and final_state != states.DELIVERED)


def receipt_body(message: Message, final: records.Ending) -> bytes:
    """The deliver_sm body that tells the client how its message ended."""
    extra = tlv.encode(OUTCOME_TLV, final.outcome.encode()) if final.outcome else b""
    return receipts.encode_receipt(
        message_id=ids.to_text(message.id),
        message_state=MESSAGE_STATE[final.state],
        submitted_at=message.accepted_at,
        done_at=final.at,
        source_ton_npi=message.dest_ton_npi,
        source_addr=message.destination,
        dest_ton_npi=message.source_ton_npi,
        destination_addr=message.source,
        error=final.error or NO_ERROR,
        tlvs=extra,
    )
