"""Answers: what a carrier says to our submit_sm, and what it means when it says nothing.

    ESME_ROK                  submitted; a row in `awaiting` until its receipt, or final at once when
                              nobody asked for one
    throttled, queue full     never final: back to its old place, and the (carrier, campaign) pauses
    temporary                 the same, at most ATTEMPTS_MAX times
    anything else             failed: carrier_refused, the raw status is kept
    no answer, link lost      in doubt: the campaign's policy decides

A rate keeps what was written, whatever the answer; a day gets back what was not ESME_ROK.
"""

from typing import Final

from gateway.model import ids, records, states, tables
from gateway.model.now import Now
from gateway.model.records import Message
from gateway.relay import finish, notice, parked, receipts, schedule
from gateway.relay.history import note
from gateway.relay.lanes import mark_resends
from gateway.relay.parties import Bind, Carrier
from gateway.relay.state import State
from gateway.smpp import consts
from gateway.smpp.codec import decode_message_id
from gateway.smpp.events import Answer

THROTTLED: Final = frozenset((consts.ESME_RTHROTTLED, consts.ESME_RMSGQFUL))
TEMPORARY: Final = frozenset((consts.ESME_RSYSERR, consts.ESME_RX_T_APPN))

ATTEMPTS_MAX: Final = 5
"""Tries of a message that a carrier refuses "for now" (domain.md section 6)."""


def answers(state: State, bind: Bind, events: list[Answer], now: Now) -> None:
    """Handles a batch of submit_sm_resp (or generic_nack) that matched our submit_sm."""
    carrier = bind.carrier
    receipt_map = carrier.receipts
    turn = state.machine.open
    awaiting_rows = turn.writes[tables.AWAITING]
    in_state = state.totals.in_state
    for event in events:
        message = event.ref
        if not isinstance(message, Message) or bind.flights.pop(message.id, None) is None:
            continue
        bind.room += 1
        status = event.command_status
        if status != consts.ESME_ROK:
            _refused(state, carrier, message, status, now)
            continue
        carrier.submitted += 1
        if state.charges:
            state.charges.pop(message.id, None)
        in_state[states.IN_FLIGHT] -= 1
        in_state[states.SUBMITTED] += 1
        message.answered_at = now.wall
        carrier_id = decode_message_id(event.body)
        if not carrier.always_receipts and not message.registered_delivery & notice.WANTS_RECEIPT:
            _final_at_once(state, carrier, message, carrier_id, now)
            continue
        awaiting_rows[message.id.to_bytes(8, "big")] = records.encode(
            records.Awaiting(
                carrier.name, carrier_id, message.submitted_at, now.wall, message.resends
            )
        )
        message.carrier_id = carrier_id
        receipt_map.put(carrier_id, message)
        if carrier.orphans or carrier.orphans_unloaded:
            receipts.match_orphan(state, carrier, carrier_id, now)
    receipt_map.make_room(turn.writes[tables.RUN], now.wall)
    state.touch(bind)
    turn.events += len(events)


def in_doubt(state: State, message: Message, now: Now, *, why: str) -> None:
    """A submit_sm that may have been sent and was never answered: its charges stand."""
    state.counters.in_doubt += 1
    state.charges.pop(message.id, None)
    state.totals.move(states.IN_FLIGHT, states.IN_DOUBT)
    note(state, message.id, now, "in_doubt", detail=why)
    policy, resends_max = _policy(state, message.campaign)
    if policy == "fail":
        finish.end(state, message, states.IN_DOUBT, "in_doubt", now)
    elif policy == "resend" and message.resends < resends_max:
        state.counters.resent += 1
        state.totals.move(states.IN_DOUBT, states.QUEUED)
        mark_resends(message, message.resends + 1)
        note(state, message.id, now, "resend", detail=str(message.resends))
        schedule.put_back(state, message, now)
    else:
        parked.park(state, message, now, as_state=states.IN_DOUBT, reason="in_doubt")


def unsent(state: State, messages: list[Message], now: Now) -> None:
    """No octet of these left: place in the queue, window and day charge are given back."""
    for message in messages:
        state.counters.unsent += 1
        _give_back(state, message, unsent=True)
        state.totals.move(states.IN_FLIGHT, states.QUEUED)
        schedule.put_back(state, message, now)


def _refused(state: State, carrier: Carrier, message: Message, status: int, now: Now) -> None:
    carrier.refused[status] = carrier.refused.get(status, 0) + 1
    _give_back(state, message, unsent=False)
    name = consts.status_name(status)
    if status in THROTTLED:
        carrier.throttled += 1
    elif status in TEMPORARY and message.attempts + 1 < ATTEMPTS_MAX:
        message.attempts += 1
    else:
        final = records.Ending(
            state=states.FAILED,
            outcome="carrier_refused",
            at=now.wall,
            carrier=carrier.name,
            carrier_id=b"",
            submitted_at=message.submitted_at,
            answered_at=now.wall,
            error=b"%03x" % status,
            resends=message.resends,
        )
        note(state, message.id, now, "refused", carrier=carrier.name, detail=name)
        finish.conclude(state, message, states.IN_FLIGHT, final)
        return
    if carrier.paused.get(message.campaign, 0.0) <= now.monotonic:
        # The first of a window that comes back; a row for each, each pause, would be a flood.
        note(state, message.id, now, "put_back", carrier=carrier.name, detail=name)
    carrier.paused[message.campaign] = now.monotonic + carrier.throttle_pause_s
    state.totals.move(states.IN_FLIGHT, states.QUEUED)
    schedule.put_back(state, message, now)


def _final_at_once(
    state: State, carrier: Carrier, message: Message, carrier_id: bytes, now: Now
) -> None:
    """Nobody asked for a receipt: `submitted` is how it ends."""
    final = records.Ending(
        state=states.SUBMITTED,
        outcome="",
        at=now.wall,
        carrier=carrier.name,
        carrier_id=carrier_id,
        submitted_at=message.submitted_at,
        answered_at=now.wall,
        error=b"",
        resends=message.resends,
    )
    state.machine.open.writes[tables.FINAL][ids.to_key(message.id)] = records.encode(final)


def _give_back(state: State, message: Message, *, unsent: bool) -> None:
    for charge in state.charges.pop(message.id, ()):
        charge.limit.give_back(charge, unsent=unsent)
        if charge.limit.dirty:
            state.dirty_limits.add(charge.limit)


def _policy(state: State, campaign: str) -> tuple[str, int]:
    entry = state.catalog.campaigns.get(campaign)
    policy = state.policy.in_doubt
    resends = state.policy.in_doubt_resends
    if entry is not None:
        policy = entry.in_doubt or policy
        resends = resends if entry.in_doubt_resends is None else entry.in_doubt_resends
    return policy, resends
