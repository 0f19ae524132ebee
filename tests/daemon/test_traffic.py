"""Real traffic through real processes: what goes in comes out, once, untouched, with its receipt."""

import itertools
import shutil
import time
from pathlib import Path

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess
from bench.ledger import Tally
from bench.process import ProcessError, SimulatorProcess, run_load_process
from tests.daemon import peers
from tests.daemon.held import Scene
from tests.daemon.peers import HANDSET, Esme, Smsc, message_id, submit_body
from tests.daemon.stage import Stage, audit, bound, quiet, wait_settled

CONTRACT = Path(__file__).parent.parent / "contract"
COUNT = 100_000
MEMORY_MAX = 200 * 1024 * 1024

VENDOR = wire.tlv(0x1401, b"a vendor's own")
UNKNOWN = wire.tlv(0x3FFF, bytes(range(256)))
REFERENCE = wire.tlv(wire.USER_MESSAGE_REFERENCE, b"\x12\x34")


def contract_files(folder: Path, carrier: str) -> Path:
    """The contract's files as they stand, with other ports; the configuration's path."""
    text = (CONTRACT / "gateway.toml").read_text()
    for port, instead in (("2775", "0"), ("8080", "0"), ("9464", "0")):
        assert 1 == text.count(f"127.0.0.1:{port}")
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{instead}")
    assert 1 == text.count("127.0.0.1:2776")
    config = folder / "gateway.toml"
    config.write_text(text.replace("127.0.0.1:2776", carrier))
    shutil.copy(CONTRACT / "registry.toml", folder)
    return config


def test_the_contracts_files_carry_100_000_messages_each_once_with_its_receipt(
    stage: Stage, tmp_path: Path
) -> None:
    simulator = stage.simulator()
    config = contract_files(tmp_path, simulator.address)
    gateway = stage.start(config)
    status, answer = gateway.ctl("registry", "import", str(tmp_path / "registry.toml"))
    assert (0, True, []) == (status, answer["applied"], answer["faults"])
    bound(simulator, 2)

    summary = run_load_process(
        gateway.smpp,
        *("--binds", "4", "--window", "100", "--count", str(COUNT)),
        *("--from", "12025550100,12025550101", "--wait-receipts", "30", "--json"),
        timeout_s=110.0,
    )

    assert "complete" == summary["ended"], summary
    assert {} == summary["errors"]
    assert COUNT == summary["ok"] == summary["distinct_ids"]
    assert COUNT == summary["receipts"] == summary["receipts_distinct"]
    assert COUNT == summary["receipts_matching_both"]
    assert {"DELIVRD": COUNT} == summary["receipts_by_state"]
    assert 0 == summary["receipts_stray"] == summary["unexpected_resps"] == summary["links_lost"]
    assert COUNT == audit(gateway)["counted"]["delivered"]
    assert gateway.anonymous_bytes() < MEMORY_MAX
    assert 0 == gateway.stop()
    quiet(gateway)
    stats = simulator.stop()
    assert 0 == stats["unexpected_resps"] == stats["receipts"]["redelivered"] == stats["malformed"]
    tally = Tally(simulator.entries())
    assert COUNT == len(tally.accepted) == tally.accepted.total()
    assert {} == tally.duplicates()
    assert 0 == tally.without_token


@pytest.fixture(scope="module")
def simulator(module_stage: Stage) -> SimulatorProcess:
    return module_stage.simulator()


@pytest.fixture(scope="module")
def gateway(module_stage: Stage, simulator: SimulatorProcess) -> GatewayProcess:
    gateway = module_stage.gateway([Carrier("a", simulator.address)])
    bound(simulator, 2)
    return gateway


