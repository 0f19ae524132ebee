"""What strace saw of a daemon: which octets left on which socket, and which were flushed before.

A call is what lies between the line on which it began and the line on which it ended. A row is on
disk, as LMDB does it, once three things have happened one after the other: a page with the row in
it was written to the data file; the data file was flushed; and a meta page, which names the root
of it all, was written through a descriptor that flushes with every write (O_DSYNC).
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import wire

CALLS = "openat,close,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,msync,sendto,sendmsg"
STRING_MAX = 1 << 20
WRITES = frozenset(("write", "writev", "pwrite64", "pwritev", "pwritev2"))
FLUSHES = frozenset(("fdatasync", "fsync", "msync"))
SENDS = frozenset(("sendto", "sendmsg"))

NAMES = {
    wire.SUBMIT_SM_RESP: "submit_sm_resp",
    wire.DELIVER_SM_RESP: "deliver_sm_resp",
    wire.SUBMIT_SM: "submit_sm",
    wire.DELIVER_SM: "deliver_sm",
}
DATA_FILE = b"/data.mdb"
WAIT_S = 20.0

_LINE = re.compile(r"(\d+)\s+(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Call(NamedTuple):
    """One system call: its lines, its first argument, the octets it was given, its result."""

    began: int
    ended: int
    name: str
    arguments: str
    data: bytes
    result: int

    @property
    def descriptor(self) -> int:
        found = re.match(r"\d+", self.arguments)
        return int(found[0]) if found else -1


class Sent(NamedTuple):
    """One PDU, and the line on which its first octet was handed to the kernel."""

    line: int
    command_id: int
    command_status: int
    sequence_number: int
    body: bytes


def traced(path: Path) -> tuple[str, ...]:
    """The command that traces another, which stays the child of whoever starts it."""
    return (
        *("strace", "-D", "-f", "-o", str(path), "-xx", "-s", str(STRING_MAX)),
        *("-e", f"trace={CALLS}", "-e", "signal=none"),
    )


def wait_traced(path: Path) -> None:
    """The traced process has ended; waits until strace has written all of it."""
    deadline = time.monotonic() + WAIT_S
    first = path.read_text().split(maxsplit=1)[0]
    ended = re.compile(rf"^{first}\s.*\+\+\+ exited with", re.MULTILINE)
    while not ended.search(path.read_text()):
        assert time.monotonic() < deadline, "strace has not written the end"
        time.sleep(0.01)


class Trace:
    """One daemon's life."""

    def __init__(self, path: Path) -> None:
        self.calls = list(read(path))
        self._writes: list[Call] = []
        """Pages of the data file."""
        self._flushes: list[tuple[int, int]] = []
        """When a flush of the data file began, and when the meta page behind it was on disk."""
        self._find_flushes()
        self.sent = list(self._find_sent())
        self._texts = self._find_texts()

    def answers(self, name: str) -> list[Sent]:
        """The PDUs of one kind that it sent, all of which are positive."""
        found = [pdu for pdu in self.sent if NAMES.get(pdu.command_id) == name]
        assert all(pdu.command_status == wire.ESME_ROK for pdu in found)
        return found

    def unflushed(self) -> list[Sent]:
        """Those that left before what they say was on disk."""
        effects = [pdu for pdu in self.sent if pdu.command_id in NAMES]
        return [pdu for pdu in effects if not self._is_on_disk(self._row(pdu), pdu.line)]

    def _is_on_disk(self, row: "re.Pattern[bytes]", line: int) -> bool:
        for write in self._writes:
            if write.ended < line and row.search(write.data):
                return any(write.ended < began and done < line for began, done in self._flushes)
        return False

    def _row(self, pdu: Sent) -> "re.Pattern[bytes]":
        """The row that this PDU owes to: by the marks that the test put into its texts and ids."""
        if pdu.command_id == wire.SUBMIT_SM_RESP:
            return _containing(b"out-%05d-" % (pdu.sequence_number - 1))
        if pdu.command_id == wire.DELIVER_SM_RESP:
            number, is_inbound = divmod(pdu.sequence_number - 1, 2)
            return _containing(b"in-%05d-" % number) if is_inbound else _final(number)
        mark = re.search(rb"(out|in)-\d{5}-", pdu.body)
        if mark is not None:
            return _containing(mark[0])
        (message_id,) = re.findall(rb"id:(\w{13}) ", pdu.body)
        return _final(self._texts[message_id])

    def _find_flushes(self) -> None:
        data: set[int] = set()
        meta: set[int] = set()
        flushed = 0
        for call in self.calls:
            if call.name == "openat" and call.data.endswith(DATA_FILE):
                (meta if "O_DSYNC" in call.arguments else data).add(call.result)
            elif call.name in WRITES and call.descriptor in data:
                self._writes.append(call)
            elif call.name in FLUSHES and call.descriptor in data and call.result == 0:
                flushed = call.began
            elif call.name in WRITES and call.descriptor in meta and flushed:
                self._flushes.append((flushed, call.ended))
                flushed = 0

    def _find_sent(self) -> Iterator[Sent]:
        streams: dict[int, list[tuple[int, bytes]]] = {}
        for call in self.calls:
            if call.name == "close":
                yield from _pdus(streams.pop(call.descriptor, []))
            elif call.name in SENDS and call.result > 0:
                octets = call.data[: call.result]
                streams.setdefault(call.descriptor, []).append((call.began, octets))
        for stream in streams.values():
            yield from _pdus(stream)

    def _find_texts(self) -> dict[bytes, int]:
        """The number in the text of each message, by the id that it was given."""
        return {
            pdu.body[:-1]: pdu.sequence_number - 1
            for pdu in self.sent
            if pdu.command_id == wire.SUBMIT_SM_RESP
        }


