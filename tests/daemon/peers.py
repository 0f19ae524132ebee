"""Blocking SMPP peers of the daemon: an application and a carrier, one PDU at a time.

They speak through `bench.wire`, which the gateway's own codec shares nothing with, and show the
octets as they came. Every wait has a deadline. They answer nothing by themselves: what a test does
not say is not done.
"""

import contextlib
import itertools
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from bench import wire

WAIT_S = 15.0
FAST = "12025550100"
SLOW = "12025550110"
HANDSET = "13105550042"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket that is closed with RST."""


_addresses = itertools.count(1)


def own_address() -> str:
    """A loopback address that nobody has used: what it fails in is held against no other test."""
    number = next(_addresses)
    return f"127.1.{number >> 8}.{number & 0xFF}"


class Pdu(NamedTuple):
    """One PDU; `raw` is all of its octets."""

    command_id: int
    command_status: int
    sequence_number: int
    body: bytes

    @property
    def raw(self) -> bytes:
        return (
            wire.HEADER.pack(
                wire.HEADER_BYTES + len(self.body),
                self.command_id,
                self.command_status,
                self.sequence_number,
            )
            + self.body
        )


class Peer:
    """One socket with PDUs on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._splitter = wire.Splitter()
        self.pdus: list[Pdu] = []
        """What has come and was not asked for yet."""
        self._sequence_number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.settimeout(WAIT_S)
        self.socket.sendall(data)

    def request(self, command_id: int, body: bytes = b"") -> int:
        """Sends a request; its sequence_number."""
        self._sequence_number += 1
        self.send(wire.pdu(command_id, self._sequence_number, body))
        return self._sequence_number

    def respond(self, request: Pdu, body: bytes = b"", *, command_status: int = 0) -> None:
        """Answers a request of the other side."""
        response = request.command_id | wire.RESPONSE
        number = request.sequence_number
        self.send(wire.pdu(response, number, body, command_status=command_status))

    def receive(self, wait_s: float = WAIT_S) -> Pdu:
        """The next PDU; EOFError when the other side has closed."""
        deadline = time.monotonic() + wait_s
        while not self.pdus:
            self._read(deadline)
        return self.pdus.pop(0)

    def receive_a(self, command_id: int, wait_s: float = WAIT_S) -> Pdu:
        """The next PDU of this kind; others stay where they are."""
        deadline = time.monotonic() + wait_s
        while True:
            for place, pdu in enumerate(self.pdus):
                if pdu.command_id == command_id:
                    return self.pdus.pop(place)
            self._read(deadline)

    def receive_many(self, command_id: int, count: int) -> list[Pdu]:
        """The next PDUs of this kind."""
        return [self.receive_a(command_id) for _ in range(count)]

    def receive_end(self, wait_s: float = WAIT_S) -> None:
        """The other side closes, and says nothing before."""
        try:
            pdu = self.receive(wait_s)
        except (EOFError, ConnectionError):
            return
        raise AssertionError(f"unexpected {pdu}")

    def settle(self) -> None:
        """Nothing is on its way to us: the other side answers an enquire_link next."""
        number = self.request(wire.ENQUIRE_LINK)
        assert self.receive() == Pdu(wire.ENQUIRE_LINK_RESP, 0, number, b"")

    def settle_with(self, command_id: int, count: int) -> None:
        """So many of this kind have come, nothing else, and nothing more is on its way."""
        number = self.request(wire.ENQUIRE_LINK)
        self.receive_a(wire.ENQUIRE_LINK_RESP)
        assert [command_id] * count == [pdu.command_id for pdu in self.pdus], number

    def _read(self, deadline: float) -> None:
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError
        buffer, frames = self._splitter.feed(data)
        for command_id, status, number, start, end in frames:
            self.pdus.append(Pdu(command_id, status, number, buffer[start:end]))
        assert not self._splitter.broken


