"""Links to carriers: several share the load, any may go, be silent, or be at fault; nothing is lost.

And P6: what may have been sent and was never answered is in doubt, and its campaign says what then.
"""

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess, free_port
from bench.ledger import Tally, read_acked
from bench.process import SimulatorProcess, run_load_process
from tests.daemon import peers
from tests.daemon.peers import FAST, SLOW, Esme, Smsc, message_id, submit_body
from tests.daemon.stage import (
    REGISTRY,
    STRICT,
    Stage,
    audit,
    bound,
    marked,
    quiet,
    unmarked_repeats,
    wait_settled,
)

AGAIN_S = 3.0
"""Far above the pause after which a message is tried again here."""

WEIGHTED = """
[[route]]
name = "us"
to = "+1"
carriers = [{ name = "a", weight = 3 }, "b"]
"""
BACKED_UP = """
[[route]]
name = "us"
to = "+1"
carriers = ["a"]
backup = ["b"]
"""


def submit_all(gateway: GatewayProcess, count: int, *, first_to: int = 13105550000) -> None:
    """So many messages, each to a handset of its own, all accepted."""
    summary = run_load_process(
        gateway.smpp,
        *("--count", str(count), "--to-base", str(first_to), "--to-range", str(count)),
        *("--registered-delivery", "0", "--json"),
    )
    assert count == summary["ok"], summary


def test_two_carriers_share_by_weight_and_a_pair_stays_on_one(stage: Stage) -> None:
    a, b = stage.simulator(), stage.simulator()
    gateway = stage.gateway([Carrier("a", a.address), Carrier("b", b.address)], routes=WEIGHTED)
    bound(a, 2)
    bound(b, 2)

    submit_all(gateway, 2000)
    submit_all(gateway, 2000)

    wait_settled(gateway)
    a.stop()
    b.stop()
    seen = [Counter(entry.destination_addr for entry in one.entries()) for one in (a, b)]
    assert 4000 == seen[0].total() + seen[1].total()
    assert 0.70 < seen[0].total() / 4000 < 0.80
    assert not seen[0].keys() & seen[1].keys()
    assert {2} == set(seen[0].values()) | set(seen[1].values())


def test_a_backup_is_used_while_no_other_is_bound_and_not_a_moment_longer(stage: Stage) -> None:
    a, b = stage.simulator(), stage.simulator()
    gateway = stage.gateway([Carrier("a", a.address), Carrier("b", b.address)], routes=BACKED_UP)
    bound(a, 2)
    bound(b, 2)
    submit_all(gateway, 50)
    assert (50, 0) == (a.stats()["submits"], b.stats()["submits"])

    a.ask("refuse")
    a.ask("drop")
    gateway.wait_status(lambda status: status["carriers"][0]["bound"] == 0)
    submit_all(gateway, 50)
    assert (50, 50) == (a.stats()["submits"], b.stats()["submits"])

    a.ask("refuse", {"on": False})
    gateway.wait_status(lambda status: status["carriers"][0]["bound"] == 2)
    submit_all(gateway, 50)
    assert (100, 50) == (a.stats()["submits"], b.stats()["submits"])
    audit(gateway)


def test_several_binds_share_the_load(stage: Stage) -> None:
    simulator = stage.simulator("--answer-delay-ms=20")
    gateway = stage.gateway([Carrier("a", simulator.address, binds=4, window=10)])
    bound(simulator, 4)

    submit_all(gateway, 2000)

    wait_settled(gateway)
    simulator.stop()
    share = Counter(entry.connection for entry in simulator.entries())
    assert 4 == len(share)
    assert min(share.values()) > 2000 // 4 // 2


def test_a_window_is_never_exceeded(stage: Stage) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, window=7)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            for token in range(50):
                esme.submit(token)
            unanswered = carrier.receive_many(wire.SUBMIT_SM, 7)
            for seen in range(7, 50):
                carrier.settle()
                carrier.respond(unanswered.pop(seen % 7), b"id%d\0" % seen)
                unanswered.append(carrier.receive_a(wire.SUBMIT_SM))
            carrier.settle()


