"""History: what is out of the ordinary in a message's life, a row each.

The ordinary (accepted, sent, answered, ended) is told by the rows that the message has anyway, so
an ordinary message writes none of these.
"""

from gateway.model import ids, records, tables
from gateway.model.now import Now
from gateway.relay.state import State

MOMENT: int = 6
"""Octets of the milliseconds in a key: enough until the year 10889."""


def note(
    state: State, message_id: int, now: Now, what: str, *, carrier: str = "", detail: str = ""
) -> None:
    """Adds a step to the history of a message."""
    prefix = ids.to_key(message_id) + int(now.wall * 1000).to_bytes(MOMENT, "big")
    place = 0
    while state.view.get(tables.HISTORY, prefix + bytes((place,))) is not None:
        place += 1
    step = records.Step(now.wall, what, carrier, detail)
    rows = state.machine.open.writes[tables.HISTORY]
    rows[prefix + bytes((place,))] = records.encode(step)
