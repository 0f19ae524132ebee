"""Delivery receipts: what is known of one, how it looks on the wire, and when it is due.

A receipt waits as a small tuple and becomes a deliver_sm only when it is sent, so that a backlog of
a million costs little and `done date` is true. Text and TLVs are laid out once per state and
minute (`_Shape`); per message only ids and addresses go in between.

`Later` holds things until they are due, one queue per length of delay: within a queue the order of
arrival is the order of time, so nothing is ever sorted and one timer per owner is enough.

Nothing here is lost by itself: bounding how many receipts wait is the owner's duty
(`smsc.RECEIPTS_WAITING_MAX`).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from bench import wire
from bench.settings import Stat

T = TypeVar("T")

# message id as the receipt names it; the address blocks, already swapped; state; when submitted
# (YYMMDDhhmm); TLVs to add. A plain tuple, because making a named one costs ten times as much.
Receipt = tuple[bytes, bytes, Stat, bytes, bytes]

# esm_class .. sm_default_msg_id of a receipt: protocol_id, priority_flag, both times,
# registered_delivery, replace_if_present, data_coding and sm_default_msg_id are all zero.
_FIXED: Final = bytes((wire.ESM_CLASS_RECEIPT, 0, 0, 0, 0, 0, 0, 0, 0))
# service_type is empty: its NUL comes right after the header.
_HEADER_AND_SERVICE_TYPE: Final = struct.Struct(">IIIIx")


class _Shape(NamedTuple):
    """The parts of a receipt that do not change from message to message."""

    length: int  # of the whole PDU without addresses and added TLVs
    head: bytes
    middle: bytes
    tail: bytes


class ReceiptEncoder:
    """Lays receipts out in one of the forms `both`, `text` and `tlv`."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._shapes: dict[tuple[Stat, bytes, int], _Shape] = {}
        self._done_date = b""

    def encode(
        self,
        receipts: Iterable[Receipt],
        sequence_number: int,
        done_date: bytes,
        out: list[bytes],
        unanswered: dict[int, Receipt],
    ) -> int:
        """Append the PDUs to `out` and the receipts to `unanswered`; the next sequence_number."""
        if done_date != self._done_date:
            self._shapes.clear()
            self._done_date = done_date
        pack = _HEADER_AND_SERVICE_TYPE.pack
        both = self._form == "both"
        last_stat, last_date, last_size = None, b"", -1
        for receipt in receipts:
            message_id, addresses, stat, submit_date, tlvs = receipt
            size = len(message_id)
            if stat is not last_stat or submit_date is not last_date or size != last_size:
                last_stat, last_date, last_size = stat, submit_date, size
                length, head, middle, tail = self._shape_of(stat, submit_date, size)
            header = pack(length + len(addresses) + len(tlvs), wire.DELIVER_SM, 0, sequence_number)
            if both:
                out += (header, addresses, head, message_id, middle, message_id, tail, tlvs)
            else:
                out += (header, addresses, head, message_id, middle, tlvs)
            unanswered[sequence_number] = receipt
            sequence_number += 1
        return sequence_number

    def _shape_of(self, stat: Stat, submit_date: bytes, id_length: int) -> _Shape:
        shape = self._shapes.get((stat, submit_date, id_length))
        return shape or self._shape(stat, submit_date, id_length)

    def _shape(self, stat: Stat, submit_date: bytes, id_length: int) -> _Shape:
        after_id = b" sub:001 dlvrd:%b submit date:%b done date:%b stat:%b err:%b text:" % (
            b"001" if stat.delivered else b"000",
            submit_date,
            self._done_date,
            stat.name,
            stat.err,
        )
        text_length = 3 + id_length + len(after_id)
        tlv_head = wire.tlv(wire.RECEIPTED_MESSAGE_ID, bytes(id_length + 1))[:4]
        tlv_tail = b"\0" + wire.tlv(wire.MESSAGE_STATE, bytes((stat.message_state,)))
        if self._form == "tlv":
            parts = (_FIXED + b"\0" + tlv_head, tlv_tail, b"")
        elif self._form == "text":
            parts = (_FIXED + bytes((text_length,)) + b"id:", after_id, b"")
        else:
            parts = (_FIXED + bytes((text_length,)) + b"id:", after_id + tlv_head, tlv_tail)
        ids_length = id_length * (2 if self._form == "both" else 1)
        length = wire.HEADER_BYTES + 1 + ids_length + sum(map(len, parts))
        shape = _Shape(length, *parts)
        self._shapes[stat, submit_date, id_length] = shape
        return shape


def id_rewriter(how: str) -> Callable[[bytes], bytes] | None:
    """For carriers whose receipts spell the id differently from their answers.

    `decimal` takes the answer's id for hexadecimal, `hex` for decimal; an id that is neither stays
    as it is.
    """
    if how == "upper":
        return bytes.upper
    if how == "same":
        return None
    base, spell = (16, b"%d") if how == "decimal" else (10, b"%x")

    def rewrite(message_id: bytes) -> bytes:
        try:
            return spell % int(message_id, base)
        except ValueError:
            return message_id

    return rewrite


class Later(Generic[T]):
    """Things to do later, each with its own delay."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[int, deque[tuple[int, T]]] = {}  # delay_ns -> (due_ns, item)

    def put(self, now_ns: int, delay_ns: int, item: T) -> None:
        """Keep `item` for `delay_ns`."""
        queue = self._queues.get(delay_ns)
        if queue is None:
            queue = self._queues[delay_ns] = deque()
        queue.append((now_ns + delay_ns, item))

    def due(self, now_ns: int) -> list[T]:
        """Take out what is due."""
        items = []
        for delay_ns, queue in list(self._queues.items()):
            while queue and queue[0][0] <= now_ns:
                items.append(queue.popleft()[1])
            if not queue:
                del self._queues[delay_ns]
        return items

    def take_all(self) -> list[T]:
        """Take out everything, due or not."""
        items = [item for queue in self._queues.values() for _, item in queue]
        self._queues.clear()
        return items

    def next_due_ns(self) -> int | None:
        """When the next thing is due; None when nothing waits."""
        if not self._queues:
            return None
        return min(queue[0][0] for queue in self._queues.values() if queue)
