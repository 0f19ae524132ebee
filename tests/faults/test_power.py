"""The power is lost at any moment: what was acknowledged is there, whole, and nothing is by half.

Every write and flush of the store is recorded under strace, and from the record the disks are made
that may be found after a cut (`replay`). That a store that does not flush is found out is tested
as well.
"""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import driver
from tests.faults.figures import SEED, note, sized
from tests.faults.replay import Recording, recorded
from tests.faults.strace import needs_strace
from tests.store.stores import opened

CUTS = sized(60, 1_000)
TURNS = 2 * driver.TIDE + 2
WAIT_S = 60.0
ROOT = Path(__file__).parent.parent.parent

UNSYNCED = """
import sys
from pathlib import Path
from gateway.store import environment
environment.SYNC = False
from tests.faults import driver
sys.exit(driver.main(Path(sys.argv[1]), int(sys.argv[2])))
"""

LOOK = """
import sys
from pathlib import Path
from tests.faults.driver import MAP_BYTES, RESERVE_BYTES, what_is_wrong
from tests.store.stores import opened
with opened(Path(sys.argv[1]), map_size_bytes=MAP_BYTES, reserve_bytes=RESERVE_BYTES) as store:
    sys.exit(bool(what_is_wrong(store, int(sys.argv[2]))))
"""
"""In a process of its own: a torn tree may lead LMDB anywhere."""


def record(folder: Path, *program: str) -> Recording:
    """One run of the driver that acknowledges all of its turns."""
    log, lines, data_dir = folder / "strace", folder / "lines", folder / "data"
    with lines.open("w") as out:
        done = subprocess.run(
            [
                *recorded(log, data_dir, lines),
                *(sys.executable, *program, str(data_dir), str(TURNS)),
            ],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=WAIT_S,
            check=False,
        )
    assert (0, b"") == (done.returncode, done.stderr)
    return Recording(log)


def wrong_after(recording: Recording, cut: int, folder: Path, dice: random.Random) -> list[str]:
    """What is wrong with a store after a loss of power at this step."""
    lay(recording, cut, folder, dice)
    with opened(
        folder, map_size_bytes=driver.MAP_BYTES, reserve_bytes=driver.RESERVE_BYTES
    ) as store:
        return driver.what_is_wrong(store, recording.acknowledged(cut))


def lay(recording: Recording, cut: int, folder: Path, dice: random.Random) -> None:
    """One of the disks that may be found."""
    folder.mkdir()
    for name, content in recording.files(cut, dice).items():
        (folder / name).write_bytes(content)


@pytest.mark.timeout(sized(120, 1800))
def test_what_was_acknowledged_is_there_wherever_the_power_was_lost(tmp_path: Path) -> None:
    needs_strace()
    recording = record(tmp_path, "-m", "tests.faults.driver")
    steps = len(recording.steps)
    assert TURNS == recording.acknowledged(steps)
    dice = random.Random(SEED)
    cuts = [*range(20), *(dice.randrange(steps) for _ in range(CUTS - 20))]

    wrong = [
        (cut, fault)
        for place, cut in enumerate(cuts)
        for fault in wrong_after(recording, cut, tmp_path / str(place), dice)
    ]

    assert [] == wrong, f"SMPPGATE_SEED={SEED}"
    note(
        "power loss", f"{len(cuts):,} cuts of {steps:,} steps, {TURNS} turns: none lost, none torn"
    )


def test_a_store_that_does_not_flush_is_found_out(tmp_path: Path) -> None:
    needs_strace()
    recording = record(tmp_path, "-c", UNSYNCED)
    dice = random.Random(SEED)
    for place in range(10):
        cut = dice.randrange(len(recording.steps) // 2, len(recording.steps))
        folder = tmp_path / str(place)
        lay(recording, cut, folder, dice)
        done = subprocess.run(
            [sys.executable, "-c", LOOK, str(folder), str(recording.acknowledged(cut))],
            cwd=ROOT,
            capture_output=True,
            timeout=WAIT_S,
            check=False,
        )
        if done.returncode != 0:
            return

    raise AssertionError("nothing is lost without a flush: the replay proves nothing")
