"""`make bench`: the gateway against the bare relay, alternating, in one run.

Each run is a carrier simulator, a daemon with an empty store, and the load generator, all on this
machine: 4 client binds of window 100, each message with its receipt through to the client. Figures
of one machine and one moment mean little by themselves; the ratio of two runs side by side does.
What to read, in this order: the daemon's CPU per message; the ratio of the rates.

It needs two cores to itself: what else runs is measured, too. The first pair warms up and is not
counted.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.gateway import BARE, GATEWAY, Carrier, GatewayProcess, configuration
from bench.process import SimulatorProcess, run_load_process

REGISTRY: Final = Path(__file__).parent / "registry.toml"
RECEIPT_DELAY_MS: Final = 30
"""Long enough that a receipt does not overtake its response on another bind, as on a real path."""


class Figures(msgspec.Struct):
    """One run of one program."""

    program: str
    rate_per_s: float
    cpu_us: float
    answer_ms_p50: float
    answer_ms_p99: float


def run_once(program: str, options: argparse.Namespace) -> Figures:
    """Starts everything afresh, sends, and stops it again."""
    with (
        tempfile.TemporaryDirectory(prefix="smppgate-bench-", dir=options.dir) as folder,
        SimulatorProcess(f"--receipt-delay-ms={RECEIPT_DELAY_MS}") as simulator,
    ):
        config = Path(folder) / "gateway.toml"
        carrier = Carrier("carrier-a", simulator.address, binds=4, window=500)
        config.write_text(configuration([carrier]))
        config.chmod(0o600)
        command = BARE if program == "bare relay" else GATEWAY
        with GatewayProcess(config, program=command) as gateway:
            gateway.wait_ready()
            if command is GATEWAY:
                status, answer = gateway.ctl("registry", "import", str(REGISTRY))
                if status:
                    raise SystemExit(f"the registry was not imported: {answer}")
            simulator.wait_stats(lambda stats: stats["binds"]["now"] == carrier.binds)
            before_s = gateway.cpu_s()
            summary = run_load_process(
                gateway.smpp,
                *("--system-id", "shop", "--password", "secret", "--json"),
                *("--binds", str(options.binds), "--window", str(options.window)),
                *("--count", str(options.count), "--wait-receipts", "10"),
                *("--from", "12025550100,12025550101"),
                timeout_s=600,
            )
            cpu_s = gateway.cpu_s() - before_s
            gateway.stop()
    return figures(program, summary, cpu_s, options.count)


def figures(program: str, summary: dict[str, Any], cpu_s: float, count: int) -> Figures:
    """What counts of a run; one that lost anything is no figure."""
    if summary["receipts_matching_both"] != count or summary["distinct_ids"] != count:
        raise SystemExit(f"{program}: not everything came back: {json.dumps(summary)}")
    return Figures(
        program=program,
        rate_per_s=count / summary["seconds"],
        cpu_us=1e6 * cpu_s / count,
        answer_ms_p50=summary["submit_resp_ms_p50"],
        answer_ms_p99=summary["submit_resp_ms_p99"],
    )


def show(run: Figures) -> None:
    """One line."""
    print(
        f"  {run.program:<11}{run.rate_per_s:>10,.0f} msg/s{run.cpu_us:>9.1f} us CPU/msg"
        f"{run.answer_ms_p50:>9.1f} ms p50{run.answer_ms_p99:>9.1f} ms p99",
        flush=True,
    )


def conclude(pairs: list[tuple[Figures, Figures]]) -> dict[str, Any]:
    """Medians, and the ratio pair by pair."""
    ratios = [gateway.rate_per_s / bare.rate_per_s for bare, gateway in pairs]
    return {
        "pairs": len(pairs),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "gateway_rate_per_s": round(statistics.median(run.rate_per_s for _, run in pairs)),
        "bare_rate_per_s": round(statistics.median(run.rate_per_s for run, _ in pairs)),
        "gateway_cpu_us": round(statistics.median(run.cpu_us for _, run in pairs), 1),
        "bare_cpu_us": round(statistics.median(run.cpu_us for run, _ in pairs), 1),
    }


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="counted pairs of runs")
    parser.add_argument("--count", type=int, default=100_000, help="messages a run")
    parser.add_argument("--binds", type=int, default=4, help="binds of the client")
    parser.add_argument("--window", type=int, default=100, help="window of each")
    parser.add_argument("--dir", default=None, help="where the stores lie; not on a RAM disk")
    options = parser.parse_args(argv)
    print(f"{options.count:,} messages a run, {options.binds} binds of window {options.window}")
    pairs = []
    for number in range(options.pairs + 1):
        print("warm-up" if number == 0 else f"pair {number}", flush=True)
        bare = run_once("bare relay", options)
        show(bare)
        gateway = run_once("gateway", options)
        show(gateway)
        if number:
            pairs.append((bare, gateway))
    result = conclude(pairs)
    print(
        f"\ngateway / bare relay: {result['ratio_median']:.2f} "
        f"({result['ratio_min']:.2f} to {result['ratio_max']:.2f}); "
        f"daemon CPU per message: {result['gateway_cpu_us']} us against {result['bare_cpu_us']} us"
    )
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
