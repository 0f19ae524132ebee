"""The simulator's deliver_sm: receipts in every form, their faults, and inbound messages."""

import re
import time
from collections.abc import Callable

import pytest

from bench import wire
from bench.process import ProcessError
from tests.bench.client import HANDSET, SOURCE, Client, Pdu, message_id
from tests.bench.conftest import Simulators


def receipt_ids(pdu: Pdu) -> tuple[str | None, str | None]:
    """The id in a receipt's text and in its TLV."""
    assert pdu.command_id == wire.DELIVER_SM
    body = wire.read_sm_body(pdu.body, 0, len(pdu.body))
    assert body.esm_class == wire.ESM_CLASS_RECEIPT
    text = re.match(rb"id:(\S+) ", body.short_message)
    value = dict(wire.read_tlvs(body.tlvs, 0, len(body.tlvs))).get(wire.RECEIPTED_MESSAGE_ID)
    return (
        text[1].decode() if text is not None else None,
        value.removesuffix(b"\0").decode() if value is not None else None,
    )


def test_a_receipt_is_what_the_specification_describes(simulators: Simulators) -> None:
    echoed = wire.tlv(wire.USER_MESSAGE_REFERENCE, b"\1\2")
    with Client(simulators()) as client:
        client.submit(registered_delivery=1, tlvs=wire.tlv(0x1401, b"x") + echoed)
        given = message_id(client.receive())
        receipt = client.receive()

    body = wire.read_sm_body(receipt.body, 0, len(receipt.body))
    assert re.fullmatch(
        f"id:{given} sub:001 dlvrd:001 submit date:(\\d{{10}}) done date:(\\d{{10}})"
        " stat:DELIVRD err:000 text:",
        body.short_message.decode(),
    )
    assert (body.source_addr, body.destination_addr) == (HANDSET.encode(), SOURCE.encode())
    assert (body.esm_class, body.registered_delivery) == (0x04, 0)
    assert wire.read_tlvs(body.tlvs, 0, len(body.tlvs)) == [
        (wire.RECEIPTED_MESSAGE_ID, given.encode() + b"\0"),
        (wire.MESSAGE_STATE, b"\2"),
        (wire.USER_MESSAGE_REFERENCE, b"\1\2"),
    ]


