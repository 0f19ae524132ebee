"""The window: never more than the limit in any of its periods, and nearly all of it with a backlog.

The oracle is independent: it counts what left, by the time at which it left, in every window.
"""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.throttle.limit import Limit, Per
from gateway.throttle.window import GUARD_S, NEVER, Slot, Window
from tests.throttle.line import Line, most_in

LIMITS: list[tuple[Per, float]] = [
    ("second", 1),
    ("second", 2),
    ("second", 50),
    ("second", 1_000),
    ("second", 10_000),
    ("second", 0.25),
    ("second", 0.9),
    ("second", 1.5),
    ("second", 2.75),
    ("minute", 1),
    ("minute", 240),
    ("minute", 0.5),
    ("minute", 7.5),
]

PERIOD_S = {"second": 1.0, "minute": 60.0}


def new_line(per: Per, limit: float, *, commit_s: float = 0.0, guard_s: float = GUARD_S) -> Line:
    def make(_: object) -> Limit:
        return Limit(key=b"C", per=per, segments=limit, guard_s=guard_s)

    line = Line(make, commit_s=commit_s)
    line.pass_time(2.0 * PERIOD_S[per] / min(limit or 1.0, 1.0))  # it starts closed
    return line


def whole_span_s(per: Per, limit: float) -> float:
    """The time in which a whole number of segments may leave: a period, if the limit is whole."""
    return PERIOD_S[per] * math.ceil(limit) / limit


arrivals = st.lists(
    st.tuples(
        st.integers(0, 1_500),  # thousandths of a period until then
        st.integers(1, 4),  # segments of one message
        st.integers(1, 20),  # of them at once
        st.integers(0, 1_200),  # thousandths of a period that the commit takes
        st.booleans(),  # whether the link takes it
    ),
    max_size=40,
)