def test_a_carrier_that_goes_away_is_tried_again_with_growing_waits_and_served_again(
    stage: Stage,
) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address, binds=1)])
    bound(simulator, 1)
    simulator.ask("refuse")
    simulator.ask("drop", {"how": "fin"})
    esme = stage.esme(gateway)
    ids = [message_id(esme.submit(token)) for token in range(20)]

    peers.wait_until(lambda: len(waits(gateway)) >= 5, "it tries again and again")
    simulator.ask("refuse", {"on": False})

    receipts = [esme.receive_receipt()[0] for _ in ids]
    assert ids == receipts
    # 0.05 s doubled up to 0.5 s, each spread over its upper half, and said to a tenth
    for seconds, whole in zip(waits(gateway), (0.05, 0.1, 0.2, 0.4, 0.5), strict=False):
        assert whole / 2 - 0.051 <= seconds <= whole + 0.051
    quiet(gateway)


def waits(gateway: GatewayProcess) -> list[float]:
    """The waits that it has announced, in seconds."""
    found = (re.search(r"again in (\S+) s", str(line["message"])) for line in gateway.log)
    return [float(one[1]) for one in found if one]


def test_a_carrier_that_refuses_the_bind_is_tried_again(stage: Stage) -> None:
    simulator = stage.simulator()
    simulator.ask("refuse", {"what": "binds"})
    gateway = stage.gateway([Carrier("a", simulator.address, binds=1)])
    gateway.wait_log(lambda line: "ESME_RBINDFAIL" in line["message"], 5.0, "refusal")
    esme = stage.esme(gateway)
    expected = message_id(esme.submit())

    simulator.ask("refuse", {"what": "binds", "on": False})

    assert (expected, "DELIVRD") == esme.receive_receipt()


def test_a_pair_sends_on_its_transmitter_and_hears_on_its_receiver(stage: Stage) -> None:
    with Smsc() as smsc:
        carrier = Carrier("a", smsc.address, binds=1, more='bind = "pair"')
        gateway = stage.gateway([carrier])
        with smsc.accept_as() as (first, kind), smsc.accept_as() as (second, other):
            by_kind = {kind: first, other: second}
            assert {wire.BIND_TRANSMITTER, wire.BIND_RECEIVER} == by_kind.keys()
            sends, hears = by_kind[wire.BIND_TRANSMITTER], by_kind[wire.BIND_RECEIVER]
            esme = stage.esme(gateway)
            expected = message_id(esme.submit())
            request = sends.receive_a(wire.SUBMIT_SM)
            sends.respond(request, b"id1\0")
            sends.settle()
            hears.request(wire.DELIVER_SM, peers.carrier_receipt(request, "id1"))

            assert (expected, "DELIVRD") == esme.receive_receipt()
            assert 0 == hears.receive_a(wire.DELIVER_SM_RESP).command_status


def never_answered(
    stage: Stage, registry: str = REGISTRY
) -> tuple[SimulatorProcess, GatewayProcess]:
    """A carrier that answers nothing, and a daemon that gives it half a second."""
    simulator = stage.simulator("--never-answer")
    carrier = Carrier("a", simulator.address, binds=1, more="response_timeout_s = 0.5")
    gateway = stage.gateway([carrier], registry=registry)
    bound(simulator, 1)
    return simulator, gateway


def test_what_was_never_answered_is_sent_once_more_marked_and_then_held(stage: Stage) -> None:
    simulator, gateway = never_answered(stage)
    esme = stage.esme(gateway)
    ids = [message_id(esme.submit(token)) for token in range(1, 6)]

    gateway.wait_status(lambda status: status["messages"]["in_doubt"] == 5)
    assert sorted(ids) == sorted(row["id"] for row in gateway.ask("queue")["parked"])
    simulator.set(never_answer=False)
    assert {"released": 5} == gateway.ask("queue release", all=True)

    assert sorted(ids) == sorted(esme.receive_receipt()[0] for _ in ids)
    audit(gateway)
    simulator.stop()
    resends: dict[str, list[int]] = {}
    for entry in simulator.entries():
        said = [value[0] for tag, value in tlvs(entry.tlvs) if tag == 0x3A05]
        resends.setdefault(entry.token, []).append(said[0] if said else 0)
    assert {f"{token:012}": [0, 1, 2] for token in range(1, 6)} == resends


def tlvs(octets: bytes) -> list[tuple[int, bytes]]:
    return wire.read_tlvs(octets, 0, len(octets))


