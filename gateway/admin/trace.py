"""Trace: one message's life, read back from the rows on disk. Pure over a `View`.

The ordinary steps come from the rows that a message has anyway: `message` (accepted), `queue`,
`in_flight`, `parked` or `awaiting` (where it is), `final` (how it ended), `outbox` (whether its
client still is owed the receipt). What was out of the ordinary stands in `history`.

It reports what it finds. A message that is in no state, or in two, is damage: it says so instead
of choosing one.
"""

from typing import Final

import msgspec

from gateway.model import ids, records, states, tables
from gateway.model.outcomes import OUTCOMES
from gateway.model.records import Awaiting, Ending, Inbound, Message, Parked
from gateway.model.view import View
from gateway.relay.lanes import PRIORITIES, lane_prefix
from gateway.relay.notice import is_wanted
from gateway.smpp.codec import Sm, decode_sm_leniently

HISTORY_READ: Final = 1_000
"""Steps of one message that are read: a throttled one may have been put back many times."""

OUTBOX_READ: Final = 1_000
"""Rows of a client's outbox (200 ids each) in which an undelivered receipt is looked for."""

FLIGHTS_READ: Final = 10_000
"""Binds whose windows are searched."""

SHORT_CODE_DIGITS_MAX: Final = 8

_HISTORY_STATE: Final = {
    "in_doubt": "in_doubt",
    "resend": "queued",
    "put_back": "queued",
    "released": "queued",
}
_HISTORY_WHY: Final = {
    "in_doubt": "it may have been sent, and was never answered",
    "resend": "sent again, as the policy for messages in doubt says",
    "put_back": "the carrier did not take it for now",
    "released": "released by the operator",
    "refused": "the carrier refused it for good",
    "expired": "ended by the operator",
    "damaged": "a damaged row was set aside",
}


class Step(msgspec.Struct):
    """One thing that happened. `state` is "" if it changed no state."""

    at: float
    state: str
    why: str
    carrier: str = ""
    detail: str = ""


class Trace(msgspec.Struct):
    """A message and its life. Times are wall-clock seconds."""

    id: str
    kind: str
    """`outbound` to a handset, `inbound` from one."""
    state: str
    client: str
    sender: str
    recipient: str
    steps: list[Step]
    campaign: str = ""
    route: str = ""
    segments: int = 0
    priority: int = 0
    accepted_at: float = 0.0
    expires_at: float | None = None
    resends: int = 0
    carrier: str = ""
    carrier_message_id: str = ""
    outcome: str = ""
    outcome_text: str = ""
    error: str = ""
    """The carrier's own code, from its answer or its receipt."""
    receipt: str = ""
    """`not asked for`, `not due yet`, `owed` or `delivered` to the client."""
    faults: list[str] = []


class _Places(msgspec.Struct):
    """Every row that says where a message is. Exactly one of the first five is not None."""

    queued: int | None
    flying: tuple[str, int] | None
    parked: Parked | None
    awaiting: Awaiting | None
    ending: Ending | None


def trace(view: View, message_id: int) -> Trace | None:
    """The life of a message; None if no such message is stored."""
    key = ids.to_key(message_id)
    row = view.get(tables.MESSAGE, key)
    if row is None:
        inbound = view.get(tables.INBOUND, key)
        return None if inbound is None else _inbound(message_id, records.decode_inbound(inbound))
    message = records.decode_message(row)
    places = _places(view, message)
    found = [name for name in (_names(places)) if name]
    ending = places.ending
    last = ending or places.awaiting
    return Trace(
        id=ids.to_text(message_id).decode(),
        kind="outbound",
        state=" and ".join(found) or "unknown to every table",
        client=message.client,
        sender=sender_text(message.source),
        recipient=f"+{message.destination.decode(errors='backslashreplace')}",
        steps=_steps(view, message, places),
        campaign=message.campaign,
        route=message.route,
        segments=message.segments,
        priority=message.priority,
        accepted_at=message.accepted_at,
        expires_at=message.expires_at,
        resends=_resends(places),
        carrier=last.carrier if last is not None else _carrier(places),
        carrier_message_id="" if last is None else _text(last.carrier_id),
        outcome=_outcome(places),
        outcome_text=_outcome_text(_outcome(places)),
        error="" if ending is None else _error(ending),
        receipt=_receipt(view, message, ending),
        faults=[]
        if len(found) == 1
        else ["it must be in exactly one state: run `audit` and keep the store as it is"],
    )


def sender_text(source: bytes) -> str:
    """A source address as people write it: `+` and E.164, a short code, or a name."""
    text = source.decode(errors="backslashreplace")
    return f"+{text}" if text.isdigit() and len(text) > SHORT_CODE_DIGITS_MAX else text


def _steps(view: View, message: Message, places: _Places) -> list[Step]:
    """In the order in which they happened."""
    accepted = f"accepted from client {message.client}, for route {message.route}"
    steps = [Step(message.accepted_at, "queued", accepted)]
    steps += _history(view, message)
    last = places.ending or places.awaiting
    if last is not None and last.submitted_at:
        steps.append(Step(last.submitted_at, "in_flight", "sent to the carrier", last.carrier))
    if last is not None and last.carrier_id:
        answered = f"the carrier took it as {_text(last.carrier_id)}"
        at = last.answered_at or last.submitted_at
        detail = "" if last.answered_at else "the time of its answer was not kept"
        steps.append(Step(at, "submitted", answered, last.carrier, detail))
    if places.parked is not None:
        state = states.NAMES[places.parked.state]
        why = f"waits for a decision (`queue release|expire`): {places.parked.reason}"
        if places.parked.until:
            why = "waits for the time it was scheduled for"
        steps.append(Step(places.parked.since, state, why))
    if places.ending is not None and places.ending.state != states.SUBMITTED:
        steps.append(_end(places.ending))
    steps.sort(key=lambda step: step.at)
    if places.flying is not None:
        why = "in the window of the carrier, not answered yet"
        steps.append(Step(steps[-1].at, "in_flight", why, places.flying[0], "sent since then"))
    return steps