def test_a_message_from_a_handset_reaches_the_client_and_is_answered_behind_it(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    tlvs = [[0x1401, "00ff"], [0x0204, "1234"]]
    with Esme(gateway.smpp) as esme:
        command = {"from": HANDSET, "to": peers.FAST, "text": "hello from a handset", "tlvs": tlvs}
        number = simulator.send("mo", command)

        pdu = esme.receive_a(wire.DELIVER_SM)

        body = wire.read_sm_body(pdu.body, 0, len(pdu.body))
        assert (HANDSET.encode(), peers.FAST.encode()) == (body.source_addr, body.destination_addr)
        assert b"hello from a handset" == body.short_message
        assert wire.tlv(0x1401, b"\x00\xff") + wire.tlv(0x0204, b"\x12\x34") == body.tlvs
        assert wire.ESME_ROK == simulator.answer(number)["command_status"]
        esme.respond(pdu, b"\0")
        esme.settle()


def test_a_message_for_a_number_that_nobody_has_is_answered_all_the_same(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    with Esme(gateway.smpp) as esme:
        before = gateway.ask("status")["counters"]["inbound"]

        status = simulator.inbound(HANDSET, "12025559999", "is anybody there?")

        assert wire.ESME_ROK == status
        assert before + 1 == gateway.ask("status")["counters"]["inbound"]
        esme.settle()


def test_a_receipt_waits_for_a_client_that_unbinds_and_binds_again(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    delivered = gateway.ask("status")["messages"]["delivered"]
    simulator.set(receipt_delay_ms=200)
    try:
        first = Esme(gateway.smpp)
        expected = message_id(first.submit())
        first.unbind()
        gateway.wait_status(lambda status: status["messages"]["delivered"] == delivered + 1)
    finally:
        simulator.set(receipt_delay_ms=0)

    with Esme(gateway.smpp) as second:
        assert (expected, "DELIVRD") == second.receive_receipt()
        second.settle()


def test_a_deliver_sm_that_was_not_answered_comes_again_and_an_answered_one_does_not(
    gateway: GatewayProcess,
) -> None:
    with Esme(gateway.smpp) as first:
        expected = message_id(first.submit())
        unanswered = peers.receipt_of(first.receive_a(wire.DELIVER_SM))
    assert (expected, "DELIVRD") == unanswered

    with Esme(gateway.smpp) as second:
        assert unanswered == second.receive_receipt()
        second.settle()

    with Esme(gateway.smpp) as third:
        third.settle()


def test_a_client_that_says_not_now_gets_it_later_and_the_link_lives(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.relay.outbox.RETRY_S", 0.2)
    esme, carrier = scene.esme, scene.carrier
    expected = message_id(esme.submit())
    request = carrier.receive_a(wire.SUBMIT_SM)
    carrier.respond(request, b"id1\0")
    carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, "id1"))
    for status in (wire.ESME_RX_T_APPN, wire.ESME_RMSGQFUL, wire.ESME_RSYSERR):
        pdu = esme.receive_a(wire.DELIVER_SM)
        esme.respond(pdu, b"\0", command_status=status)
        esme.settle()

    assert (expected, "DELIVRD") == esme.receive_receipt()
    esme.settle()


def test_no_receipt_comes_that_was_not_asked_for(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    with Esme(gateway.smpp) as esme:
        simulator.set(receipt_stat_mix="DELIVRD:1")
        esme.submit(registered_delivery=0)
        esme.submit(registered_delivery=2)
        wait_settled(gateway)
        esme.settle()

        simulator.set(receipt_stat_mix="UNDELIV/034:1")
        try:
            esme.submit(registered_delivery=0)
            expected = message_id(esme.submit(registered_delivery=2))
            assert (expected, "UNDELIV") == esme.receive_receipt()
            wait_settled(gateway)
            esme.settle()
        finally:
            simulator.set(receipt_stat_mix="DELIVRD:1")


def test_what_a_client_is_owed_outlives_the_daemon(stage: Stage) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address)])
    bound(simulator, 2)
    esme = stage.esme(gateway)
    expected = [message_id(esme.submit(token)) for token in range(1, 6)]
    seen = [peers.receipt_of(pdu)[0] for pdu in esme.receive_many(wire.DELIVER_SM, 5)]
    assert expected == seen
    assert wire.ESME_ROK == simulator.inbound(HANDSET, peers.FAST, "and this")
    gateway.kill()
    esme.close()

    gateway = stage.start(gateway.config)

    esme = stage.esme(gateway)
    assert expected == [esme.receive_receipt()[0] for _ in expected]
    pdu = esme.receive_a(wire.DELIVER_SM)
    assert b"and this" == wire.read_sm_body(pdu.body, 0, len(pdu.body)).short_message
    esme.respond(pdu, b"\0")
    esme.settle()
    audit(gateway)


