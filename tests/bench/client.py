"""A blocking SMPP client for the bench's tests: one socket, one PDU at a time, deadlines on all.

It speaks through `bench.wire`, so it cannot referee it; `test_referees.py` does that with codecs
that others wrote.
"""

import socket
import time
from types import TracebackType
from typing import NamedTuple, Self

from bench import wire
from bench.process import SimulatorProcess

WAIT_S = 5.0
HANDSET = "13105550042"
SOURCE = "12025550100"


class Pdu(NamedTuple):
    command_id: int
    command_status: int
    sequence_number: int
    body: bytes


class Client:
    """Binds on entry unless told otherwise; closes on exit without unbinding."""

    def __init__(
        self,
        simulator: SimulatorProcess,
        *,
        bind_type: str = "transceiver",
        system_id: str = "gw",
        password: str = "secret",
        bind: bool = True,
    ) -> None:
        self.socket = socket.create_connection((simulator.host, simulator.port), WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._splitter = wire.Splitter()
        self._pdus: list[Pdu] = []
        self._sequence_number = 0
        if bind:
            status = self.bind(bind_type, system_id, password).command_status
            assert status == wire.ESME_ROK, hex(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def request(self, command_id: int, body: bytes = b"") -> int:
        """Send a request; its sequence_number."""
        self._sequence_number += 1
        self.socket.sendall(wire.pdu(command_id, self._sequence_number, body))
        return self._sequence_number

    def bind(self, bind_type: str, system_id: str, password: str) -> Pdu:
        self.request(wire.BIND_COMMANDS[bind_type], wire.bind_body(system_id, password))
        return self.receive()

    def submit(
        self,
        text: bytes = b"#000000000001 hello",
        *,
        source: str = SOURCE,
        registered_delivery: int = 0,
        data_coding: int = 0,
        tlvs: bytes = b"",
    ) -> int:
        body = wire.sm_body(
            wire.address_block(source),
            wire.address_block(HANDSET),
            text,
            registered_delivery=registered_delivery,
            data_coding=data_coding,
            tlvs=tlvs,
        )
        return self.request(wire.SUBMIT_SM, body)

    def submit_many(self, count: int, *, first_token: int = 1, source: str = SOURCE) -> None:
        for number in range(first_token, first_token + count):
            self.submit(b"#%012d hello" % number, source=source)

    def respond(self, request: Pdu, command_status: int = 0) -> None:
        self.socket.sendall(
            wire.pdu(
                request.command_id | wire.RESPONSE,
                request.sequence_number,
                b"\0",
                command_status=command_status,
            )
        )

    def receive(self, wait_s: float = WAIT_S) -> Pdu:
        """The next PDU; EOFError when the other side has closed."""
        deadline = time.monotonic() + wait_s
        while not self._pdus:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            buffer, frames = self._splitter.feed(data)
            for command_id, status, number, start, end in frames:
                self._pdus.append(Pdu(command_id, status, number, buffer[start:end]))
        return self._pdus.pop(0)

    def receive_many(self, count: int, command_id: int) -> list[Pdu]:
        """The next `count` PDUs, all of which are of this kind."""
        pdus = [self.receive() for _ in range(count)]
        assert [pdu.command_id for pdu in pdus] == [command_id] * count
        return pdus

    def receive_nothing(self, wait_s: float) -> None:
        """For this long, nothing comes."""
        try:
            pdu = self.receive(wait_s)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected {pdu}")

    def settle(self) -> None:
        """Nothing is on its way to us: an enquire_link is answered next."""
        number = self.request(wire.ENQUIRE_LINK)
        assert self.receive() == Pdu(wire.ENQUIRE_LINK_RESP, 0, number, b"")


def message_id(resp: Pdu) -> str:
    """The id in a positive submit_sm_resp."""
    assert (resp.command_id, resp.command_status) == (wire.SUBMIT_SM_RESP, 0)
    assert resp.body.endswith(b"\0")
    return resp.body[:-1].decode()
