"""Carriers that are down, refuse, fall silent or send half a PDU: how soon each is tried again.

A refusal for good is slow and loud, a dead host quick, fifty binds are no storm, and a link that is
half open is found within two intervals with its window in doubt.
"""

import contextlib
import re
import select
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess, free_port
from bench.process import SimulatorProcess
from gateway.smpp import codec
from tests.daemon import peers
from tests.daemon.held import Scene
from tests.daemon.peers import WAIT_S, Peer, Smsc, message_id, wait_until
from tests.daemon.stage import STRICT, Stage, audit, bound, marked, quiet

ROUTES = '\n[[route]]\nname = "us"\ncarriers = ["a"]\n'

FINAL = {
    0x0D: "ESME_RBINDFAIL (ask the carrier whether the account may bind, in this way, from here",
    0x0E: "ESME_RINVPASWD (check the password",
    0x0F: "ESME_RINVSYSID (check system_id",
    0x53: "ESME_RINVSYSTYP (check system_type",
}

BINDS = 50
SPACING_S = 0.2


def carrier_of(address: str, more: str = "") -> str:
    """A carrier whose waits are the default, and a route to it."""
    return (
        f'[[carrier]]\nname = "a"\naddress = "{address}"\nsystem_id = "smppgate"\n'
        f'password = "secret"\n{more}{ROUTES}'
    )


def attempts(gateway: GatewayProcess) -> list[tuple[str, float]]:
    """Level and wait of each line about an attempt that failed."""
    found = ((line, re.search(r"again in (\S+) s", str(line["message"]))) for line in gateway.log)
    return [(line["level"], float(match[1])) for line, match in found if match]


@contextlib.contextmanager
def refusing(smsc: Smsc, status: int) -> Iterator[None]:
    """The next bind is refused with this status."""
    smsc._listener.settimeout(WAIT_S)
    with Peer(smsc._listener.accept()[0]) as peer:
        peer.respond(peer.receive(), command_status=status)
        peer.receive_end()
        yield


@pytest.mark.parametrize("status", FINAL)
def test_a_bind_that_is_refused_for_good_is_loud_and_not_tried_again_soon(
    stage: Stage, status: int
) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([], routes=carrier_of(smsc.address))
        with refusing(smsc, status):
            gateway.wait_log(lambda line: "again in" in line["message"], WAIT_S, "refusal")
        ((level, wait_s),) = attempts(gateway)

        assert "error" == level
        assert 30.0 <= wait_s <= 60.0
        (warning,) = [one for one in gateway.ask("status")["warnings"] if "carrier a" in one]
        assert f"the bind was refused: {FINAL[status]}" in warning
        assert "smppgate ctl carrier rebind a" in warning
        gateway.ask("carrier rebind", name="a")
        with smsc.accept() as peer:
            peer.settle()
        gateway.kill()


@pytest.mark.parametrize("status", [0x05, 0x08, 0x58])
def test_a_bind_that_is_refused_for_now_is_tried_again_soon(stage: Stage, status: int) -> None:
    with Smsc() as smsc:
        gateway = stage.gateway([], routes=carrier_of(smsc.address, "backoff_min_s = 0.1"))
        with refusing(smsc, status), smsc.accept() as peer:
            peer.settle()
        assert [("warning", True)] == [
            (level, wait_s <= 0.1) for level, wait_s in attempts(gateway)
        ]
        gateway.kill()


def test_a_dead_host_is_found_again_soon_after_it_returns(stage: Stage) -> None:
    port = free_port()
    gateway = stage.gateway([], routes=carrier_of(f"127.0.0.1:{port}", "backoff_min_s = 0.1"))
    wait_until(lambda: len(attempts(gateway)) >= 4, "it tries again and again")
    assert "Connection refused" in gateway.ask("status")["warnings"][0]

    with SimulatorProcess("--listen", f"127.0.0.1:{port}", python_options=STRICT) as simulator:
        began = time.monotonic()
        bound(simulator, 1)
        assert time.monotonic() - began < 5.0

    quiet(gateway)


def test_fifty_binds_are_no_storm_while_their_carrier_is_down_and_full_at_once_when_it_is_back(
    stage: Stage,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=BINDS) as listener:
        address = "{}:{}".format(*listener.getsockname())
        more = f"backoff_min_s = {SPACING_S}\nbinds = {BINDS}"
        gateway = stage.gateway([], routes=carrier_of(address, more))

        seen, began = [], time.monotonic()
        while (left_s := began + 3.0 - time.monotonic()) > 0:
            if select.select([listener], [], [], left_s)[0]:
                listener.accept()[0].close()
                seen.append(time.monotonic())

        assert 3 <= len(seen) <= 3.0 / SPACING_S + 1
        with contextlib.ExitStack() as stack:
            back = time.monotonic()
            for _ in range(BINDS):
                accept(listener, stack)
            assert time.monotonic() - back < 5.0
            gateway.wait_status(lambda status: status["carriers"][0]["bound"] == BINDS, 5.0)
            gateway.kill()


