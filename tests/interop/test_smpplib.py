"""An application with smpplib, the SMPP client that most Python programs use, against the daemon."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import smpplib.client
import smpplib.consts
import smpplib.exceptions
import smpplib.gsm

from bench.gateway import Carrier, GatewayProcess
from bench.process import SimulatorProcess
from tests.daemon.peers import FAST, HANDSET
from tests.daemon.stage import Stage, audit, bound

WAIT_S = 10.0


@pytest.fixture(scope="module")
def simulator(module_stage: Stage) -> SimulatorProcess:
    return module_stage.simulator("--receipt-on=any")


@pytest.fixture(scope="module")
def gateway(module_stage: Stage, simulator: SimulatorProcess) -> GatewayProcess:
    gateway = module_stage.gateway([Carrier("a", simulator.address)])
    bound(simulator, 2)
    return gateway


class App:
    """smpplib in this thread; it keeps what comes."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        # With its default it gives up a link on which a vendor's TLV comes.
        self.client = smpplib.client.Client(
            host, int(port), timeout=WAIT_S, allow_unknown_opt_params=True
        )
        self.sent: list[Any] = []
        self.received: list[Any] = []
        self.refused: list[Any] = []
        self.client.set_message_sent_handler(keeper(self.sent))
        self.client.set_message_received_handler(keeper(self.received))
        self.client.set_error_pdu_handler(keeper(self.refused))
        self.client.connect()

    def submit(self, text: str, *, source: str = FAST, **fields: Any) -> list[Any]:
        parts, encoding, udhi = smpplib.gsm.make_parts(text)
        return [
            self.client.send_message(
                source_addr_ton=smpplib.consts.SMPP_TON_INTL,
                source_addr_npi=smpplib.consts.SMPP_NPI_ISDN,
                source_addr=source,
                dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
                dest_addr_npi=smpplib.consts.SMPP_NPI_ISDN,
                destination_addr=HANDSET,
                short_message=part,
                data_coding=encoding,
                esm_class=udhi,
                registered_delivery=True,
                **fields,
            )
            for part in parts
        ]

    def read_until(self, kept: list[Any], count: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while len(kept) < count:
            assert time.monotonic() < deadline, "nothing more comes"
            self.client.read_once(auto_send_enquire_link=False)


def keeper(kept: list[Any]) -> Callable[[Any], None]:
    """A handler that keeps what it is given, by position or by name."""

    def keep(pdu: Any) -> None:
        kept.append(pdu)

    return keep


@contextlib.contextmanager
def application(address: str) -> Iterator[App]:
    app = App(address)
    try:
        yield app
    finally:
        with contextlib.suppress(smpplib.exceptions.ConnectionError, smpplib.exceptions.PDUError):
            app.client.unbind()
        app.client.disconnect()


def test_it_binds_sends_reads_its_receipts_and_unbinds(gateway: GatewayProcess) -> None:
    with application(gateway.smpp) as app:
        answer = app.client.bind_transceiver(system_id="shop", password="secret")
        assert b"smppgate" == answer.system_id
        text = "Hello from smpplib, in a text that needs more than one segment. " * 4
        parts = app.submit(text) + app.submit("short") + app.submit("ünïcödé ✓ 你好")
        assert 4 == len(parts)

        app.read_until(app.sent, len(parts))
        app.read_until(app.received, len(parts))

        numbers = {part.sequence for part in parts}
        assert numbers == {pdu.sequence for pdu in app.sent}
        ids = {pdu.message_id for pdu in app.sent}
        assert len(parts) == len(ids)
        assert ids == {pdu.receipted_message_id for pdu in app.received}
        for pdu in app.received:
            assert 0x04 == pdu.esm_class
            assert b"id:" + pdu.receipted_message_id in pdu.short_message
            assert smpplib.consts.SMPP_MESSAGE_STATE_DELIVERED == pdu.message_state
            assert (HANDSET.encode(), FAST.encode()) == (pdu.source_addr, pdu.destination_addr)
    assert 0 == audit(gateway)["counted"]["submitted"]


def test_a_refused_message_is_an_error_that_it_knows_how_to_read(gateway: GatewayProcess) -> None:
    with application(gateway.smpp) as app:
        app.client.bind_transceiver(system_id="shop", password="secret")
        (part,) = app.submit("hello", source="12025559999")

        app.read_until(app.refused, 1)

        assert (0x0401, part.sequence) == (app.refused[0].status, app.refused[0].sequence)


def test_a_wrong_password_is_the_error_that_it_says(gateway: GatewayProcess) -> None:
    with application(gateway.smpp) as app:
        with pytest.raises(smpplib.exceptions.PDUError) as caught:
            app.client.bind_transmitter(system_id="shop", password="wrong")

        assert smpplib.consts.SMPP_ESME_RINVPASWD == caught.value.args[1]


def test_a_message_from_a_handset_reaches_a_receiver(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    with application(gateway.smpp) as app:
        app.client.bind_receiver(system_id="shop", password="secret")
        text = "hello, application"
        number = simulator.send("mo", {"from": HANDSET, "to": FAST, "text": text})

        app.read_until(app.received, 1)

        assert text.encode() == app.received[0].short_message
        assert 0 == simulator.answer(number)["command_status"]
