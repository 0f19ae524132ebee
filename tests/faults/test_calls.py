"""The Nth write, fsync, open and mmap fails, for every N: an error in words, and a store that opens.

For the store alone every N until a run passes untouched (`make test`: the first, and one drawn from
all); for the daemon some N under load. Whatever fails, what was acknowledged is there, nothing
is there by half, and no process dies of a signal or hangs.
"""

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.gateway import Carrier, GatewayProcess, free_port
from bench.ledger import Tally, read_acked
from bench.process import LoadProcess
from tests.daemon.stage import Stage, audit, bound, unmarked_repeats, wait_settled
from tests.faults import driver
from tests.faults.figures import FULL, SEED, note, sized
from tests.faults.load import let_live, wait_acknowledged
from tests.faults.strace import FAULTS, Fault, failing, needs_strace, was_injected
from tests.store.stores import opened

TURNS = 2 * driver.TIDE + 2
WAIT_S = 60.0
ROOT = Path(__file__).parent.parent.parent

CALLS = {
    "pwrite64": 110,
    "writev": 103,
    "fdatasync": 42,
    "openat": 13,
    "mmap": 6,
    "fsync": 4,
    "unlink": 4,
    "ftruncate": 2,
    "fallocate": 2,
    "rename": 1,
}
"""How many of each a run makes: where `make test` draws one N. It leaves out what is never called."""
KINDS = [fault for fault in FAULTS if FULL or fault.call in CALLS]

SAMPLES = sized(3, 20)
LIFE_S = 4.0
"""How long a daemon may live with a fault ahead of it, before it is killed for the next."""


def numbers(fault: Fault) -> Iterator[int]:
    """Every N in turn; or the first, and one further on."""
    yield 1
    if FULL:
        yield from range(2, 10_000)
    elif CALLS[fault.call] > 1:
        yield random.Random(f"{SEED}{fault}").randint(2, CALLS[fault.call])


def drive(folder: Path, fault: Fault, nth: int) -> tuple[int, int, str, bool]:
    """One run: its exit status, the last turn it acknowledged, what it said, whether it was hit."""
    data_dir, log = folder / "data", folder / "strace"
    done = subprocess.run(
        [
            *failing(fault, nth, data_dir, log),
            *(sys.executable, "-W", "error", "-m", "tests.faults.driver"),
            *(str(data_dir), str(TURNS)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    turns = [int(line) for line in done.stdout.split()]
    return done.returncode, max(turns, default=0), done.stderr, was_injected(log)


def check_store(data_dir: Path, acknowledged: int) -> None:
    """It opens, as a daemon would open it, and has what it must have."""
    with opened(
        data_dir, map_size_bytes=driver.MAP_BYTES, reserve_bytes=driver.RESERVE_BYTES
    ) as store:
        assert [] == driver.what_is_wrong(store, acknowledged)


@pytest.mark.timeout(sized(120, 3600))
@pytest.mark.parametrize("fault", KINDS, ids=str)
def test_whatever_call_of_the_store_fails_it_ends_in_words_and_opens_again(
    fault: Fault, tmp_path: Path
) -> None:
    needs_strace()
    hits = ended = 0
    for nth in numbers(fault):
        folder = tmp_path / str(nth)
        folder.mkdir()

        status, acknowledged, said, was_hit = drive(folder, fault, nth)

        assert status in (0, driver.FAULT), (nth, status, said)
        if status:
            assert re.fullmatch(r"\w+: .+\n", said), (nth, said)
        else:
            assert TURNS == acknowledged
        if status == 0 and was_hit:
            # A flush that failed is never passed over as if all were well.
            assert "fdatasync=EIO" != str(fault), nth
        check_store(folder / "data", acknowledged)
        hits += was_hit
        ended += status != 0
        if not was_hit:
            break
    note(f"store, {fault}", f"{hits} calls failed, {ended} runs ended by it, every store opens")


# The daemon

DAEMON_FAULTS = [fault for fault in FAULTS if fault.call in ("pwrite64", "writev", "fdatasync")]
DAEMON_FAULTS += [Fault("openat", "EMFILE"), Fault("mmap", "ENOMEM")]
NTH_MAX = {"openat": 6, "mmap": 3}
NTH_OTHERS = 400


@pytest.mark.timeout(120 + 20 * SAMPLES)
def test_whatever_call_of_the_daemon_fails_it_ends_or_goes_on_and_loses_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    needs_strace()
    dice = random.Random(SEED)
    simulator = stage.simulator("--receipt-delay-ms=20", "--answer-delay-ms=5")
    gateway = stage.gateway(
        [Carrier("a", simulator.address, window=200)],
        smpp_port=free_port(),
        top="in_doubt_resends = 10",
    )
    bound(simulator, 2)
    acked = tmp_path / "acked"
    load = stage.load(
        gateway,
        *("--seconds", "3600", "--binds", "2", "--rate", "1500", "--reconnect"),
        *("--acked", str(acked), "--wait-receipts", "30"),
    )
    outcomes: list[str] = []
    for sample in range(SAMPLES):
        fault = dice.choice(DAEMON_FAULTS)
        nth = dice.randint(1, NTH_MAX.get(fault.call, NTH_OTHERS))
        gateway.kill()
        log = tmp_path / f"strace-{sample}"
        data_dir = gateway.config.parent / "var"
        faulty = stage.run(gateway.config, wrapper=failing(fault, nth, data_dir, log))
        outcomes.append(f"{fault} {nth}: {end_of(faulty, load)}")
        gateway = stage.start(gateway.config)
        wait_acknowledged(acked)
    load.signal(signal.SIGINT)

    summary = load.summary(WAIT_S)
    gateway.ask("queue release", all=True)
    status = wait_settled(gateway)
    audit(gateway)
    assert 0 == status["counters"]["damaged"]
    assert 0 == gateway.stop()
    simulator.stop()
    entries = simulator.entries()
    tally = Tally(entries)
    assert [] == tally.missing(read_acked(acked)), (SEED, outcomes)
    assert [] == unmarked_repeats(entries)
    note("daemon, failing calls", f"{summary['ok']:,} acknowledged, none lost; {outcomes}")


def end_of(faulty: GatewayProcess, load: LoadProcess) -> str:
    """How it ended: by its fault, with a line that says so, or alive when its time was over."""
    deadline = time.monotonic() + LIFE_S
    while faulty.is_running() and time.monotonic() < deadline:
        let_live(load, 0.1)
    if faulty.is_running():
        faulty.kill()
        return "went on"
    status = faulty.exit_status()
    assert status in (1, 2), (status, faulty.log)
    assert [line for line in faulty.log if line.get("level") == "critical"], faulty.log
    return f"ended with {status}"
