"""kill -9 under load, again and again: what was acknowledged is sent, or its client is told.

Three campaigns at once, one for each policy of doubt. Under `resend` the carrier has twice only what
was in flight at a kill, and each of those says so; under `hold` and `fail` it has nothing twice.

`SMPPGATE_KILLS` says how often (not given: 3), `SMPPGATE_SEED` when: a failing run prints its seed.
"""

import logging
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from bench.gateway import Carrier, GatewayProcess, free_port
from bench.ledger import Entry, Tally, read_acked
from bench.process import LoadProcess
from tests.daemon.stage import (
    REGISTRY,
    Stage,
    audit,
    bound,
    marked,
    quiet,
    unmarked_repeats,
    wait_settled,
)
from tests.faults.figures import note
from tests.faults.load import let_live, wait_acknowledged

log = logging.getLogger(__name__)

KILLS = int(os.environ.get("SMPPGATE_KILLS", "3"))
SEED = int(os.environ.get("SMPPGATE_SEED", "0")) or random.randrange(1, 1_000_000)
S_PER_KILL = 10
SETTLE_S = 60.0

RATE = 5_000
RESEND, HOLD, FAIL = "12025550100", "12025550150", "12025550151"

BINDS, WINDOW = 2, 200
WINDOWS = 2 * BINDS * WINDOW
"""What one kill, and one of its successor, may leave in doubt."""

# A kill may come before the restart is done; the rest comes under load. Seconds.
EARLY = 0.2
LIVES_S = (0.05, 1.2)


def registry() -> str:
    """The usual one, whose campaign resends, and a campaign for each other policy."""
    return REGISTRY + "".join(
        f'[[campaign]]\nid = "C{policy.upper()}"\nbrand = "BACME01"\nuse_case = "MARKETING"\n'
        f'status = "ACTIVE"\nin_doubt = "{policy}"\nnumbers = ["+{source}"]\nlimits = []\n'
        for policy, source in (("hold", HOLD), ("fail", FAIL))
    )


@pytest.mark.timeout(120 + S_PER_KILL * KILLS)
def test_nothing_acknowledged_is_lost_through_kill_9_under_load(
    stage: Stage, tmp_path: Path
) -> None:
    log.warning("SMPPGATE_SEED=%d SMPPGATE_KILLS=%d", SEED, KILLS)
    dice = random.Random(SEED)
    simulator = stage.simulator("--receipt-delay-ms=20", "--answer-delay-ms=5")
    gateway = stage.gateway(
        [Carrier("a", simulator.address, binds=BINDS, window=WINDOW)],
        registry=registry(),
        smpp_port=free_port(),
        top=f"in_doubt_resends = {min(KILLS + 1, 10)}",
    )
    bound(simulator, BINDS)
    acked = tmp_path / "acked"
    load = stage.load(
        gateway,
        *("--seconds", str(S_PER_KILL * KILLS), "--binds", "4", "--rate", str(RATE)),
        *("--reconnect", "--acked", str(acked), "--wait-receipts", "30"),
        *("--from", f"{RESEND},{HOLD},{FAIL}"),
    )
    for _ in range(KILLS):
        gateway = kill_and_restart(stage, gateway, load, acked, dice)
    load.signal(signal.SIGINT)

    settle_what_is_in_doubt(gateway)
    summary = load.summary(SETTLE_S)
    status = wait_settled(gateway, SETTLE_S)
    audit(gateway)
    assert 0 == status["counters"]["damaged"]
    simulator.stop()
    entries = simulator.entries()
    check_ids(acked, summary["ok"])
    assert summary["ok"] == summary["receipts_distinct"], summary
    check_ledger(entries)
    never_sent = check_missing(gateway, entries, read_acked(acked))
    assert 0 == gateway.stop()
    quiet(gateway)
    note(
        f"kill -9, {KILLS} under {RATE:,} msg/s",
        f"{summary['ok']:,} acknowledged, none lost; {sum(map(marked, entries)):,} sent again and "
        f"marked, {len(Tally(entries).duplicates()):,} of them there twice; under hold and fail "
        f"nothing twice, {never_sent:,} ended unsent and told",
    )


def kill_and_restart(
    stage: Stage, gateway: GatewayProcess, load: LoadProcess, acked: Path, dice: random.Random
) -> GatewayProcess:
    """Lets it carry traffic for a while, kills it, perhaps its successor before it is ready, too."""
    wait_acknowledged(acked)
    let_live(load, dice.uniform(*LIVES_S))
    gateway.kill()
    if dice.random() < EARLY:
        successor = stage.run(gateway.config)
        let_live(load, dice.uniform(0.0, 1.0))
        successor.kill()
    return stage.start(gateway.config)


def settle_what_is_in_doubt(gateway: GatewayProcess) -> None:
    """What people would do.

    Of many kills in a row one message may meet more than it is resent by itself: it is released.
    What is held is ended: the carrier may have it.
    """
    gateway.wait_status(
        lambda status: not status["messages"]["queued"] and not status["messages"]["in_flight"],
        SETTLE_S,
    )
    gateway.ask("queue expire", all=True, campaign="CHOLD")
    gateway.ask("queue release", all=True)


def check_ledger(entries: list[Entry]) -> None:
    """What each policy allows to be there twice."""
    by_source = {
        source: Tally(entry for entry in entries if entry.source_addr.endswith(source))
        for source in (RESEND, HOLD, FAIL)
    }
    assert all(tally.accepted for tally in by_source.values())
    assert {} == by_source[HOLD].duplicates()
    assert {} == by_source[FAIL].duplicates()
    assert [] == unmarked_repeats(entries)
    assert len(by_source[RESEND].duplicates()) <= KILLS * WINDOWS


def check_missing(gateway: GatewayProcess, entries: list[Entry], acked: dict[str, str]) -> int:
    """What was acknowledged and never sent has ended here for that reason; how many did."""
    missing = Tally(entries).missing(acked)
    for token in missing:
        found = gateway.ask("message", id=acked[token])
        assert (found["campaign"], found["state"]) in {("CHOLD", "expired"), ("CFAIL", "failed")}
    return len(missing)


def check_ids(acked: Path, ok: int) -> None:
    """As many lines as acknowledgements, and no id twice."""
    lines = acked.read_text().splitlines()
    ids = Counter(line.split()[1] for line in lines)
    assert ok == len(lines)
    assert [] == [message_id for message_id, count in ids.items() if count > 1]
