"""Codecs and clients that others wrote, against the bench's bytes."""

import io
import re
from typing import Any

import smpplib.client
import smpplib.consts
from smpp.pdu.pdu_encoding import PDUEncoder

from bench import wire
from bench.traffic import SubmitTemplate
from tests.bench.client import HANDSET, SOURCE, Client, message_id
from tests.bench.conftest import Simulators


def test_python_smpplib_binds_submits_and_gets_its_receipt(simulators: Simulators) -> None:
    simulator = simulators()
    client = smpplib.client.Client(simulator.host, simulator.port, allow_unknown_opt_params=True)
    answers: list[Any] = []
    receipts: list[Any] = []

    def on_answer(pdu: Any) -> None:
        answers.append(pdu)

    def on_receipt(pdu: Any) -> int:
        receipts.append(pdu)
        return int(smpplib.consts.SMPP_ESME_ROK)

    client.set_message_sent_handler(on_answer)
    client.set_message_received_handler(on_receipt)

    client.connect()
    client.bind_transceiver(system_id="gw", password="secret")
    client.send_message(
        source_addr_ton=smpplib.consts.SMPP_TON_INTL,
        source_addr=SOURCE,
        dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
        destination_addr=HANDSET,
        short_message=b"#000000000001 hello",
        registered_delivery=True,
    )
    while not (answers and receipts):
        client.read_once()
    client.unbind()
    client.disconnect()
    stats = simulator.stop()

    given = answers[0].message_id
    assert receipts[0].receipted_message_id == given
    assert receipts[0].message_state == wire.MESSAGE_STATES["DELIVRD"]
    assert receipts[0].short_message.startswith(b"id:" + given + b" sub:001")
    assert receipts[0].source_addr == HANDSET.encode()
    assert stats["receipts"]["by_status"] == {"0x00000000": 1}
    (entry,) = simulator.entries()
    assert (entry.token, entry.message_id) == ("000000000001", given.decode())


def test_smpp_pdu_reads_what_the_generator_sends() -> None:
    template = SubmitTemplate(
        [SOURCE], to_base=int(HANDSET), to_range=1, text_bytes=60, registered_delivery=1
    )
    _, head = next(template.heads)
    body = head + next(template.destinations) + template.middle + b"000000000042" + template.tail

    pdu = PDUEncoder().decode(io.BytesIO(wire.pdu(wire.SUBMIT_SM, 7, body)))

    assert pdu.seqNum == 7
    assert pdu.params["source_addr"] == SOURCE.encode()
    assert pdu.params["destination_addr"] == HANDSET.encode()
    assert re.match(rb"#000000000042 ", pdu.params["short_message"])
    assert len(pdu.params["short_message"]) == 60
    assert pdu.params["registered_delivery"].receipt.name == "SMSC_DELIVERY_RECEIPT_REQUESTED"


def test_smpp_pdu_reads_what_the_simulator_sends(simulators: Simulators) -> None:
    with Client(simulators()) as client:
        client.submit(registered_delivery=1)
        given = message_id(client.receive())
        receipt = client.receive()

    pdu = PDUEncoder().decode(
        io.BytesIO(wire.pdu(wire.DELIVER_SM, receipt.sequence_number, receipt.body))
    )

    assert pdu.params["receipted_message_id"] == given.encode()
    assert pdu.params["message_state"].name == "DELIVERED"
    assert pdu.params["esm_class"].type.name == "SMSC_DELIVERY_RECEIPT"
    assert pdu.params["short_message"].startswith(b"id:" + given.encode())
