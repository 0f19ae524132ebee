"""GatewayProcess: a real daemon as a child, for the demo, the bench and the whole-process tests.

It writes a configuration into a folder, starts `python -m gateway run` (or the bare relay) on free
ports, waits for `ready`, and speaks to it as an operator would: signals, `ctl`, metrics. Plain
blocking calls with deadlines. Leaving the `with` block ends the child, killed if need be.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from bench.process import ProcessError

READY_S: Final = 20.0
STOP_S: Final = 40.0
"""Longer than the drain's own patience."""
ASK_S: Final = 60.0
DRAIN_S: Final = 10.0
POLL_S: Final = 0.01

PORTS: Final = (12_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections. Above, a client that tries again
and again to reach a daemon that is down connects to itself one day, and then has the port."""

_ROOT: Final = Path(__file__).resolve().parent.parent

GATEWAY: Final = ("-m", "gateway", "run")
BARE: Final = ("-m", "bench.bare")

CONFIG: Final = """
data_dir = "var"
{top}
[smpp]
listen = ["127.0.0.1:{smpp_port}"]
{smpp}
[metrics]
listen = ["127.0.0.1:{metrics_port}"]
[admin]
socket = "admin.sock"
[drain]
timeout_s = {drain_s}
{sections}
[[client]]
name = "shop"
company = "acme"
system_id = "shop"
password = "secret"
{client}
"""

CARRIER: Final = """
[[carrier]]
name = "{name}"
address = "{address}"
system_id = "smppgate"
password = "secret"
binds = {binds}
window = {window}
backoff_min_s = 0.05
backoff_max_s = 0.5
{more}
"""

ROUTE: Final = """
[[route]]
name = "us"
to = "+1"
carriers = [{names}]
"""


class Carrier(NamedTuple):
    """One carrier of the configuration to write."""

    name: str
    address: str
    binds: int = 2
    window: int = 100
    more: str = ""


def configuration(
    carriers: Sequence[Carrier],
    *,
    smpp_port: int = 0,
    metrics_port: int = 0,
    drain_s: float = DRAIN_S,
    smpp: str = "",
    top: str = "",
    sections: str = "",
    client: str = "",
    routes: str = "",
) -> str:
    """A whole configuration file: one client, these carriers, one route over all of them.

    `smpp` is more keys of [smpp], `client` of the client with whole tables behind them; `routes`
    replaces the route.
    """
    names = ", ".join(f'"{carrier.name}"' for carrier in carriers)
    return (
        CONFIG.format(
            smpp_port=smpp_port,
            metrics_port=metrics_port,
            drain_s=drain_s,
            smpp=smpp,
            top=top,
            sections=sections,
            client=client,
        )
        + "".join(CARRIER.format(**carrier._asdict()) for carrier in carriers)
        + (routes or ROUTE.format(names=names))
    )


class GatewayProcess:
    """One run of the daemon. `log` has the lines that it wrote, decoded."""

    def __init__(
        self, config: Path, *, program: tuple[str, ...] = GATEWAY, wrapper: tuple[str, ...] = ()
    ) -> None:
        self.config = config
        self.log: list[dict[str, Any]] = []
        self.smpp = ""
        self._changed = threading.Condition()
        self._ended = False
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH", ""))))
        self._popen = subprocess.Popen(  # noqa: S603  (our own module, no shell)
            [*wrapper, sys.executable, "-W", "error", *program, "--config", str(config)],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._reader = threading.Thread(target=self._read, name="gateway stderr", daemon=True)
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
            self._popen.kill()
            self._popen.wait()
        self._reader.join()
        assert self._popen.stderr is not None
        self._popen.stderr.close()

    @property
    def pid(self) -> int:
        """Its process id (that of the wrapper, if there is one)."""
        return self._popen.pid

    def wait_ready(self, timeout_s: float = READY_S) -> Self:
        """Waits until it accepts traffic, and notes where."""
        line = self.wait_log(lambda line: line.get("message") == "ready", timeout_s, "ready")
        self.smpp = str(line["listening"][0])
        return self

    def wait_log(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float, what: str
    ) -> dict[str, Any]:
        """Waits for a line of its log."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            seen = 0
            while True:
                for line in self.log[seen:]:
                    if wanted(line):
                        return line
                seen = len(self.log)
                left_s = deadline - time.monotonic()
                if self._ended or left_s <= 0:
                    tail = "\n".join(str(line) for line in self.log[-20:])
                    how = "before it ended" if self._ended else f"in {timeout_s:g} s"
                    raise ProcessError(f"the daemon: no {what} {how}\n{tail}")
                self._changed.wait(left_s)

    def ctl(self, *words: str, timeout_s: float = ASK_S) -> tuple[int, Any]:
        """Runs `smppgate ctl --json`: its exit status and what it printed, decoded."""
        done = subprocess.run(  # noqa: S603  (our own module, no shell)
            [
                sys.executable,
                "-m",
                "gateway",
                "ctl",
                "--config",
                str(self.config),
                "--json",
                *words,
            ],
            capture_output=True,
            timeout=timeout_s,
            check=False,
            cwd=self.config.parent,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        if not done.stdout:
            return done.returncode, done.stderr.decode()
        return done.returncode, json.loads(done.stdout)

    def ask(self, verb: str, **arguments: object) -> Any:
        """What `ctl` would be answered, without a process: for asking often."""
        return ask(admin_socket(self.config), verb, **arguments)

    def wait_status(
        self, until: Callable[[dict[str, Any]], bool], timeout_s: float = 30.0
    ) -> dict[str, Any]:
        """Asks for `status` until it is as wanted."""
        deadline = time.monotonic() + timeout_s
        while True:
            status: dict[str, Any] = self.ask("status")
            if until(status):
                return status
            if time.monotonic() >= deadline:
                raise ProcessError(f"the status: not in {timeout_s:g} s: {status}")
            time.sleep(POLL_S)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._popen.send_signal(number)

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """Ends it at once: kill -9."""
        self._popen.kill()
        self._popen.wait()
        self._reader.join()

    def stop(self, timeout_s: float = STOP_S) -> int:
        """SIGTERM: drains; its exit status."""
        self._popen.send_signal(signal.SIGTERM)
        return self.exit_status(timeout_s)

    def exit_status(self, timeout_s: float = STOP_S) -> int:
        """Waits for its end; its log is complete then."""
        try:
            status = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"the daemon has not ended in {timeout_s:g} s") from None
        self._reader.join()
        return status

    def cpu_s(self) -> float:
        """User and system time that it has used, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def anonymous_bytes(self) -> int:
        """Its anonymous memory (RssAnon): what it holds, without the pages of mapped files."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise ProcessError("no RssAnon")

    def _read(self) -> None:
        assert self._popen.stderr is not None
        for raw in self._popen.stderr:
            try:
                line = json.loads(raw)
            except ValueError:
                line = {"message": raw.decode(errors="replace").rstrip()}
            with self._changed:
                self.log.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def ask(path: Path, verb: str, **arguments: object) -> Any:
    """One request to an admin socket; the result. A "no" raises `ProcessError`."""
    line = json.dumps({"verb": verb, "args": arguments}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ASK_S)
        sock.connect(str(path))
        sock.sendall(line)
        with sock.makefile("rb") as answers:
            answer = answers.readline()
    if not answer:
        raise ProcessError(f"{verb}: the daemon went away")
    reply = json.loads(answer)
    if not reply["ok"]:
        raise ProcessError(f"{verb}: {reply['text']}: {reply['result']}")
    return reply["result"]


def admin_socket(config: Path) -> Path:
    """Where the daemon of this configuration is asked."""
    return config.parent / str(tomllib.loads(config.read_text())["admin"]["socket"])


def free_port() -> int:
    """A port that is free, and that nobody is given by chance: for what must come back on it."""
    while True:
        port = random.randrange(*PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def fetch(url: str) -> tuple[int, str]:
    """GET on this machine: status and body."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  (http, loopback)
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
