"""One bind of the load generator: the ESME's side of an SMPP session.

All that runs once per message is in `_append_submits`, `_take_answers` and `_take_delivers`, each
over everything of one read; what a read causes (deliver_sm_resp, and submits for the room it made
in the window) leaves in one write.

It never stops reading because its own writes are held up: it is the side that has to take answers
for the other side to go on. It resends nothing; what was in flight when a link broke is counted
(`Traffic.lose`).
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from typing import Final, cast

from bench import wire
from bench.traffic import Traffic
from bench.wire import Frame

# A receipt as it usually comes, text and TLVs naming the same id. Groups: sm_length, the text, its
# id, the length of TLV receipted_message_id, message_state if it comes next.
_USUAL_RECEIPT: Final = re.compile(
    rb"[^\0]{0,5}\0..[^\0]{0,20}\0..[^\0]{0,20}\0"  # service_type, both addresses
    rb"\x04..\0\0....(.)"  # esm_class of a receipt, no times
    rb"(id:([^ \0]{1,64}) [^\0]*)"
    rb"\x00\x1e\x00(.)\3\x00"
    rb"(?:\x04\x27\x00\x01(.))?",
    re.DOTALL,
)
_ID_IN_TEXT: Final = re.compile(rb"\bid:(\S+)", re.IGNORECASE)
_DELIVER_SM_RESP: Final = struct.Struct(">IIIIx")  # the header and an empty message_id
# In place of a command_status: the connection ended before the bind was answered.
LINK_LOST: Final = -1


class EsmeLink(asyncio.Protocol):
    """One connection, from connect to close. `bound` tells the bind's status, `closed` its end."""

    def __init__(
        self,
        traffic: Traffic,
        *,
        bind_command: int,
        bind_body: bytes,
        window: int,
        paced: bool,
        reads: bool,
        answers_deliver_sm: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.bound: asyncio.Future[int] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.in_flight: dict[int, bytes] = {}  # sequence_number -> token
        self._sampled: dict[int, int] = {}  # sequence_number -> when sent, of some
        self._traffic = traffic
        self._bind_command = bind_command
        self._bind_body = bind_body
        self._window = window
        self._paced = paced
        self._reads = reads
        self._answers_deliver_sm = answers_deliver_sm
        self._transmits = bind_command != wire.BIND_RECEIVER
        self._splitter = wire.Splitter()
        self._sequence_number = 1
        self._ready = False  # bound, and not unbinding
        self._blocked = False
        self._wrote_ns = time.monotonic_ns()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: bind."""
        self._transport = cast("asyncio.Transport", transport)
        self._write([wire.pdu(self._bind_command, self._next_number(), self._bind_body)])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """Called by asyncio; whoever waits for `bound` or `closed` goes on."""
        self._stop_submitting()
        if not self.bound.done():
            self.bound.set_result(LINK_LOST)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Called by asyncio: no more submits for now."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Called by asyncio: fill the window again."""
        self._blocked = False
        if not self._paced:
            self.submit(self._window)

    def submit(self, count: int) -> int:
        """Send up to `count` messages, as far as window and socket go; how many."""
        out: list[bytes] = []
        sent = self._append_submits(count, out)
        self._write(out)
        return sent

    def unbind(self) -> None:
        """Ask to part; the link closes when the answer comes."""
        if self._ready:
            self._stop_submitting()
            self._write([wire.pdu(wire.UNBIND, self._next_number())])
            if not self._reads:
                self._transport.resume_reading()  # for the answer
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def keep_alive(self, now_ns: int, interval_ns: int) -> None:
        """Send enquire_link on a link that has been quiet for so long."""
        if interval_ns and self._ready and now_ns - self._wrote_ns >= interval_ns:
            self._write([wire.pdu(wire.ENQUIRE_LINK, self._next_number())])

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: everything one read brought, and everything it causes."""
        now_ns = time.monotonic_ns()
        buffer, frames = self._splitter.feed(data)
        out: list[bytes] = []
        answers: list[Frame] = []
        delivers: list[Frame] = []
        for frame in frames:
            command_id = frame[0]
            if command_id == wire.SUBMIT_SM_RESP:
                answers.append(frame)
            elif command_id == wire.DELIVER_SM:
                delivers.append(frame)
            else:
                self._take_other(frame, out)
        if answers:
            self._take_answers(buffer, answers, now_ns)
        if delivers:
            self._take_delivers(buffer, delivers, now_ns, out)
        if not self._paced:
            self._append_submits(self._window, out)
        self._write(out)
        if self._splitter.broken:
            self._transport.abort()

    def _stop_submitting(self) -> None:
        if self._ready:
            self._ready = False
            self._traffic.binds -= 1

    def _write(self, out: list[bytes]) -> None:
        if out:
            self._wrote_ns = time.monotonic_ns()
            self._transport.write(b"".join(out))

    def _next_number(self) -> int:
        number = self._sequence_number
        self._sequence_number = number + 1 if number < wire.SEQUENCE_NUMBER_MAX else 1
        return number

    def _append_submits(self, count: int, out: list[bytes]) -> int:
        in_flight = self.in_flight
        count = min(count, self._window - len(in_flight))
        if count <= 0 or not self._ready or self._blocked or not self._transmits:
            return 0
        traffic = self._traffic
        token_number, count = traffic.take_tokens(count)
        if not count:
            return 0
        now_ns = time.monotonic_ns()
        if not traffic.first_submit_ns:
            traffic.first_submit_ns = now_ns
        traffic.last_submit_ns = now_ns
        if self._sequence_number + count > wire.SEQUENCE_NUMBER_MAX:
            self._sequence_number = 1
        number = self._sequence_number
        self._sequence_number += count
        template = traffic.template
        heads, destinations = template.heads, template.destinations
        middle, tail = template.middle, template.tail
        sampled, sample_every = self._sampled, traffic.sample_every
        pack = wire.HEADER.pack
        for sequence_number in range(number, number + count):
            length, head = next(heads)
            destination = next(destinations)
            token = b"%012d" % token_number
            header = pack(length + len(destination), wire.SUBMIT_SM, 0, sequence_number)
            out += (header, head, destination, middle, token, tail)
            in_flight[sequence_number] = token
            if not token_number % sample_every:
                sampled[sequence_number] = now_ns
            token_number += 1
        return count

    def _take_answers(self, buffer: bytes, answers: list[Frame], now_ns: int) -> None:
        traffic = self._traffic
        take, ids, acked = self.in_flight.pop, traffic.ids, traffic.acked
        sampled, strays = self._sampled, traffic.strays
        known = 0
        for _, status, sequence_number, start, end in answers:
            token = take(sequence_number, None)
            if token is None:
                traffic.unexpected_resps += 1
                continue
            known += 1
            sent_ns = sampled.pop(sequence_number, 0) if sampled else 0
            if sent_ns:
                traffic.submit_resp_ns.add(now_ns - sent_ns)
            if status:
                traffic.errors[status] += 1
                known -= 1
                continue
            message_id = buffer[start : buffer.find(b"\0", start, end)]
            if message_id not in ids:
                ids[message_id] = 0
                if strays:
                    traffic.add_early_receipts(message_id)
            if acked is not None:
                acked.append(b"%b %b\n" % (token, message_id))
            if sent_ns:
                traffic.awaiting_receipt[message_id] = sent_ns
        traffic.ok += known
        traffic.last_answer_ns = now_ns

    def _take_delivers(
        self, buffer: bytes, delivers: list[Frame], now_ns: int, out: list[bytes]
    ) -> None:
        traffic = self._traffic
        ids, states, awaiting = traffic.ids, traffic.states, traffic.awaiting_receipt
        pack, answering = _DELIVER_SM_RESP.pack, self._answers_deliver_sm
        usual_receipt = _USUAL_RECEIPT.match
        receipts = distinct = 0
        for _, _, sequence_number, start, end in delivers:
            if answering:
                out.append(pack(17, wire.DELIVER_SM_RESP, 0, sequence_number))
            match = usual_receipt(buffer, start, end)
            if match is None:
                self._take_unusual(buffer, start, end)
                continue
            sm_length, text, message_id, id_length, state = match.groups()
            if len(text) != sm_length[0] or len(message_id) + 1 != id_length[0]:
                self._take_unusual(buffer, start, end)
                continue
            receipts += 1
            count = ids.get(message_id)
            if count is None:
                traffic.add_stray(message_id)
            else:
                ids[message_id] = count + 1
                if not count:
                    distinct += 1
            if state is not None:
                states[state[0]] += 1
            if message_id in awaiting:
                traffic.receipt_ns.add(now_ns - awaiting.pop(message_id))
        traffic.receipts += receipts
        traffic.receipts_distinct += distinct
        traffic.receipts_matching_both += receipts
        traffic.last_receipt_ns = now_ns

    def _take_unusual(self, buffer: bytes, start: int, end: int) -> None:
        """A deliver_sm that is an inbound message, or a receipt in another form."""
        traffic = self._traffic
        try:
            body = wire.read_sm_body(buffer, start, end)
            tlvs = dict(wire.read_tlvs(body.tlvs, 0, len(body.tlvs)))
        except wire.WireError:
            traffic.malformed += 1
            return
        if body.esm_class & wire.ESM_CLASS_TYPE_MASK != wire.ESM_CLASS_RECEIPT:
            traffic.mo += 1
            return
        found = _ID_IN_TEXT.search(body.short_message or tlvs.get(wire.MESSAGE_PAYLOAD, b""))
        in_text = found[1] if found is not None else b""
        in_tlv = tlvs.get(wire.RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0")
        message_id = in_tlv or in_text
        traffic.receipts += 1
        if message_id and in_text == in_tlv:
            traffic.receipts_matching_both += 1
        if message_id in traffic.ids:
            traffic.receipts_distinct += not traffic.ids[message_id]
            traffic.ids[message_id] += 1
        else:
            traffic.add_stray(message_id)
        state = tlvs.get(wire.MESSAGE_STATE)
        if state:
            traffic.states[state[0]] += 1
        sent_ns = traffic.awaiting_receipt.pop(message_id, 0)
        if sent_ns:
            traffic.receipt_ns.add(time.monotonic_ns() - sent_ns)

    def _take_other(self, frame: Frame, out: list[bytes]) -> None:
        command_id, status, sequence_number, _, _ = frame
        if command_id == self._bind_command | wire.RESPONSE and not self.bound.done():
            self.bound.set_result(status)
            if status:
                self._transport.close()
                return
            self._ready = True
            self._traffic.binds += 1
            self._traffic.binds_ever += 1
            if not self._reads:
                self._transport.pause_reading()
        elif command_id == wire.ENQUIRE_LINK:
            out.append(wire.pdu(wire.ENQUIRE_LINK_RESP, sequence_number))
        elif command_id == wire.UNBIND:
            self._stop_submitting()
            out.append(wire.pdu(wire.UNBIND_RESP, sequence_number))  # the peer closes
        elif command_id == wire.UNBIND_RESP:
            self._transport.close()
        elif command_id == wire.GENERIC_NACK and sequence_number in self.in_flight:
            del self.in_flight[sequence_number]
            self._traffic.errors[status] += 1
            self._traffic.last_answer_ns = time.monotonic_ns()
        elif command_id & wire.RESPONSE == 0:
            status = wire.ESME_RINVCMDID
            out.append(wire.pdu(wire.GENERIC_NACK, sequence_number, command_status=status))
