"""Meter: how fast plain counts have grown lately, for `status`, `carrier` and `client`.

Nothing on the hot path knows of it: every few seconds it notes the counts that are there anyway.
For the history there is Prometheus, which reads the same counts.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

SAMPLE_S: Final = 2.0
"""Between two samples."""

SPAN_S: Final = 10.0
"""What "lately" means. Long enough for a per-minute limit not to look like a stop and go."""

Counts = Mapping[tuple[str, str], int]
"""(what, of whom) -> how many since the start."""


class Meter:
    """The samples of the last `SPAN_S`."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Counts]] = deque(maxlen=int(SPAN_S / SAMPLE_S))

    def sample(self, at: float, counts: Counts) -> None:
        """Notes the counts of this moment, on the loop's clock."""
        self._samples.append((at, counts))

    def per_s(self, what: str, whom: str, count: int, at: float) -> float | None:
        """The rate up to `count`, now; None while there is nothing to compare it with."""
        if not self._samples:
            return None
        began, counts = self._samples[0]
        if at - began < SAMPLE_S / 2:
            return None
        return (count - counts.get((what, whom), 0)) / (at - began)
