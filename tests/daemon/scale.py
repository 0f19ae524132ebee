"""How much of everything: `make test` takes a little of each attack, SMPPGATE_HOSTILE=1 all of it."""

import os

FULL = os.environ.get("SMPPGATE_HOSTILE", "") not in ("", "0")


def scaled(little: int, full: int) -> int:
    """So many in `make test`, so many when all is asked for."""
    return full if FULL else little
