"""One connection to the carrier simulator: the SMSC's side of an SMPP session.

All that runs once per message is in `_take_submits` and `_take_resps` here and in
`ReceiptEncoder.encode`: each handles everything of one read at a time, and all bytes a read causes
leave in one write. Delayed answers and receipts wait in two `Later` queues behind one timer.

It is lenient about the session (no time-outs of its own, no inactivity timer) and strict about
PDUs: what does not parse is answered with the status the specification gives for it, and a stream
that lost step is answered with generic_nack and closed.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections import deque
from typing import Final, cast

from bench import wire
from bench.ledger import quote_address
from bench.receipts import Later, Receipt
from bench.smsc import Account, Mo, Smsc, delay_s
from bench.wire import Frame

# uvloop's default of 64 KiB would pause us in the middle of an ordinary batch of receipts.
WRITE_BUFFER_BYTES_MAX: Final = 1 << 20

# Delayed answers held for one link. A client without a window could otherwise fill our memory.
ANSWERS_WAITING_BYTES_MAX: Final = 64 << 20

_TOKEN: Final = re.compile(rb"#(\d{12})")
_TOKEN_UCS2: Final = re.compile(rb"\0#((?:\0\d){12})")
_TOKEN_BYTES: Final = 13  # with its `#`
# The end of a ledger line without TLVs whose answer was sent once, by registered_delivery.
_USUAL_REST: Final = {bytes((octet,)): b"%d - 1\n" % octet for octet in range(256)}

# submit_sm_resp with a message id of so many octets (section 4.4.2: at most 64).
_PACKERS: Final = [struct.Struct(f">IIII{size}sx").pack for size in range(65)]

# registered_delivery bits 1..0 (section 5.2.17): 1 asks for a receipt, 2 for one on failure only.
_WANTED: Final = {
    "asked": {bytes((octet,)): octet & 3 for octet in range(256)},
    "always": {bytes((octet,)): 1 for octet in range(256)},
    "never": {bytes((octet,)): 0 for octet in range(256)},
}
_ON_FAILURE: Final = 2

# A deliver_sm refused with one of these is sent again: a temporary error of the other side.
_TEMPORARY: Final = frozenset(
    (wire.ESME_RSYSERR, wire.ESME_RMSGQFUL, wire.ESME_RTHROTTLED, wire.ESME_RX_T_APPN)
)

# One submit_sm: source_block, source_addr, dest_block, destination_addr (both addresses as the
# ledger writes them), registered_delivery, token, command_status, TLVs.
_Submit = tuple[bytes, bytes, bytes, bytes, bytes, bytes, int, bytes]


def _echoed(tlvs: bytes) -> bytes:
    """The TLVs that a receipt gives back: a client finds its message again by them."""
    if not tlvs:
        return b""
    found = wire.read_tlvs(tlvs, 0, len(tlvs))
    return b"".join(wire.tlv(t, value) for t, value in found if t == wire.USER_MESSAGE_REFERENCE)


class SmscLink(asyncio.Protocol):
    """One client's connection, from accept to close."""

    def __init__(self, smsc: Smsc, links: set[SmscLink], number: int) -> None:
        self._smsc = smsc
        self._links = links  # where the process keeps all open links
        self._number = number
        self._splitter = wire.Splitter()
        self._account: Account | None = None
        self._transmits = False
        self._receives = False
        self._closing = False
        self._blocked = False  # the peer does not take our bytes
        self._reading = True
        self._held = b""  # one read at most, kept through a silence
        self._answers: Later[list[bytes]] = Later()
        self._answers_bytes = 0
        self._receipts: Later[list[Receipt]] = Later()
        self._ready: deque[Receipt] = deque()
        self._unanswered: dict[int, Receipt] = {}
        self._unanswered_mo: dict[int, Mo] = {}
        self._sent: deque[tuple[int, int, int]] = deque()  # sent_ns, first and last number
        self._sequence_number = 1
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ns = 0
        self._enquired_ns = time.monotonic_ns()

    # -- the connection ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio; the client now has to bind."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self._links.add(self)
        self._smsc.counts["connections"] += 1
        self._smsc.counts["connections_ever"] += 1
        # Not at once: uvloop starts to read after this call, whatever was said within it.
        asyncio.get_running_loop().call_soon(self.update_reading)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """Called by asyncio; what was not answered goes back to the account."""
        self._closing = True
        self._links.discard(self)
        self._smsc.counts["connections"] -= 1
        if self._timer is not None:
            self._timer.cancel()
        account = self._account
        if account is None:
            return
        self._smsc.counts["binds"] -= 1
        account.binds -= 1
        if self._receives:
            account.receivers.remove(self)
        orphans = list(self._unanswered.values())
        self._smsc.counts["receipts_redelivered"] += len(orphans)
        orphans.extend(self._ready)
        for receipts in self._receipts.take_all():
            orphans.extend(receipts)
        account.put_back(orphans)
        self._smsc.mo_waiting.extendleft(reversed(self._unanswered_mo.values()))
        account.kick()
        self._smsc.kick_mo()

    def pause_writing(self) -> None:
        """Called by asyncio: the client reads too slowly, so we stop reading from it."""
        self._blocked = True
        self.update_reading()

    def resume_writing(self) -> None:
        """Called by asyncio: the client has caught up."""
        self._blocked = False
        self.update_reading()
        self.pump()

    def update_reading(self) -> None:
        """Read unless we are silent, or the peer lets our answers pile up."""
        wanted = not (
            self._smsc.silent or self._blocked or self._answers_bytes > ANSWERS_WAITING_BYTES_MAX
        )
        if wanted != self._reading and not self._closing:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def speak_again(self) -> None:
        """Silence is over: what became due meanwhile goes out."""
        self.update_reading()
        held, self._held = self._held, b""
        if held:
            self.data_received(held)
        self._on_timer()

    def drop(self, *, reset: bool) -> None:
        """Close at once; with `reset` so that the peer sees ECONNRESET."""
        self._closing = True
        if reset:
            peer: socket.socket = self._transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # -- reading ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: everything one read brought, and everything it causes."""
        if self._closing:
            return
        if self._smsc.silent:  # read before reading was paused
            self._held += data
            return
        now_ns = time.monotonic_ns()
        buffer, frames = self._splitter.feed(data)
        out: list[bytes] = []
        submits: list[Frame] = []
        resps: list[Frame] = []
        for frame in frames:
            command_id = frame[0]
            if command_id == wire.SUBMIT_SM:
                submits.append(frame)
            elif command_id == wire.DELIVER_SM_RESP:
                resps.append(frame)
            else:
                # Rare; in its place between the submits, so that they meet the right state.
                self._take_submits(buffer, submits, now_ns, out)
                submits = []
                self._take_other(buffer, frame, out)
        if resps:
            self._take_resps(resps, now_ns)
        if submits:
            self._take_submits(buffer, submits, now_ns, out)
        if self._splitter.broken and not self._closing:
            self._smsc.counts["malformed"] += 1
            out.append(wire.pdu(wire.GENERIC_NACK, 0, command_status=wire.ESME_RINVCMDLEN))
            self._closing = True
        self._deliver(self._ready, out)
        if out:
            self._transport.write(b"".join(out))
        if self._closing:
            self._transport.close()
        else:
            self._arm()
        if self._account is not None and self._account.ready:
            self._account.kick()

    def _take_submits(
        self, buffer: bytes, submits: list[Frame], now_ns: int, out: list[bytes]
    ) -> None:
        """Everything that happens to a submit_sm, for all of one read."""
        if not submits or self._closing:
            return
        smsc = self._smsc
        answers: list[bytes] = []
        receipts: list[Receipt] = []
        sources: list[bytes] = []
        refusals: list[int] = []
        lines = smsc.ledger.lines if smsc.ledger is not None else None
        line_head = b"%d %d " % (now_ns, self._number)
        usual, pack, packers = wire.USUAL_SUBMIT_SM.match, wire.HEADER.pack, _PACKERS
        judging, faulty = smsc.judging or not self._transmits, smsc.answers_faulty
        wanted, stat, date = _WANTED[smsc.settings.receipts], smsc.only_stat, smsc.date
        status, tlvs, receipt_tlvs, sent = wire.ESME_ROK, b"", b"", b"1"
        for frame, message_id in zip(submits, smsc.ids.take(len(submits)), strict=True):
            _, _, sequence_number, start, end = frame
            match = usual(buffer, start, end)
            if match is not None and end - match.end() + _TOKEN_BYTES == match[6][0]:
                source_block, source, dest_block, dest, registered, _, token = match.groups()
                status, tlvs, receipt_tlvs = wire.ESME_ROK, b"", b""
            else:
                source_block, source, dest_block, dest, registered, token, status, tlvs = (
                    self._read_unusual(buffer, start, end)
                )
                receipt_tlvs = _echoed(tlvs)
            sources.append(source)
            if judging and not status:
                status = self._judge(source, now_ns)
            if status:
                refusals.append(status)
                answer = pack(wire.HEADER_BYTES, wire.SUBMIT_SM_RESP, status, sequence_number)
                message_id = b"-"
            else:
                size = len(message_id)
                answer = packers[size](
                    17 + size, wire.SUBMIT_SM_RESP, 0, sequence_number, message_id
                )
                if wish := wanted[registered]:
                    final = stat or smsc.draw_stat()
                    if wish != _ON_FAILURE or not final.delivered:
                        addresses = dest_block + source_block
                        receipts.append((message_id, addresses, final, date, receipt_tlvs))
            if faulty:
                sent = self._answer_faultily(answer, answers)
            else:
                answers.append(answer)
            if lines is not None:
                if faulty or tlvs:
                    rest = b"%d %b %b\n" % (registered[0], tlvs.hex().encode() or b"-", sent)
                else:
                    rest = _USUAL_REST[registered]
                code = b"%08x" % status if status else b"00000000"
                values = (line_head, sequence_number, source, dest, code, message_id, token, rest)
                lines.append(b"%b%d %b %b %b %b %b %b" % values)
        smsc.count_submits(sources, refusals, now_ns)
        self._send_answers(answers, now_ns, out)
        if receipts:
            self._put_receipts(receipts, now_ns)

    def _judge(self, source: bytes, now_ns: int) -> int:
        if not self._transmits:
            return wire.ESME_RINVBNDSTS
        return self._smsc.judge(source, now_ns)

    def _read_unusual(self, buffer: bytes, start: int, end: int) -> _Submit:
        """Read a submit_sm with TLVs, without the usual token or address, or a wrong one."""
        status = wire.ESME_RINVCMDLEN
        try:
            body = wire.read_sm_body(buffer, start, end)
            status = wire.ESME_RINVOPTPARSTREAM
            wire.read_tlvs(body.tlvs, 0, len(body.tlvs))
        except wire.WireError:
            self._smsc.counts["malformed"] += 1
            return b"", b"-", b"", b"-", b"\0", b"-", status, b""
        token = _TOKEN.search(buffer, start, end) or _TOKEN_UCS2.search(buffer, start, end)
        return (
            body.source_block,
            quote_address(body.source_addr),
            body.dest_block,
            quote_address(body.destination_addr),
            bytes((body.registered_delivery,)),
            token[1].replace(b"\0", b"") if token is not None else b"-",
            wire.ESME_ROK,
            body.tlvs,
        )

    def _answer_faultily(self, answer: bytes, answers: list[bytes]) -> bytes:
        """Append of this answer what the faults leave of it; the ledger's word for that."""
        smsc = self._smsc
        settings, draw = smsc.settings, smsc.rng.random
        if self._closing or settings.never_answer or draw() < settings.lose_answers:
            smsc.counts["answers_lost"] += 1
            return b"0"
        if draw() < settings.cut_inside_pdu:
            answers.append(answer[: len(answer) // 2])
            smsc.counts["links_cut"] += 1
            self._closing = True  # what comes after it in this read is taken and not answered
            return b"cut"
        answers.append(answer)
        if draw() < settings.repeat_answers:
            answers.append(answer)
            smsc.counts["answers_repeated"] += 1
            return b"2"
        return b"1"

    def _send_answers(self, answers: list[bytes], now_ns: int, out: list[bytes]) -> None:
        delay_ns = self._smsc.answer_delay_ns
        if delay_ns and not self._closing:
            self._answers.put(now_ns, delay_ns, answers)
            self._answers_bytes += sum(map(len, answers))
            self.update_reading()
            return
        if self._closing:  # the half PDU has to be the last thing the peer sees of us
            out += (answer for held in self._answers.take_all() for answer in held)
        out += answers

    def _put_receipts(self, receipts: list[Receipt], now_ns: int) -> None:
        smsc = self._smsc
        if smsc.receipts_faulty:
            receipts = smsc.spread_receipts(receipts)
        if smsc.rewrite_id is not None:
            rewrite = smsc.rewrite_id
            receipts = [(rewrite(r[0]), r[1], r[2], r[3], r[4]) for r in receipts]
        receipts = smsc.count_receipts(receipts)
        delay_ns = smsc.receipt_delay_ns
        if not self._receives or smsc.settings.receipt_on == "any":
            assert self._account is not None  # nothing is accepted before a bind
            self._account.put(receipts, now_ns, delay_ns)
        elif delay_ns:
            self._receipts.put(now_ns, delay_ns, receipts)
        else:
            self._ready.extend(receipts)

    def _take_resps(self, resps: list[Frame], now_ns: int) -> None:
        smsc = self._smsc
        take = self._unanswered.pop
        positive = 0
        again: list[Receipt] = []
        for _, status, sequence_number, _, _ in resps:
            receipt = take(sequence_number, None)
            if receipt is None:
                self._take_mo_resp(sequence_number, status)
            elif status == wire.ESME_ROK:
                positive += 1
            else:
                smsc.receipt_answers[status] += 1
                if status in _TEMPORARY:
                    again.append(receipt)
                else:
                    smsc.counts["receipts_done"] += 1
        if positive:
            smsc.receipt_answers[wire.ESME_ROK] += positive
            smsc.counts["receipts_done"] += positive
        if again:
            smsc.counts["receipts_redelivered"] += len(again)
            self._receipts.put(now_ns, int(smsc.settings.redeliver_ms * 1e6), again)

    def _take_mo_resp(self, sequence_number: int, status: int) -> None:
        mo = self._unanswered_mo.pop(sequence_number, None)
        if mo is None:
            self._smsc.counts["unexpected_resps"] += 1
            return
        self._smsc.counts["mo_answered"] += 1
        mo.reply({"command_status": status, "sent": mo.sent})

    def _take_other(self, buffer: bytes, frame: Frame, out: list[bytes]) -> None:
        command_id, _, sequence_number, _, _ = frame
        if command_id == wire.ENQUIRE_LINK:
            out.append(wire.pdu(wire.ENQUIRE_LINK_RESP, sequence_number))
        elif command_id in wire.BIND_COMMANDS.values():
            self._take_bind(buffer, frame, out)
        elif command_id == wire.UNBIND:
            for answers in self._answers.take_all():  # owed before the unbind_resp
                out += answers
            out.append(wire.pdu(wire.UNBIND_RESP, sequence_number))
            self._closing = True
        elif command_id & wire.RESPONSE == 0:
            status = wire.ESME_RINVCMDID
            out.append(wire.pdu(wire.GENERIC_NACK, sequence_number, command_status=status))

    def _take_bind(self, buffer: bytes, frame: Frame, out: list[bytes]) -> None:
        command_id, _, sequence_number, start, end = frame
        smsc = self._smsc
        try:
            system_id, password = wire.read_bind_body(buffer, start, end)
        except wire.WireError:
            status, system_id = wire.ESME_RINVCMDLEN, ""
        else:
            status = self._bind_status(system_id, password)
        resp = command_id | wire.RESPONSE
        if status:
            smsc.counts["binds_refused"] += 1
            out.append(wire.pdu(resp, sequence_number, command_status=status))
            return
        out.append(wire.pdu(resp, sequence_number, wire.bind_resp_body(system_id)))
        account = smsc.accounts.get(system_id)
        if account is None:
            account = smsc.accounts[system_id] = Account(system_id)
        self._account = account
        account.binds += 1
        smsc.counts["binds"] += 1
        smsc.counts["binds_ever"] += 1
        self._transmits = command_id != wire.BIND_RECEIVER
        self._receives = command_id != wire.BIND_TRANSMITTER
        if self._receives:
            account.receivers.append(self)
            # Not in this read: the bind_resp is to be the first thing the client gets.
            asyncio.get_running_loop().call_soon(self.pump)

    def _bind_status(self, system_id: str, password: str) -> int:
        smsc, settings = self._smsc, self._smsc.settings
        if self._account is not None:
            return wire.ESME_RALYBND
        if settings.system_id not in ("", system_id) or settings.password not in ("", password):
            return wire.ESME_RINVPASWD
        account = smsc.accounts.get(system_id)
        full = settings.max_binds and account is not None and account.binds >= settings.max_binds
        return wire.ESME_RBINDFAIL if full or smsc.refusing_binds else wire.ESME_ROK

    # -- deliver_sm, and everything later ---------------------------------------------------

    def pump(self) -> None:
        """Send what waits for this bind and for its account, as far as the window goes."""
        out: list[bytes] = []
        self._deliver(self._ready, out)
        if self._account is not None:
            self._deliver(self._account.ready, out)
            self._deliver_mo(self._account, out)
        if out:
            self._transport.write(b"".join(out))

    def _room(self) -> int:
        if not self._receives or self._closing or self._blocked or self._smsc.silent:
            return 0
        unanswered = len(self._unanswered) + len(self._unanswered_mo)
        return self._smsc.settings.deliver_window - unanswered

    def _deliver(self, queue: deque[Receipt], out: list[bytes]) -> None:
        if not queue:
            return
        count = min(self._room(), len(queue))
        if count <= 0:
            return
        smsc = self._smsc
        popleft = queue.popleft
        first = self._numbers(count)
        receipts = [popleft() for _ in range(count)]
        smsc.encoder.encode(receipts, first, smsc.date, out, self._unanswered)
        smsc.counts["receipts_sent"] += count

    def _deliver_mo(self, account: Account, out: list[bytes]) -> None:
        while self._smsc.mo_waiting and self._room() > 0:
            mo = self._smsc.next_mo(account.system_id)
            if mo is None:
                return
            sequence_number = self._numbers(1)
            out.append(wire.pdu(wire.DELIVER_SM, sequence_number, mo.body))
            self._unanswered_mo[sequence_number] = mo
            mo.sent += 1
            self._smsc.counts["mo_sent"] += 1

    def _numbers(self, count: int) -> int:
        """The first of `count` sequence_numbers in a row, and when they were used."""
        if self._sequence_number + count > wire.SEQUENCE_NUMBER_MAX:
            self._sequence_number = 1
        first = self._sequence_number
        self._sequence_number += count
        now_ns = time.monotonic_ns()
        if self._sent and now_ns - self._sent[-1][0] < 50_000_000:  # one entry for 50 ms
            sent_ns, earliest, _ = self._sent.pop()
            self._sent.append((sent_ns, min(earliest, first), first + count))
        else:
            self._sent.append((now_ns, first, first + count))
        return first

    def check_time(self, now_ns: int) -> None:
        """Called several times a second: time-outs of deliver_sm, and our own enquire_link."""
        settings = self._smsc.settings
        timeout_ns = int(settings.deliver_timeout_ms * 1e6)
        late: list[Receipt] = []
        while self._sent and (not self._unanswered or self._sent[0][0] + timeout_ns <= now_ns):
            _, first, last = self._sent.popleft()
            if timeout_ns and self._unanswered:
                numbers = [n for n in range(first, last) if n in self._unanswered]
                late += (self._unanswered.pop(number) for number in numbers)
        if late:
            self._smsc.counts["receipts_redelivered"] += len(late)
            self._ready.extendleft(reversed(late))
            self.pump()
        interval_ns = int(settings.enquire_link_s * 1e9)
        bound = self._account is not None and not self._closing and not self._smsc.silent
        if interval_ns and bound and now_ns - self._enquired_ns >= interval_ns:
            self._enquired_ns = now_ns
            self._transport.write(wire.pdu(wire.ENQUIRE_LINK, self._numbers(1)))

    def _arm(self) -> None:
        dues = [due for due in (self._answers.next_due_ns(), self._receipts.next_due_ns()) if due]
        if not dues or self._closing:
            return
        due_ns = min(dues)
        if self._timer is not None:
            if self._timer_due_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer_due_ns = due_ns
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s(due_ns), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._closing or self._smsc.silent:
            return
        now_ns = time.monotonic_ns()
        out: list[bytes] = []
        for answers in self._answers.due(now_ns):
            self._answers_bytes -= sum(map(len, answers))
            out += answers
        for receipts in self._receipts.due(now_ns):
            self._ready.extend(receipts)
        if out:
            self._transport.write(b"".join(out))
            self.update_reading()
        self.pump()
        self._arm()
