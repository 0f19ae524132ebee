"""Fixtures of the bench's tests: simulators that end with the test, with warnings as errors."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.process import SimulatorProcess

STRICT = ("-W", "error")


class Simulators:
    """Starts simulators; each writes a ledger into the test's own folder."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._started = 0

    def __call__(self, *arguments: str, seed: int = 1) -> SimulatorProcess:
        self._started += 1
        ledger = self._folder / f"ledger-{self._started}"
        return self._stack.enter_context(
            SimulatorProcess(f"--seed={seed}", *arguments, ledger=ledger, python_options=STRICT)
        )


@pytest.fixture
def simulators(tmp_path: Path) -> Iterator[Simulators]:
    with ExitStack() as stack:
        yield Simulators(stack, tmp_path)
