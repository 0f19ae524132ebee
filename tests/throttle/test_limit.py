"""A limit behind one face, whatever its kind; and what of it survives a crash."""

import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.model.now import NO_BOOT, Boot, Now
from gateway.throttle.day import Days
from gateway.throttle.limit import Limit, Per
from gateway.throttle.window import GUARD_S, NEVER
from tests.throttle.line import WALL, Line, most_in

NOW = Now(100.25, WALL)
ZONE = "America/Los_Angeles"
BOOT = Boot(b"this boot", 7_000.0)


def minute(segments: float = 10) -> Limit:
    return Limit(key=b"C\0minute", per="minute", segments=segments, boot=BOOT)


def day(segments: float = 10) -> Limit:
    return Limit(key=b"C\0day", per="day", segments=segments, days=Days(ZONE, NOW))


def later(seconds: float) -> Now:
    return Now(NOW.monotonic + seconds, NOW.wall + seconds)


# One face


def test_a_window_and_a_day_are_asked_and_charged_alike() -> None:
    for limit in (Limit(key=b"C", per="second", segments=3), minute(3), day(3)):
        slots = list[object]()
        assert limit.free_at(NOW, 3) <= NOW.monotonic
        charge = limit.charge(NOW, 3, slots)  # type: ignore[arg-type]

        assert (limit, 3) == (charge.limit, charge.segments)
        assert 3 == limit.used(NOW) == limit.capacity
        assert limit.free_at(NOW, 1) > NOW.monotonic
        assert limit.free_at(NOW, 4) == NEVER


def test_a_fraction_still_lets_one_segment_pass() -> None:
    assert (1, 2, 10) == tuple(minute(segments).capacity for segments in (0.1, 1.5, 10))
    assert 7 == day(7).capacity


def test_a_daily_limit_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        Limit(key=b"C", per="day", segments=1)


def test_a_limit_knows_the_zone_of_its_days() -> None:
    assert (ZONE, "") == (day().zone, minute().zone)


def test_a_rate_gives_back_what_never_left_and_keeps_what_was_refused() -> None:
    limit = minute()
    charges = [limit.charge(NOW, 2, []) for _ in range(2)]
    limit.give_back(charges[0], unsent=False)
    assert 4 == limit.used(NOW)

    limit.give_back(charges[1], unsent=True)
    assert 2 == limit.used(NOW)


@pytest.mark.parametrize("unsent", [False, True])
def test_a_day_gives_back_what_was_refused_too(unsent: bool) -> None:
    limit = day()
    charge = limit.charge(NOW, 2, [])
    limit.row()
    limit.give_back(charge, unsent=unsent)

    assert 0 == limit.used(NOW)
    assert limit.dirty


# What survives


def test_only_what_must_survive_is_written() -> None:
    second = Limit(key=b"C", per="second", segments=1)
    second.charge(NOW, 1, [])
    assert not second.dirty

    for limit in (minute(), day()):
        limit.charge(NOW, 1, [])
        assert limit.dirty
        limit.row()
        assert not limit.dirty


def test_a_second_starts_closed_for_its_whole_window() -> None:
    for segments, span_s in ((10, 1.0), (0.25, 4.0)):
        limit = Limit(key=b"C", per="second", segments=segments)
        limit.restore(None, NOW)

        assert pytest.approx(NOW.monotonic + span_s + GUARD_S) == limit.free_at(NOW, 1)


def test_a_minute_and_a_day_without_a_row_start_empty() -> None:
    for limit in (minute(), day()):
        limit.restore(None, NOW)

        assert 0 == limit.used(NOW)


def test_a_day_is_restored_whole() -> None:
    before = day()
    before.charge(NOW, 7, [])
    after = day()
    after.restore(before.row(), NOW)

    assert 7 == after.used(later(3_600))
    assert 0 == after.used(later(86_400))


