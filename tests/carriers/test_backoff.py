"""Backoff: how long after an end of which kind; no waiting here."""

from gateway.carriers.backoff import QUICK_MAX_S, Backoff


def longest() -> float:
    return 1.0


def test_a_session_that_is_lost_waits_doubled_each_time_up_to_the_longest() -> None:
    backoff = Backoff(1.0, 60.0, longest)

    assert [backoff.wait_s("lost") for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_dead_host_is_tried_again_soon() -> None:
    backoff = Backoff(1.0, 60.0, longest)

    assert [backoff.wait_s("dead") for _ in range(6)] == [1, 2, 4, 8, QUICK_MAX_S, QUICK_MAX_S]


def test_a_refusal_for_good_waits_the_longest_at_once() -> None:
    backoff = Backoff(1.0, 60.0, longest)

    assert [backoff.wait_s("final") for _ in range(2)] == [60, 60]
    assert backoff.wait_s("dead") == QUICK_MAX_S


def test_the_configured_longest_holds_for_a_dead_host_too() -> None:
    backoff = Backoff(0.1, 0.3, longest)

    assert [backoff.wait_s("dead") for _ in range(4)] == [0.1, 0.2, 0.3, 0.3]


def test_waits_are_spread_over_their_upper_half() -> None:
    low, middle = Backoff(8.0, 60.0, lambda: 0.0), Backoff(8.0, 60.0, lambda: 0.5)

    assert (low.wait_s("lost"), middle.wait_s("lost")) == (4.0, 6.0)


def test_a_session_that_held_begins_anew_and_a_short_one_does_not() -> None:
    backoff = Backoff(1.0, 60.0, longest)
    for _ in range(4):
        backoff.wait_s("lost")

    backoff.held(59.9)
    assert backoff.wait_s("lost") == 16.0
    backoff.held(60.0)
    assert backoff.wait_s("lost") == 1.0
