"""kill -9 under load, again and again: what was acknowledged reaches the carrier all the same.

`SMPPGATE_KILLS` says how often (not given: 3), `SMPPGATE_SEED` when: a failing run prints its seed.
"""

import logging
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.gateway import Carrier, GatewayProcess, free_port
from bench.ledger import Tally, read_acked
from bench.process import LoadProcess, ProcessError
from tests.daemon.stage import (
    Stage,
    audit,
    bound,
    marked,
    quiet,
    unmarked_repeats,
    wait_settled,
)

log = logging.getLogger(__name__)

KILLS = int(os.environ.get("SMPPGATE_KILLS", "3"))
SEED = int(os.environ.get("SMPPGATE_SEED", "0")) or random.randrange(1, 1_000_000)
S_PER_KILL = 10
SETTLE_S = 60.0

BINDS, WINDOW = 2, 200
WINDOWS = 2 * BINDS * WINDOW
"""What one kill, and one of its successor, may leave in doubt."""

# A kill may come before the restart is done; the rest comes under load. Seconds.
EARLY = 0.2
LIVES_S = (0.05, 1.2)


@pytest.mark.timeout(120 + S_PER_KILL * KILLS)
def test_nothing_acknowledged_is_lost_through_kill_9_under_load(
    stage: Stage, tmp_path: Path
) -> None:
    log.warning("SMPPGATE_SEED=%d SMPPGATE_KILLS=%d", SEED, KILLS)
    dice = random.Random(SEED)
    simulator = stage.simulator("--receipt-delay-ms=20", "--answer-delay-ms=5")
    gateway = stage.gateway(
        [Carrier("a", simulator.address, binds=BINDS, window=WINDOW)],
        smpp_port=free_port(),
        top=f"in_doubt_resends = {min(KILLS + 1, 10)}",
    )
    bound(simulator, BINDS)
    acked = tmp_path / "acked"
    load = stage.load(
        gateway,
        *("--seconds", str(S_PER_KILL * KILLS), "--binds", "4", "--rate", "3000"),
        *("--reconnect", "--acked", str(acked), "--wait-receipts", "30"),
        *("--from", "12025550100,12025550101"),
    )
    for _ in range(KILLS):
        gateway = kill_and_restart(stage, gateway, load, acked, dice)
    load.signal(signal.SIGINT)

    summary = load.summary(SETTLE_S)
    release_what_is_held(gateway)
    status = wait_settled(gateway, SETTLE_S)
    audit(gateway)
    assert 0 == status["counters"]["damaged"]
    assert 0 == gateway.stop()
    quiet(gateway)
    simulator.stop()
    check_ids(acked, summary["ok"])
    assert summary["ok"] == summary["receipts_distinct"], summary
    entries = simulator.entries()
    tokens = read_acked(acked)
    tally = Tally(entries)
    assert [] == tally.missing(tokens)
    assert [] == unmarked_repeats(entries)
    repeated = tally.duplicates()
    assert len(repeated) <= KILLS * WINDOWS
    log.warning(
        "%d acknowledged, %d sent, %d marked as sent before, %d of them twice",
        len(tokens),
        len(tally.accepted),
        sum(map(marked, entries)),
        len(repeated),
    )


def kill_and_restart(
    stage: Stage, gateway: GatewayProcess, load: LoadProcess, acked: Path, dice: random.Random
) -> GatewayProcess:
    """Lets it carry traffic for a while, kills it, perhaps its successor before it is ready, too."""
    before = acked.stat().st_size if acked.exists() else 0
    deadline = time.monotonic() + S_PER_KILL
    while not acked.exists() or acked.stat().st_size <= before:
        assert time.monotonic() < deadline, "nothing more is acknowledged"
        time.sleep(0.01)
    let_live(load, dice.uniform(*LIVES_S))
    gateway.kill()
    if dice.random() < EARLY:
        successor = stage.run(gateway.config)
        let_live(load, dice.uniform(0.0, 1.0))
        successor.kill()
    return stage.start(gateway.config)


def let_live(load: LoadProcess, seconds: float) -> None:
    """Traffic goes on for so long; a load that ends meanwhile is a fault."""
    with pytest.raises(ProcessError, match="no end"):
        load.wait_line(lambda line: "finished" in line, seconds, "end")


def release_what_is_held(gateway: GatewayProcess) -> None:
    """Of many kills in a row one message may meet more than it is resent by itself."""
    gateway.wait_status(
        lambda status: not status["messages"]["queued"] and not status["messages"]["in_flight"],
        SETTLE_S,
    )
    gateway.ask("queue release", all=True)


def check_ids(acked: Path, ok: int) -> None:
    """As many lines as acknowledgements, and no id twice."""
    lines = acked.read_text().splitlines()
    ids = Counter(line.split()[1] for line in lines)
    assert ok == len(lines)
    assert [] == [message_id for message_id, count in ids.items() if count > 1]
