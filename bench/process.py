"""Simulator and load generator as child processes, for tests and scripts that drive them.

Plain blocking calls with deadlines, no event loop: usable from a synchronous test, from a thread
of a trio program, or from a script. A child that ends, or does not answer in time, raises
`ProcessError` with what was asked. Leaving the `with` block ends the child: terminated, and killed
if it does not go.

It starts the tools with the interpreter it runs in and needs nothing installed but this package.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench.ledger import Entry, read_ledger

ANSWER_S: Final = 10.0
STOP_S: Final = 10.0

_ROOT: Final = Path(__file__).resolve().parent.parent


class ProcessError(Exception):
    """The child ended, or did not do in time what it was asked."""


class ToolProcess:
    """A child that prints JSON lines; each line is kept until somebody asks for it."""

    def __init__(self, module: str, *arguments: str, python_options: tuple[str, ...] = ()) -> None:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH", ""))))
        self.name = module
        self._popen = subprocess.Popen(  # noqa: S603  (our own module, no shell)
            [sys.executable, *python_options, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name=f"{module} stdout", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        self._reader.join()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # a command it did not live to read
                    pipe.close()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._popen.pid

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal."""
        self._popen.send_signal(number)

    def exit_status(self, timeout_s: float = STOP_S) -> int:
        """Wait for the end of the child."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} has not ended in {timeout_s:g} s") from None

    def write_line(self, line: Mapping[str, object]) -> None:
        """Write one JSON line to the child's stdin."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps(line).encode() + b"\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise ProcessError(f"{self.name} has ended") from None

    def close_stdin(self) -> None:
        """End the child's stdin."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def wait_line(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float, what: str
    ) -> dict[str, Any]:
        """Wait for the first line that is `wanted` and take it out."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for index, line in enumerate(self._lines):
                    if wanted(line):
                        return self._lines.pop(index)
                left_s = deadline - time.monotonic()
                if self._ended:
                    raise ProcessError(f"{self.name} ended before {what}")
                if left_s <= 0:
                    raise ProcessError(f"{self.name}: no {what} in {timeout_s:g} s")
                self._changed.wait(left_s)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._changed:
                self._lines.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class SimulatorProcess(ToolProcess):
    """A running simulator: its address, and its commands as calls."""

    def __init__(
        self, *arguments: str, ledger: Path | None = None, python_options: tuple[str, ...] = ()
    ) -> None:
        self.ledger = ledger
        options = () if ledger is None else ("--ledger", str(ledger))
        super().__init__("bench.simulator", *options, *arguments, python_options=python_options)
        self._commands = 0
        line = self.wait_line(lambda line: line.get("event") == "listening", ANSWER_S, "start")
        self.host = str(line["host"])
        self.port = int(line["port"])

    @property
    def address(self) -> str:
        """HOST:PORT, as `bench.load --connect` takes it."""
        return f"{self.host}:{self.port}"

    def send(self, do: str, command: Mapping[str, object] | None = None) -> int:
        """Give a command without waiting; its number for `answer`."""
        self._commands += 1
        self.write_line({"do": do, "id": self._commands, **(command or {})})
        return self._commands

    def answer(self, number: int, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Wait for the answer to a command; one that says no raises `ProcessError`."""
        line = self.wait_line(
            lambda line: line.get("id") == number, timeout_s, f"answer to command {number}"
        )
        if not line["ok"]:
            raise ProcessError(f"{self.name}: {line['error']}")
        return line

    def ask(
        self,
        do: str,
        command: Mapping[str, object] | None = None,
        *,
        timeout_s: float = ANSWER_S,
    ) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        return self.answer(self.send(do, command), timeout_s)

    def set(self, **settings: object) -> None:
        """Change settings while it runs."""
        self.ask("set", settings)

    def stats(self) -> dict[str, Any]:
        """All its figures."""
        stats: dict[str, Any] = self.ask("stats")["stats"]
        return stats

    def wait_stats(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = ANSWER_S
    ) -> dict[str, Any]:
        """Ask for the figures until they are as `wanted`."""
        deadline = time.monotonic() + timeout_s
        while not wanted(stats := self.stats()):
            if time.monotonic() >= deadline:
                raise ProcessError(f"{self.name}: not in {timeout_s:g} s; the last was {stats}")
            time.sleep(0.01)
        return stats

    def inbound(
        self, source: str, dest: str, text: str, *, timeout_s: float = ANSWER_S, **more: object
    ) -> int:
        """Deliver a message from a handset; the command_status it was answered with."""
        command = {"from": source, "to": dest, "text": text, **more}
        return int(self.ask("mo", command, timeout_s=timeout_s)["command_status"])

    def stop(self) -> dict[str, Any]:
        """Stop it; its last figures. The ledger is complete when this returns."""
        self.send("stop")
        line = self.wait_line(lambda line: line.get("event") == "stopped", STOP_S, "stop")
        self.exit_status()
        stats: dict[str, Any] = line["stats"]
        return stats

    def entries(self) -> list[Entry]:
        """Everything in the ledger; stop it first, or what is still buffered is not there."""
        assert self.ledger is not None
        return list(read_ledger(self.ledger))


class LoadProcess(ToolProcess):
    """A running load generator."""

    def __init__(self, address: str, *arguments: str, python_options: tuple[str, ...] = ()) -> None:
        super().__init__(
            "bench.load", "--connect", address, *arguments, python_options=python_options
        )

    def summary(self, timeout_s: float) -> dict[str, Any]:
        """Wait for its end and its summary."""
        line = self.wait_line(lambda line: "finished" in line, timeout_s, "summary")
        self.exit_status()
        return line


def run_load_process(address: str, *arguments: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """Run the load generator to its end; its summary."""
    with LoadProcess(address, *arguments) as load:
        return load.summary(timeout_s)
