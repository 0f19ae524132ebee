"""The daily cap: one calendar day of its zone, whatever the clocks do."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.model.now import Now
from gateway.throttle.day import BORDER_S, DayCap, Days, Leaving

LA = ZoneInfo("America/Los_Angeles")
HOUR = 3_600.0
DAY = 86_400.0

DST_DAYS = [
    (datetime.date(2026, 3, 8), 23),
    (datetime.date(2026, 11, 1), 25),
    (datetime.date(2027, 3, 14), 23),
    (datetime.date(2027, 11, 7), 25),
    (datetime.date(2026, 9, 21), 24),
]


def midnight(date: datetime.date, zone: ZoneInfo = LA) -> float:
    """When this day begins there."""
    return datetime.datetime(date.year, date.month, date.day, tzinfo=zone).timestamp()


class Clocks:
    """Both clocks; `step` sets the wall clock, as an operator or NTP does."""

    def __init__(self, wall: float) -> None:
        self.now = Now(1_000.0, wall)

    def go(self, seconds: float) -> Now:
        self.now = Now(self.now.monotonic + seconds, self.now.wall + seconds)
        return self.now

    def step(self, seconds: float) -> Now:
        self.now = Now(self.now.monotonic, self.now.wall + seconds)
        return self.now


def noon() -> Clocks:
    return Clocks(midnight(datetime.date(2026, 9, 21)) + 12 * HOUR)


def cap_of(limit: int, clocks: Clocks) -> DayCap:
    return DayCap(limit, Days("America/Los_Angeles", clocks.now))


def send(cap: DayCap, now: Now, segments: int) -> tuple[int, ...]:
    """Charges, and the turn leaves at once."""
    slots: list[Leaving] = []
    charged = cap.charge(now, segments, slots)
    cap.close()
    for slot in slots:
        slot.stamp = now.monotonic
    return charged


def is_free(cap: DayCap, now: Now, segments: int = 1) -> bool:
    return cap.free_at(now, segments) <= now.monotonic


# Days


@pytest.mark.parametrize(("date", "hours"), DST_DAYS)
def test_a_day_has_23_24_or_25_hours(date: datetime.date, hours: int) -> None:
    clocks = Clocks(midnight(date))
    days = Days("America/Los_Angeles", clocks.now)

    assert date.toordinal() == days.turn_over(clocks.now)
    assert hours * HOUR == days.opens_in_s(clocks.now)
    assert date.toordinal() == days.turn_over(clocks.go(hours * HOUR - 0.001))
    assert date.toordinal() + 1 == days.turn_over(clocks.go(0.001))


@pytest.mark.parametrize("date", [date for date, _ in DST_DAYS])
def test_a_backlog_gets_the_limit_once_a_day_through_daylight_saving(date: datetime.date) -> None:
    clocks = Clocks(midnight(date) - 30 * HOUR)
    cap = cap_of(10, clocks)
    left: dict[datetime.date, int] = {}
    for _ in range(4 * 80):
        while is_free(cap, clocks.now):
            send(cap, clocks.now, 1)
            day = datetime.datetime.fromtimestamp(clocks.now.wall, LA).date()
            left[day] = left.get(day, 0) + 1
        clocks.go(HOUR / 4)

    assert date in left
    assert {10} == set(left.values())


@pytest.mark.parametrize(
    "zone",
    [
        "America/New_York",
        "America/Havana",
        "America/Santiago",
        "Asia/Beirut",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "UTC",
    ],
)
def test_days_of_any_zone_follow_one_another(zone: str) -> None:
    # Some change their clocks at midnight, so that a day begins at 01:00 or ends twice.
    clocks = Clocks(midnight(datetime.date(2026, 1, 1), ZoneInfo(zone)))
    days = Days(zone, clocks.now)
    expected = datetime.date(2026, 1, 1).toordinal()
    for _ in range(400):
        assert expected == days.turn_over(clocks.now)
        assert 22 * HOUR < days.opens_in_s(clocks.now) < 26 * HOUR
        assert expected == days.turn_over(clocks.go(days.opens_in_s(clocks.now) - 1.0))
        clocks.go(1.0)
        expected += 1


def test_a_process_that_slept_for_days_wakes_up_in_the_right_one() -> None:
    clocks = noon()
    days = Days("America/Los_Angeles", clocks.now)
    before = days.turn_over(clocks.now)

    assert before + 10 == days.turn_over(clocks.go(10 * DAY))


# The cap


def test_a_cap_holds_until_the_zone_has_a_new_day() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    send(cap, clocks.now, 5)

    assert pytest.approx(clocks.now.monotonic + 12 * HOUR) == cap.free_at(clocks.now, 1)
    assert not is_free(cap, clocks.go(12 * HOUR - 0.001))
    assert is_free(cap, clocks.go(0.001), 5)


def test_a_message_that_no_day_can_hold_never_goes() -> None:
    clocks = noon()

    assert float("inf") == cap_of(5, clocks).free_at(clocks.now, 6)
    assert float("inf") == cap_of(0, clocks).free_at(clocks.now, 1)


def test_all_segments_of_a_message_fit_or_none() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    send(cap, clocks.now, 3)

    assert is_free(cap, clocks.now, 2)
    assert not is_free(cap, clocks.now, 3)


def test_used_today_is_todays() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    send(cap, clocks.now, 3)

    assert 3 == cap.used_today(clocks.now)
    assert 0 == cap.used_today(clocks.go(DAY))


# The border


def test_within_5_s_of_the_reset_a_segment_is_charged_to_both_days() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    today = cap.days.turn_over(clocks.now)

    clocks.go(12 * HOUR - BORDER_S - 0.1)
    assert (today,) == send(cap, clocks.now, 1)
    clocks.go(0.1)
    assert (today, today + 1) == send(cap, clocks.now, 2)
    assert (3, 2) == (cap.used[today], cap.used[today + 1])
    clocks.go(BORDER_S)
    assert (today + 1,) == send(cap, clocks.now, 1)
    assert 3 == cap.used_today(clocks.now)


def test_at_the_border_both_days_must_have_room() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    clocks.go(12 * HOUR - 4.0)
    send(cap, clocks.now, 4)

    assert not is_free(cap, clocks.now, 2)
    assert is_free(cap, clocks.now, 1)

    # Tomorrow is full before it begins: today's room does not help.
    cap.used[cap.days.ordinal + 1] = 5
    assert pytest.approx(clocks.now.monotonic + 4.0) == cap.free_at(clocks.now, 1)


@given(st.lists(st.floats(0.01, 3.0), max_size=30), st.floats(0.0, 10.0))
def test_a_carriers_clock_up_to_5_s_off_never_sees_more_than_the_cap(
    gaps: list[float], before: float
) -> None:
    clocks = noon()
    cap = cap_of(7, clocks)
    reset = midnight(datetime.date(2026, 9, 22))
    clocks.go(12 * HOUR - before)
    left = []
    for gap in gaps:
        while is_free(cap, clocks.now):
            send(cap, clocks.now, 1)
            left.append(clocks.now.wall)
        clocks.go(gap)

    # A fast clock has its midnight before ours, so it counts more of ours as its next day's.
    for seen_at in (reset - BORDER_S, reset - 2.5, reset):
        assert sum(at < seen_at for at in left) <= 7
        assert sum(at >= seen_at for at in left) <= 7


# Refunds


def test_a_refund_goes_to_the_days_that_were_charged() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    today = cap.days.turn_over(clocks.now)
    early = send(cap, clocks.now, 2)
    late = send(cap, clocks.go(12 * HOUR - 1.0), 3)
    clocks.go(2.0)
    send(cap, clocks.now, 1)
    assert {today: 5, today + 1: 4} == cap.used

    cap.refund(early, 2)
    assert {today: 3, today + 1: 4} == cap.used
    cap.refund(late, 3)
    assert {today: 0, today + 1: 1} == cap.used


def test_a_refund_of_a_day_that_is_forgotten_changes_nothing() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    charged = send(cap, clocks.now, 2)
    for _ in range(3):
        send(cap, clocks.go(DAY), 1)

    cap.refund(charged, 2)

    assert 2 == len(cap.used)
    assert {1} == set(cap.used.values())


def test_what_was_used_is_carried_over_a_restart() -> None:
    clocks = noon()
    before = cap_of(5, clocks)
    send(before, clocks.now, 4)
    after = DayCap(5, Days("America/Los_Angeles", clocks.go(HOUR)), before.used)

    assert not is_free(after, clocks.now, 2)
    assert after.used is not before.used


# Clocks that are set while it runs


@pytest.mark.parametrize("hours", [1.0, 24.0, -1.0, -24.0])
def test_a_step_of_the_wall_clock_opens_no_day_by_itself(hours: float) -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    send(cap, clocks.now, 5)
    reset = clocks.now.monotonic + 12 * HOUR

    clocks.go(11.5 * HOUR)
    clocks.step(hours * HOUR)
    while clocks.now.monotonic < reset - 1.0:
        assert not is_free(cap, clocks.now)
        clocks.go(60.0)


def test_a_clock_that_was_set_forward_opens_the_day_when_it_truly_begins() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    send(cap, clocks.now, 3)
    clocks.step(HOUR)

    # By the wall clock an hour too late, by the other one just in time.
    assert not is_free(cap, clocks.go(12 * HOUR - BORDER_S - 1.0), 3)
    assert is_free(cap, clocks.go(BORDER_S + 1.0), 5)


def test_a_clock_that_was_set_back_opens_the_day_late_but_only_once() -> None:
    clocks = noon()
    cap = cap_of(5, clocks)
    send(cap, clocks.now, 5)
    clocks.step(-HOUR)

    assert not is_free(cap, clocks.go(12 * HOUR))
    assert is_free(cap, clocks.go(HOUR))
    send(cap, clocks.now, 5)
    clocks.step(-HOUR)
    assert not is_free(cap, clocks.now)
    assert not is_free(cap, clocks.go(HOUR + 1.0))


def test_between_the_two_clocks_midnights_both_days_are_charged() -> None:
    # It cannot be known which clock is right, so neither day may be exceeded.
    clocks = noon()
    cap = cap_of(5, clocks)
    today = cap.days.turn_over(clocks.now)
    clocks.step(-HOUR)
    clocks.go(12 * HOUR + 60.0)

    assert (today, today + 1) == send(cap, clocks.now, 1)


@given(
    st.lists(st.tuples(st.floats(0.0, 40.0), st.floats(-50.0, 50.0)), max_size=3),
    st.lists(st.tuples(st.floats(0.0, 9.0), st.integers(1, 30)), min_size=5, max_size=40),
)
@example([(6.0, 13.0)], [(0.25, 1)] * 40)  # it stays wrong: the next day must not end early
@example([(6.0, -1.0)], [(17.5, 20), (1.0, 20), (22.9, 20), (0.6, 20), (1.0, 20)])
def test_no_true_day_gets_more_than_the_cap_whatever_the_wall_clock_does(
    steps: list[tuple[float, float]], bursts: list[tuple[float, int]]
) -> None:
    clocks = noon()
    cap = cap_of(20, clocks)
    offset = clocks.now.wall - clocks.now.monotonic
    step_at = clocks.now.monotonic
    pending = []
    for after_h, by_h in steps:
        step_at += after_h * HOUR
        pending.append((step_at, by_h))
    left: dict[datetime.date, int] = {}
    for gap_h, count in bursts:
        clocks.go(gap_h * HOUR)
        while pending and pending[0][0] <= clocks.now.monotonic:
            clocks.step(pending.pop(0)[1] * HOUR)
        for _ in range(count):
            if is_free(cap, clocks.now):
                send(cap, clocks.now, 1)
                true_wall = clocks.now.monotonic + offset
                day = datetime.datetime.fromtimestamp(true_wall, LA).date()
                left[day] = left.get(day, 0) + 1

    assert max(left.values()) <= 20


@pytest.mark.parametrize("hours", [1.0, 13.0, 24.0, 36.0, -1.0, -13.0, -24.0])
@pytest.mark.parametrize("stepped_at_h", [0.5, 6.0, 11.99])
@pytest.mark.parametrize("mended_after_h", [0.25, 3.0])
def test_no_true_day_gets_more_than_the_cap_through_a_step_that_is_mended(
    hours: float, stepped_at_h: float, mended_after_h: float
) -> None:
    clocks = noon()
    cap = cap_of(20, clocks)
    offset = clocks.now.wall - clocks.now.monotonic
    left: dict[datetime.date, int] = {}

    def go(duration_s: float) -> None:
        for _ in range(int(duration_s / 300)):
            if is_free(cap, clocks.go(300)):
                send(cap, clocks.now, 1)
                true_wall = clocks.now.monotonic + offset
                day = datetime.datetime.fromtimestamp(true_wall, LA).date()
                left[day] = left.get(day, 0) + 1

    go(stepped_at_h * HOUR)
    clocks.step(hours * HOUR)
    go(mended_after_h * HOUR)
    clocks.step(-hours * HOUR)
    go(72 * HOUR)

    assert max(left.values()) == 20


# Turns that take long


def test_what_has_not_left_when_a_day_opens_is_charged_to_it_too() -> None:
    clocks = Clocks(midnight(datetime.date(2026, 9, 21)) - 20.0)
    cap = cap_of(5, clocks)
    slots: list[Leaving] = []
    (today,) = cap.charge(clocks.now, 3, slots)
    cap.close()
    cap.charge(clocks.now, 1, slots)
    cap.close()
    slots[0].stamp = clocks.now.monotonic  # the first turn leaves in time, the second does not
    clocks.go(40.0)

    assert 1 == cap.used_today(clocks.now)
    assert {today: 4, today + 1: 1} == cap.used
    assert (True, False) == (is_free(cap, clocks.now, 4), is_free(cap, clocks.now, 5))
    slots[1].stamp = clocks.now.monotonic
    send(cap, clocks.now, 4)
    assert {today: 4, today + 1: 5} == cap.used


def test_what_has_left_on_the_new_day_is_charged_to_it_whoever_looks_when() -> None:
    clocks = Clocks(midnight(datetime.date(2026, 9, 21)) - 7.0)
    cap = cap_of(5, clocks)
    slots: list[Leaving] = []
    (today,) = cap.charge(clocks.now, 3, slots)
    cap.close()
    slots[0].stamp = clocks.go(8.0).monotonic  # a second after the reset, and nobody has looked yet
    clocks.go(1.0)

    assert 3 == cap.used_today(clocks.now)
    assert {today: 3, today + 1: 3} == cap.used


def test_what_was_charged_to_both_days_is_not_charged_to_the_second_again() -> None:
    clocks = Clocks(midnight(datetime.date(2026, 9, 21)) - 2.0)
    cap = cap_of(5, clocks)
    slots: list[Leaving] = []
    today, tomorrow = cap.charge(clocks.now, 3, slots)
    cap.close()
    clocks.go(10.0)

    assert ([], 3) == (slots, cap.used_today(clocks.now))
    assert {today: 3, tomorrow: 3} == cap.used


def test_turns_that_have_left_are_forgotten() -> None:
    clocks = noon()
    cap = cap_of(1_000, clocks)
    for _ in range(50):
        send(cap, clocks.now, 1)

    assert 1 == len(cap._leaving)
