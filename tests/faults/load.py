"""Load: what the tests with faults wait for while a load generator runs."""

import time
from pathlib import Path

import pytest

from bench.process import LoadProcess, ProcessError

WAIT_S = 60.0


def wait_acknowledged(acked: Path) -> None:
    """Something more is acknowledged than there was."""
    before = acked.stat().st_size if acked.exists() else 0
    deadline = time.monotonic() + WAIT_S
    while not acked.exists() or acked.stat().st_size <= before:
        assert time.monotonic() < deadline, "nothing more is acknowledged"
        time.sleep(0.01)


def let_live(load: LoadProcess, seconds: float) -> None:
    """Traffic goes on for so long; a load that ends meanwhile is a fault."""
    with pytest.raises(ProcessError, match="no end"):
        load.wait_line(lambda line: "finished" in line, seconds, "end")
