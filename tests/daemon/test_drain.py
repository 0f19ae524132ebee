"""How a daemon begins and ends: readiness, SIGTERM under load, a second signal, a second daemon."""

import signal
import socket
import time
from pathlib import Path

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess, ask, configuration, free_port
from bench.ledger import Tally, read_acked
from bench.process import SimulatorProcess
from tests.daemon.held import HeldApp, Scene
from tests.daemon.peers import DEAF, Peer, Smsc, flood, message_id, wait_until
from tests.daemon.stage import (
    REGISTRY,
    STORE,
    STRICT,
    Stage,
    audit,
    bound,
    quiet,
    unmarked_repeats,
    wait_settled,
)

QUIET_S = 0.3
"""Long enough for what must not happen; nothing else depends on it."""

PATIENCE_S = 10.0
HURRIED_S = 6.0
"""Above the moments that carriers and clients have to say goodbye, far below any patience here."""


def test_sigterm_under_load_ends_well_and_leaves_nobody_in_doubt(
    stage: Stage, tmp_path: Path
) -> None:
    simulator = stage.simulator("--answer-delay-ms=30", "--receipt-delay-ms=50")
    gateway = stage.gateway([Carrier("a", simulator.address, binds=2, window=100)])
    bound(simulator, 2)
    acked = tmp_path / "acked"
    load = stage.load(
        gateway, "--seconds", "60", "--binds", "4", "--window", "200", "--acked", str(acked)
    )
    gateway.wait_status(lambda status: status["accepted"] > 3000)
    began = time.monotonic()

    assert 0 == gateway.stop(PATIENCE_S)

    took_s = time.monotonic() - began
    summary = load.summary(30.0)
    quiet(gateway)
    assert took_s < PATIENCE_S
    gateway = stage.start(gateway.config)
    assert 0 == gateway.ask("status")["counters"]["in_doubt"]
    status = wait_settled(gateway)
    audit(gateway)
    assert summary["ok"] == status["accepted"], "accepted, and its answer never left"
    assert 0 == gateway.stop()
    simulator.stop()
    tally = Tally(simulator.entries())
    assert [] == tally.missing(read_acked(acked))
    assert {} == tally.duplicates()


def test_a_client_whose_message_is_on_its_way_to_the_disk_hears_of_it_before_it_is_unbound(
    scene: Scene,
) -> None:
    scene.smsc.close()
    scene.carrier.close()
    wait_until(lambda: not scene.daemon.ask("carrier")[0]["bound"], "nothing is waited for")
    scene.daemon.hold()
    number = scene.esme.submit_nowait(1)
    scene.daemon.wait_held()

    scene.daemon.drain()

    wait_until(lambda: scene.daemon.ask("status")["phase"] == "draining", "it drains")
    scene.esme.submit_nowait(2)
    with pytest.raises(TimeoutError):
        scene.esme.receive(QUIET_S)
    scene.daemon.release()
    assert (wire.SUBMIT_SM_RESP, 0, number) == scene.esme.receive()[:3]
    assert wire.UNBIND == scene.esme.receive().command_id
    assert scene.daemon.fault() is None
    with HeldApp(scene.config) as daemon:
        assert 1 == daemon.ask("status")["accepted"], "what came later was not read"


def test_a_client_is_heard_while_the_daemon_drains_but_what_it_submits_is_not_taken(
    scene: Scene,
) -> None:
    scene.daemon.hold()
    first = scene.esme.submit_nowait(1)
    scene.daemon.wait_held()
    scene.daemon.drain()
    wait_until(lambda: scene.daemon.ask("status")["phase"] == "draining", "it drains")

    scene.esme.settle()
    scene.esme.submit_nowait(2)
    scene.esme.settle()

    scene.daemon.release()
    assert (wire.SUBMIT_SM_RESP, 0, first) == scene.esme.receive()[:3]
    request = scene.carrier.receive_a(wire.SUBMIT_SM)
    scene.esme.settle()
    scene.carrier.respond(request, b"id1\0")
    scene.carrier.respond(scene.carrier.receive_a(wire.UNBIND))
    assert wire.UNBIND == scene.esme.receive_a(wire.UNBIND).command_id
    scene.esme.receive_end()
    assert scene.daemon.fault() is None
    with HeldApp(scene.config) as daemon:
        assert 1 == daemon.ask("status")["accepted"]