def test_a_minute_is_restored_and_expires() -> None:
    before = minute()
    for seconds in (0, 10, 20, 30):
        before.charge(later(seconds), 2, [])
        assert before.window is not None
        before.window.close()
    row = before.row()
    after = minute()
    after.restore(row, later(31))

    assert 8 == after.used(later(31))
    # The last two turns may have left at any time until the restart, not so those before.
    assert 6 == after.used(later(84))
    assert 4 == after.used(later(91))
    assert 0 == after.used(later(92))


def test_a_minutes_row_forgets_what_has_expired() -> None:
    limit = minute(1)
    for seconds in range(0, 6_000, 61):
        assert limit.window is not None
        limit.charge(later(seconds), 1, [])
        limit.window.close()

    assert len(limit.row()) < 100


def test_a_wall_clock_that_was_set_back_expires_nothing_early() -> None:
    before = minute()
    before.charge(NOW, 10, [])
    after = minute()
    after.restore(before.row(), Now(NOW.monotonic, NOW.wall - 3_600))

    assert NOW.monotonic + 60 < after.free_at(NOW, 1)


@pytest.mark.parametrize("step_s", [-86_400.0, -3_600.0, 3_600.0, 86_400.0])
def test_a_wall_clock_that_steps_before_a_restart_changes_no_minute(step_s: float) -> None:
    before = minute()
    before.charge(NOW, 10, [])
    after = minute()
    after.restore(before.row(), Now(NOW.monotonic + 5.0, NOW.wall + step_s))

    assert NOW.monotonic + 60.0 <= after.free_at(later(5), 1) <= NOW.monotonic + 65.1


@pytest.mark.parametrize("boot", [Boot(b"the next", 50.0), NO_BOOT])
def test_after_a_reboot_a_minute_starts_closed(boot: Boot) -> None:
    before = minute()
    before.charge(NOW, 1, [])
    for row in (before.row(), b"\x90", msgspec.msgpack.encode([[1, 1]])):
        after = Limit(key=b"C\0minute", per="minute", segments=10, boot=boot)
        after.restore(row, NOW)

        assert NOW.monotonic + 60.0 <= after.free_at(NOW, 1)
        again = Limit(key=b"C\0minute", per="minute", segments=10, boot=boot)
        again.restore(after.row(), later(30))
        assert NOW.monotonic + 60.0 <= again.free_at(later(30), 1)
        assert after.free_at(later(61), 10) <= later(61).monotonic


def test_a_minute_that_was_never_used_is_open_whatever_the_boot() -> None:
    after = minute()
    after.restore(None, NOW)

    assert after.free_at(NOW, 10) <= NOW.monotonic


MINUTES = (1, 3, 10, 240, 0.5, 0.2, 1.01, 7.5)

crashes = st.lists(
    st.tuples(
        st.integers(0, 30_000),  # milliseconds until then
        st.integers(1, 3),  # segments of one message
        st.integers(1, 10),  # of them at once
        st.integers(0, 20_000),  # milliseconds that commits take from then on
        st.sampled_from(["go on", "crash", "crash after the commit", "refuse"]),
        st.integers(0, 20_000),  # milliseconds for which it is down
    ),
    max_size=30,
)


