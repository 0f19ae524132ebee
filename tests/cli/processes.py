"""Runs the command `smppgate` as a process of its own, from a folder that is not the project's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-W", "error", "-m", "gateway")
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", ""),
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
}

CONFIG = """
smpp.listen = ["127.0.0.1:0"]
metrics.listen = []
store = { map_size_bytes = 67108864, reserve_bytes = 1048576 }
drain.timeout_s = 5

[[client]]
name = "shop"
company = "acme"
system_id = "shop"
password = "hunter42"

[[carrier]]
name = "carrier-a"
address = "127.0.0.1:1"
system_id = "smppgate"
password = "st4ple"

[[route]]
name = "us"
carriers = ["carrier-a"]
"""
SECRETS = ("hunter42", "st4ple")


def config(folder: Path, text: str = CONFIG) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def smppgate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
        timeout=60,
    )


class Daemon:
    """`smppgate run`, whose log is read line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    def wait_for(self, message: str) -> dict[str, Any]:
        """The next log line with this message."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == message:
                return self.lines[-1]
        raise AssertionError(f"it ended without {message!r}: {self.lines}")

    def wait(self) -> int:
        """Its exit code, after the rest of its log."""
        assert self.process.stderr is not None
        self.lines += [json.loads(line) for line in self.process.stderr]
        return self.process.wait(timeout=60)


@contextmanager
def running(file: Path, *options: str) -> Iterator[Daemon]:
    """A daemon that has said `ready`; killed at the end, if it still is there."""
    process = subprocess.Popen(
        [*COMMAND, "run", "--config", str(file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    with process:
        try:
            daemon = Daemon(process)
            daemon.wait_for("ready")
            yield daemon
        finally:
            process.kill()