def read(path: Path) -> Iterator[Call]:
    """The calls, by the line on which they began."""
    calls = []
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(path.read_text().splitlines()):
        found = _LINE.fullmatch(line)
        assert found, line[:200]
        process, text = found.groups()
        began = number
        if text.endswith("<unfinished ...>"):
            begun[process] = (number, text.removesuffix("<unfinished ...>").rstrip())
            continue
        resumed = _RESUMED.fullmatch(text)
        if resumed:
            began, start = begun.pop(process)
            text = start + resumed[1]
        call = _CALL.match(text)
        if call:
            assert '"...' not in text, "strace has cut off a string"
            name, arguments, result = call.groups()
            strings = _STRING.findall(arguments)
            data = bytes.fromhex("".join(strings).replace("\\x", ""))
            calls.append(Call(began, number, name, arguments, data, int(result)))
    return iter(sorted(calls))


def _containing(text: bytes) -> "re.Pattern[bytes]":
    return re.compile(re.escape(text))


def _final(number: int) -> "re.Pattern[bytes]":
    """A row of `final`: 9 fields, delivered, no outcome, when, by carrier a, under this id."""
    return re.compile(
        rb"\x99\x05\xa0\xcb.{8}\xa1a\xc4\x09" + re.escape(b"id-%05d-" % number), re.DOTALL
    )


def _pdus(stream: list[tuple[int, bytes]]) -> Iterator[Sent]:
    """The PDUs of one descriptor's life; nothing if it never spoke SMPP."""
    octets = b"".join(data for _, data in stream)
    lines = [line for line, data in stream for _ in data]
    at = 0
    while at + wire.HEADER_BYTES <= len(octets):
        length, command_id, status, number = wire.HEADER.unpack_from(octets, at)
        if not wire.HEADER_BYTES <= length <= wire.PDU_BYTES_MAX:
            return
        body = octets[at + wire.HEADER_BYTES : at + length]
        yield Sent(lines[at], command_id, status, number, body)
        at += length