@given(st.sampled_from(MINUTES), crashes)
@example(  # commits of several seconds: the first turn leaves when the second is half full
    3,
    [
        (0, 2, 1, 5_000, "go on", 0),
        (1_000, 1, 1, 5_000, "go on", 0),
        (9_000, 1, 1, 5_000, "crash after the commit", 0),
        (52_000, 2, 1, 0, "go on", 0),
    ],
)
@example(  # the same, and the second turn is charged in several seconds
    5,
    [
        (0, 2, 1, 5_000, "go on", 0),
        (1_000, 1, 1, 0, "go on", 0),
        (1_000, 1, 1, 0, "go on", 0),
        (1_000, 1, 1, 0, "go on", 0),
        (7_000, 1, 1, 0, "crash after the commit", 0),
        (54_000, 2, 1, 0, "go on", 0),
    ],
)
@example(  # a span of nearly two minutes, and what left at 5 s was charged at 0 s
    1.01,
    [
        (0, 1, 1, 5_000, "go on", 0),
        (60_000, 1, 1, 0, "go on", 0),
        (63_000, 1, 1, 0, "go on", 0),
        (100, 1, 1, 0, "crash", 0),
        (0, 1, 1, 0, "go on", 0),
    ],
)
def test_a_minute_never_counts_less_than_what_left_across_crashes(
    segments: float, pattern: list[tuple[int, int, int, int, str, int]]
) -> None:
    line = Line(lambda _: minute(segments))
    for gap_ms, size, count, commit_ms, what, down_ms in pattern:
        line.pass_time(gap_ms / 1_000)
        line.commit_s = commit_ms / 1_000
        for _ in range(count):
            line.offer(size)
        if what == "refuse":
            line.refuse_link()
        elif what != "go on":
            line.crash(down_ms / 1_000, committed=what == "crash after the commit")
    line.pass_time(100)

    span_s = 60.0 * math.ceil(segments) / segments
    assert most_in(line.left, span_s) <= math.ceil(segments)


@pytest.mark.parametrize("per", ["second", "minute"])
@pytest.mark.parametrize("segments", [1, 50, 0.5])
@pytest.mark.parametrize("commit_s", [0.0, 0.004, 0.8, 2.5])
def test_a_backlog_across_many_crashes_stays_within_the_limit(
    per: Per, segments: float, commit_s: float
) -> None:
    line = Line(lambda _: Limit(key=b"C", per=per, segments=segments, boot=BOOT), commit_s=commit_s)
    for place in range(30):
        line.pass_time(7.3 * (place % 5) + 0.3, backlog=True)
        line.crash(0.05 * place, committed=place % 2 == 0)
    line.pass_time(200, backlog=True)

    period_s = 1.0 if per == "second" else 60.0
    assert line.left
    assert most_in(line.left, period_s * math.ceil(segments) / segments) <= math.ceil(segments)


# A record that changes


def test_a_rate_that_changes_keeps_its_count_and_its_row() -> None:
    limit = minute(10)
    charge = limit.charge(NOW, 4, [])
    limit.change(segments=5, at_cap="refuse", days=None, now=NOW)

    assert (5, "refuse", 5, 4) == (
        limit.segments,
        limit.at_cap,
        limit.capacity,
        limit.used(NOW),
    )
    second = int(NOW.monotonic + BOOT.offset_s)
    assert [BOOT.id, [[second, 4]]] == msgspec.msgpack.decode(limit.row())
    limit.give_back(charge, unsent=True)
    assert 0 == limit.used(NOW)


def test_a_cap_that_changes_keeps_its_count_and_takes_the_refunds_of_before() -> None:
    limit = day(10)
    charge = limit.charge(NOW, 4, [])
    utc = Days("UTC", NOW)
    limit.change(segments=6, at_cap="hold", days=utc, now=NOW)

    assert (6, "UTC", 4) == (limit.capacity, limit.zone, limit.used(NOW))
    assert limit.free_at(NOW, 2) <= NOW.monotonic < limit.free_at(NOW, 3)
    limit.give_back(charge, unsent=False)
    assert 0 == limit.used(NOW)


def test_what_is_charged_late_is_written_down_though_the_cap_is_full() -> None:
    before_s = Days(ZONE, NOW).opens_in_s(NOW) - 20.0
    limit = day(5)
    limit.charge(later(before_s), 5, [])  # and it does not leave before the day has ended
    limit.row()

    assert limit.free_at(later(before_s + 60.0), 1) > later(before_s + 60.0).monotonic
    assert limit.dirty
    after = day(5)
    after.restore(limit.row(), later(before_s + 61.0))
    assert 5 == after.used(later(before_s + 61.0))
    limit.free_at(later(before_s + 62.0), 1)
    assert not limit.dirty
