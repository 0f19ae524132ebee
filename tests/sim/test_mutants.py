"""Each invariant breaks when a guard that it stands for is taken out: no invariant is deaf.

Here each mutant meets the seed that is known to fail, and a few behind it, since a change of the
product may save that one; `make mutants` searches further and prints the table.
"""

import pytest

from tests.sim.mutants import MUTANTS, Mutant, hunt

SEEDS = 12


@pytest.mark.parametrize(
    "mutant", MUTANTS, ids=lambda mutant: f"{mutant.invariant}: {mutant.guard}"
)
def test_a_guard_that_is_taken_out_breaks_its_invariant(mutant: Mutant) -> None:
    caught = hunt(mutant, SEEDS)

    assert caught.result is not None, "nothing noticed"
    assert mutant.invariant == caught.result.invariant, caught.result.what
