"""Descriptors: few, none, and enough again; carriers keep theirs, and nothing spins.

`prlimit` of util-linux starts the daemon with a limit; the system call of the same name takes
descriptors from one that runs.
"""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.gateway import Carrier, GatewayProcess, configuration
from tests.daemon.peers import WAIT_S, Esme, message_id, own_address, wait_until
from tests.daemon.stage import REGISTRY, STORE, Stage, bound, quiet
from tests.faults.figures import note, sized

CONNECTS = sized(500, 5_000)
FEW = 64
OTHERS = 24 + 8 + 2 * 2 + 2
"""`daemon.descriptors`: its own, visitors, two binds, two listeners."""
SPIN_MAX = 0.05


@pytest.fixture(scope="module", autouse=True)
def own_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def flood_of_connections(gateway: GatewayProcess, count: int) -> Iterator[list[socket.socket]]:
    """So many connects, as far as the backlog takes them; nobody says a word."""
    host, _, port = gateway.smpp.rpartition(":")
    socks = []
    try:
        for _ in range(count):
            sock = socket.socket()
            socks.append(sock)
            sock.setblocking(False)
            sock.connect_ex((host, int(port)))
        yield socks
    finally:
        for sock in socks:
            sock.close()


def descriptors(gateway: GatewayProcess) -> int:
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


def cpu_share(gateway: GatewayProcess, seconds: float) -> float:
    """How much of a core it uses."""
    used, began = gateway.cpu_s(), time.monotonic()
    time.sleep(seconds)
    return (gateway.cpu_s() - used) / (time.monotonic() - began)


def test_with_64_descriptors_clients_stop_where_the_carriers_begin(
    stage: Stage, tmp_path: Path
) -> None:
    simulator = stage.simulator()
    config = tmp_path / "gateway.toml"
    carrier = Carrier("a", simulator.address)
    config.write_text(configuration([carrier], sections=STORE, smpp="bind_timeout_s = 60"))
    config.chmod(0o600)
    gateway = stage.start(config, wrapper=("prlimit", f"--nofile={FEW}:{FEW}"))
    gateway.ask("registry import", file=REGISTRY)
    bound(simulator, 2)
    places = FEW - OTHERS
    assert descriptors(gateway) <= OTHERS - 8
    warnings = gateway.ask("status")["warnings"]
    assert (
        f"clients can have {places} connections, not 2000 (smpp.max_connections): the process may"
        f" have {FEW} descriptors, and {OTHERS} are for others; set"
        f" LimitNOFILE={OTHERS + 2000} in the systemd unit"
    ) in warnings
    client = Esme(gateway.smpp, source=own_address())
    with client, flood_of_connections(gateway, CONNECTS):
        wait_until(lambda: descriptors(gateway) >= FEW - OTHERS, "they are let in")

        share = cpu_share(gateway, 1.5)
        assert share < SPIN_MAX
        note(f"{CONNECTS:,} connects with {FEW} descriptors", f"{100 * share:.1f} % of a core")
        simulator.ask("drop")
        simulator.wait_stats(lambda stats: stats["binds"]["now"] == 2)
        assert descriptors(gateway) < FEW
        answered = message_id(client.submit())
        assert answered == client.receive_receipt()[0]
    wait_until(lambda: binds(gateway), "clients are let in again")
    lines = [line for line in gateway.log if "refused a connection" in line["message"]]
    assert 1 == len(lines), "once a period"
    assert 0 == gateway.stop()
    quiet(gateway)


def test_without_any_descriptor_accept_pauses_and_goes_on_when_there_are_some(
    stage: Stage,
) -> None:
    gateway = stage.gateway([Carrier("a", "127.0.0.1:1")], smpp="bind_timeout_s = 60")
    with Esme(gateway.smpp) as client:
        before = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
        none_left = (descriptors(gateway), before[1])
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, none_left)
        with flood_of_connections(gateway, 100):
            text = "clients cannot be accepted"
            gateway.wait_log(lambda line: text in line["message"], WAIT_S, text)
            assert cpu_share(gateway, 1.5) < SPIN_MAX
            message_id(client.submit())
            lines = [line for line in gateway.log if text in line["message"]]
            assert 1 == len(lines), "once a period"
            assert "Too many open files" in lines[0]["message"]

            resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, before)

            with Esme(gateway.smpp) as again:
                message_id(again.submit())


def test_a_soft_limit_is_raised_as_far_as_the_hard_one_lets_it(
    stage: Stage, tmp_path: Path
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(configuration([Carrier("a", "127.0.0.1:1")], sections=STORE))
    config.chmod(0o600)

    gateway = stage.start(config, wrapper=("prlimit", f"--nofile={FEW}:4096"))

    soft, hard = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    assert (OTHERS + 2000, 4096) == (soft, hard)
    assert not any("descriptors" in text for text in gateway.ask("status")["warnings"])


def binds(gateway: GatewayProcess) -> bool:
    """Whether a client gets in."""
    try:
        with Esme(gateway.smpp) as esme:
            message_id(esme.submit(registered_delivery=0))
    except (ConnectionError, EOFError):
        return False
    return True
