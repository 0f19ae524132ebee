"""The simulator's ledger: one line for every submit_sm it received, to be counted afterwards.

It is the proof of what really reached the carrier: which tokens, how often, how fast. A *token* is
the load generator's mark inside the text, `#` and 12 digits. The file is text, fields separated by
one space, `-` for an empty field:

    time_ns connection sequence_number source_addr destination_addr command_status message_id
    token registered_delivery tlvs answers

`time_ns` is the monotonic clock when the bytes were read (all messages of one read share it),
`command_status` eight hex digits, `tlvs` the TLVs in hex, `answers` how often the answer was sent:
`1`, `0` (lost), `2` (repeated) or `cut` (half of it, then the connection was closed). Addresses
with unusual characters are percent-quoted.

The writer buffers; whoever owns it calls `flush` from a timer and at the end. A process that is
killed loses what was not flushed and may leave half a line, which the reader leaves out. Any other
line that does not parse raises `ValueError`: a ledger that cannot be trusted is worth nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from bench.windows import MINUTE_NS, SECOND_NS, WindowMax

HEADING: Final = b"# bench ledger 1\n"


class LedgerWriter:
    """Appends lines to a file; `lines` is the buffer, and appending to it is the interface."""

    def __init__(self, path: Path) -> None:
        self.lines: list[bytes] = []
        self._file: IO[bytes] = path.open("ab", buffering=0)
        if self._file.tell() == 0:
            self._file.write(HEADING)

    def flush(self) -> None:
        """Write out the buffer; it is empty afterwards, or an exception says why not."""
        if self.lines:
            block = memoryview(b"".join(self.lines))
            self.lines.clear()
            while block:  # an unbuffered write may take less than it was given
                block = block[self._file.write(block) or 0 :]

    def close(self) -> None:
        """Flush and close; nothing may be appended after it."""
        self.flush()
        self._file.close()


def quote_address(address: bytes) -> bytes:
    """An address as a ledger field: no space, no control character, never a bare `-`."""
    return quote_from_bytes(address, safe="+").replace("-", "%2D").encode() or b"-"


class Entry(NamedTuple):
    """One line of a ledger, as the module's docstring lists the fields."""

    time_ns: int
    connection: int
    sequence_number: int
    source_addr: str
    destination_addr: str
    command_status: int
    message_id: str
    token: str
    registered_delivery: int
    tlvs: bytes
    answers: str

    @property
    def accepted(self) -> bool:
        """The simulator took the message, whether or not it said so."""
        return self.command_status == 0


def _parse(line: str) -> Entry:
    fields = ["" if field == "-" else field for field in line.split(" ")]
    if len(fields) != len(Entry._fields):
        raise ValueError(f"not a ledger line: {line!r}")
    return Entry(
        time_ns=int(fields[0]),
        connection=int(fields[1]),
        sequence_number=int(fields[2]),
        source_addr=unquote_to_bytes(fields[3]).decode("latin-1"),
        destination_addr=unquote_to_bytes(fields[4]).decode("latin-1"),
        command_status=int(fields[5], 16),
        message_id=fields[6],
        token=fields[7],
        registered_delivery=int(fields[8]),
        tlvs=bytes.fromhex(fields[9]),
        answers=fields[10],
    )


def read_ledger(path: Path) -> Iterator[Entry]:
    """Entries in the order they were received, one at a time: a ledger may be long."""
    with path.open("r", encoding="ascii", newline="\n") as file:
        for line in file:
            if line.endswith("\n") and not line.startswith("#"):
                yield _parse(line[:-1])


class Tally:
    """What a ledger says, counted per token.

    `received` counts every submit_sm with that token, `accepted` only those taken with
    ESME_ROK: a message that was throttled twice and then taken is no duplicate.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.received: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.by_status: Counter[int] = Counter()
        self.without_token = 0
        for entry in entries:
            self.by_status[entry.command_status] += 1
            if not entry.token:
                self.without_token += 1
                continue
            self.received[entry.token] += 1
            if entry.accepted:
                self.accepted[entry.token] += 1

    def duplicates(self) -> dict[str, int]:
        """Tokens accepted more than once, with how often."""
        return {token: count for token, count in self.accepted.items() if count > 1}

    def missing(self, tokens: Iterable[str]) -> list[str]:
        """Those of `tokens` that were never accepted."""
        return [token for token in tokens if token not in self.accepted]

    def unexpected(self, tokens: Iterable[str]) -> list[str]:
        """Tokens that were accepted although they are not among `tokens`."""
        known = set(tokens)
        return [token for token in self.accepted if token not in known]


def read_acked(path: Path) -> dict[str, str]:
    """Read token -> message id from the file the load generator wrote with `--acked`."""
    acked: dict[str, str] = {}
    with path.open("r", encoding="ascii", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                token, message_id = line.split()
                acked[token] = message_id
    return acked


def by_source(entry: Entry) -> str:
    """Group entries by their source_addr, the usual key of a limit."""
    return entry.source_addr


def window_max_by(
    entries: Iterable[Entry],
    length_ns: int,
    key: Callable[[Entry], Hashable] = by_source,
    *,
    accepted_only: bool = False,
) -> dict[Hashable, int]:
    """The most segments in any window of this length, per key: a source, a campaign, ...

    All that was received counts unless `accepted_only`: a limit is one on what was sent.
    """
    windows: dict[Hashable, WindowMax] = {}
    for entry in sorted(entries, key=lambda entry: entry.time_ns):
        if accepted_only and not entry.accepted:
            continue
        name = key(entry)
        window = windows.get(name)
        if window is None:
            window = windows[name] = WindowMax(length_ns)
        window.add(entry.time_ns, 1)
    return {name: window.maximum for name, window in windows.items()}


def second_max_by_source(entries: Iterable[Entry]) -> dict[Hashable, int]:
    """Per source_addr, the most segments in any window of one second."""
    return window_max_by(entries, SECOND_NS)


def minute_max_by_source(entries: Iterable[Entry]) -> dict[Hashable, int]:
    """Per source_addr, the most segments in any window of one minute."""
    return window_max_by(entries, MINUTE_NS)
