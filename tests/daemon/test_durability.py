"""P1: no effect leaves the process before its cause is on disk. Both ways of looking.

With the commit held open: nothing of what it owes is seen on any socket, though the loop turns
(an enquire_link on the very same link is answered), and all of it comes when it is let go.

Under strace: every positive answer leaves behind the flush of its rows. And that this test would
notice is tested as well, by a daemon that does not flush.
"""

import contextlib
import os
import shutil
from pathlib import Path

import lmdb
import pytest

from bench import wire
from bench.gateway import Carrier, configuration
from gateway.link.link import Link
from gateway.store.committer import CommitFailedError
from tests.daemon import peers
from tests.daemon.held import HeldApp, Scene
from tests.daemon.peers import FAST, HANDSET, Esme, Peer, Smsc, message_id, submit_body
from tests.daemon.stage import REGISTRY, STORE, Stage, audit
from tests.daemon.trace import Trace, traced, wait_traced


def test_while_a_commit_is_held_neither_the_answer_nor_the_submit_leaves(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    send_now = Link._send_now

    def note(link: Link, data: bytes) -> int:
        sent.append(int.from_bytes(data[4:8], "big"))
        return send_now(link, data)

    scene.daemon.hold()
    for token in range(1, 4):
        scene.esme.submit_nowait(token)
    scene.daemon.wait_held()
    scene.loop_turns()

    monkeypatch.setattr(Link, "_send_now", note)
    scene.daemon.release()

    answers = scene.esme.receive_many(wire.SUBMIT_SM_RESP, 3)
    requests = scene.carrier.receive_many(wire.SUBMIT_SM, 3)
    assert len({message_id(answer) for answer in answers}) == 3
    numbers = [answer.sequence_number for answer in answers]
    assert sorted(numbers) == numbers
    assert [submit_body(token) for token in range(1, 4)] == [r.body for r in requests]
    assert sent.index(wire.SUBMIT_SM_RESP) < sent.index(wire.SUBMIT_SM)


def test_what_comes_while_a_commit_is_held_waits_for_a_commit_of_its_own(scene: Scene) -> None:
    scene.daemon.hold()
    scene.esme.submit_nowait(1)
    scene.daemon.wait_held()
    scene.esme.submit_nowait(2)
    scene.esme.submit_nowait(3)
    scene.loop_turns()

    scene.daemon.release_one()

    first = message_id(scene.esme.receive_a(wire.SUBMIT_SM_RESP))
    assert submit_body(1) == scene.carrier.receive_a(wire.SUBMIT_SM).body
    scene.daemon.wait_held()
    scene.loop_turns()
    scene.daemon.release()
    second, third = map(message_id, scene.esme.receive_many(wire.SUBMIT_SM_RESP, 2))
    assert first < second < third
    bodies = [request.body for request in scene.carrier.receive_many(wire.SUBMIT_SM, 2)]
    assert [submit_body(2), submit_body(3)] == bodies


def test_while_a_commit_is_held_a_carriers_receipt_is_neither_answered_nor_passed_on(
    scene: Scene,
) -> None:
    expected = message_id(scene.esme.submit())
    request = scene.carrier.receive_a(wire.SUBMIT_SM)
    scene.carrier.respond(request, b"id1\0")
    scene.loop_turns()
    wait_submitted(scene, 1)
    scene.daemon.hold()
    number = scene.carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, "id1"))
    scene.daemon.wait_held()
    scene.loop_turns()

    scene.daemon.release()

    answer = scene.carrier.receive_a(wire.DELIVER_SM_RESP)
    assert (wire.ESME_ROK, number) == (answer.command_status, answer.sequence_number)
    assert (expected, "DELIVRD") == scene.esme.receive_receipt()


def wait_submitted(scene: Scene, count: int) -> None:
    """Returns when so many are submitted, and that is on disk."""
    app = scene.daemon.app
    assert app is not None
    peers.wait_until(
        lambda: (
            scene.daemon.ask("status")["messages"]["submitted"] == count and not app.flow.has_work()
        ),
        "it is submitted",
    )


def test_while_a_commit_is_held_a_handsets_message_is_neither_answered_nor_passed_on(
    scene: Scene,
) -> None:
    body = wire.sm_body(wire.address_block(HANDSET), wire.address_block(FAST), b"hello")
    scene.daemon.hold()
    number = scene.carrier.request(wire.DELIVER_SM, body)
    scene.daemon.wait_held()
    scene.loop_turns()

    scene.daemon.release()

    answer = scene.carrier.receive_a(wire.DELIVER_SM_RESP)
    assert (wire.ESME_ROK, number) == (answer.command_status, answer.sequence_number)
    assert body == scene.esme.receive_a(wire.DELIVER_SM).body


