"""The table of states: every move that is legal, and every one that is not."""

import itertools

import msgspec
import pytest

from gateway.model import states
from gateway.model.states import IllegalMoveError, Totals

MOVES = {
    "queued": {"in_flight", "held", "expired", "canceled", "failed"},
    "held": {"queued", "expired", "canceled", "failed"},
    "in_flight": {"queued", "submitted", "in_doubt", "failed", "expired"},
    "submitted": {"delivered", "failed", "expired", "canceled", "rejected", "unknown"},
    "in_doubt": {"queued", "held", "expired", "canceled", "failed"},
    "delivered": set[str](),
    "failed": set[str](),
    "expired": set[str](),
    "canceled": set[str](),
    "rejected": set[str](),
    "unknown": {"delivered", "failed", "expired", "canceled", "rejected"},
}
"""Written out a second time, from the design's words."""

PAIRS = list(itertools.product(states.NAMES, states.NAMES))


@pytest.mark.parametrize(("origin", "target"), PAIRS)
def test_a_message_moves_where_the_table_lets_it_and_nowhere_else(origin: str, target: str) -> None:
    totals = Totals()
    before = totals.in_state[:]
    start, end = states.NAMES.index(origin), states.NAMES.index(target)

    if target in MOVES[origin]:
        totals.move(start, end)

        assert totals.in_state[start] == before[start] - 1
        assert totals.in_state[end] == before[end] + 1
        assert 0 == sum(totals.in_state)
    else:
        with pytest.raises(IllegalMoveError, match=f"{origin} -> {target}"):
            totals.move(start, end)

        assert before == totals.in_state


def test_every_state_has_a_name_and_a_row_in_the_table() -> None:
    assert len(states.NAMES) == len(states.LEGAL) == len(MOVES) == 11
    assert list(MOVES) == list(states.NAMES)
    assert "in_flight" == states.NAMES[states.IN_FLIGHT]
    assert "unknown" == states.NAMES[states.UNKNOWN]


def test_what_is_final_goes_nowhere_but_from_unknown() -> None:
    stuck = {state for state, targets in enumerate(states.LEGAL) if not targets}

    assert stuck == states.FINAL - {states.UNKNOWN}
    assert states.LEGAL[states.SUBMITTED] == states.FINAL


def test_an_accepted_message_is_queued_and_counted_for_ever() -> None:
    totals = Totals()
    totals.admit()
    totals.admit()
    totals.move(states.QUEUED, states.IN_FLIGHT)

    assert (2, 0) == (totals.accepted, totals.purged)
    assert [1, 0, 1] == totals.in_state[:3]


def test_totals_survive_the_disk_and_two_of_them_share_nothing() -> None:
    totals = Totals()
    totals.admit()
    row = msgspec.msgpack.encode(totals)

    assert totals == msgspec.msgpack.decode(row, type=Totals)
    assert 0 == sum(Totals().in_state)
