"""Admit: may this submit_sm come in? The same questions for every door.

In this order, and the first "no" is the answer: room on disk, room in the client's queue, the
sender (another company's number is answered exactly like an unknown one), its campaign, the
recipient, the times, the route, the text's length, the limits that refuse. A refusal owes
nothing to the disk and leaves at once; an acceptance leaves when its turn is committed.
"""

import re
from typing import Final

from gateway.model import ids, tables
from gateway.model.now import Now
from gateway.model.outcomes import OUTCOMES
from gateway.model.records import Message, encode
from gateway.relay import due, schedule
from gateway.relay.lanes import PRIORITIES
from gateway.relay.parties import Client, ClientLink, Route
from gateway.relay.state import State
from gateway.smpp import consts
from gateway.smpp.codec import Sm, pdu, with_registered_delivery, with_times
from gateway.smpp.events import Submit
from gateway.smpp.segment import segments as count_segments
from gateway.smpp.time import format_time, parse_time

TON_INTERNATIONAL: Final = 1
RECEIPT_ASKED: Final = 1

VALIDITY_MAX_S: Final = 90 * 86_400.0
"""No message waits longer, whatever it wishes: a relative time can say 99 years."""

SCHEDULE_MAX_S: Final = 90 * 86_400.0
"""How far ahead a message may be scheduled: longer than any campaign is planned, and a year written
as a month by mistake is told at once."""

_RECIPIENT: Final = re.compile(rb"1[2-9]\d\d[2-9]\d{6}|[2-79]\d{6,14}|8\d{6,14}").fullmatch
"""E.164 without `+`: 7 to 15 digits, and the shape of the North American plan where it begins
with 1."""
_TEN_DIGITS: Final = re.compile(rb"[2-9]\d\d[2-9]\d{6}").fullmatch

_OK_HEAD: Final = b"\x00\x00\x00\x1e\x80\x00\x00\x04\x00\x00\x00\x00"
"""submit_sm_resp, ESME_ROK, 16 + 13 + 1 octets: all but its sequence_number and message_id."""


def submits(state: State, link: ClientLink, events: list[Submit], now: Now) -> list[bytes]:
    """Handles a batch of submit_sm of one link; gives the refusals, encoded, to leave at once."""
    client = link.client
    turn = state.machine.open
    messages = turn.writes[tables.MESSAGE]
    accepted: list[bytes] = []
    refused: list[bytes] = []
    octets = 0
    for event in events:
        admitted = _admit(state, client, event.sm, now)
        if isinstance(admitted, Message):
            message_id = admitted.id
            row = encode(admitted)
            octets += len(row)
            messages[message_id.to_bytes(8, "big")] = row
            accepted.append(answer_ok(event.sequence_number, message_id))
            until = _until(event.sm, now) if event.sm.schedule_delivery_time else None
            if until:
                due.hold(state, admitted, until, now)
            else:
                schedule.place(state, admitted, now)
        else:
            client.refused[admitted] = client.refused.get(admitted, 0) + 1
            status = OUTCOMES[admitted].command_status(state.policy.status_style)
            refused.append(pdu(consts.SUBMIT_SM_RESP, status, event.sequence_number))
    if accepted:
        count = len(accepted)
        client.accepted += count
        owed = turn.answers.get(link.id)
        if owed is None:
            turn.answers[link.id] = accepted
        else:
            owed.extend(accepted)
    turn.events += len(events)
    turn.octets += octets
    return refused


def answer_ok(sequence_number: int, message_id: int) -> bytes:
    """The submit_sm_resp of an accepted message. One that is refused has no body (section 4.4.2)."""
    return _OK_HEAD + sequence_number.to_bytes(4, "big") + ids.to_text(message_id) + b"\0"


