"""`make faults`: every test that breaks something, at its full size, and a table of what it measured.

The same tests run in `make test` at a hundredth of the size. SUITES is the list: who adds a test
that has a full size (`figures.sized`) adds its place here. What stands behind the command
(`make faults ARGS='-k volume'`) is for pytest. The exit status is pytest's.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent

SUITES: Final = (
    "tests/faults",  # calls that fail, loss of power, full volumes, backlogs, weeks, slow peers
    "tests/daemon/test_kill.py",  # kill -9 under load
    "tests/daemon/test_room.py",  # a map that runs full
    "tests/daemon/test_durability.py",  # no effect before its cause
    "tests/daemon/test_hostile.py",  # clients that dribble, guess, crowd, flap, never read
    "tests/daemon/test_descriptors.py",  # few descriptors, and none
    "tests/daemon/test_tls.py",  # TLS on both sides, kill -9 under it
    "tests/relay/test_poison.py",  # PDUs that no other peer may suffer from
)

FULL: Final = {"SMPPGATE_FULL": "1", "SMPPGATE_KILLS": "200", "SMPPGATE_ROWS": "2000000"}


def main(arguments: list[str]) -> int:
    """Runs them; what the environment says already stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *SUITES, *arguments],
            cwd=ROOT,
            env={**FULL, **os.environ, "SMPPGATE_FIGURES": str(figures)},
            check=False,
        )
        lines = figures.read_text().splitlines() if figures.exists() else []
    rows = [json.loads(line) for line in lines]
    width = max((len(what) for what, _ in rows), default=0)
    sys.stdout.writelines(f"{what:{width}}  {value}\n" for what, value in rows)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
