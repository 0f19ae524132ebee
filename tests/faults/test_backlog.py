"""A long queue: memory stays where it was, and a restart is ready at once.

The carrier is down and clients go on. `SMPPGATE_ROWS` says how many messages wait (not given:
100,000; 2,000,000 in `make faults`). Memory is anonymous memory (RssAnon): mapped pages of the file
are the page cache's.
"""

import os
import time

import pytest

from bench.gateway import Carrier, GatewayProcess, configuration
from bench.process import run_load_process
from tests.daemon.stage import REGISTRY, Stage
from tests.faults.figures import note, sized

ROWS = int(os.environ.get("SMPPGATE_ROWS", "0")) or sized(100_000, 2_000_000)
LANES = sized(300, 5_000)
PER_LANE = 40

MIB = 1 << 20
GROWTH_MAX = 50 * MIB
READY_MAX_S = 5.0

SAMPLE_S = 0.02
SAMPLES = 10

STORE = "[store]\nmap_size_bytes = 8589934592\nreserve_bytes = 1048576\n"
CLIENT = "queue_limit = 10000000"


def start(stage: Stage, registry: str) -> GatewayProcess:
    """A daemon whose carrier is down."""
    folder = stage.folder / "gateway"
    folder.mkdir()
    config = folder / "gateway.toml"
    config.write_text(configuration([Carrier("a", "127.0.0.1:1")], client=CLIENT, sections=STORE))
    config.chmod(0o600)
    gateway = stage.start(config)
    gateway.ask("registry import", file=registry)
    return gateway


def fill(gateway: GatewayProcess, count: int, *sources: str) -> None:
    """So many messages, as fast as they are taken, and all are."""
    summary = run_load_process(
        gateway.smpp,
        *("--count", str(count), "--binds", "4", "--window", "500", "--json"),
        *(("--from", ",".join(sources)) if sources else ()),
        timeout_s=600.0,
    )
    assert (count, "complete") == (summary["ok"], summary["ended"])


def restart(stage: Stage, gateway: GatewayProcess) -> tuple[GatewayProcess, float]:
    """Kill -9, and how long the next one takes to be ready."""
    gateway.kill()
    began = time.monotonic()
    gateway = stage.start(gateway.config)
    return gateway, time.monotonic() - began


@pytest.mark.timeout(sized(120, 1200))
def test_memory_does_not_grow_with_the_queue_and_a_restart_is_ready_at_once(stage: Stage) -> None:
    gateway = start(stage, REGISTRY)
    empty = gateway.anonymous_bytes()

    fill(gateway, ROWS)

    full = gateway.anonymous_bytes()
    gateway, ready_s = restart(stage, gateway)
    assert ROWS == gateway.ask("status")["messages"]["queued"]
    restarted = gateway.anonymous_bytes()
    note(
        f"{ROWS:,} queued",
        f"RssAnon {empty / MIB:.1f} MiB with none, {(full - empty) / MIB:+.1f} MiB with all, "
        f"{(restarted - empty) / MIB:+.1f} MiB after a restart, ready in {ready_s:.2f} s",
    )
    assert full - empty <= GROWTH_MAX
    assert restarted - empty <= GROWTH_MAX
    assert ready_s <= READY_MAX_S


@pytest.mark.timeout(sized(120, 600))
def test_memory_does_not_grow_with_the_lanes_either_nor_while_they_are_sent(stage: Stage) -> None:
    sources = [str(12025600000 + number) for number in range(LANES)]
    gateway = start(stage, REGISTRY + "".join(map(campaign, sources)))
    gateway, _ = restart(stage, gateway)
    empty = gateway.anonymous_bytes()

    fill(gateway, LANES * PER_LANE, *sources)

    full = gateway.anonymous_bytes()
    gateway, ready_s = restart(stage, gateway)
    gateway.kill()
    simulator = stage.simulator()
    config = gateway.config
    config.write_text(config.read_text().replace("127.0.0.1:1", simulator.address))
    gateway = stage.start(config)
    highest = gateway.anonymous_bytes()
    while gateway.ask("status")["messages"]["queued"]:
        for _ in range(SAMPLES):  # a status looks at many lanes: it is no part of what is measured
            highest = max(highest, gateway.anonymous_bytes())
            time.sleep(SAMPLE_S)
    note(
        f"{LANES:,} lanes of {PER_LANE} messages",
        f"RssAnon {empty / MIB:.1f} MiB with none, {(full - empty) / MIB:+.1f} MiB with all, "
        f"{(highest - empty) / MIB:+.1f} MiB at most while they are sent, ready in {ready_s:.2f} s",
    )
    assert full - empty <= GROWTH_MAX
    assert ready_s <= READY_MAX_S


def campaign(source: str) -> str:
    """A campaign of its own."""
    return (
        f'[[campaign]]\nid = "C{source}"\nbrand = "BACME01"\nuse_case = "MARKETING"\n'
        f'status = "ACTIVE"\nnumbers = ["+{source}"]\nlimits = []\n'
    )
