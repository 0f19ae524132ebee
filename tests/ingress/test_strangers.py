"""Strangers: refusals grow slower by address, the log stays short, and nothing grows without bound."""

import pytest

from gateway.ingress import strangers
from gateway.ingress.strangers import (
    ADDRESSES_MAX,
    DELAY_MAX_S,
    FORGET_S,
    PERIOD_S,
    WAITING_MAX,
    Seldom,
    Strangers,
)


def delays(table: Strangers, host: str, count: int, now: float = 0.0) -> list[float]:
    return [table.failed(host, "a bind", now)[0] for _ in range(count)]


def test_each_refusal_of_an_address_waits_longer_up_to_a_limit() -> None:
    assert delays(Strangers(), "192.0.2.1", 8) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_ten_thousand_failures_wait_no_longer_than_the_limit() -> None:
    assert delays(Strangers(), "192.0.2.1", 10_000)[-1] == DELAY_MAX_S


def test_one_address_does_not_slow_another() -> None:
    table = Strangers()
    delays(table, "192.0.2.1", 10)

    assert delays(table, "192.0.2.2", 1) == [0.1]


def test_an_address_that_was_quiet_is_as_good_as_new() -> None:
    table = Strangers()
    delays(table, "192.0.2.1", 10)
    assert delays(table, "192.0.2.1", 1, FORGET_S - 1) == [5.0]

    assert delays(table, "192.0.2.1", 1, 2 * FORGET_S - 1) == [0.1]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("gone", "gone", True),
    ],
)
def test_an_address_of_version_6_stands_for_its_network(
    one: str, other: str, *, is_same: bool
) -> None:
    table = Strangers()
    delays(table, one, 3)

    assert (delays(table, other, 1) == [0.8]) is is_same


def test_the_table_forgets_who_failed_longest_ago() -> None:
    table = Strangers()
    for number in range(ADDRESSES_MAX):
        table.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "a bind", 0.0)
    table.failed("10.0.0.0", "a bind", 1.0)
    table.failed("192.0.2.1", "a bind", 2.0)

    assert len(table) == ADDRESSES_MAX
    assert delays(table, "10.0.0.0", 1, 3.0) == [0.4]
    assert delays(table, "10.0.0.1", 1, 3.0) == [0.1], "it was forgotten"


def test_the_log_has_one_line_an_address_and_period_and_a_count_of_the_rest() -> None:
    table = Strangers()
    said = [table.failed("192.0.2.1", f"bind {place}", 0.0)[1] for place in range(300)]
    table.failed("192.0.2.2", "once", 1.0)

    assert said == [True] + [False] * 299
    assert table.unsaid(PERIOD_S) == [("192.0.2.1", 299, "bind 299")]
    assert table.unsaid(PERIOD_S) == []
    assert not table.failed("192.0.2.1", "again", PERIOD_S + 1)[1]
    assert table.failed("192.0.2.1", "again", 2 * PERIOD_S)[1]


def test_an_address_with_too_many_refusals_waiting_is_crowded_until_one_is_done() -> None:
    table = Strangers()
    table.failed("192.0.2.1", "a bind", 0.0)
    for _ in range(WAITING_MAX):
        assert not table.is_crowded("192.0.2.1")
        table.waits("192.0.2.1", +1)

    assert table.is_crowded("192.0.2.1")
    assert not table.is_crowded("192.0.2.2")
    table.waits("192.0.2.1", -1)
    assert not table.is_crowded("192.0.2.1")


def test_an_address_that_was_forgotten_while_it_waited_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strangers, "ADDRESSES_MAX", 1)
    table = Strangers()
    table.failed("192.0.2.1", "a bind", 0.0)
    table.waits("192.0.2.1", +1)
    table.failed("192.0.2.2", "a bind", 0.0)
    table.waits("192.0.2.1", -1)
    table.failed("192.0.2.1", "a bind", 0.0)
    table.waits("192.0.2.1", -1)
    table.waits("192.0.2.1", +1)

    assert not table.is_crowded("192.0.2.1")


def test_what_is_said_seldom_is_counted_in_between() -> None:
    seldom = Seldom(period_s=10.0)

    assert [seldom.count(now) for now in (0.0, 1.0, 9.0, 10.0, 11.0)] == [1, 0, 0, 3, 0]