def test_a_client_that_talks_on_to_the_end_of_a_drain_still_reads_all_its_answers(
    scene: Scene,
) -> None:
    # Octets that nobody reads any more turn a close into a reset, and a reset eats the answers.
    count = 500
    scene.carrier.close()
    scene.smsc.close()
    scene.daemon.hold()
    numbers = [scene.esme.submit_nowait(token) for token in range(count)]
    scene.daemon.wait_held()
    scene.esme.settle()
    scene.daemon.drain()
    wait_until(lambda: scene.daemon.ask("status")["phase"] == "draining", "it drains")
    for token in range(3 * count):
        scene.esme.submit_nowait(token)
    scene.daemon.release()
    scene.daemon.fault()

    answers = scene.esme.receive_many(wire.SUBMIT_SM_RESP, count)

    assert numbers == [answer.sequence_number for answer in answers]
    assert wire.UNBIND == scene.esme.receive().command_id
    scene.esme.receive_end()


def test_a_drain_waits_for_the_carriers_answers_and_takes_nothing_new_to_them(
    stage: Stage,
) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, window=3)])
        with smsc.accept() as carrier:
            esme = stage.esme(gateway)
            for token in range(1, 6):
                esme.submit(token)
            requests = carrier.receive_many(wire.SUBMIT_SM, 3)
            gateway.signal(signal.SIGTERM)
            gateway.wait_log(lambda line: line["message"] == "draining", 5.0, "drain")
            settle_often(carrier)
            carrier.respond(requests[0], b"one\0")
            carrier.respond(requests[1], b"two\0")
            settle_often(carrier)

            carrier.respond(requests[2], b"three\0")

            unbind = carrier.receive()
            assert wire.UNBIND == unbind.command_id
            carrier.respond(unbind)
            carrier.receive_end()
        assert wire.UNBIND == esme.receive_a(wire.UNBIND).command_id
        assert 0 == gateway.exit_status(5.0)
        quiet(gateway)
        gateway = stage.start(gateway.config)
        messages = gateway.ask("status")["messages"]
        assert (2, 3, 0) == (messages["queued"], messages["submitted"], messages["in_doubt"])


def settle_often(carrier: Peer) -> None:
    """The loop has turned so often that what it was about to say it has said."""
    for _ in range(20):
        carrier.settle()


def test_a_second_signal_hurries_a_drain_that_waits_for_a_carrier(stage: Stage) -> None:
    simulator = stage.simulator("--never-answer")
    gateway = stage.gateway([Carrier("a", simulator.address)], drain_s=600)
    bound(simulator, 2)
    esme = stage.esme(gateway)
    for token in range(1, 11):
        esme.submit(token)
    simulator.wait_stats(lambda stats: stats["submits"] == 10)
    gateway.signal(signal.SIGTERM)
    gateway.wait_log(lambda line: line["message"] == "draining", 5.0, "drain")
    status = gateway.ask("status")
    assert ("draining", 10) == (status["phase"], status["messages"]["in_flight"])
    began = time.monotonic()

    gateway.signal(signal.SIGTERM)

    assert 0 == gateway.exit_status(HURRIED_S)
    assert time.monotonic() - began < HURRIED_S
    simulator.set(never_answer=False)
    gateway = stage.start(gateway.config)
    wait_settled(gateway)
    simulator.stop()
    entries = simulator.entries()
    assert {f"{token:012}": 2 for token in range(1, 11)} == Tally(entries).duplicates()
    assert [] == unmarked_repeats(entries)


def test_a_drain_runs_out_of_patience_with_a_carrier_that_never_answers(stage: Stage) -> None:
    simulator = stage.simulator("--never-answer")
    gateway = stage.gateway([Carrier("a", simulator.address)], drain_s=0.5)
    bound(simulator, 2)
    stage.esme(gateway).submit()
    simulator.wait_stats(lambda stats: stats["submits"] == 1)

    assert 0 == gateway.stop(HURRIED_S)

    text = "1 messages were still unanswered by their carriers"
    assert [text] == [line["message"] for line in gateway.log if "unanswered" in line["message"]]