BODIES = {
    "a plain text": submit_body(),
    "known, vendor and unknown TLVs": submit_body(tlvs=VENDOR + REFERENCE + UNKNOWN),
    "the same in another order": submit_body(tlvs=UNKNOWN + VENDOR + REFERENCE),
    "a TLV twice": submit_body(tlvs=VENDOR + REFERENCE + VENDOR),
    "every octet": submit_body(text=bytes(range(254))),
    "no text at all": submit_body(text=b""),
    "message_payload": submit_body(text=b"", tlvs=wire.tlv(wire.MESSAGE_PAYLOAD, b"x" * 700)),
    "addresses with a plus": submit_body(source="+" + peers.FAST, dest="+" + HANDSET),
    "an empty TLV": submit_body(tlvs=wire.tlv(0x130C, b"")),
    "service type, class, times, flags": b"WAP\0"
    + wire.address_block(peers.FAST)
    + wire.address_block(HANDSET)
    + bytes((0x40, 0x7F, 2))
    + b"\0"
    + b"991231235959948+\0"
    + bytes((0x11, 0, 0xF6, 0, 8))
    + b"\x05\x00\x03\x07\x02\x01hi",
}


def test_every_octet_reaches_the_carrier_but_registered_delivery_which_asks_for_a_receipt(
    stage: Stage,
) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            for (name, body), wish in itertools.product(BODIES.items(), (0, 1, 2, 0x11)):
                at = registered_delivery_at(body)
                sent = body[:at] + bytes((wish,)) + body[at + 1 :]
                wanted = body[:at] + bytes((wish & ~3 | 1,)) + body[at + 1 :]
                esme.request(wire.SUBMIT_SM, sent)
                message_id(esme.receive_a(wire.SUBMIT_SM_RESP))

                request = carrier.receive_a(wire.SUBMIT_SM)

                assert wanted == request.body, (name, wish)
                carrier.respond(request, f"id{request.sequence_number}\0".encode())


def test_a_scheduled_message_waits_here_and_not_at_the_carrier(stage: Stage) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            head = b"\0" + wire.address_block(peers.FAST) + wire.address_block(HANDSET) + bytes(3)
            options = bytes((1, 0, 0, 0, 2)) + b"hi"
            submitted_at = time.monotonic()
            esme.request(
                wire.SUBMIT_SM, head + b"000000000001000R\0" + b"000000000100000R\0" + options
            )
            accepted = message_id(esme.receive_a(wire.SUBMIT_SM_RESP))
            assert "held" == gateway.ask("message", id=accepted)["state"]

            request = carrier.receive_a(wire.SUBMIT_SM)

            assert time.monotonic() - submitted_at >= 1.0
            assert head + b"\0" == request.body[: len(head) + 1]
            validity = request.body[len(head) + 1 :].split(b"\0", 1)[0]
            assert (16, b"000+") == (len(validity), validity[-4:])
            assert request.body.endswith(options)


@pytest.mark.parametrize(("wanted", "asked"), [(0, 0), (1, 1), (2, 1)])
def test_a_carrier_that_is_asked_only_when_the_client_asks_is_asked_for_every_receipt(
    stage: Stage, wanted: int, asked: int
) -> None:
    with Smsc() as smsc:
        more = 'receipts = "asked"'
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, more=more)])
        with smsc.accept() as carrier:
            stage.esme(gateway).submit(registered_delivery=wanted)
            body = carrier.receive_a(wire.SUBMIT_SM).body

    assert asked == body[registered_delivery_at(body)]


def registered_delivery_at(body: bytes) -> int:
    """Where it stands: behind two addresses, three octets and two times."""
    at = body.index(0) + 1
    for skipped in (2, 2, 3, 0):
        at = body.index(0, at + skipped) + 1
    return at


def test_a_receipt_that_overtakes_its_response_still_finds_its_message(stage: Stage) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            expected = message_id(esme.submit())
            request = carrier.receive_a(wire.SUBMIT_SM)
            number = carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, "early"))
            answer = carrier.receive_a(wire.DELIVER_SM_RESP)
            assert (wire.ESME_ROK, number) == (answer.command_status, answer.sequence_number)
            esme.settle()

            carrier.respond(request, b"early\0")

            assert (expected, "DELIVRD") == esme.receive_receipt()
            audit(gateway)


def test_a_request_that_is_sent_while_no_daemon_runs_says_so(stage: Stage) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address)])
    gateway.kill()

    status, answer = gateway.ctl("status")

    assert 3 == status
    assert "no daemon" in answer["error"]
    with pytest.raises((OSError, ProcessError)):
        gateway.ask("status")
