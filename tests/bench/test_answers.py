"""How the simulator answers submit_sm: ids, errors, throttling, delays, and every way to fail."""

import time

from bench import wire
from bench.ledger import Tally, second_max_by_source, window_max_by
from bench.windows import SECOND_NS
from tests.bench.client import HANDSET, SOURCE, Client, message_id
from tests.bench.conftest import Simulators


def test_ids_are_unpredictable_and_distinct_unless_told_otherwise(simulators: Simulators) -> None:
    simulator = simulators()
    found: dict[str, list[str]] = {}

    with Client(simulator) as client:
        for kind in ("random", "sequence", "hex", "decimal"):
            simulator.set(ids=kind)
            client.submit_many(3)
            resps = client.receive_many(3, wire.SUBMIT_SM_RESP)
            found[kind] = [message_id(resp) for resp in resps]

    assert [len(text) for text in found["random"]] == [16] * 3
    assert len({*found["random"]}) == 3
    assert found["sequence"] == ["1", "2", "3"]
    assert [len(text) for text in found["hex"]] == [8] * 3
    assert int(found["hex"][2], 16) == int(found["hex"][0], 16) + 2
    assert [len(text) for text in found["decimal"]] == [10] * 3
    assert int(found["decimal"][2]) == int(found["decimal"][0]) + 2


def test_the_same_seed_gives_the_same_ids_and_faults(simulators: Simulators) -> None:
    answers = []
    for _ in range(2):
        with Client(simulators("--errors=0x58:0.5", "--seed=7")) as client:
            client.submit_many(1)
            answers.append([client.receive()])
            client.submit_many(1)
            answers[-1].append(client.receive())

    assert answers[0] == answers[1]


def test_fractions_of_submits_are_answered_with_errors(simulators: Simulators) -> None:
    simulator = simulators("--errors=0x58:0.3,0x14:0.2")

    with Client(simulator) as client:
        client.submit_many(1000)
        client.receive_many(1000, wire.SUBMIT_SM_RESP)
    stats = simulator.stop()

    assert 220 < stats["answers"]["0x00000058"] < 380
    assert 140 < stats["answers"]["0x00000014"] < 260
    assert sum(stats["answers"].values()) == 1000
    assert stats["answers"] == wire.by_status(Tally(simulator.entries()).by_status)


def test_a_source_above_its_rate_is_throttled_until_the_window_has_passed(
    simulators: Simulators,
) -> None:
    simulator = simulators("--throttle-per-second=20")

    with Client(simulator) as client:
        begin = time.monotonic()
        client.submit_many(50)
        client.submit_many(20, first_token=51, source="12025550199")
        statuses = [pdu.command_status for pdu in client.receive_many(70, wire.SUBMIT_SM_RESP)]
        tries = 70
        while True:
            tries += 1
            client.submit(b"#%012d" % tries)
            if client.receive().command_status == wire.ESME_ROK:
                break
        waited_s = time.monotonic() - begin
    stats = simulator.stop()

    assert statuses == [0] * 20 + [wire.ESME_RTHROTTLED] * 30 + [0] * 20
    assert 0.95 < waited_s < 3
    assert stats["max_1s_by_source"]["12025550199"] == 20
    entries = simulator.entries()
    assert second_max_by_source(entries) == stats["max_1s_by_source"]
    accepted = window_max_by(entries, SECOND_NS, accepted_only=True)
    assert accepted == {SOURCE: 20, "12025550199": 20}
    total = window_max_by(entries, SECOND_NS, lambda _: "all")
    assert total == {"all": stats["max_1s_total"]}


def test_a_source_above_its_minute_is_throttled(simulators: Simulators) -> None:
    with Client(simulators("--throttle-per-minute=3", "--throttle-per-second=2")) as client:
        client.submit_many(4)
        statuses = [pdu.command_status for pdu in client.receive_many(4, wire.SUBMIT_SM_RESP)]

    assert statuses == [0, 0, wire.ESME_RTHROTTLED, wire.ESME_RTHROTTLED]


def test_answers_can_be_late(simulators: Simulators) -> None:
    with Client(simulators("--answer-delay-ms=80")) as client:
        begin = time.monotonic()
        client.submit_many(5)
        client.settle()
        resps = client.receive_many(5, wire.SUBMIT_SM_RESP)
        waited_s = time.monotonic() - begin

    assert waited_s >= 0.08
    assert [resp.sequence_number for resp in resps] == [2, 3, 4, 5, 6]


def test_a_delay_can_be_shortened_while_answers_wait(simulators: Simulators) -> None:
    simulator = simulators("--answer-delay-ms=60000")

    with Client(simulator) as client:
        client.submit_many(1)
        client.settle()
        simulator.set(answer_delay_ms=20)
        client.submit_many(1)
        assert client.receive().sequence_number == 4


def test_answers_can_be_lost(simulators: Simulators) -> None:
    simulator = simulators("--lose-answers=1")

    with Client(simulator) as client:
        client.submit_many(2)
        client.settle()
        simulator.set(lose_answers=0, never_answer=True)
        client.submit_many(2)
        client.settle()
    stats = simulator.stop()

    assert stats["answers_lost"] == 4
    assert stats["answers"] == {"0x00000000": 4}
    assert [(entry.answers, entry.accepted) for entry in simulator.entries()] == [("0", True)] * 4


def test_answers_can_be_repeated(simulators: Simulators) -> None:
    simulator = simulators("--repeat-answers=1")

    with Client(simulator) as client:
        client.submit()
        assert client.receive() == client.receive()
        client.settle()
    stats = simulator.stop()

    assert stats["answers_repeated"] == 1
    assert [entry.answers for entry in simulator.entries()] == ["2"]


def test_a_connection_can_be_cut_inside_a_pdu(simulators: Simulators) -> None:
    simulator = simulators("--cut-inside-pdu=1", "--answer-delay-ms=50")

    with Client(simulator) as client:
        client.submit(b"#000000000001")
        received = b""
        while data := client.socket.recv(100):
            received += data
    stats = simulator.stop()

    assert len(received) == 16  # of 16 octets of header and 17 of the id
    assert int.from_bytes(received[:4], "big") == 33
    assert stats["links_cut"] == 1
    assert [(entry.answers, entry.token) for entry in simulator.entries()] == [
        ("cut", "000000000001")
    ]


def test_the_ledger_finds_the_token_wherever_it_is(simulators: Simulators) -> None:
    simulator = simulators()
    ucs2 = "heute #000000000003 \N{SNOWMAN}".encode("utf-16-be")

    with Client(simulator) as client:
        for text, data_coding in (
            (b"#000000000001 first", 0),
            (b"later #000000000002", 0),
            (ucs2, 8),
            (b"x" * 300 + b"#000000000004", 0),
            (b"order #1234", 0),
            (b"", 0),
        ):
            client.submit(text, data_coding=data_coding)
            assert message_id(client.receive())
    simulator.stop()

    tokens = [entry.token for entry in simulator.entries()]
    assert tokens == ["000000000001", "000000000002", "000000000003", "000000000004", "", ""]


def test_the_ledger_holds_what_was_received(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        client.submit(registered_delivery=5, source="A b-1")
        given = message_id(client.receive())
    simulator.stop()

    (entry,) = simulator.entries()
    assert (entry.token, entry.message_id, entry.connection) == ("000000000001", given, 1)
    assert (entry.source_addr, entry.destination_addr) == ("A b-1", HANDSET)
    assert (entry.sequence_number, entry.registered_delivery, entry.answers) == (2, 5, "1")
    assert 0 < time.monotonic_ns() - entry.time_ns < 60 * SECOND_NS