def test_an_orphan_receipt_is_not_answered_while_its_commit_is_held(scene: Scene) -> None:
    scene.esme.submit()
    request = scene.carrier.receive_a(wire.SUBMIT_SM)
    scene.daemon.hold()
    scene.carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, "nobody's"))
    scene.daemon.wait_held()
    scene.loop_turns()

    scene.daemon.release()

    assert wire.ESME_ROK == scene.carrier.receive_a(wire.DELIVER_SM_RESP).command_status


def test_what_owes_nothing_to_the_disk_leaves_while_a_commit_is_held(scene: Scene) -> None:
    scene.daemon.hold()
    scene.esme.submit_nowait(1)
    scene.daemon.wait_held()

    refused = scene.esme.submit(2, source="12025559999")

    assert 0x0401 == refused.command_status
    scene.bind().settle()
    scene.loop_turns()
    scene.daemon.release()
    message_id(scene.esme.receive_a(wire.SUBMIT_SM_RESP))


def test_an_unbind_is_answered_behind_the_answers_that_wait_for_a_commit(scene: Scene) -> None:
    scene.daemon.hold()
    number = scene.esme.submit_nowait()
    unbind = scene.esme.request(wire.UNBIND)
    scene.daemon.wait_held()
    scene.carrier.settle()
    scene.bind().settle()
    scene.esme.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        scene.esme.socket.recv(1)

    scene.daemon.release()

    answer = scene.esme.receive()
    assert (wire.SUBMIT_SM_RESP, 0, number) == answer[:3]
    assert (wire.UNBIND_RESP, 0, unbind) == scene.esme.receive()[:3]
    scene.esme.receive_end()


def test_a_submit_whose_link_is_lost_while_its_commit_is_held_goes_out_on_the_next(
    scene: Scene,
) -> None:
    scene.daemon.hold()
    scene.esme.submit_nowait()
    scene.daemon.wait_held()
    scene.carrier.reset()
    with scene.smsc.accept() as carrier:
        carrier.settle()

        scene.daemon.release()

        message_id(scene.esme.receive_a(wire.SUBMIT_SM_RESP))
        request = carrier.receive_a(wire.SUBMIT_SM, 5.0)
        assert submit_body() == request.body, "it never left before, and is not marked"
        carrier.respond(request, b"id1\0")
        wait_submitted(scene, 1)


def test_a_submit_whose_link_is_lost_while_its_commit_is_held_waits_for_the_next(
    scene: Scene,
) -> None:
    scene.daemon.hold()
    scene.esme.submit_nowait()
    scene.daemon.wait_held()
    scene.carrier.reset()
    peers.wait_until(lambda: not scene.daemon.ask("carrier")[0]["bound"], "the link is lost")
    scene.daemon.release()
    message_id(scene.esme.receive_a(wire.SUBMIT_SM_RESP))

    with scene.smsc.accept() as carrier:
        assert submit_body() == carrier.receive_a(wire.SUBMIT_SM).body


def test_a_commit_that_fails_ends_the_daemon_and_nothing_that_it_owes_has_left(
    scene: Scene,
) -> None:
    message_id(scene.esme.submit(1))
    request = scene.carrier.receive_a(wire.SUBMIT_SM)
    scene.carrier.respond(request, b"id1\0")
    wait_submitted(scene, 1)
    scene.daemon.hold()
    scene.esme.submit_nowait(2)
    scene.carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, "id1"))
    scene.daemon.wait_held()
    scene.loop_turns()

    scene.daemon.fail(lmdb.Error("the disk is on fire"))

    fault = scene.daemon.fault()
    assert isinstance(fault, BaseExceptionGroup)
    assert fault.split(CommitFailedError)[1] is None
    scene.esme.receive_end()
    scene.carrier.receive_end()
    with HeldApp(scene.config) as daemon:
        status = daemon.ask("status")
        assert (1, 1) == (status["accepted"], status["messages"]["submitted"])
        assert [] == daemon.ask("audit")["differences"]


