"""PDUs that smpp.pdu3 built go in over a plain socket, and it can read all that comes back."""

import io
import socket
from typing import Any

import pytest
from smpp.pdu import operations, pdu_types
from smpp.pdu.pdu_encoding import PDUEncoder

from bench.gateway import Carrier, GatewayProcess
from tests.daemon.peers import FAST, HANDSET
from tests.daemon.stage import Stage, bound

WAIT_S = 10.0


@pytest.fixture(scope="module")
def gateway(module_stage: Stage) -> GatewayProcess:
    simulator = module_stage.simulator("--receipt-on=any")
    gateway = module_stage.gateway([Carrier("a", simulator.address)])
    bound(simulator, 2)
    return gateway


class Link:
    """A socket that speaks smpp.pdu3."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), WAIT_S)
        self._file = self.socket.makefile("rb")
        self._encoder = PDUEncoder()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, pdu: Any) -> None:
        self.socket.sendall(self._encoder.encode(pdu))

    def receive(self) -> Any:
        length = self._file.read(4)
        return self._encoder.decode(
            io.BytesIO(length + self._file.read(int.from_bytes(length, "big") - 4))
        )


def test_a_whole_session_in_its_pdus(gateway: GatewayProcess) -> None:
    link = Link(gateway.smpp)
    try:
        bind = operations.BindTransceiver(
            seqNum=1,
            system_id=b"shop",
            password=b"secret",
            system_type=b"",
            address_range=b"",
        )
        link.send(bind)
        answer = link.receive()
        assert isinstance(answer, operations.BindTransceiverResp)
        assert pdu_types.CommandStatus.ESME_ROK == answer.status
        assert b"smppgate" == answer.params["system_id"]

        link.send(submit(2))
        answer = link.receive()
        assert isinstance(answer, operations.SubmitSMResp)
        assert (2, pdu_types.CommandStatus.ESME_ROK) == (answer.seqNum, answer.status)
        receipt = link.receive()
        assert isinstance(receipt, operations.DeliverSM)
        assert answer.params["message_id"] == receipt.params["receipted_message_id"]
        assert pdu_types.MessageState.DELIVERED == receipt.params["message_state"]
        assert b"id:" + answer.params["message_id"] in receipt.params["short_message"]
        esm_class = receipt.params["esm_class"]
        assert pdu_types.EsmClassType.SMSC_DELIVERY_RECEIPT == esm_class.type
        link.send(operations.DeliverSMResp(seqNum=receipt.seqNum))

        link.send(operations.EnquireLink(seqNum=3))
        assert isinstance(link.receive(), operations.EnquireLinkResp)
        link.send(operations.Unbind(seqNum=4))
        assert isinstance(link.receive(), operations.UnbindResp)
        assert b"" == link.socket.recv(1)
    finally:
        link.close()


def test_it_reads_a_refusal_and_a_nack(gateway: GatewayProcess) -> None:
    link = Link(gateway.smpp)
    try:
        link.send(submit(7))
        answer = link.receive()
        assert isinstance(answer, operations.SubmitSMResp)
        assert (7, pdu_types.CommandStatus.ESME_RINVBNDSTS) == (answer.seqNum, answer.status)

        link.socket.sendall(b"\0\0\0\x10\0\0\xbe\xef\0\0\0\0\0\0\0\x09")
        nack = link.receive()
        assert isinstance(nack, operations.GenericNack)
        assert (9, pdu_types.CommandStatus.ESME_RINVCMDID) == (nack.seqNum, nack.status)
    finally:
        link.close()


def submit(sequence_number: int) -> Any:
    ton, npi = pdu_types.AddrTon.INTERNATIONAL, pdu_types.AddrNpi.ISDN
    return operations.SubmitSM(
        seqNum=sequence_number,
        service_type=b"",
        source_addr_ton=ton,
        source_addr_npi=npi,
        source_addr=FAST.encode(),
        dest_addr_ton=ton,
        dest_addr_npi=npi,
        destination_addr=HANDSET.encode(),
        esm_class=pdu_types.EsmClass(
            pdu_types.EsmClassMode.DEFAULT, pdu_types.EsmClassType.DEFAULT
        ),
        protocol_id=0,
        priority_flag=pdu_types.PriorityFlag.LEVEL_0,
        registered_delivery=pdu_types.RegisteredDelivery(
            pdu_types.RegisteredDeliveryReceipt.SMSC_DELIVERY_RECEIPT_REQUESTED
        ),
        replace_if_present_flag=pdu_types.ReplaceIfPresentFlag.DO_NOT_REPLACE,
        data_coding=pdu_types.DataCoding(
            pdu_types.DataCodingScheme.DEFAULT, pdu_types.DataCodingDefault.SMSC_DEFAULT_ALPHABET
        ),
        sm_default_msg_id=0,
        short_message=b"hello from smpp.pdu3",
        user_message_reference=0x1234,
    )
