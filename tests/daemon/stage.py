"""Stage: what a whole-process test needs: simulators, daemons and loads that end with the test.

Files lie in a folder of the test's own; ports are the kernel's choice, or fixed where the daemon
must come back on the same one. Warnings are errors in every process.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.gateway import GATEWAY, Carrier, GatewayProcess, configuration
from bench.ledger import Entry
from bench.process import LoadProcess, SimulatorProcess
from tests.daemon.peers import Esme

REGISTRY = (Path(bench.__file__).parent / "registry.toml").read_text()
STRICT = ("-W", "error")
STORE = "[store]\nmap_size_bytes = 1073741824\nreserve_bytes = 1048576\n"
"""A small reserve: nothing here fills a disk, and laying a large one takes time."""

LOUD = ("error", "critical")


class Stage:
    """Starts processes; whoever made it ends them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self._made = 0

    def simulator(self, *arguments: str) -> SimulatorProcess:
        """A carrier with a ledger of its own."""
        self._made += 1
        ledger = self.folder / f"ledger-{self._made}"
        return self.stack.enter_context(
            SimulatorProcess("--seed=1", *arguments, ledger=ledger, python_options=STRICT)
        )

    def gateway(
        self,
        carriers: Sequence[Carrier],
        *,
        registry: str = REGISTRY,
        sections: str = "",
        **options: Any,
    ) -> GatewayProcess:
        """A daemon with a store of its own, ready, its registry imported."""
        self._made += 1
        folder = self.folder / f"gateway-{self._made}"
        folder.mkdir()
        config = folder / "gateway.toml"
        config.write_text(configuration(carriers, sections=STORE + sections, **options))
        config.chmod(0o600)
        gateway = self.start(config)
        gateway.ask("registry import", file=registry)
        return gateway

    def start(
        self,
        config: Path,
        *,
        program: tuple[str, ...] = GATEWAY,
        wrapper: tuple[str, ...] = (),
    ) -> GatewayProcess:
        """A daemon with the configuration and the store that are there, ready."""
        return self.run(config, program=program, wrapper=wrapper).wait_ready()

    def run(
        self,
        config: Path,
        *,
        program: tuple[str, ...] = GATEWAY,
        wrapper: tuple[str, ...] = (),
    ) -> GatewayProcess:
        """The same, but it may never be ready."""
        return self.stack.enter_context(GatewayProcess(config, program=program, wrapper=wrapper))

    def esme(self, gateway: GatewayProcess, **options: Any) -> Esme:
        """An application, bound."""
        return self.stack.enter_context(Esme(gateway.smpp, **options))

    def load(self, gateway: GatewayProcess, *arguments: str) -> LoadProcess:
        """A load generator, running."""
        return self.stack.enter_context(
            LoadProcess(gateway.smpp, "--json", *arguments, python_options=STRICT)
        )


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        yield Stage(tmp_path, stack)


@pytest.fixture(scope="module")
def module_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        yield Stage(tmp_path_factory.mktemp("stage"), stack)


def bound(simulator: SimulatorProcess, binds: int) -> None:
    """Waits until so many binds of the daemon are up."""
    simulator.wait_stats(lambda stats: stats["binds"]["now"] == binds)


def audit(gateway: GatewayProcess) -> dict[str, Any]:
    """`ctl audit`, which has to agree."""
    status, report = gateway.ctl("audit")
    assert (0, []) == (status, report["differences"])
    counted: dict[str, Any] = report
    return counted


def quiet(gateway: GatewayProcess) -> None:
    """It has logged nothing that is a fault."""
    assert [] == [line for line in gateway.log if line.get("level", "error") in LOUD]


def idle(status: dict[str, Any]) -> bool:
    """Nothing waits, and nothing is on its way."""
    messages = status["messages"]
    return not any(messages[state] for state in ("queued", "in_flight", "submitted", "in_doubt"))


def wait_settled(gateway: GatewayProcess, timeout_s: float = 60.0) -> dict[str, Any]:
    """Waits until every message has ended; the status then."""
    return gateway.wait_status(idle, timeout_s)


def marked(entry: Entry) -> bool:
    """Whether the carrier was told that it may have had this message before: TLV 0x3A05."""
    return b"\x3a\x05\x00\x01" in entry.tlvs


def unmarked_repeats(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that were taken before, and do not say so."""
    seen = set()
    wrong = []
    for entry in entries:
        if not entry.accepted:
            continue
        if entry.token in seen and not marked(entry):
            wrong.append(entry)
        seen.add(entry.token)
    return wrong