def test_a_receipt_comes_when_it_was_asked_for(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        for receipts, stat, registered_delivery, comes in (
            ("asked", "DELIVRD", 0, False),
            ("asked", "DELIVRD", 1, True),
            ("asked", "DELIVRD", 2, False),
            ("asked", "UNDELIV", 2, True),
            ("asked", "DELIVRD", 0x10, False),
            ("always", "DELIVRD", 0, True),
            ("never", "DELIVRD", 1, False),
        ):
            simulator.set(receipts=receipts, receipt_stat_mix=f"{stat}:1")
            client.submit(registered_delivery=registered_delivery)
            given = message_id(client.receive())
            if comes:
                assert receipt_ids(client.receive()) == (given, given)
            client.settle()


def test_no_receipt_comes_for_a_refused_message(simulators: Simulators) -> None:
    with Client(simulators("--errors=0x58:1", "--receipts=always")) as client:
        client.submit()
        assert client.receive().command_status == wire.ESME_RTHROTTLED
        client.settle()


def test_states_come_as_they_are_mixed(simulators: Simulators) -> None:
    mix = "--receipt-stat-mix=DELIVRD:0.5,UNDELIV/4770:0.5"
    with Client(simulators("--receipts=always", mix)) as client:
        client.submit_many(200)
        texts = [client.receive().body for _ in range(400)]

    delivered = sum(b"dlvrd:001" in text and b"stat:DELIVRD err:000" in text for text in texts)
    failed = sum(b"dlvrd:000" in text and b"stat:UNDELIV err:4770" in text for text in texts)
    assert delivered + failed == 200
    assert 60 < failed < 140


def test_a_receipt_comes_in_each_form(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        for form, in_text, in_tlv in (
            ("both", True, True),
            ("text", True, False),
            ("tlv", False, True),
        ):
            simulator.set(receipt_form=form)
            client.submit(registered_delivery=1)
            given = message_id(client.receive())
            expected = (given if in_text else None, given if in_tlv else None)
            assert receipt_ids(client.receive()) == expected


def test_a_receipt_can_spell_the_id_differently(simulators: Simulators) -> None:
    simulator = simulators()
    spellings: tuple[tuple[str, str, Callable[[str], str]], ...] = (
        ("hex", "decimal", lambda given: str(int(given, 16))),
        ("decimal", "hex", lambda given: f"{int(given):x}"),
        ("random", "upper", str.upper),
    )

    with Client(simulator) as client:
        for ids, receipt_ids_as, spell in spellings:
            simulator.set(ids=ids, receipt_ids=receipt_ids_as)
            client.submit(registered_delivery=1)
            expected = spell(message_id(client.receive()))
            assert receipt_ids(client.receive()) == (expected, expected)


def test_receipts_can_be_late_and_can_overtake_the_answer(simulators: Simulators) -> None:
    simulator = simulators("--receipt-delay-ms=60", "--receipts=always")

    with Client(simulator) as client:
        begin = time.monotonic()
        client.submit()
        assert client.receive().command_id == wire.SUBMIT_SM_RESP
        assert client.receive().command_id == wire.DELIVER_SM
        assert time.monotonic() - begin >= 0.06
        simulator.set(receipt_delay_ms=0, answer_delay_ms=50)
        client.submit()
        assert client.receive().command_id == wire.DELIVER_SM
        assert client.receive().command_id == wire.SUBMIT_SM_RESP


@pytest.mark.parametrize("delay_ms", [0, 30])
def test_a_receipt_goes_to_a_receiver_when_a_transmitter_submitted(
    simulators: Simulators, delay_ms: int
) -> None:
    simulator = simulators("--receipts=always", f"--receipt-delay-ms={delay_ms}")

    with (
        Client(simulator, bind_type="receiver", system_id="other") as stranger,
        Client(simulator, bind_type="transmitter") as transmitter,
    ):
        transmitter.submit()
        given = message_id(transmitter.receive())
        with Client(simulator, bind_type="receiver") as receiver:
            assert receipt_ids(receiver.receive()) == (given, given)
        stranger.settle()


def test_receipts_can_go_to_any_bind(simulators: Simulators) -> None:
    simulator = simulators("--receipts=always", "--receipt-on=any")

    with Client(simulator) as first, Client(simulator) as second:
        for _ in range(2):
            first.submit()
            simulator.wait_stats(lambda stats: stats["submits"] == stats["receipts"]["sent"])
        of_first = [first.receive().command_id for _ in range(3)]
        of_second = second.receive().command_id

    assert sorted(of_first) == [wire.DELIVER_SM, wire.SUBMIT_SM_RESP, wire.SUBMIT_SM_RESP]
    assert of_second == wire.DELIVER_SM


def test_receipts_can_be_lost(simulators: Simulators) -> None:
    simulator = simulators("--receipts=always", "--lose-receipts=1")

    with Client(simulator) as client:
        client.submit()
        client.receive()
        client.settle()

    assert simulator.stop()["receipts"]["lost"] == 1


def test_receipts_can_be_repeated(simulators: Simulators) -> None:
    with Client(simulators("--receipts=always", "--repeat-receipts=1")) as client:
        client.submit()
        client.receive()
        first, second = client.receive_many(2, wire.DELIVER_SM)
        client.settle()

    assert first.sequence_number != second.sequence_number
    assert first.body == second.body


def test_no_more_than_the_window_is_unanswered(simulators: Simulators) -> None:
    simulator = simulators("--receipts=always", "--deliver-window=5")

    with Client(simulator) as client:
        client.submit_many(20)
        pdus = [client.receive() for _ in range(25)]
        client.settle()
        delivers = [pdu for pdu in pdus if pdu.command_id == wire.DELIVER_SM]
        assert len(delivers) == 5
        client.respond(delivers[0])
        client.respond(delivers[1])
        delivers += client.receive_many(2, wire.DELIVER_SM)
        client.settle()
        stats = simulator.stats()

    assert len({receipt_ids(pdu) for pdu in delivers}) == 7
    assert stats["receipts"]["sent"] == 7
    assert stats["receipts"]["by_status"] == {"0x00000000": 2}
    assert stats["receipts"]["waiting"] == 18


def test_an_unanswered_receipt_comes_again_on_the_next_bind(simulators: Simulators) -> None:
    simulator = simulators("--receipts=always", "--deliver-window=2")

    with Client(simulator) as client:
        client.submit_many(3)
        given = [message_id(client.receive())]
        pdus = [client.receive() for _ in range(4)]
        client.settle()
        given += [message_id(pdu) for pdu in pdus if pdu.command_id == wire.SUBMIT_SM_RESP]
        client.respond(next(pdu for pdu in pdus if pdu.command_id == wire.DELIVER_SM))
        client.receive()
    simulator.set(deliver_window=10)
    with Client(simulator) as client:
        again = client.receive_many(2, wire.DELIVER_SM)
        for pdu in again:
            client.respond(pdu)
        stats = simulator.wait_stats(lambda stats: not stats["receipts"]["waiting"])

    assert [receipt_ids(pdu)[0] for pdu in again] == given[1:]
    assert stats["receipts"]["redelivered"] == 2


def test_a_receipt_refused_for_now_comes_again_and_one_refused_for_good_does_not(
    simulators: Simulators,
) -> None:
    simulator = simulators("--receipts=always", "--redeliver-ms=30")

    with Client(simulator) as client:
        client.submit()
        client.receive()
        first = client.receive()
        client.respond(first, wire.ESME_RX_T_APPN)
        second = client.receive()
        client.respond(second, 0x65)  # ESME_RX_P_APPN
        stats = simulator.wait_stats(lambda stats: not stats["receipts"]["waiting"])
        client.receive_nothing(0.06)

    assert first.body == second.body
    assert stats["receipts"]["by_status"] == {"0x00000064": 1, "0x00000065": 1}


def test_a_receipt_never_answered_comes_again_after_the_timeout(simulators: Simulators) -> None:
    simulator = simulators("--receipts=always", "--deliver-timeout-ms=150")

    with Client(simulator) as client:
        client.submit()
        client.receive()
        first, second = client.receive(), client.receive()
        client.respond(second)
        client.respond(first)
        stats = simulator.wait_stats(lambda stats: stats["unexpected_resps"] == 1)

    assert first.body == second.body
    assert stats["receipts"]["waiting"] == 0


def test_an_inbound_message_is_answered_with_the_clients_status(simulators: Simulators) -> None:
    simulator = simulators()
    command = {
        "from": "+13105550123",
        "to": "12025550100",
        "text": "STOP",
        "esm_class": 0x40,
        "tlvs": [[0x1401, "0aff"]],
    }

    with Client(simulator) as client:
        number = simulator.send("mo", command)
        inbound = client.receive()
        client.respond(inbound, wire.ESME_RX_T_APPN)
        answer = simulator.answer(number)

    body = wire.read_sm_body(inbound.body, 0, len(inbound.body))
    assert body == (
        wire.address_block("13105550123"),
        b"13105550123",
        wire.address_block("12025550100"),
        b"12025550100",
        0x40,
        0,
        0,
        b"STOP",
        bytes.fromhex("1401 0002 0aff"),
    )
    assert answer["command_status"] == wire.ESME_RX_T_APPN


def test_a_text_beyond_ascii_is_sent_as_ucs2_and_hex_as_it_is(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        bodies = []
        for how in ({"text": "\N{SNOWMAN}"}, {"hex": "0005ff", "data_coding": 4}):
            simulator.send("mo", {"from": "1", "to": "2", **how})
            pdu = client.receive()
            body = wire.read_sm_body(pdu.body, 0, len(pdu.body))
            bodies.append((body.data_coding, body.short_message))

    assert bodies == [(8, bytes.fromhex("2603")), (4, bytes.fromhex("0005ff"))]


def test_an_inbound_message_waits_for_a_bind_and_comes_again_after_a_lost_link(
    simulators: Simulators,
) -> None:
    simulator = simulators()
    number = simulator.send("mo", {"from": "1", "to": "2", "text": "STOP", "system_id": "gw"})

    with Client(simulator, system_id="other") as stranger:
        with Client(simulator) as client:
            assert client.receive().command_id == wire.DELIVER_SM
        with Client(simulator) as client:
            client.respond(client.receive())
            answer = simulator.answer(number)
        stranger.settle()

    assert (answer["command_status"], answer["sent"]) == (0, 2)
    assert simulator.stats()["mo"] == {"waiting": 0, "sent": 2, "answered": 1}


def test_an_inbound_message_without_addresses_is_refused(simulators: Simulators) -> None:
    with pytest.raises(ProcessError, match="to: missing"):
        simulators().ask("mo", {"from": "1", "text": "STOP"})
