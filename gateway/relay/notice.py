"""Notice: the receipt that a client gets: when it wants one, and what it says.

It carries our id, in the text and in receipted_message_id, our final state, the carrier's own error
code, and the outcome in a TLV of ours. Made from the message and its ending alone, so that it can
be made again after a restart.
"""

from typing import Final

from gateway.model import ids, records, states
from gateway.model.records import Message
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
