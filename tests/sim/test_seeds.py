"""Fifty gateways to which anything happens keep every promise; `make sim` runs as many as one likes.

A failing seed replays itself: its message ends with the command.
"""

import pytest

from tests.sim.world import run

SEEDS = 50


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_every_invariant_holds(seed: int) -> None:
    result = run(seed)

    assert "" == result.invariant, "\n".join(
        [*result.journal, result.what, f"python -m tests.sim --start {seed} --seeds 1"]
    )