def test_a_campaign_may_hold_what_is_in_doubt_or_let_it_fail(stage: Stage) -> None:
    failing = REGISTRY.replace("limits = []", 'limits = []\nin_doubt = "fail"')
    simulator, gateway = never_answered(stage, failing)
    esme = stage.esme(gateway)
    fails, holds = message_id(esme.submit(1)), message_id(esme.submit(2, source=SLOW))

    pdu = esme.receive_a(wire.DELIVER_SM)

    assert (fails, "UNDELIV") == peers.receipt_of(pdu)
    body = wire.read_sm_body(pdu.body, 0, len(pdu.body))
    assert (0x3A04, b"in_doubt") in tlvs(body.tlvs)
    gateway.wait_status(lambda status: status["messages"]["in_doubt"] == 1)
    assert [holds] == [row["id"] for row in gateway.ask("queue")["parked"]]
    assert "failed" == gateway.ask("message", id=fails)["state"]
    simulator.stop()
    assert {} == Tally(simulator.entries()).duplicates()
    audit(gateway)


@pytest.mark.parametrize("fault", ["cut_inside_pdu", "lose_answers"])
def test_answers_that_are_cut_or_lost_cost_no_message_and_no_unmarked_repeat(
    stage: Stage, tmp_path: Path, fault: str
) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway(
        [Carrier("a", simulator.address, binds=2, window=20, more="response_timeout_s = 0.5")],
        top="in_doubt_resends = 10",
    )
    bound(simulator, 2)
    simulator.set(**{fault: 0.02})
    acked = tmp_path / "acked"

    run_load_process(gateway.smpp, "--count", "500", "--json", "--acked", str(acked))

    gateway.wait_status(lambda status: status["counters"]["in_doubt"] > 0)
    simulator.set(**{fault: 0})
    gateway.wait_status(lambda status: not status["messages"]["in_flight"])
    gateway.ask("queue release", all=True)
    gateway.wait_status(lambda status: not status["messages"]["queued"])
    audit(gateway)
    simulator.stop()
    entries = simulator.entries()
    assert [] == Tally(entries).missing(read_acked(acked))
    assert any(map(marked, entries))
    assert [] == unmarked_repeats(entries)
    quiet(gateway)


def test_a_reset_by_the_carrier_with_a_full_window_loses_nothing(stage: Stage) -> None:
    simulator = stage.simulator("--answer-delay-ms=100")
    gateway = stage.gateway(
        [Carrier("a", simulator.address, binds=2, window=50)], top="in_doubt_resends = 10"
    )
    bound(simulator, 2)
    esme = stage.esme(gateway)
    ids = [message_id(esme.submit(token)) for token in range(200)]
    for _ in range(3):
        simulator.wait_stats(lambda stats: stats["binds"]["now"] == 2)
        simulator.ask("drop")

    receipts = {esme.receive_receipt()[0] for _ in ids}

    assert set(ids) == receipts
    audit(gateway)
    simulator.stop()
    assert [] == unmarked_repeats(simulator.entries())


def test_a_storm_of_throttling_is_never_final_and_overruns_no_window_of_the_carrier(
    stage: Stage,
) -> None:
    simulator = stage.simulator("--errors=0x58:0.3,0x14:0.1", "--throttle-per-second=400")
    more = "throttle_pause_s = 0.05"
    gateway = stage.gateway([Carrier("a", simulator.address, more=more)])
    bound(simulator, 2)
    count = 600

    summary = run_load_process(
        gateway.smpp, "--count", str(count), "--wait-receipts", "20", "--json", timeout_s=40
    )

    assert "complete" == summary["ended"], summary
    assert {"DELIVRD": count} == summary["receipts_by_state"]
    assert 0 == gateway.ask("status")["messages"]["failed"]
    audit(gateway)
    stats = simulator.stop()
    assert stats["answers"][f"0x{wire.ESME_RTHROTTLED:08X}"] > count // 10
    assert stats["answers"][f"0x{wire.ESME_RMSGQFUL:08X}"] > 0
    tally = Tally(simulator.entries())
    assert count == len(tally.accepted)
    assert {} == tally.duplicates()


def test_a_message_that_was_throttled_often_is_still_tried_again_after_a_system_error(
    stage: Stage,
) -> None:
    with Smsc() as smsc:
        more = "throttle_pause_s = 0.01"
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, more=more)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            expected = message_id(esme.submit())
            for status in [wire.ESME_RTHROTTLED] * 6 + [wire.ESME_RSYSERR] * 2:
                request = carrier.receive_a(wire.SUBMIT_SM, AGAIN_S)
                carrier.respond(request, command_status=status)

            request = carrier.receive_a(wire.SUBMIT_SM, AGAIN_S)
            carrier.respond(request, b"id1\0")
            carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, "id1"))

            assert (expected, "DELIVRD") == esme.receive_receipt()


