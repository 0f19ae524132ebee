"""The simulation itself: the same seed is the same run, and a run has seen what there is to see."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sim.pace import Span
from tests.sim.world import LMDB_EVERY, run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [3, LMDB_EVERY])
def test_the_same_seed_is_the_same_run_in_another_process_too(seed: int) -> None:
    """Nothing depends on addresses, hashes or the time of the day."""
    here = run(seed)
    command = [sys.executable, "-m", "tests.sim", "--seeds", "1", "--jobs", "1", "-v"]
    there = subprocess.run(
        [*command, "--start", str(seed)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert f"digest {here.digest:08x}, {here.happened} events" in there.stdout


def test_four_runs_have_seen_everything_that_can_happen() -> None:
    seen: Counter[str] = Counter()
    for seed in range(1, 5):
        seen += run(seed).seen

    assert all(
        seen[what] > 0
        for what in (
            "accepted",
            "submit_sm",
            "heard",
            "took",
            "crash",
            "killed",
            "link lost",
            "client lost",
            "commit failed",
            "storm",
            "clock set",
            "release",
            "expire",
            "import",
        )
    ), seen


def test_the_oracle_of_rates_counts_every_window() -> None:
    span = Span(4.0, 1.0, guard_s=0.0)
    inside = [span.add(at, n) for at, n in ((0.0, 1), (0.5, 2), (0.99, 1), (1.0, 3), (1.5, 1))]

    assert [1, 3, 4, 6, 5] == inside
    assert 0 == span.inside_at(3.0)


def test_the_oracle_of_a_fractional_rate_counts_over_a_longer_window() -> None:
    slow, uneven = Span(0.25, 1.0, 0.0), Span(1.5, 1.0, 0.0)

    assert (1, 4.0) == (slow.capacity, slow.span_s)
    assert (2, 4 / 3) == (uneven.capacity, uneven.span_s)
