"""Soak: `make soak MINUTES=10`: traffic at 70 % of what this machine carries, with faults, for long.

It measures the capacity, then sends round after round at 70 % of it, every third round beside a
fault: a link dropped, a carrier that throttles, a client that reads nothing, a kill -9 (with --kill).
After each round it samples anonymous memory, the store's file, and p99 of the answers. At the end it
prints the slopes and exits 1 above the bars:

    memory    grows by less than 1 MB/h, or in all by less than MEMORY_NOISE_BYTES
    file      in the last third not larger than in the second, by more than FILE_NOISE of it
    p99       of the rounds without a fault, last third against second: less than 10 % up, or less
              than P99_NOISE_MS: on shared cores a median moves by so much by itself
    messages  every one that was acknowledged has ended, and `audit` agrees

Records are kept for a fifth of the time, so that the sweep has its part from early on.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.gateway import Carrier, GatewayProcess, configuration, free_port
from bench.process import LoadProcess, SimulatorProcess
from tests.daemon.peers import Esme
from tests.daemon.stage import REGISTRY, idle
from tests.faults.load import let_live

SHARE: Final = 0.7
ROUND_S: Final = 20.0
CAPACITY_S: Final = 5.0
FAULT_S: Final = 3.0
SUMMARY_S: Final = 300.0
KEPT: Final = 0.2
EVERY: Final = 3
"""Each third round has a fault."""

MIB: Final = 1 << 20
MEMORY_BYTES_PER_H: Final = 1_000_000
MEMORY_NOISE_BYTES: Final = 4 * MIB
FILE_NOISE: Final = 0.05
P99_DRIFT: Final = 0.10
P99_NOISE_MS: Final = 10.0
DAY_S: Final = 86_400.0

FAULTS: Final = ("link", "throttle", "slow client", "kill")


class Sample(NamedTuple):
    """After one round."""

    at_s: float
    fault: str
    memory_bytes: int
    file_bytes: int
    p99_ms: float


class Soak:
    """One daemon, one carrier, and rounds of traffic."""

    def __init__(self, folder: Path, seconds: float, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._simulator = stack.enter_context(SimulatorProcess("--receipt-delay-ms=50"))
        self._config = folder / "gateway.toml"
        kept_days = seconds * KEPT / DAY_S
        sections = (
            "[store]\nmap_size_bytes = 17179869184\n"
            f"[retention]\ntext_days = {kept_days / 2}\nrecord_days = {kept_days}\n"
        )
        carrier = Carrier("a", self._simulator.address, window=500)
        self._config.write_text(configuration([carrier], smpp_port=free_port(), sections=sections))
        self._config.chmod(0o600)
        self.gateway = self._start()
        self.gateway.ask("registry import", file=REGISTRY)
        self._began = time.monotonic()

    def capacity(self) -> float:
        """Messages a second, receipts included, as fast as they go."""
        with self._loading("--seconds", str(CAPACITY_S), "--window", "500") as load:
            found = load.summary(SUMMARY_S)
        return float(found["ok"] / found["seconds"])

    def round(self, rate: float, fault: str) -> Sample:
        """Some seconds of traffic."""
        with self._loading("--seconds", str(ROUND_S), "--rate", str(rate)) as load:
            with self._faulty(fault):
                let_live(load, FAULT_S)
            found = load.summary(SUMMARY_S)
        self.gateway.wait_status(idle, SUMMARY_S)
        memory = self.gateway.anonymous_bytes()
        file_bytes = self.gateway.ask("status")["store"]["file_bytes"]
        at_s = time.monotonic() - self._began
        return Sample(at_s, fault, memory, file_bytes, found["submit_resp_ms_p99"])

    @contextlib.contextmanager
    def _faulty(self, fault: str) -> Iterator[None]:
        """Something is wrong for a while."""
        if fault == "slow client":
            with Esme(self.gateway.smpp, bind_type="receiver", receive_bytes=4096):
                yield
            return
        if fault == "throttle":
            self._simulator.set(errors="0x58:0.3")
        elif fault == "link":
            self.gateway.ask("carrier rebind", name="a")
        elif fault == "kill":
            self.gateway.kill()
            self.gateway = self._start()
        yield
        self._simulator.set(errors="")

    def _start(self) -> GatewayProcess:
        return self._stack.enter_context(GatewayProcess(self._config)).wait_ready()

    def _loading(self, *arguments: str) -> LoadProcess:
        return LoadProcess(
            self.gateway.smpp,
            *("--binds", "4", "--wait-receipts", "60", "--reconnect", "--json", *arguments),
        )


def judge(samples: Sequence[Sample]) -> list[str]:
    """What is above its bar, in words."""
    samples = samples[len(samples) // 3 :]  # the first third warms up
    half = len(samples) // 2
    hours = (samples[-1].at_s - samples[0].at_s) / 3600
    slope = statistics.linear_regression(
        [one.at_s / 3600 for one in samples], [one.memory_bytes for one in samples]
    ).slope
    before, after = (max(one.file_bytes for one in part) for part in _halves(samples, half))
    calm = [[one.p99_ms for one in part if not one.fault] for part in _halves(samples, half)]
    p99_before, p99_after = map(statistics.median, calm)
    sys.stdout.write(
        f"memory {slope / MIB:+.2f} MiB/h over {hours:.2f} h; file {before / MIB:.1f} then "
        f"{after / MIB:.1f} MiB; p99 {p99_before:.1f} then {p99_after:.1f} ms\n"
    )
    wrong = []
    if slope > MEMORY_BYTES_PER_H and slope * hours > MEMORY_NOISE_BYTES:
        wrong.append(f"memory grows by {slope / MIB:.2f} MiB/h")
    if after > before * (1 + FILE_NOISE):
        wrong.append(f"the file still grows: {before / MIB:.1f}, then {after / MIB:.1f} MiB")
    if p99_after > max(p99_before * (1 + P99_DRIFT), p99_before + P99_NOISE_MS):
        wrong.append(f"p99 went from {p99_before:.1f} to {p99_after:.1f} ms")
    return wrong


def _halves(samples: Sequence[Sample], half: int) -> tuple[Sequence[Sample], Sequence[Sample]]:
    return samples[:half], samples[half:]


def main() -> int:
    """Runs for as long as it is told."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kill", action="store_true", help="a kill -9 is one of the faults")
    options = parser.parse_args()
    seconds = options.minutes * 60
    faults = FAULTS if options.kill else FAULTS[:-1]
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        soak = Soak(Path(folder), seconds, stack)
        capacity = soak.capacity()
        rate = capacity * SHARE
        sys.stdout.write(f"capacity {capacity:,.0f} msg/s; soaking at {rate:,.0f}\n")
        began = time.monotonic()
        while time.monotonic() - began < seconds or len(samples) < 2 * EVERY * 3:
            number = len(samples)
            fault = faults[number // EVERY % len(faults)] if number % EVERY == EVERY - 1 else ""
            one = soak.round(rate, fault)
            samples.append(one)
            sys.stdout.write(
                f"{one.at_s:7.0f} s  {one.memory_bytes / MIB:6.1f} MiB  file "
                f"{one.file_bytes / MIB:7.1f} MiB  p99 {one.p99_ms:7.1f} ms  {fault}\n"
            )
            sys.stdout.flush()
        wrong = judge(samples)
        wrong += soak.gateway.ask("audit")["differences"]
        if soak.gateway.stop() != 0:
            wrong.append("the daemon did not end well")
    for text in wrong:
        sys.stdout.write(f"above the bar: {text}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
