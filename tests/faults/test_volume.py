"""A volume that runs full under a daemon: new messages are refused at once, the rest goes on.

The volume is real and small: a tmpfs in a mount namespace of the daemon's own, which goes with it
and which nobody else sees. Where that cannot be had the test says so and skips; a map that runs
full (tests/daemon/test_room.py) and calls that fail for lack of room (test_calls.py) need nothing.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess, configuration
from bench.ledger import Tally, read_acked
from tests.daemon import peers
from tests.daemon.peers import FAST, HANDSET, WAIT_S, Esme, Peer, Smsc, message_id
from tests.daemon.stage import REGISTRY, Stage, bound, wait_settled
from tests.faults.figures import note, sized
from tests.faults.load import wait_acknowledged

VOLUME_BYTES = 12 << 20
STORE = "[store]\nmap_size_bytes = 67108864\nreserve_bytes = 1048576\n"
WINDOW = 10
QUEUED = 300

REFUSED_MAX_S = 0.1
TIMES = sized(3, 20)
BACK_MAX_S = 5.0
"""A volume that was full is looked at every second."""

MOUNTED = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
SCRIPT = 'mount -t tmpfs -o size={size} none "{path}" && exec "$@"'


def on_small_volume(data_dir: Path) -> tuple[str, ...]:
    """The command that runs another one with a small volume of its own at this folder."""
    return (*MOUNTED, SCRIPT.format(size=VOLUME_BYTES, path=data_dir), "sh")


def needs_namespaces(folder: Path) -> None:
    """Skips where a process may not have a mount namespace of its own."""
    try:
        done = subprocess.run(
            [*on_small_volume(folder), "true"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed: no small volume can be had")
    if done.returncode:
        pytest.skip(f"no mount namespace of its own for a small volume: {done.stderr.strip()}")


class Volume:
    """The small volume, seen from outside through its daemon's root."""

    def __init__(self, gateway: GatewayProcess, data_dir: Path) -> None:
        self.path = Path(f"/proc/{gateway.pid}/root{data_dir}")
        self._filler = self.path / "filler"

    def fill(self) -> None:
        """Somebody else's file takes all that is left, to the last octet."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT)
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while os.write(descriptor, bytes(size)):
                    pass
        os.close(descriptor)

    def empty(self) -> None:
        """And gives it back."""
        self._filler.unlink()


def start(stage: Stage, carrier_address: str) -> tuple[GatewayProcess, Volume]:
    data_dir = stage.folder / "var"
    data_dir.mkdir()
    needs_namespaces(data_dir)
    config = stage.folder / "gateway.toml"
    carrier = Carrier("a", carrier_address, binds=1, window=WINDOW)
    config.write_text(configuration([carrier], sections=STORE))
    config.chmod(0o600)
    gateway = stage.start(config, wrapper=on_small_volume(data_dir))
    gateway.ask("registry import", file=REGISTRY)
    return gateway, Volume(gateway, data_dir)


def test_on_a_full_volume_submits_are_refused_at_once_and_all_else_goes_on_until_there_is_room(
    stage: Stage,
) -> None:
    with Smsc() as smsc:
        gateway, volume = start(stage, smsc.address)
        with smsc.accept() as carrier, stage.esme(gateway) as esme:
            accepted = {message_id(esme.submit(token)) for token in range(QUEUED)}

            volume.fill()

            began = time.monotonic()
            late, refused_s = submit_until_refused(esme, began)
            assert refused_s <= REFUSED_MAX_S
            accepted |= late
            ended = serve(carrier, esme, len(accepted))
            assert accepted == ended
            inbound(carrier, esme)
            assert wire.ESME_RMSGQFUL == esme.submit(1).command_status
            status = gateway.ask("status")
            assert (len(accepted), 0) == (status["messages"]["delivered"], status["queue_depth"])
            assert [text for text in status["warnings"] if "room on disk" in text]

            volume.empty()

            began = time.monotonic()
            again = submit_until_accepted(esme)
            back_s = time.monotonic() - began
            assert back_s <= BACK_MAX_S
            assert {again} == serve(carrier, esme, 1)
            assert [] == gateway.ask("audit")["differences"]
            gateway.wait_status(lambda status: status["room"] == "plenty")
            assert (volume.path / "ballast").exists()
    note(
        "full volume",
        f"refused {1000 * refused_s:.1f} ms after the last octet was taken ({len(late)} taken from "
        f"the reserve before), {len(ended)} sent and ended on it, accepted again after "
        f"{back_s:.1f} s",
    )


def test_a_volume_that_fills_and_empties_under_load_loses_nothing_and_ends_nobody(
    stage: Stage, tmp_path: Path
) -> None:
    simulator = stage.simulator("--receipt-delay-ms=20")
    gateway, volume = start(stage, simulator.address)
    bound(simulator, 1)
    acked = tmp_path / "acked"
    load = stage.load(
        gateway,
        *("--seconds", "3600", "--binds", "2", "--rate", "2000"),
        *("--acked", str(acked), "--wait-receipts", "30"),
    )
    for _ in range(TIMES):
        wait_room(gateway, full=False)
        wait_acknowledged(acked)
        volume.fill()
        wait_room(gateway, full=True)
        volume.empty()
    wait_room(gateway, full=False)
    load.signal(signal.SIGINT)

    summary = load.summary(60.0)
    wait_settled(gateway)
    assert [] == gateway.ask("audit")["differences"]
    assert 0 == gateway.stop()
    simulator.stop()
    assert {"0x00000014"} == set(summary["errors"])
    assert summary["ok"] == summary["receipts_distinct"]
    tally = Tally(simulator.entries())
    assert [] == tally.missing(read_acked(acked))
    assert {} == tally.duplicates()
    note(
        "full volume under load",
        f"{TIMES} times full and empty again without a restart: {summary['ok']:,} acknowledged, "
        f"none lost, none twice, {summary['errors']['0x00000014']:,} refused",
    )


def wait_room(gateway: GatewayProcess, *, full: bool) -> None:
    gateway.wait_status(lambda status: (status["room"] != "plenty") == full)


def submit_until_refused(esme: Esme, began: float) -> tuple[set[str], float]:
    """What was taken after all, and when the first was refused."""
    taken: set[str] = set()
    while True:
        answer = esme.submit(1)
        if answer.command_status == wire.ESME_RMSGQFUL:
            return taken, time.monotonic() - began
        taken.add(message_id(answer))
        assert time.monotonic() - began < WAIT_S


def submit_until_accepted(esme: Esme) -> str:
    deadline = time.monotonic() + WAIT_S
    while True:
        answer = esme.submit(1)
        if answer.command_status == wire.ESME_ROK:
            return message_id(answer)
        assert wire.ESME_RMSGQFUL == answer.command_status
        assert time.monotonic() < deadline
        time.sleep(0.01)


def serve(carrier: Peer, esme: Esme, count: int) -> set[str]:
    """The carrier takes so many and reports them delivered; the client's ids, by its receipts."""
    ended = set()
    for number in range(count):
        request = carrier.receive_a(wire.SUBMIT_SM)
        name = f"{request.sequence_number}-{number}"
        carrier.respond(request, name.encode() + b"\0")
        carrier.request(wire.DELIVER_SM, peers.carrier_receipt(request, name))
        assert wire.ESME_ROK == carrier.receive_a(wire.DELIVER_SM_RESP).command_status
        ended.add(esme.receive_receipt()[0])
    return ended


def inbound(carrier: Peer, esme: Esme) -> None:
    """A handset says STOP: taken, and passed on."""
    body = wire.sm_body(wire.address_block(HANDSET), wire.address_block(FAST), b"STOP")
    carrier.request(wire.DELIVER_SM, body)
    assert wire.ESME_ROK == carrier.receive_a(wire.DELIVER_SM_RESP).command_status
    passed_on = esme.receive_a(wire.DELIVER_SM)
    assert body == passed_on.body
    esme.respond(passed_on, b"\0")