@pytest.mark.parametrize(("per", "limit"), LIMITS)
def test_no_window_holds_more_than_the_limit_however_it_comes_and_commits(
    per: Per, limit: float
) -> None:
    @given(arrivals)
    def holds(pattern: list[tuple[int, int, int, int, bool]]) -> None:
        line = new_line(per, limit)
        scale = max(math.ceil(limit) // 25, 1)
        period_s = PERIOD_S[per]
        for gap, segments, count, commit, is_taken in pattern:
            line.pass_time(gap * period_s / 1_000)
            line.commit_s = commit * period_s / 1_000
            for _ in range(count):
                line.offer(segments * scale)
            if not is_taken:
                line.refuse_link()
        line.pass_time(3 * period_s)

        assert most_in(line.left, whole_span_s(per, limit)) <= math.ceil(limit)

    holds()


@pytest.mark.parametrize(("per", "limit"), LIMITS)
@pytest.mark.parametrize("commit_ms", [0.0, 0.7, 3.0, 5.0])
def test_a_backlog_uses_98_percent_of_the_limit_with_commits_of_up_to_5_ms(
    per: Per, limit: float, commit_ms: float
) -> None:
    line = new_line(per, limit, commit_s=commit_ms / 1_000)
    spans = 60 * whole_span_s(per, limit)
    line.pass_time(spans, backlog=True)

    first, last = line.left[0][0], line.left[-1][0]
    left = sum(segments for at, segments in line.left if at < last)
    assert left >= 0.98 * limit * PERIOD_S["second"] / PERIOD_S[per] * (last - first)
    assert most_in(line.left, whole_span_s(per, limit)) <= math.ceil(limit)


@given(
    st.sampled_from([1, 3, 50, 1_000, 0.4]),
    st.lists(st.integers(0, 5_000), min_size=1, max_size=30),
    st.lists(st.integers(1, 300), max_size=10),
)
def test_a_backlog_uses_98_percent_however_its_turns_fall(
    limit: float, commits_us: list[int], gaps_ms: list[int]
) -> None:
    line = new_line("second", limit)
    for place, gap_ms in enumerate(gaps_ms):  # smears the window over many turns
        line.commit_s = commits_us[place % len(commits_us)] / 1e6
        line.offer(max(math.ceil(limit) // 10, 1))
        line.pass_time(gap_ms / 1_000)
    line.left.clear()
    span_s = whole_span_s("second", limit)
    for place in range(25):
        line.commit_s = commits_us[place % len(commits_us)] / 1e6
        line.pass_time(span_s, backlog=True)

    left = sum(segments for at, segments in line.left if at >= line.monotonic - 20 * span_s)
    assert left >= 0.98 * limit * 20 * span_s - math.ceil(limit)
    assert most_in(line.left, span_s) <= math.ceil(limit)


def test_the_guard_lies_between_two_fills() -> None:
    line = new_line("second", 10, guard_s=0.025)
    line.pass_time(3.5, backlog=True)
    times = [at for at, _ in line.left]

    assert [pytest.approx(1.025)] * 3 == [
        after - before for before, after in itertools.pairwise(times)
    ]


def test_what_is_reserved_holds_its_place_until_the_stamp_and_then_one_span() -> None:
    window = Window(2, 1.0, guard_s=0.01)
    turn: list[Slot] = []
    window.reserve(2, turn)

    assert NEVER == window.free_at(1e9, 1)  # unstamped: nobody knows yet
    (slot,) = turn
    slot.stamp = 10.0

    assert pytest.approx(11.01) == window.free_at(10.5, 1)
    assert 2 == window.used(11.0)
    assert 11.02 == window.free_at(11.02, 2)  # at once
    assert 0 == window.used(11.02)


def test_one_turn_shares_one_slot_and_the_next_has_its_own() -> None:
    window = Window(10, 1.0)
    first: list[Slot] = []
    second: list[Slot] = []
    assert window.reserve(1, first) is window.reserve(2, first)
    window.close()
    window.reserve(3, second)

    assert [3] == [slot.segments for slot in first]
    assert [3] == [slot.segments for slot in second]
    assert 6 == window.used(0.0)


def test_a_message_waits_until_enough_of_the_oldest_turns_have_expired() -> None:
    window = Window(3, 1.0, guard_s=0.0)
    for stamp in (1.0, 1.25, 1.5):
        turn: list[Slot] = []
        window.reserve(1, turn)
        window.close()
        turn[0].stamp = stamp

    assert [2.0, 2.25, 2.5] == [window.free_at(1.75, segments) for segments in (1, 2, 3)]


def test_a_message_longer_than_the_window_never_goes() -> None:
    window = Window(3, 1.0)

    assert NEVER == window.free_at(0.0, 4)
    assert 0.0 == window.free_at(0.0, 3)


def test_what_never_left_gives_its_place_back_at_once() -> None:
    window = Window(3, 1.0)
    turn: list[Slot] = []
    slot = window.reserve(3, turn)
    window.close()
    slot.stamp = 1.0
    window.give_back(slot, 2)

    assert 1 == window.used(1.0)
    assert 1.0 == window.free_at(1.0, 2)
    assert 1.0 < window.free_at(1.0, 3)
    assert 0 == window.used(3.0)


def test_what_comes_back_after_its_place_was_free_already_is_not_given_back_twice() -> None:
    window = Window(3, 1.0)
    turn: list[Slot] = []
    slot = window.reserve(3, turn)
    window.close()
    slot.stamp = 1.0
    assert 0 == window.used(5.0)

    window.give_back(slot, 3)

    assert 0 == window.used(5.0)
    assert NEVER == window.free_at(5.0, 4)


def test_a_limit_of_zero_lets_nothing_pass_and_a_negative_one_cannot_be() -> None:
    assert NEVER == Window(0, 1.0).free_at(0.0, 1)
    with pytest.raises(ValueError, match="negative"):
        Window(-0.5, 1.0)


@pytest.mark.parametrize(
    ("limit", "capacity", "span_s"),
    [(1, 1, 1.0), (1.5, 2, 4 / 3), (0.25, 1, 4.0), (10_000, 10_000, 1.0), (2.5, 3, 1.2)],
)
def test_a_fractional_limit_is_a_whole_one_over_a_longer_window(
    limit: float, capacity: int, span_s: float
) -> None:
    window = Window(limit, 1.0, guard_s=0.0)

    assert capacity == window.capacity
    assert pytest.approx(span_s) == window.span_s


def test_a_window_that_starts_closed_opens_after_one_span() -> None:
    window = Window(5, 1.0)
    window.start_closed(100.0)

    assert pytest.approx(100.0 + 1.0 + GUARD_S) == window.free_at(100.5, 1)
    assert 101.5 == window.free_at(101.5, 5)


def test_a_restored_window_knows_when_each_part_left() -> None:
    window = Window(5, 60.0, guard_s=0.0)
    window.restore([(10.0, 2), (30.0, 3)])

    assert 5 == window.used(69.0)
    assert (70.0, 90.0) == (window.free_at(69.0, 2), window.free_at(69.0, 3))


def test_a_limit_that_changes_goes_on_counting_what_left_and_what_will() -> None:
    window = Window(5, 1.0, guard_s=0.0)
    turn: list[Slot] = []
    slot = window.reserve(3, turn)
    window.change(4, 0.0)

    assert (4, 3) == (window.capacity, window.used(0.0))
    window.close()
    slot.stamp = 10.0
    assert 10.5 == window.free_at(10.5, 1)
    assert 11.0 == window.free_at(10.5, 2)
    window.change(2, 10.5)
    assert 11.0 == window.free_at(10.5, 1)
    assert NEVER == window.free_at(10.5, 3)
    window.give_back(slot, 3)
    assert 10.5 == window.free_at(10.5, 2)


def test_a_limit_that_looks_back_further_than_before_starts_closed() -> None:
    window = Window(1, 1.0, guard_s=0.0)
    window.change(0.25, 100.0)

    assert (1, 104.0) == (window.capacity, window.free_at(100.0, 1))
