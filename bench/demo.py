"""`smppgate demo`: the main job on this machine, in about fifteen seconds, with nothing made up.

A carrier simulator, the daemon and an application run as three real processes on free ports of this
machine; the store lies in a folder that is gone afterwards. Three acts:

    traffic     messages as fast as they go, each with its receipt back under our own id
    limit       a campaign that may send 50 a second, offered far more; the carrier counts
    kill -9     the daemon is killed under load and started again; then every acknowledged message
                is looked up in the carrier's ledger

What it prints are counts that the application and the carrier made, not the daemon. Exit status 0
if everything held, 1 if not: then it says what.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.gateway import Carrier, GatewayProcess, configuration, free_port
from bench.ledger import Tally, read_acked, read_ledger
from bench.load import LoadOptions, run_load
from bench.loop import run
from bench.process import ProcessError, SimulatorProcess
from bench.traffic import Summary

REGISTRY: Final = Path(__file__).parent / "registry.toml"

FAST: Final = ("12025550100", "12025550101")
SLOW: Final = ("12025550110",)
SLOW_LIMIT: Final = 50
RECEIPT_DELAY_MS: Final = 30
KILLED_AFTER_S: Final = 1.0
SETTLE_S: Final = 15.0

BAR: Final = 24


class Stage:
    """The three processes, and what the acts found wrong."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self._stack = stack
        self.ledger = folder / "ledger"
        self.simulator = stack.enter_context(
            SimulatorProcess(f"--receipt-delay-ms={RECEIPT_DELAY_MS}", ledger=self.ledger)
        )
        self.config = folder / "smppgate.toml"
        self.port = free_port()
        carrier = Carrier("carrier-a", self.simulator.address, binds=4, window=200)
        self.config.write_text(configuration([carrier], smpp_port=self.port))
        self.config.chmod(0o600)
        self.gateway = self.start_gateway()
        self.check(self.gateway.ctl("registry", "import", str(REGISTRY))[0] == 0, "the import")

    def start_gateway(self) -> GatewayProcess:
        """The daemon, ready and bound to the carrier."""
        gateway = self._stack.enter_context(GatewayProcess(self.config)).wait_ready()
        self.simulator.wait_stats(lambda stats: stats["binds"]["now"] == 4, SETTLE_S)
        return gateway

    def check(self, holds: bool, what: str) -> bool:  # noqa: FBT001  (read as: check that ..., what)
        """Notes what did not hold."""
        if not holds:
            self.faults.append(what)
        return holds


def traffic(stage: Stage, seconds: float) -> None:
    """Act one."""
    say("1  Traffic: 4 application binds, every message with its delivery receipt")
    summary = play(
        LoadOptions(
            host="127.0.0.1",
            port=stage.port,
            binds=4,
            seconds=seconds,
            sources=FAST,
            wait_receipts_s=10.0,
        ),
        seconds,
    )
    stage.check(summary.receipts_matching_both == summary.submitted == summary.ok, "the receipts")
    say(
        f"   {summary.ok:,} accepted, each on disk first; {summary.receipts_matching_both:,} "
        f"receipts, each under the id that we gave"
    )
    say(
        f"   {summary.ok / summary.seconds:,.0f} messages a second, answered in "
        f"{summary.submit_resp_ms_p50:.0f} ms (half of them), {summary.submit_resp_ms_p99:.0f} ms "
        f"(99 of 100)\n"
    )


def limit(stage: Stage, seconds: float) -> None:
    """Act two."""
    say(f"2  Limit: a campaign that may send {SLOW_LIMIT} a second is offered 400 a second")
    summary = play(
        LoadOptions(
            host="127.0.0.1",
            port=stage.port,
            seconds=seconds,
            rate=400,
            sources=SLOW,
            token_base=10_000_000,
        ),
        seconds,
    )
    measured = stage.simulator.stats()["max_1s_by_source"].get(SLOW[0], 0)
    stage.check(0 < measured <= SLOW_LIMIT, f"the limit: {measured} in a second")
    say(
        f"   {summary.ok:,} accepted and queued; in no second did the carrier see more than "
        f"{measured}\n"
    )


def killed(stage: Stage, seconds: float) -> None:
    """Act three."""
    say("3  kill -9 in the middle of it, and a restart")
    acked = stage.folder / "acked"
    killer = threading.Thread(target=_kill_and_restart, args=(stage,))
    killer.start()
    play(
        LoadOptions(
            host="127.0.0.1",
            port=stage.port,
            binds=4,
            seconds=seconds,
            sources=FAST,
            token_base=20_000_000,
            acked=acked,
            reconnect=True,
        ),
        seconds,
    )
    killer.join()
    tokens = read_acked(acked)
    missing = _wait_for(stage, list(tokens))
    stage.check(not missing, f"{len(missing)} acknowledged messages are missing")
    say(
        f"   {len(tokens):,} acknowledged before and after; {len(missing)} of them are missing "
        "from the carrier's ledger"
    )
    again = sum(1 for entry in read_ledger(stage.ledger) if b"\x3a\x05" in entry.tlvs)
    say(f"   {again} were in flight at the crash: in doubt, sent once more, and marked as that\n")


def audit(stage: Stage) -> None:
    """The closing word has the daemon: its counters against its rows."""
    status, report = stage.gateway.ctl("audit")
    stage.check(status == 0, f"the audit: {report}")
    agrees = "agrees: every accepted message is in exactly one state" if not status else "DIFFERS"
    say(f"   smppgate ctl audit {agrees}")


def play(options: LoadOptions, seconds: float) -> Summary:
    """One run of the application, with a live line."""
    began = time.monotonic()

    def progress(summary: Summary) -> None:
        done = min((time.monotonic() - began) / seconds, 1.0)
        filled = round(done * BAR)
        live(
            f"   {'=' * filled}{' ' * (BAR - filled)}  {summary.submitted:>8,} sent "
            f"{summary.ok:>8,} accepted {summary.receipts:>8,} receipts"
        )

    async def act() -> Summary:
        return await run_load(options, progress)

    summary = run(act())
    live("")
    return summary


def say(text: str) -> None:
    """A line that stays."""
    print(text, flush=True)


def live(text: str) -> None:
    """A line that the next one replaces; nothing where nobody watches."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:<{width}}\r", end="", flush=True)


def _kill_and_restart(stage: Stage) -> None:
    time.sleep(KILLED_AFTER_S)
    stage.gateway.kill()
    try:
        stage.gateway = stage.start_gateway()
    except ProcessError as error:
        stage.check(False, f"the restart: {error}")


def _wait_for(stage: Stage, tokens: list[str]) -> list[str]:
    """Those of the tokens that have not come to the carrier in good time."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        missing = Tally(read_ledger(stage.ledger)).missing(tokens)
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.2)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="smppgate demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each act sends")
    options = parser.parse_args(argv)
    say("smppgate demo: a carrier, the daemon and an application on this machine\n")
    with tempfile.TemporaryDirectory(prefix="smppgate-demo-") as folder, ExitStack() as stack:
        stage = Stage(Path(folder), stack)
        traffic(stage, options.seconds)
        limit(stage, options.seconds)
        killed(stage, options.seconds)
        audit(stage)
        stage.check(stage.gateway.stop() == 0, "the drain")
        say("   SIGTERM: it drained and stopped\n")
    for fault in stage.faults:
        say(f"DID NOT HOLD: {fault}")
    if not stage.faults:
        say("All of it held. Nothing is left behind: no process, no port, no file.")
    return 1 if stage.faults else 0


if __name__ == "__main__":
    sys.exit(main())