class Esme(Peer):
    """An application. Bound from the start unless told otherwise; closes without unbinding."""

    def __init__(
        self,
        address: str,
        *,
        bind_type: str = "transceiver",
        system_id: str = "shop",
        password: str = "secret",
        is_bound: bool = True,
        receive_bytes: int = 0,
        send_bytes: int = 0,
        source: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`source`: the address to come from; `tls`: how to speak TLS, to `localhost`."""
        host, _, port = address.rpartition(":")
        sock = socket.socket()
        try:
            if source:
                sock.bind((source, 0))
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            if send_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
            sock.settimeout(WAIT_S)
            sock.connect((host, int(port)))
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname="localhost")
        except OSError:
            sock.close()
            raise
        super().__init__(sock)
        if is_bound:
            try:
                answer = self.bind(bind_type, system_id, password)
                assert wire.ESME_ROK == answer.command_status, hex(answer.command_status)
            except BaseException:
                self.close()
                raise

    def bind(
        self, bind_type: str = "transceiver", system_id: str = "shop", password: str = "secret"
    ) -> Pdu:
        command_id = wire.BIND_COMMANDS[bind_type]
        self.request(command_id, wire.bind_body(system_id, password))
        return self.receive_a(command_id | wire.RESPONSE)

    def unbind(self) -> None:
        """Unbinds as one should, and closes."""
        number = self.request(wire.UNBIND)
        assert self.receive() == Pdu(wire.UNBIND_RESP, 0, number, b"")
        self.receive_end()
        self.close()

    def submit(self, token: int = 1, **fields: object) -> Pdu:
        """Submits one message; its answer."""
        self.submit_nowait(token, **fields)
        return self.receive_a(wire.SUBMIT_SM_RESP)

    def submit_nowait(self, token: int = 1, **fields: object) -> int:
        return self.request(wire.SUBMIT_SM, submit_body(token, **fields))  # type: ignore[arg-type]

    def receive_receipt(self, wait_s: float = WAIT_S) -> tuple[str, str]:
        """The next deliver_sm, a receipt, answered: the id and state that text and TLVs agree on."""
        pdu = self.receive_a(wire.DELIVER_SM, wait_s)
        self.respond(pdu, b"\0")
        return receipt_of(pdu)


class Smsc:
    """A carrier's listener. `accept` waits for the daemon's next bind and answers it."""

    def __init__(self, *, receive_bytes: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        if receive_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.address = "{}:{}".format(*self._listener.getsockname())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._listener.close()

    def accept(self) -> Peer:
        return self._accept()[0]

    @contextlib.contextmanager
    def accept_as(self) -> Iterator[tuple[Peer, int]]:
        """The same, with the command_id that it bound with."""
        peer, command_id = self._accept()
        with peer:
            yield peer, command_id

    def _accept(self) -> tuple[Peer, int]:
        self._listener.settimeout(WAIT_S)
        sock = self._listener.accept()[0]
        if self._tls is not None:
            sock.settimeout(WAIT_S)
            sock = self._tls.wrap_socket(sock, server_side=True)
        peer = Peer(sock)
        request = peer.receive()
        assert request.command_id in wire.BIND_COMMANDS.values()
        peer.respond(request, wire.bind_resp_body("smsc"))
        return peer, request.command_id


def submit_body(
    token: int = 1,
    *,
    source: str = FAST,
    dest: str = HANDSET,
    registered_delivery: int = 1,
    text: bytes | None = None,
    tlvs: bytes = b"",
) -> bytes:
    """The body of a submit_sm whose text begins with a token that the ledger knows."""
    return wire.sm_body(
        wire.address_block(source),
        wire.address_block(dest),
        b"#%012d hello" % token if text is None else text,
        registered_delivery=registered_delivery,
        tlvs=tlvs,
    )


def message_id(answer: Pdu) -> str:
    """The id in a positive submit_sm_resp."""
    assert (wire.SUBMIT_SM_RESP, wire.ESME_ROK) == answer[:2], answer
    assert answer.body.endswith(b"\0")
    return answer.body[:-1].decode()


def receipt_of(pdu: Pdu) -> tuple[str, str]:
    """The id and the state of a receipt, which text and TLVs agree on."""
    body = wire.read_sm_body(pdu.body, 0, len(pdu.body))
    assert wire.ESM_CLASS_RECEIPT == body.esm_class & wire.ESM_CLASS_TYPE_MASK
    fields = dict(
        field.split(":", 1)
        for field in body.short_message.decode().replace(" date:", "_date:").split(" ")
        if ":" in field
    )
    tlvs = dict(wire.read_tlvs(body.tlvs, 0, len(body.tlvs)))
    assert fields["id"].encode() + b"\0" == tlvs[wire.RECEIPTED_MESSAGE_ID]
    assert wire.MESSAGE_STATES[fields["stat"]] == tlvs[wire.MESSAGE_STATE][0]
    return fields["id"], fields["stat"]


def carrier_receipt(request: Pdu, carrier_id: str) -> bytes:
    """The body of a carrier's receipt for a submit_sm: delivered."""
    body = wire.read_sm_body(request.body, 0, len(request.body))
    text = (
        f"id:{carrier_id} sub:001 dlvrd:001 submit date:2611240000 done date:2611240000"
        " stat:DELIVRD err:000 text:"
    )
    return wire.sm_body(
        body.dest_block, body.source_block, text.encode(), esm_class=wire.ESM_CLASS_RECEIPT
    )


def wait_until(holds: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
    """Looks again and again until it holds."""
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline, f"not in {wait_s:g} s: {what}"
        time.sleep(0.01)


PDU = wire.pdu(wire.SUBMIT_SM, 1, submit_body(registered_delivery=0))

DEAF = {"receive_bytes": 4096, "send_bytes": 65536}
"""A client for which its kernel holds little."""

CLOGGED_S = 0.7
"""A socket that takes nothing for so long is not read."""

FLOOD_MAX = 100_000_000


def flood(esme: Esme) -> int:
    """Submits without reading until nothing more is taken; how many octets were."""
    esme.socket.setblocking(False)
    block, sent = PDU * 2000, 0
    while select.select([], [esme.socket], [], CLOGGED_S)[1]:
        with contextlib.suppress(BlockingIOError):
            sent += esme.socket.send(block[sent % len(PDU) :])
        assert sent < FLOOD_MAX, "it is never paused"
    return sent