def test_a_refusal_for_good_fails_the_message_and_tells_its_client_why(stage: Stage) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            expected = message_id(esme.submit())
            carrier.respond(carrier.receive_a(wire.SUBMIT_SM), command_status=0x0B)

            pdu = esme.receive_a(wire.DELIVER_SM)

            assert (expected, "UNDELIV") == peers.receipt_of(pdu)
            body = wire.read_sm_body(pdu.body, 0, len(pdu.body))
            assert (0x3A04, b"carrier_refused") in tlvs(body.tlvs)
            assert b"err:00b" in body.short_message
            carrier.settle()


def test_answers_to_nothing_twice_and_of_the_wrong_kind_change_nothing(stage: Stage) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            first, second = message_id(esme.submit(1)), message_id(esme.submit(2))
            one, two = carrier.receive_many(wire.SUBMIT_SM, 2)
            carrier.send(wire.pdu(wire.SUBMIT_SM_RESP, 0x7000, b"never\0"))
            carrier.send(wire.pdu(wire.DELIVER_SM_RESP, one.sequence_number, b"\0"))
            carrier.respond(two, b"id2\0")
            carrier.respond(two, b"other\0")
            carrier.respond(one, b"id1\0")
            carrier.request(0x0000BEEF)
            carrier.receive_a(wire.GENERIC_NACK)
            for request, carrier_id in itertools.product((two, one), ("other", "id2", "id1")):
                carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, carrier_id))
                assert 0 == carrier.receive_a(wire.DELIVER_SM_RESP).command_status

            receipts = [esme.receive_receipt() for _ in range(2)]

            assert [(second, "DELIVRD"), (first, "DELIVRD")] == receipts
            esme.settle()
            audit(gateway)


@pytest.mark.parametrize("nonsense", [bytes(16), b"\xff" * 64, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_carrier_that_sends_nonsense_is_left_and_bound_again(
    stage: Stage, nonsense: bytes
) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            expected = message_id(esme.submit())
            first = carrier.receive_a(wire.SUBMIT_SM)
            carrier.send(nonsense)

            with smsc.accept() as again:
                request = again.receive_a(wire.SUBMIT_SM)
                assert first.body + wire.tlv(0x3A05, b"\x01") == request.body
                again.respond(request, b"id1\0")
                again.request(wire.DELIVER_SM, peers.carrier_receipt(request, "id1"))
                assert (expected, "DELIVRD") == esme.receive_receipt()
        quiet(gateway)


def test_a_carrier_that_stops_reading_and_starts_again_gets_every_message_once(
    stage: Stage,
) -> None:
    count, size = 2000, 4000
    with Smsc(receive_bytes=4096) as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, window=10_000)])
        with smsc.accept() as carrier, Esme(gateway.smpp, bind_type="transmitter") as esme:
            for start in range(0, count, 100):
                esme.send(b"".join(long_submit(start + place, size) for place in range(100)))
                esme.receive_many(wire.SUBMIT_SM_RESP, 100)
            gateway.wait_status(lambda status: status["counters"]["unsent"] > 0)

            seen = []
            for number in range(count):
                request = carrier.receive_a(wire.SUBMIT_SM)
                carrier.respond(request, b"id%d\0" % number)
                seen.append(request.body)

            gateway.wait_status(lambda status: status["messages"]["submitted"] == count)
            assert count == len(set(seen))
            carrier.settle()
            audit(gateway)
            gateway.kill()


def long_submit(number: int, size: int) -> bytes:
    payload = wire.tlv(wire.MESSAGE_PAYLOAD, b"#%012d" % number + bytes(size))
    return wire.pdu(wire.SUBMIT_SM, number + 1, submit_body(text=b"", tlvs=payload))


def test_a_carrier_that_comes_back_on_its_port_finds_what_waited(stage: Stage) -> None:
    port = free_port()
    gateway = stage.gateway([Carrier("a", f"127.0.0.1:{port}")])
    ids = []
    for number in range(2):
        with SimulatorProcess("--listen", f"127.0.0.1:{port}", python_options=STRICT) as simulator:
            bound(simulator, 2)
            with Esme(gateway.smpp) as esme:
                ids.append(message_id(esme.submit(number, source=FAST)))
                assert ids[-1] == esme.receive_receipt()[0]
        gateway.wait_status(lambda status: status["carriers"][0]["bound"] == 0)
    quiet(gateway)