def _admit(state: State, client: Client, sm: Sm, now: Now) -> Message | str:
    """The message, counted as accepted; or the outcome for which it is refused."""
    if state.room != "plenty" or client.queued >= client.queue_limit:
        return "queue_full"
    source = sm.source_addr
    if source[:1] == b"+":
        source = source[1:]
    sender = state.catalog.sender(client.company, source)
    if sender is None:
        return "unknown_sender"
    campaign = sender.campaign
    if campaign is None or campaign.blocked is not None:
        return state.catalog.blocked(sender) or "campaign_not_active"
    destination = recipient(sm)
    if destination is None:
        return "bad_address"
    segments = count_segments(sm)
    expires_at = now.wall + campaign.expiry_s
    if sm.schedule_delivery_time or sm.validity_period:
        wished = _expiry(sm, now, campaign.expiry_s)
        if isinstance(wished, str):
            return wished
        expires_at = wished
    route = _route(state, client, campaign.id, source, destination)
    if route is None:
        return "no_route"
    if segments > route.longest:
        return "too_long"
    limits = state.limits.get(campaign.id)
    if limits is None:
        limits = state.limits_of(campaign.id, now)
    for limit in limits:
        if 0 < limit.capacity < segments:
            return "too_long"
        if limit.at_cap == "refuse" and limit.free_at(now, segments) > now.monotonic:
            return "rate_limited" if limit.day is None else "daily_cap"
    state.totals.admit()
    body, sm_at = _to_send(sm, expires_at)
    return Message(
        id=state.ids.take(),
        client=client.name,
        campaign=campaign.id,
        route=route.name,
        source=source,
        destination=destination,
        accepted_at=now.wall,
        expires_at=expires_at,
        priority=min(sm.priority_flag, PRIORITIES - 1),
        segments=segments,
        registered_delivery=sm.registered_delivery,
        source_ton_npi=sm.source_ton_npi,
        dest_ton_npi=sm.dest_ton_npi,
        sm_at=sm_at,
        body=body,
    )


def recipient(sm: Sm) -> bytes | None:
    """The handset as E.164 digits; None if it is none.

    Ten digits that are not marked international are a North American number without its 1.
    """
    digits = sm.destination_addr
    if digits[:1] == b"+":
        digits = digits[1:]
    elif sm.dest_ton_npi[0] != TON_INTERNATIONAL and _TEN_DIGITS(digits):
        return b"1" + digits
    return digits if _RECIPIENT(digits) else None


def _to_send(sm: Sm, expires_at: float) -> tuple[bytes, int]:
    """The body as it goes to the carrier, and where its short_message begins.

    It is the client's, octet by octet, but for what would mean something else by then: it asks for
    a receipt, the waiting is done here, and a validity that counts from now is told as the moment
    at which it ends.
    """
    body, sm_at = sm.body, sm.sm_at
    if sm.schedule_delivery_time or sm.validity_period.endswith(b"R"):
        validity = format_time(expires_at) if sm.validity_period else b""
        body, sm_at = with_times(sm, validity)
    if sm.registered_delivery & 0x03 == RECEIPT_ASKED:
        return body, sm_at
    return with_registered_delivery(body, sm_at, sm.registered_delivery & ~0x03 | 1), sm_at


def _until(sm: Sm, now: Now) -> float | None:
    """The wall time until which it is held; 0 for at once, None if that can never be.

    A moment that has passed means at once: clocks differ.
    """
    if not sm.schedule_delivery_time:
        return 0.0
    wished = parse_time(sm.schedule_delivery_time, now.wall)
    if wished is None or wished > now.wall + SCHEDULE_MAX_S:
        return None
    return wished if wished > now.wall else 0.0


def _expiry(sm: Sm, now: Now, expiry_s: float) -> float | str:
    """When it expires, by its own wish or so long after it may go; or the outcome if never."""
    until = _until(sm, now)
    if until is None:
        return "bad_schedule"
    from_wall = max(until, now.wall)
    if not sm.validity_period:
        return from_wall + expiry_s
    wished = parse_time(sm.validity_period, now.wall)
    if wished is None or wished <= from_wall:
        return "expired"
    return min(wished, from_wall + VALIDITY_MAX_S)


def _route(
    state: State, client: Client, campaign: str, source: bytes, destination: bytes
) -> Route | None:
    for route in state.routes:
        match = route.match
        if (
            destination.startswith(match.to)
            and (not match.source or source.startswith(match.source))
            and (not match.campaign or match.campaign == campaign)
            and (not match.client or match.client == client.name)
        ):
            return route
    return None
