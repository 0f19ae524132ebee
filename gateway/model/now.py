"""Now: the one pair of clocks that the shell reads and the core is given; Boot: what outlives it.

`monotonic` decides rates, windows and time-outs; `wall` decides days, expiry and what is written
in records. The core never asks for either: both arrive as an argument, so the simulation can set
them.
"""

from typing import Final, NamedTuple


class Now(NamedTuple):
    """One moment, in seconds on both clocks."""

    monotonic: float
    wall: float


class Boot(NamedTuple):
    """The machine's own monotonic clock: it goes on while we restart, and begins anew with `id`.

    `offset_s` is what it is ahead of `Now.monotonic`, which may begin anywhere in each process.
    """

    id: bytes
    offset_s: float

    def seconds(self, monotonic: float) -> float:
        """This moment on the machine's clock."""
        return monotonic + self.offset_s


NO_BOOT: Final = Boot(b"", 0.0)
"""Nothing is known of the machine: what was noted before counts as used a moment ago."""
