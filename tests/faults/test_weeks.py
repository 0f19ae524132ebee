"""Three weeks of traffic: the sweep takes away as much as comes, and the file stops growing."""

from pathlib import Path

import pytest

from gateway.store import environment
from tests.faults.figures import note, sized
from tests.faults.weeks import Weeks
from tests.store.stores import opened

PER_HOUR = sized(20, 200)
DAYS = 21
SETTLED = 7
"""Days until every kind of row has been swept for the first time: the last week but one begins."""

MIB = 1 << 20


@pytest.mark.timeout(sized(120, 1800))
def test_over_three_weeks_rows_and_file_reach_a_plateau(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SYNC", False)
    with opened(tmp_path, map_size_bytes=1 << 32) as store:
        weeks = Weeks(store, per_hour=PER_HOUR)
        counts, sizes = [], []
        for _ in range(DAYS):
            weeks.day()
            counts.append(weeks.counts())
            sizes.append(weeks.readers.file_bytes)
        totals = weeks.world.state.totals

    note(
        "three weeks of traffic",
        f"{totals.accepted:,} messages, {totals.purged:,} purged; the file after each week "
        + ", ".join(f"{sizes[day] / MIB:.1f}" for day in (6, 13, 20))
        + " MiB",
    )
    grown = {
        name: (max(day[name] for day in counts[SETTLED:14]), max(day[name] for day in counts[14:]))
        for name in counts[0]
    }
    assert {} == {name: (was, now) for name, (was, now) in grown.items() if now > was * 1.05 + 2}
    assert max(sizes[14:]) <= max(sizes[:14]) * 1.02
    assert 0 < totals.purged
    assert 0 == weeks.world.state.counters.damaged
