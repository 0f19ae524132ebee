"""Finish: the one way in which a message reaches its final state, and its client hears of it.

Whatever ends a message (a receipt, a refusal, expiry, doubt), the same three things are written in
the same turn: its `final` row, the totals, and, if the client asked for it, the receipt that it is
owed. The receipt carries our id, in the text and in receipted_message_id.
"""

from gateway.model import ids, outcomes, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message
from gateway.relay import notice, outbox
from gateway.relay.state import State


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
    if notice.is_wanted(message.registered_delivery, final.state):
        client = state.clients.get(message.client)
        if client is not None:
            outbox.owe(state, client, message.id, notice.receipt_body(message, final))
