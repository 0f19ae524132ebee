"""Fixtures of the bench's tests: simulators that end with the test, with warnings as errors.

A Python process takes a tenth of a second to start. So while a test runs, the next simulator is
already starting; it gets its settings when it is asked for, as they can all be set at run time.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import pytest

from bench.process import SimulatorProcess
from bench.settings import Settings

STRICT = ("-W", "error")

_SETTINGS = {item.name for item in fields(Settings)}


class Spare:
    """One simulator ahead."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        self._executor = ThreadPoolExecutor(1)
        self._next = self._start()

    def _start(self) -> Future[SimulatorProcess]:
        self._started += 1
        return self._executor.submit(
            SimulatorProcess,
            "--seed=1",
            ledger=self._folder / f"ledger-{self._started}",
            python_options=STRICT,
        )

    def take(self) -> SimulatorProcess:
        simulator = self._next.result()
        self._next = self._start()
        return simulator

    def close(self) -> None:
        with self._next.result():
            self._executor.shutdown()


class Simulators:
    """Called with the simulator's options, gives a running one with a ledger of its own."""

    def __init__(self, stack: ExitStack, spare: Spare, folder: Path) -> None:
        self._stack = stack
        self._spare = spare
        self._folder = folder
        self._started = 0

    def __call__(self, *arguments: str) -> SimulatorProcess:
        settings: dict[str, object] = {}
        for argument in arguments:
            name, is_valued, value = argument.removeprefix("--").partition("=")
            settings[name.replace("-", "_")] = value if is_valued else True
        if settings.keys() <= _SETTINGS:
            simulator = self._stack.enter_context(self._spare.take())
            if settings:
                simulator.set(**settings)
            return simulator
        self._started += 1
        ledger = self._folder / f"ledger-{self._started}"
        return self._stack.enter_context(
            SimulatorProcess(*arguments, ledger=ledger, python_options=STRICT)
        )


@pytest.fixture(scope="session")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spare]:
    spare = Spare(tmp_path_factory.mktemp("simulators"))
    yield spare
    spare.close()


@pytest.fixture
def simulators(spare: Spare, tmp_path: Path) -> Iterator[Simulators]:
    with ExitStack() as stack:
        yield Simulators(stack, spare, tmp_path)
