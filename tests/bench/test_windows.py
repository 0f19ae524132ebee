"""Sliding windows against counting them out."""

from hypothesis import given
from hypothesis import strategies as st

from bench.windows import READ_NS, SECOND_NS, RateLimit, WindowMax, judge, window_max

# Times on a coarse grid, so that many are exactly one window apart.
grid = st.lists(st.integers(0, 40).map(lambda step: step * SECOND_NS // 8), max_size=60)


def fullest(times_ns: list[int]) -> int:
    """The plain version: the fullest window begins with an event."""
    return max(
        (sum(begin <= time < begin + SECOND_NS for time in times_ns) for begin in times_ns),
        default=0,
    )


@given(grid)
def test_the_fullest_window_is_found_exactly(times_ns: list[int]) -> None:
    assert window_max(times_ns, SECOND_NS) == fullest(times_ns)


def test_two_events_one_window_apart_are_never_in_one_window() -> None:
    assert window_max([0, SECOND_NS], SECOND_NS) == 1
    assert window_max([0, SECOND_NS - 1], SECOND_NS) == 2


def test_events_at_once_count_together() -> None:
    window = WindowMax(SECOND_NS)
    window.add(0, 3)
    window.add(0, 4)
    window.add(SECOND_NS, 5)

    assert window.maximum == 7


@given(grid, st.integers(1, 5))
def test_what_a_limit_lets_through_never_exceeds_it(times_ns: list[int], count: int) -> None:
    limit = RateLimit(count, SECOND_NS)
    passed: list[int] = []
    for time_ns in sorted(times_ns):
        room = sum(time_ns - SECOND_NS < earlier for earlier in passed) < count
        assert limit.has_room(time_ns) == room
        if room:
            limit.take(time_ns)
            passed.append(time_ns)

    assert window_max(passed, SECOND_NS) <= count


@given(grid)
def test_without_a_stall_every_window_is_judged(times_ns: list[int]) -> None:
    judged = judge(times_ns, SECOND_NS, 0, [])

    assert (fullest(times_ns), len(set(times_ns)), 0) == (
        judged.most,
        judged.windows,
        judged.unjudged,
    )
    assert judged.over == judged.windows


def test_a_window_that_begins_while_the_reader_was_late_is_not_judged() -> None:
    # What piled up in the stall is noted at its end, and may have come at its begin.
    piled_up = [5 * SECOND_NS] * 4
    later = 5 * SECOND_NS + SECOND_NS // 2
    stall = (5 * SECOND_NS - SECOND_NS // 10, 5 * SECOND_NS)

    assert 1 == judge([*piled_up, later], SECOND_NS, 4, []).over
    judged = judge([*piled_up, later], SECOND_NS, 4, [stall])
    assert (2, 0, 1, 1) == judged
    just_behind = [5 * SECOND_NS + READ_NS] * 5
    assert 0 == judge(just_behind, SECOND_NS, 4, [stall]).over
    assert 1 == judge(just_behind, SECOND_NS, 4, [(0, 1), (stall[0], stall[1] - 1)]).over
