"""ReceiptMap: which of our messages a carrier's id means. One a carrier.

Carriers name a message twice, in the answer to its submit_sm and in its receipt, and not always in
the same spelling. How they differ is the carrier's `receipt_id_mode`, and nothing is ever guessed
across modes:

    same                   the id itself; if nothing has it, the one that differs from it only in
                           leading zeros and in case. If two do, neither is meant
    resp_hex_receipt_dec   a number, hexadecimal in the answer, decimal in the receipt
    resp_dec_receipt_hex   the reverse. An id that is no such number counts as it is spelled

Where an entry is, from the answer on:

    recent    the last RECENT_MAX: the whole message is in memory; what has ended meanwhile is
              remembered as ended, so that a receipt that comes twice is known
    old       up to OLD_MAX more: the id only; the receipt reads the rows
    runs      the rest, on disk (`runs`)
    late      of messages that ended `unknown`: a row each for LATE_KEEP_S, since a late receipt
              corrects that

What is in memory is rebuilt from `awaiting` after a start, in the background (`rebuild`).
"""

import re
from collections import deque
from collections.abc import Iterator
from typing import Final, Literal

from gateway.model import ids, records, states, tables
from gateway.model.records import Message
from gateway.model.view import View
from gateway.relay.runs import Runs

Mode = Literal["same", "resp_hex_receipt_dec", "resp_dec_receipt_hex"]

RECENT_MAX: Final = 20_000
"""Messages a carrier that are kept whole in memory until their receipt: about 15 MB. Most receipts
come within seconds."""

OLD_MAX: Final = 50_000
"""Ids a carrier that are in memory behind them: some 200 octets each, so 10 MB."""

SPILL: Final = 2_000
"""Entries that one batch of answers moves towards a run at most: 2 ms."""

LATE_KEEP_S: Final = 72 * 3600.0
"""How long after `unknown` a late receipt still corrects it."""

ENDED: Final = 0
"""What an id means whose message has ended already: no message has this id."""

_ABSENT: Final = object()
_ZERO_OR_NONE: Final = (b"0", b"")
_is_hex: Final = re.compile(rb"[0-9a-fA-F]+").fullmatch
_BASES: Final[dict[Mode, tuple[int, int]]] = {
    "same": (0, 0),
    "resp_hex_receipt_dec": (16, 10),
    "resp_dec_receipt_hex": (10, 16),
}


