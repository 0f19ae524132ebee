"""Now: the one pair of clocks that the shell reads and the core is given.

`monotonic` decides rates, windows and time-outs; `wall` decides days, expiry and what is written
in records. The core never asks for either: both arrive as an argument, so the simulation can set
them.
"""

from typing import NamedTuple


class Now(NamedTuple):
    """One moment, in seconds on both clocks."""

    monotonic: float
    wall: float