def _end(ending: Ending) -> Step:
    state = states.NAMES[ending.state]
    if ending.outcome:
        why = f"{ending.outcome}: {_outcome_text(ending.outcome)}"
    else:
        why = "the carrier's receipt says so"
    error = _error(ending)
    detail = f"carrier's error {error}" if error else ""
    return Step(ending.at, state, why, ending.carrier, detail)


def _history(view: View, message: Message) -> list[Step]:
    key = ids.to_key(message.id)
    steps = []
    for _, row in view.scan(tables.HISTORY, key, key, HISTORY_READ):
        step = records.decode_step(row)
        why = _HISTORY_WHY.get(step.what, step.what)
        state = _HISTORY_STATE.get(step.what, "")
        steps.append(Step(step.at or message.accepted_at, state, why, step.carrier, step.detail))
    return steps


def _places(view: View, message: Message) -> _Places:
    key = ids.to_key(message.id)
    level = bytes((PRIORITIES - 1 - message.priority,))
    queued = view.get(tables.QUEUE, lane_prefix(message.route, message.campaign) + level + key)
    parked = view.get(tables.PARKED, key)
    awaiting = view.get(tables.AWAITING, key)
    ending = view.get(tables.FINAL, key)
    return _Places(
        queued=None if queued is None else queued[0],
        flying=_flying(view, message.id),
        parked=None if parked is None else records.decode_parked(parked),
        awaiting=None if awaiting is None else records.decode_awaiting(awaiting),
        ending=None if ending is None else records.decode_ending(ending),
    )


def _flying(view: View, message_id: int) -> tuple[str, int] | None:
    """The carrier in whose window it is, and how often it was sent again."""
    for key, row in view.scan(tables.IN_FLIGHT, b"", b"", FLIGHTS_READ):
        at = _find(row, ids.to_key(message_id), records.FLIGHT)
        if at >= 0:
            return key.split(b"\0")[0].decode(), row[at + ids.KEY_LENGTH]
    return None


def _names(places: _Places) -> list[str]:
    return [
        "queued" if places.queued is not None else "",
        "in_flight" if places.flying is not None else "",
        "" if places.parked is None else states.NAMES[places.parked.state],
        "submitted" if places.awaiting is not None else "",
        "" if places.ending is None else states.NAMES[places.ending.state],
    ]


def _resends(places: _Places) -> int:
    for row in (places.ending, places.awaiting, places.parked):
        if row is not None:
            return row.resends
    return places.flying[1] if places.flying is not None else places.queued or 0


def _carrier(places: _Places) -> str:
    return "" if places.flying is None else places.flying[0]


def _outcome(places: _Places) -> str:
    if places.ending is not None:
        return places.ending.outcome
    return "" if places.parked is None else places.parked.reason


def _outcome_text(outcome: str) -> str:
    found = OUTCOMES.get(outcome)
    return "" if found is None else found.text


def _receipt(view: View, message: Message, ending: Ending | None) -> str:
    if not message.registered_delivery & 0x03:
        return "not asked for"
    if ending is None:
        return "not due yet"
    if ending.state == states.SUBMITTED or not is_wanted(message.registered_delivery, ending.state):
        return "not asked for"
    return "owed" if _is_owed(view, message) else "delivered"


def _is_owed(view: View, message: Message) -> bool:
    """Whether its id stands in a row of the client's outbox."""
    prefix = message.client.encode() + b"\0"
    key = ids.to_key(message.id)
    for _, row in view.scan(tables.OUTBOX, prefix, prefix, OUTBOX_READ):
        if _find(row, key, ids.KEY_LENGTH) >= 0:
            return True
    return False


def _find(row: bytes, key: bytes, width: int) -> int:
    """Where in a row of entries of this width the one begins that starts with the key, or -1."""
    at = row.find(key)
    while at >= 0 and at % width:
        at = row.find(key, at + 1)
    return at


def _inbound(message_id: int, inbound: Inbound) -> Trace:
    """A message from a handset: it has no states, it is stored and owed to a client."""
    sm = decode_sm_leniently(inbound.body)
    source, destination = inbound.source, inbound.destination  # its text has gone
    if isinstance(sm, Sm):
        source, destination = sm.source_addr, sm.destination_addr
    return Trace(
        id=ids.to_text(message_id).decode(),
        kind="inbound",
        state="stored",
        client=inbound.client,
        sender=sender_text(source.removeprefix(b"+")),
        recipient=sender_text(destination.removeprefix(b"+")),
        carrier=inbound.carrier,
        accepted_at=inbound.received_at,
        steps=[Step(inbound.received_at, "stored", "delivered by the carrier", inbound.carrier)],
    )


def _error(ending: Ending) -> str:
    """The carrier's error code; "" for one that means none ("000", SMPP 3.4 appendix B)."""
    return _text(ending.error) if ending.error.strip(b"0") else ""


def _text(octets: bytes) -> str:
    return octets.decode("ascii", "backslashreplace")
