"""Admit: may this submit_sm come in? The same questions for every door.

In this order, and the first "no" is the answer: room on disk, room in the client's queue, the
sender (another company's number is answered exactly like an unknown one), its campaign, the
recipient, the validity, the route, the text's length, the limits that refuse. A refusal owes
nothing to the disk and leaves at once; an acceptance leaves when its turn is committed.
"""

import re
from typing import Final

from gateway.model import ids, tables
from gateway.model.now import Now
from gateway.model.outcomes import OUTCOMES
from gateway.model.records import Message, encode
from gateway.relay import schedule
from gateway.relay.lanes import PRIORITIES
from gateway.relay.parties import Client, ClientLink, Route
from gateway.relay.state import State
from gateway.smpp import consts
from gateway.smpp.codec import Sm, pdu, with_registered_delivery
from gateway.smpp.events import Submit
from gateway.smpp.segment import segments as count_segments
from gateway.smpp.time import parse_time

TON_INTERNATIONAL: Final = 1
RECEIPT_ASKED: Final = 1

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
    if sm.validity_period:
        validity = _expiry(sm, now)
        if isinstance(validity, str):
            return validity
        expires_at = validity
    route = _route(state, client, campaign.id, source, destination)
    if route is None:
        return "no_route"
    limits = state.limits.get(campaign.id)
    if limits is None:
        limits = state.limits_of(campaign.id, now)
    for limit in limits:
        if 0 < limit.capacity < segments:
            return "too_long"
        if limit.at_cap == "refuse" and limit.free_at(now, segments) > now.monotonic:
            return "rate_limited" if limit.day is None else "daily_cap"
    state.totals.admit()
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
        sm_at=sm.sm_at,
        body=_body_to_send(sm),
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


def _body_to_send(sm: Sm) -> bytes:
    """The body as it goes to the carrier: the client's, octet by octet, but asking a receipt."""
    if sm.registered_delivery & 0x03 == RECEIPT_ASKED:
        return sm.body
    return with_registered_delivery(sm.body, sm.sm_at, sm.registered_delivery & ~0x03 | 1)


def _expiry(sm: Sm, now: Now) -> float | str:
    """When this message expires by its own wish; or the outcome if that cannot be."""
    wished = parse_time(sm.validity_period, now.wall)
    if isinstance(wished, float) and wished > now.wall:
        return wished
    return "expired"


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