def test_a_client_that_does_not_read_cannot_hold_up_a_drain(stage: Stage) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address)])
    bound(simulator, 2)
    flood(stage.esme(gateway, **DEAF))

    assert 0 == gateway.stop(HURRIED_S)


def test_ctl_drain_is_a_drain(stage: Stage) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address)])

    assert 0 == gateway.ctl("drain")[0]

    assert 0 == gateway.exit_status(PATIENCE_S)
    quiet(gateway)


def test_a_second_daemon_on_the_same_data_dir_ends_with_2_and_names_the_first(
    stage: Stage,
) -> None:
    gateway = stage.gateway([Carrier("a", "127.0.0.1:1")])
    accepted = message_id(stage.esme(gateway).submit())

    second = stage.run(gateway.config)

    assert 2 == second.exit_status()
    said = "\n".join(str(line["message"]) for line in second.log)
    assert f"process id {gateway.pid}" in said
    assert "Traceback" not in said
    assert accepted == gateway.ask("message", id=accepted)["id"]
    assert 0 == gateway.stop()


def test_a_listen_address_that_is_taken_ends_the_start_with_2(stage: Stage, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(configuration([], smpp_port=port, sections=STORE, routes="\n"))

        gateway = stage.run(config)

        assert 2 == gateway.exit_status()
        said = "\n".join(str(line["message"]) for line in gateway.log)
        assert "in use" in said
        assert "Traceback" not in said
    assert not (tmp_path / "admin.sock").exists()


def test_it_is_ready_without_any_carrier_and_messages_wait_until_one_is_bound(
    stage: Stage,
) -> None:
    port = free_port()
    gateway = stage.gateway([Carrier("a", f"127.0.0.1:{port}")])
    esme = stage.esme(gateway)
    ids = [message_id(esme.submit(token)) for token in range(1, 101)]
    status = gateway.ask("status")
    assert (100, 0) == (status["messages"]["queued"], status["carriers"][0]["bound"])

    with SimulatorProcess("--listen", f"127.0.0.1:{port}", python_options=STRICT):
        receipts = [esme.receive_receipt() for _ in ids]

    assert [(message_id, "DELIVRD") for message_id in ids] == receipts


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(10.0)
        gateway = stage.gateway([Carrier("a", "127.0.0.1:1")])
        assert "READY=1" in listener.recv(4096).decode().splitlines()
        assert 0 == gateway.stop()
        assert "STOPPING=1" in listener.recv(4096).decode().splitlines()


def test_a_daemon_that_is_killed_before_it_is_ready_harms_nothing(stage: Stage) -> None:
    gateway = stage.gateway([Carrier("a", "127.0.0.1:1")])
    ids = [message_id(stage.esme(gateway).submit(token)) for token in range(1, 4)]
    gateway.kill()
    for _ in range(3):
        kill_unborn(stage, gateway)

    gateway = stage.start(gateway.config)

    assert 3 == gateway.ask("status")["messages"]["queued"]
    assert all(gateway.ask("message", id=message_id)["state"] == "queued" for message_id in ids)
    audit(gateway)


def kill_unborn(stage: Stage, gateway: GatewayProcess) -> None:
    """Starts one more, and kills it as soon as it has the store."""
    unborn = stage.run(gateway.config)
    lock = gateway.config.parent / "var" / "lock"
    wait_until(lambda: str(unborn.pid) == lock.read_text().strip(), "it opens the store")
    unborn.kill()


def test_what_a_killed_daemon_left_behind_is_no_obstacle(stage: Stage) -> None:
    gateway = stage.gateway([Carrier("a", "127.0.0.1:1")])
    gateway.kill()
    socket_file = gateway.config.parent / "admin.sock"
    assert socket_file.is_socket()

    gateway = stage.start(gateway.config)

    assert 0 == ask(socket_file, "status")["accepted"]
    ask(socket_file, "registry import", file=REGISTRY)
    assert 0 == gateway.stop()
    assert not socket_file.exists()