class ReceiptMap:
    """The ids of one carrier.

    `awaited` counts the messages whose receipt has not come: those who end one count it down.
    """

    __slots__ = (
        "_answer_base",
        "_collected",
        "_folded",
        "_name",
        "_old",
        "_receipt_base",
        "_recent",
        "_waiting",
        "awaited",
        "is_whole",
        "runs",
    )

    def __init__(self, carrier: str, mode: Mode) -> None:
        self._name = carrier
        self._answer_base, self._receipt_base = _BASES[mode]
        self._waiting: dict[bytes, Message | int | None] = {}
        self._folded: dict[bytes, bytes | None] = {}
        """Of ids that are not spelled as `fold` does: which they are; None if two are folded so."""
        self._recent: deque[bytes] = deque()
        self._old: deque[bytes] = deque()
        self._collected: list[bytes] = []
        self.runs = Runs(carrier)
        self.awaited = 0
        self.is_whole = True
        """Whether all is known that waits: not while `rebuild` reads what earlier starts have sent."""

    def __len__(self) -> int:
        """Entries in memory."""
        return len(self._waiting)

    # From the answer

    def put(self, carrier_id: bytes, message: Message) -> None:
        """The carrier has answered with this id."""
        self.awaited += 1
        if self._answer_base or carrier_id[:1] in _ZERO_OR_NONE or carrier_id != carrier_id.lower():
            carrier_id = self._put(carrier_id, message)
            if not carrier_id:
                return
        else:
            self._waiting[carrier_id] = message
        self._recent.append(carrier_id)

    def restore(self, carrier_id: bytes, message_id: int, view: View) -> None:
        """The same of a message that an earlier start has sent, unless it is known already."""
        key = self._answer_key(carrier_id)
        if key and key in self._waiting:
            return
        self.awaited += 1
        if message_id in self.runs.find(view, self.answer_fold(carrier_id)):
            return
        if self._put(carrier_id, message_id):
            self._old.append(key)

    def make_room(self, rows: dict[bytes, bytes | None], wall: float) -> None:
        """Of the oldest in memory less is kept; `rows` are the open turn's of `runs`."""
        recent, waiting = self._recent, self._waiting
        while len(recent) > RECENT_MAX:
            key = recent.popleft()
            entry = waiting.get(key)
            if entry is None:
                waiting.pop(key, None)
                if self._folded:
                    self._unfold(key)
            elif not isinstance(entry, int):
                waiting[key] = entry.id
                self._old.append(key)
        if len(self._old) > OLD_MAX:
            self._spill(rows, wall)

    # From the receipt

    def take(self, receipt_id: bytes) -> Message | int | None:
        """The message that has exactly this id and waits in memory, or its id; it waits no longer.

        None: `look_further`.
        """
        key = receipt_id if not self._receipt_base else _number(receipt_id, self._receipt_base)
        entry = self._waiting.get(key)
        if entry is None:
            return None
        if isinstance(entry, int):
            self._drop(key)
        else:
            self._waiting[key] = None
        return entry

    def look_further(self, view: View, receipt_id: bytes) -> Message | int | None:
        """The message that this id means all the same; ENDED if that has ended; None if nobody knows.

        One that is on disk and has exactly this id, waiting or `unknown`; else, once all is known
        that waits, the only one whose id is spelled alike.
        """
        key = receipt_id if not self._receipt_base else _number(receipt_id, self._receipt_base)
        folded = self.receipt_fold(receipt_id)
        is_ended = key in self._waiting
        alike: dict[int, bytes] = {}
        on_disk: set[bytes] = set()
        for message_id in self._on_disk(view, folded):
            carrier_id, waits = _row_of(view, message_id, self._name)
            if carrier_id is None or self.answer_fold(carrier_id) != folded:
                continue
            is_exact = carrier_id == receipt_id or self._receipt_base != 0
            if is_exact and waits:
                return message_id
            is_ended = is_ended or is_exact
            if waits:
                alike[message_id] = b""
                on_disk.add(carrier_id)
        if is_ended:
            return ENDED
        if self._receipt_base or not self.is_whole:
            return None
        return self._spelled_alike(folded, alike, on_disk)

    def _spelled_alike(
        self, folded: bytes, alike: dict[int, bytes], on_disk: set[bytes]
    ) -> Message | int | None:
        """The only one in memory or of these on disk; neither if there are two.

        What memory has as ended is `unknown` if the disk has it still.
        """
        other = self._folded.get(folded, b"")
        if other is None:
            return None
        is_ended = False
        for key in (folded, other):
            entry = self._waiting.get(key, _ABSENT)
            if isinstance(entry, Message):
                alike[entry.id] = key
            elif isinstance(entry, int):
                alike[entry] = key
            is_ended = is_ended or (entry is None and key not in on_disk)
        if is_ended or len(alike) != 1:
            return ENDED if is_ended and not alike else None
        ((message_id, key),) = alike.items()
        return self.take(key) if key else message_id

    def give_up(self, carrier_id: bytes, message_id: int) -> None:
        """Its receipt has not come in time; the id may have gone to another message since."""
        key = self._answer_key(carrier_id)
        entry = self._waiting.get(key)
        if (entry.id if isinstance(entry, Message) else entry) == message_id:
            self._drop(key)

    # Spellings

    def answer_fold(self, carrier_id: bytes) -> bytes:
        """One spelling for all in which an answer's id may come again."""
        return _number(carrier_id, self._answer_base) if self._answer_base else fold(carrier_id)

    def receipt_fold(self, receipt_id: bytes) -> bytes:
        """The same spelling, of a receipt's id."""
        return _number(receipt_id, self._receipt_base) if self._receipt_base else fold(receipt_id)

    def _answer_key(self, carrier_id: bytes) -> bytes:
        return _number(carrier_id, self._answer_base) if self._answer_base else carrier_id

    def _put(self, carrier_id: bytes, entry: Message | int) -> bytes:
        """Its key; empty for a message that has no id, which no receipt will name."""
        if not self._answer_base:
            key = carrier_id
            folded = carrier_id.lstrip(b"0").lower()
            if folded != carrier_id and carrier_id:
                folded = folded or b"0"
                is_new = self._folded.get(folded, carrier_id) == carrier_id
                self._folded[folded] = carrier_id if is_new else None
        else:
            key = _number(carrier_id, self._answer_base)
        if key:
            self._waiting[key] = entry
        return key

    def _drop(self, key: bytes) -> None:
        if self._waiting.pop(key, _ABSENT) is not _ABSENT and self._folded:
            self._unfold(key)

    def _unfold(self, key: bytes) -> None:
        folded = fold(key)
        if self._folded.get(folded, b"") in {key, None}:
            del self._folded[folded]

    def _spill(self, rows: dict[bytes, bytes | None], wall: float) -> None:
        waiting, old = self._waiting, self._old
        for _ in range(min(SPILL, len(old) - OLD_MAX)):
            key = old.popleft()
            entry = waiting.get(key)
            if not isinstance(entry, int):
                continue
            self._collected.append(key)
            folded = key if self._answer_base else fold(key)
            if self.runs.collect(folded, entry):
                self.runs.write(rows, wall)
                for collected in self._collected:
                    if isinstance(waiting.get(collected), int):
                        self._drop(collected)
                self._collected.clear()

    def _on_disk(self, view: View, folded: bytes) -> Iterator[int]:
        yield from self.runs.find(view, folded)
        row = view.get(tables.LATE, late_key(self._name, folded))
        if row is not None:
            yield ids.from_key(row[: ids.KEY_LENGTH])


