"""Layout: tables, pairs, times, ages and sizes as text for people. Knows nothing of what they mean."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

GAP: Final = "  "


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they must be; numbers to the right, like their heads."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return ""
    right = [all(_is_number(row[place]) for row in cells) for place in range(len(head))]
    lines = []
    widths = [
        max(len(head[place]), *(len(row[place]) for row in cells)) for place in range(len(head))
    ]
    for row in [list(head), *cells]:
        line = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append(GAP.join(line).rstrip())
    return "\n".join(lines)


def pairs(entries: Iterable[tuple[str, object]]) -> str:
    """Names and values below one another; an entry without a value is left out."""
    shown = [(name, _cell(value)) for name, value in entries if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name:{width}}{GAP}{value}" for name, value in shown)


def moment(at: float | None, now: float | None = None) -> str:
    """`2026-11-24T02:34:10-08:00 (3 min ago)`, or `(in 3 min)`."""
    if at is None:
        return ""
    text = datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")
    away = at - (time.time() if now is None else now)
    return f"{text} (in {span(away)})" if away > 0 else f"{text} ({span(-away)} ago)"


def age(since: float | None) -> str:
    """How long ago, without the time itself."""
    return "" if since is None else span(max(time.time() - since, 0.0))


def span(seconds: float) -> str:
    """`0.4 s`, `59 s`, `12 min`, `5 h 10 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def octets(count: float) -> str:
    """`512 B`, `59.9 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def number(value: float) -> str:
    """`2,000`, `1.5`."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def blocks(*texts: str) -> str:
    """Texts with an empty line between them; empty ones are left out."""
    return "\n\n".join(text for text in texts if text)


def indent(text: str) -> str:
    """Two columns to the right."""
    return "\n".join(f"  {line}" for line in text.splitlines())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "").isdigit()
