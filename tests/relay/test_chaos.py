"""Everything at once: thirty gateways to which anything happens at any time keep their promises.

A failing seed replays itself: `make test ARGS='tests/relay/test_chaos.py -k "[7]"'`.
"""

import pytest

from gateway.model import states
from gateway.relay import (
    lanes,
    outbox,
    rebuild,
    receipt_map,
    receipts,
    recover,
    runs,
    schedule,
    sweep,
)
from tests.relay.chaos import Chaos, most_in

SEEDS = 30
EVENTS = 4_000


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every limit of memory so small that a few hundred messages reach it."""
    monkeypatch.setattr(lanes, "REFILL", 8)
    monkeypatch.setattr(lanes, "SPARED", 2)
    monkeypatch.setattr(outbox, "READY_MAX", 8)
    monkeypatch.setattr(outbox, "OUTBOX_ROW", 4)
    monkeypatch.setattr(receipt_map, "RECENT_MAX", 10)
    monkeypatch.setattr(receipt_map, "OLD_MAX", 10)
    monkeypatch.setattr(receipt_map, "SPILL", 5)
    monkeypatch.setattr(runs, "RUN", 8)
    monkeypatch.setattr(rebuild, "BITE", 7)
    monkeypatch.setattr(receipts, "ORPHANS_MAX", 50)
    monkeypatch.setattr(recover, "PAGE", 7)
    monkeypatch.setattr(schedule, "PUMP_MAX", 40)
    monkeypatch.setattr(sweep, "BITE", 25)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_the_promises_are_kept(seed: int) -> None:
    chaos = Chaos(seed)
    chaos.run(EVENTS)
    chaos.settle()

    assert [] == chaos.verdict()
    # And it was not quiet: each run has seen what there is to see.
    counters = chaos.world.state.counters
    totals = chaos.world.state.totals
    assert chaos.crashes > 3
    assert len(chaos.acknowledged) > 200
    assert len(chaos.world.sent) > 200
    assert totals.in_state[states.DELIVERED] > 50
    assert totals.in_state[states.FAILED] > 0
    assert 0 == counters.damaged


def test_the_oracle_of_rates_counts_every_window() -> None:
    left = [(0.0, 1), (0.5, 2), (0.99, 1), (1.0, 3), (1.49, 1), (1.5, 1)]

    assert 7 == most_in(left, 1.0)
    assert 3 == most_in(left, 0.001)
    assert 0 == most_in([], 1.0)
