"""A disk that fills up: it stops accepting before it runs out, and finishes what it has accepted."""

import time
from pathlib import Path

from bench import wire
from bench.gateway import Carrier, configuration, free_port
from bench.ledger import Tally, read_acked
from bench.process import SimulatorProcess, run_load_process
from tests.daemon.peers import Esme
from tests.daemon.stage import REGISTRY, STRICT, Stage, audit, quiet, wait_settled

COUNT = 50_000
REFUSED_MAX_S = 0.1
SMALL = "[store]\nmap_size_bytes = 16777216\nreserve_bytes = 1048576\n"


def refused_s(esme: Esme) -> float:
    """How long one more message takes to be refused."""
    began = time.monotonic()
    assert wire.ESME_RMSGQFUL == esme.submit().command_status
    return time.monotonic() - began


def test_a_full_store_refuses_more_and_loses_nothing_of_what_it_has(
    stage: Stage, tmp_path: Path
) -> None:
    port = free_port()
    config = tmp_path / "gateway.toml"
    config.write_text(configuration([Carrier("a", f"127.0.0.1:{port}")], sections=SMALL))
    config.chmod(0o600)
    gateway = stage.start(config)
    gateway.ask("registry import", file=REGISTRY)
    acked = tmp_path / "acked"

    summary = run_load_process(
        gateway.smpp,
        *("--count", str(COUNT), "--binds", "2", "--text-bytes", "250"),
        *("--json", "--acked", str(acked)),
    )

    assert "complete" == summary["ended"]
    assert {"0x00000014": COUNT - summary["ok"]} == summary["errors"]
    assert 0 < summary["ok"] < COUNT
    assert "plenty" != gateway.ask("status")["room"]
    assert refused_s(stage.esme(gateway)) <= REFUSED_MAX_S
    gateway.kill()
    gateway = stage.start(config)
    assert summary["ok"] == gateway.ask("status")["messages"]["queued"]
    ledger = tmp_path / "ledger"
    address = f"127.0.0.1:{port}"
    with SimulatorProcess("--listen", address, ledger=ledger, python_options=STRICT) as simulator:
        wait_settled(gateway)
        assert summary["ok"] == audit(gateway)["counted"]["delivered"]
        assert 0 == gateway.stop()
        simulator.stop()
        tally = Tally(simulator.entries())
    assert [] == tally.missing(read_acked(acked))
    assert {} == tally.duplicates()
    quiet(gateway)