def accept(listener: socket.socket, stack: contextlib.ExitStack) -> Peer:
    """Takes the next bind."""
    listener.settimeout(WAIT_S)
    peer = stack.enter_context(Peer(listener.accept()[0]))
    peer.respond(peer.receive(), wire.bind_resp_body("smsc"))
    return peer


def test_half_a_pdu_of_a_carrier_and_then_silence_costs_it_the_link(stage: Stage) -> None:
    with Smsc() as smsc:
        more = "pdu_timeout_s = 0.5"
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, more=more)])
        with smsc.accept() as peer:
            began = time.monotonic()
            peer.send(wire.pdu(wire.DELIVER_SM, 1, bytes(30))[:20])
            peer.receive_end()
            assert 0.45 < time.monotonic() - began < 2.0
            with smsc.accept() as again:
                again.settle()
        assert any("a PDU was begun and not ended" in line["message"] for line in gateway.log)
        gateway.kill()


def test_a_carrier_that_falls_silent_is_found_within_two_intervals_and_its_window_is_in_doubt(
    stage: Stage,
) -> None:
    with Smsc() as smsc:
        more = "enquire_link_s = 0.5"
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, more=more)])
        with smsc.accept() as silent:
            esme = stage.esme(gateway)
            expected = message_id(esme.submit())
            first = silent.receive_a(wire.SUBMIT_SM)
            began = time.monotonic()
            silent.receive_a(wire.ENQUIRE_LINK)

            with smsc.accept() as again:
                assert time.monotonic() - began < 1.0 + 0.5 + 0.5
                request = again.receive_a(wire.SUBMIT_SM)

                assert first.body + wire.tlv(0x3A05, b"\x01") == request.body
                again.respond(request, b"id1\0")
                again.request(wire.DELIVER_SM, peers.carrier_receipt(request, "id1"))
                assert expected == esme.receive_receipt()[0]
        audit(gateway)
        gateway.kill()


def test_a_carrier_that_is_stopped_in_its_tracks_harms_no_other(stage: Stage) -> None:
    a, b = stage.simulator(), stage.simulator()
    gateway = stage.gateway(
        # One bind: what is sent again over a second one that is dead too is in doubt for good.
        [Carrier("a", a.address, binds=1, more="enquire_link_s = 0.4"), Carrier("b", b.address)]
    )
    bound(a, 1)
    bound(b, 2)
    esme = stage.esme(gateway)
    a.signal(signal.SIGSTOP)
    try:
        ids = [message_id(esme.submit(token, dest=f"1310555{token:04}")) for token in range(100)]
        began = time.monotonic()
        gateway.wait_status(lambda status: status["carriers"][0]["bound"] == 0, 5.0)
        assert time.monotonic() - began < 0.8 + 0.5
        receipts = {esme.receive_receipt()[0] for _ in ids}
    finally:
        a.signal(signal.SIGCONT)

    assert set(ids) == receipts
    audit(gateway)
    b.stop()
    assert any(map(marked, b.entries())), "those that a had in its window"


def test_a_pdu_that_our_own_code_fails_on_costs_its_carrier_that_link_and_the_others_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = codec.decode_sm

    def fail(body: bytes) -> codec.Sm | codec.BodyFault:
        if b"poison" in body:
            raise ZeroDivisionError("a bug")
        return whole(body)

    monkeypatch.setattr(codec, "decode_sm", fail)
    first = message_id(scene.esme.submit(1))
    request = scene.carrier.receive_a(wire.SUBMIT_SM)
    poison = peers.submit_body(text=b"poison")

    with peers.Esme(scene.daemon.smpp) as victim:
        scene.carrier.request(wire.DELIVER_SM, poison)
        victim.request(wire.SUBMIT_SM, poison)
        scene.carrier.receive_end()
        victim.receive_end()

    faults = [record for record in caplog.records if record.exc_info]
    assert 2 == len(faults)
    assert all("a bug of ours: the session with" in record.getMessage() for record in faults)
    (carrier,) = scene.daemon.ask("carrier")
    assert carrier["sessions"][0]["last_error"] == "a bug of ours; the log has its traceback"
    with scene.smsc.accept() as again:  # the longest wait is half a second here
        resent = again.receive_a(wire.SUBMIT_SM)
        assert request.body + wire.tlv(0x3A05, b"\x01") == resent.body
        again.respond(resent, b"id1\0")
        again.request(wire.DELIVER_SM, peers.carrier_receipt(resent, "id1"))
        assert first == scene.esme.receive_receipt()[0]
        message_id(scene.esme.submit(2))