FAILING = """
import sys
import gateway.store.committer as committer

commit = committer.Committer._commit

def fail(self, writes):
    if self.commits > 20:
        raise OSError(5, "the disk is on fire")
    commit(self, writes)

committer.Committer._commit = fail
from gateway.__main__ import main
sys.exit(main(["run", *sys.argv[1:]]))
"""


def test_a_daemon_whose_disk_fails_exits_with_1_and_a_restart_has_all_that_was_acknowledged(
    stage: Stage,
) -> None:
    gateway = stage.gateway([Carrier("a", "127.0.0.1:1")])
    assert 0 == gateway.stop()
    failing = stage.start(gateway.config, program=("-c", FAILING))
    acked = submit_until_it_ends(stage.esme(failing))

    assert 1 == failing.exit_status()

    (line,) = [line for line in failing.log if line["level"] == "critical"]
    assert "the disk is on fire" in line["traceback"]
    assert acked
    gateway = stage.start(gateway.config)
    status = gateway.ask("status")
    assert len(acked) == status["accepted"] == status["messages"]["queued"]
    assert all(gateway.ask("message", id=one)["state"] == "queued" for one in acked)
    audit(gateway)


def submit_until_it_ends(esme: Esme) -> list[str]:
    """The ids of those that were accepted, one after the other, until the link was gone."""
    acked: list[str] = []
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            acked.append(message_id(esme.submit()))
    return acked


# ------------------------------------------------------------------------------------ strace

UNSYNCED = """
import sys
import gateway.store.environment as environment

environment.SYNC = False
from gateway.__main__ import main
sys.exit(main(["run", *sys.argv[1:]]))
"""
COUNT = 40


def needs_strace() -> None:
    if shutil.which("strace") is None:
        text = "strace is not installed (apt-get install strace): no flush can be seen"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)


def test_under_strace_every_positive_answer_leaves_behind_the_flush_of_its_rows(
    stage: Stage, tmp_path: Path
) -> None:
    needs_strace()

    trace = traffic_under_strace(stage, tmp_path)

    assert COUNT == len(trace.answers("submit_sm_resp"))
    assert 2 * COUNT == len(trace.answers("deliver_sm_resp"))
    assert 2 * COUNT == len(trace.answers("deliver_sm"))
    assert COUNT == len(trace.answers("submit_sm"))
    assert [] == trace.unflushed()


def test_a_daemon_that_does_not_flush_is_found_out(stage: Stage, tmp_path: Path) -> None:
    needs_strace()

    trace = traffic_under_strace(stage, tmp_path, program=("-c", UNSYNCED))

    assert 3 * COUNT < len(trace.unflushed())


def traffic_under_strace(
    stage: Stage, folder: Path, program: tuple[str, ...] = ("-m", "gateway", "run")
) -> Trace:
    """Messages, their receipts and messages from handsets, one by one and in batches; the trace."""
    with Smsc() as smsc:
        config = folder / "gateway.toml"
        config.write_text(configuration([Carrier("a", smsc.address, binds=1)], sections=STORE))
        config.chmod(0o600)
        path = folder / "trace"
        gateway = stage.start(config, program=program, wrapper=traced(path))
        gateway.ask("registry import", file=REGISTRY)
        with smsc.accept() as carrier, stage.esme(gateway) as esme:
            token = 0
            for batch in (1, 1, 1, 5, 10, COUNT - 18):
                numbers = range(token, token + batch)
                token += batch
                one_batch(esme, carrier, numbers)
        assert 0 == gateway.stop()
        wait_traced(path)
        return Trace(path)


def one_batch(esme: Esme, carrier: Peer, numbers: range) -> None:
    esme.send(
        b"".join(
            wire.pdu(wire.SUBMIT_SM, n + 1, submit_body(text=b"out-%05d-" % n)) for n in numbers
        )
    )
    esme.receive_many(wire.SUBMIT_SM_RESP, len(numbers))
    requests = carrier.receive_many(wire.SUBMIT_SM, len(numbers))
    for number, request in zip(numbers, requests, strict=True):
        carrier.respond(request, b"id-%05d-\0" % number)
        carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, f"id-{number:05}-"))
        text = b"in-%05d-" % number
        body = wire.sm_body(wire.address_block(HANDSET), wire.address_block(FAST), text)
        carrier.request(wire.DELIVER_SM, body)
    for pdu in esme.receive_many(wire.DELIVER_SM, 2 * len(numbers)):
        esme.respond(pdu, b"\0")
    carrier.receive_many(wire.DELIVER_SM_RESP, 2 * len(numbers))
