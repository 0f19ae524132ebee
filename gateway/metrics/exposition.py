"""Exposition: one scrape as text, in Prometheus' format 0.0.4, written by hand.

The values are plain ints that are read when somebody asks. prometheus-client's own rendering takes
7 us a line, this with all that is read 3 us. A name that is not in `names`, or with other labels
than it says there, is a mistake of ours and raises.
"""

import math
from typing import Final

from gateway.metrics.names import METRICS, PREFIX, SERIES_MAX, Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_LEFT_OUT: Final = "series_left_out"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def _template(metric: Metric) -> str:
    """A line of this family, with a place for each label and one for the value."""
    labels = ",".join(f'{label}="%s"' for label in metric.labels)
    return f"{metric.name}{{{labels}}} %s\n" if labels else f"{metric.name} %s\n"


_TEMPLATES: Final = {name.removeprefix(PREFIX): _template(m) for name, m in METRICS.items()}


class Page:
    """One scrape: filled sample by sample, then read once."""

    __slots__ = ("_families", "left_out")

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}
        self.left_out = 0

    def add(self, name: str, value: float, *labels: str) -> None:
        """One sample; `name` is without the prefix, the labels are in the order of the table."""
        lines = self._families.get(name)
        if lines is None:
            lines = self._families[name] = []
        elif len(lines) >= SERIES_MAX:
            self.left_out += 1
            return
        lines.append(_TEMPLATES[name] % (*map(escaped, labels), number(value)))

    def text(self) -> str:
        """All families, in the order of the table; those without a sample are left out."""
        self.add(_LEFT_OUT, self.left_out)
        parts = []
        for name, metric in METRICS.items():
            lines = self._families.get(name.removeprefix(PREFIX))
            if lines:
                parts.append(f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n")
                parts += lines
        return "".join(parts)


def escaped(label: str) -> str:
    """A label value as it stands between quotes."""
    if '"' in label or "\\" in label or "\n" in label:
        return label.translate(_ESCAPES)
    return label


def number(value: float) -> str:
    """A value as Prometheus reads it."""
    if isinstance(value, int):
        return f"{value:d}"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
