"""Inbound: what a carrier's deliver_sm brings: receipts, and messages from handsets.

A handset's message is stored, owed to a client, and only then answered. It goes to the client
named by its number, else by the number's campaign, else to the company's only client, else to the
company's first in the configuration. One that belongs to nobody is stored and answered all the
same: the carrier would only repeat it.
"""

from typing import Final

from gateway.model import ids, records, tables
from gateway.model.now import Now
from gateway.relay import outbox, receipts
from gateway.relay.parties import Bind, Client
from gateway.relay.state import State
from gateway.smpp import consts
from gateway.smpp.codec import Sm, pdu
from gateway.smpp.events import Deliver
from gateway.smpp.receipt import decode_receipt, is_receipt

_OK_HEAD: Final = b"\x00\x00\x00\x11\x80\x00\x00\x05\x00\x00\x00\x00"
"""deliver_sm_resp, ESME_ROK, with an empty message_id (SMPP 3.4 section 4.6.2)."""


def delivers(state: State, bind: Bind, events: list[Deliver], now: Now) -> list[bytes]:
    """Handles a batch of deliver_sm; gives the refusals, encoded, to leave at once."""
    if state.room == "none":
        status = consts.ESME_RX_T_APPN
        return [
            pdu(consts.DELIVER_SM_RESP, status, event.sequence_number, b"\0") for event in events
        ]
    turn = state.machine.open
    owed = turn.answers.setdefault(bind.link_id, [])
    for event in events:
        sm = event.sm
        if is_receipt(sm.esm_class):
            receipts.receipt(state, bind.carrier, decode_receipt(sm), now)
        else:
            _message(state, bind, sm, now)
        owed.append(answer_deliver(event.sequence_number))
    turn.events += len(events)
    return []


def answer_deliver(sequence_number: int) -> bytes:
    """The deliver_sm_resp of what is stored."""
    return _OK_HEAD + sequence_number.to_bytes(4, "big") + b"\0"


def client_for(state: State, number: bytes) -> Client | None:
    """The client to whom what handsets send to this number of ours belongs."""
    entry = state.catalog.numbers.get(number)
    if entry is None:
        return None
    named = entry.client or (entry.campaign.client if entry.campaign is not None else None)
    if named and named in state.clients:
        return state.clients[named]
    return next(
        (client for client in state.clients.values() if client.company == entry.company), None
    )


def _message(state: State, bind: Bind, sm: Sm, now: Now) -> None:
    state.counters.inbound += 1
    number = sm.destination_addr
    client = client_for(state, number[1:] if number[:1] == b"+" else number)
    inbound_id = state.ids.take()
    row = records.Inbound(client.name if client else "", bind.carrier.name, now.wall, sm.body)
    turn = state.machine.open
    turn.writes[tables.INBOUND][ids.to_key(inbound_id)] = records.encode(row)
    turn.octets += len(sm.body)
    if client is not None:
        outbox.owe(state, client, inbound_id, sm.body)