def fold(carrier_id: bytes) -> bytes:
    """The id without leading zeros, in lower case."""
    return carrier_id.lstrip(b"0").lower() or b"0"


def late_key(carrier: str, folded: bytes) -> bytes:
    """The key of a row of `late`."""
    return b"%b\0%b" % (carrier.encode(), folded)


def late_row(message_id: int, wall: float) -> bytes:
    """A row of `late`: the message, and when it became `unknown`, in milliseconds."""
    return ids.to_key(message_id) + int(wall * 1000).to_bytes(8, "big")


def late_since(row: bytes) -> float:
    """When the message of a row of `late` became `unknown`."""
    return int.from_bytes(row[ids.KEY_LENGTH :], "big") / 1000


def _number(carrier_id: bytes, base: int) -> bytes:
    """A number as decimal digits; what is none as it is spelled, apart from all numbers."""
    if carrier_id.isdigit() if base == 10 else _is_hex(carrier_id):
        return b"%d" % int(carrier_id, base)
    return b"=" + fold(carrier_id)


def _row_of(view: View, message_id: int, carrier: str) -> tuple[bytes | None, bool]:
    """The id that this carrier gave to a message, and whether a receipt still means something."""
    key = ids.to_key(message_id)
    row = view.get(tables.AWAITING, key)
    if row is not None:
        waiting = records.decode_awaiting(row)
        return (waiting.carrier_id if waiting.carrier == carrier else None), True
    row = view.get(tables.FINAL, key)
    if row is None:
        return None, False
    ending = records.decode_ending(row)
    is_unknown = ending.state == states.UNKNOWN
    return (ending.carrier_id if ending.carrier == carrier else None), is_unknown
