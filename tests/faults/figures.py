"""Figures: what a test has measured, in its log, and for the table of `make faults`.

`SMPPGATE_FULL` is set by `make faults`: the same tests at their full size.
"""

import json
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FULL: Final = bool(os.environ.get("SMPPGATE_FULL"))
FIGURES: Final = os.environ.get("SMPPGATE_FIGURES", "")
SEED: Final = int(os.environ.get("SMPPGATE_SEED", "0")) or int.from_bytes(os.urandom(2), "big") + 1
"""A failing run prints it; given again, it draws the same."""


def sized(scaled: int, full: int) -> int:
    """How many: in `make test`, or in `make faults`."""
    return full if FULL else scaled


def note(what: str, value: str) -> None:
    """One row of the table."""
    log.warning("%s: %s", what, value)
    if FIGURES:
        with Path(FIGURES).open("a") as file:
            file.write(json.dumps([what, value]) + "\n")
