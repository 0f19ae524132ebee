"""Every command of the README is run, or the reason why not stands here."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.gateway import GatewayProcess
from bench.process import SimulatorProcess, run_load_process

ROOT = Path(__file__).parents[2]

NOT_RUN_HERE = {
    "make test": "it is what runs this",
    "pip install smppgate": "the wheel is built and installed by tests/docs/test_wheel.py",
    "smppgate check --config /etc/smppgate/smppgate.toml": "a path of a machine in production",
}

DEMO = "make demo"
SIMULATOR = ".venv/bin/python -m bench.simulator --listen 127.0.0.1:2776"
CHECK = ".venv/bin/smppgate check --config conf/first.toml"
RUN = ".venv/bin/smppgate run --config conf/first.toml"
CTL = ".venv/bin/smppgate ctl --config conf/first.toml "
LOAD = ".venv/bin/python -m bench.load --connect 127.0.0.1:2775 "


def commands() -> list[str]:
    """The lines of the README's shell blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [
        line.split("  #")[0].split("    #")[0].strip() for line in "".join(blocks).splitlines()
    ]
    return [line for line in lines if line]


def test_every_command_of_the_readme_is_known_here() -> None:
    known = {*NOT_RUN_HERE, DEMO, SIMULATOR, CHECK, RUN}
    unknown = [c for c in commands() if c not in known and not c.startswith((CTL, LOAD))]

    assert unknown == []


def test_the_makefile_has_the_readmes_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test", "check", "bench"} <= targets


def test_the_demo_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "gateway", "demo", "--seconds", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "All of it held" in done.stdout


@pytest.fixture
def first(tmp_path: Path) -> Iterator[tuple[SimulatorProcess, Path]]:
    """The first configuration, on ports of our own."""
    with SimulatorProcess("--receipt-delay-ms=10") as simulator:
        text = (ROOT / "conf/first.toml").read_text()
        text = text.replace("127.0.0.1:2775", "127.0.0.1:0").replace(
            "127.0.0.1:9464", "127.0.0.1:0"
        )
        config = tmp_path / "conf" / "first.toml"
        config.parent.mkdir()
        config.write_text(text.replace("127.0.0.1:2776", simulator.address))
        config.chmod(0o600)
        yield simulator, config


def test_the_first_message_gets_there_as_the_readme_says(
    first: tuple[SimulatorProcess, Path],
) -> None:
    simulator, config = first
    checked = subprocess.run(
        [sys.executable, "-m", "gateway", *shlex.split(CHECK)[1:3], str(config)],
        cwd=ROOT,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    with GatewayProcess(config) as gateway:
        gateway.wait_ready()
        simulator.wait_stats(lambda stats: stats["binds"]["now"] == 2)
        for command in commands():
            if command.startswith(CTL):
                words = [w if "/" not in w else str(ROOT / w) for w in command[len(CTL) :].split()]
                status, answer = gateway.ctl(*words)
                assert status == 0, f"{command}: {answer}"
            elif command.startswith(LOAD):
                options = shlex.split(command[len(LOAD) :])
                summary = run_load_process(gateway.smpp, *options)
                assert summary["receipts_matching_both"] == 1
        assert gateway.stop() == 0
