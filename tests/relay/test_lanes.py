"""Lanes: in memory a bounded head of what is on disk, in the order of arrival, whatever happens.

The state machine holds several levels that share one working set against a sorted list each.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.model import ids, tables
from gateway.model.records import Message, decode_message, encode
from gateway.relay import lanes
from gateway.relay.lanes import (
    RESEND_TLV,
    TO_SPARE,
    Lane,
    Level,
    WorkingSet,
    lane_prefix,
    mark_resends,
)
from gateway.relay.turn import Overlay, TurnMachine
from gateway.smpp import tlv
from gateway.smpp.codec import encode_sm
from tests.relay.disk import Disk
from tests.relay.links import resends_in

REFILL = 6
SPARED = 2
SIZE = 12
LEVELS = 4
FLYING_MAX = 5

BODY = encode_sm(source_addr=b"1", destination_addr=b"2", short_message=b"hello")


def message(message_id: int) -> Message:
    return Message(
        id=message_id,
        client="shop",
        campaign="C",
        route="us",
        source=b"1",
        destination=b"2",
        accepted_at=0.0,
        expires_at=1.0,
        priority=0,
        segments=1,
        registered_delivery=1,
        source_ton_npi=b"\1\1",
        dest_ton_npi=b"\1\1",
        sm_at=len(BODY) - 5,
        body=BODY,
    )


class Bench:
    """Levels on a disk, and the turn that is open."""

    def __init__(self, size: int = SIZE, levels: int = 1) -> None:
        self.disk = Disk()
        self.machine = TurnMachine()
        self.view = Overlay(self.disk, self.machine)
        self.working = WorkingSet(size)
        self.levels = [Level(b"lane\0%d\0" % place, self.working) for place in range(levels)]
        self.level = self.levels[0]
        self.next_id = 0

    def new(self) -> Message:
        """A message that is stored, and waits nowhere yet."""
        self.next_id += 1
        made = message(self.next_id)
        self.machine.open.writes[tables.MESSAGE][ids.to_key(made.id)] = encode(made)
        return made

    def append(self, count: int = 1, level: Level | None = None) -> list[Message]:
        made = [self.new() for _ in range(count)]
        for entry in made:
            (level or self.level).append(entry, self.machine.open)
        return made

    def commit(self) -> None:
        turn = self.machine.take()
        if turn is not None:
            self.disk.commit(turn.writes)
            self.machine.committed(turn)

    def waiting(self, level: Level) -> list[int]:
        """What waits, by the rows, uncommitted turns included."""
        rows = self.view.scan(tables.QUEUE, level.prefix, level.prefix, 10_000)
        return [ids.from_key(key[-ids.KEY_LENGTH :]) for key, _ in rows]

    def drain(self) -> list[int]:
        """Takes all there is, refilling as the scheduler does."""
        taken = []
        while self.level.rows:
            if not self.level.head:
                self.level.refill(self.view)
            taken.append(self.level.take(self.machine.open).id)
        return taken


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refills of a few messages, so that a few messages show all there is."""
    monkeypatch.setattr(lanes, "REFILL", REFILL)
    monkeypatch.setattr(lanes, "SPARED", SPARED)


small = pytest.mark.usefixtures("_small")


def head(level: Level) -> list[int]:
    return [entry.id for entry in level.head]


# One level


def test_messages_leave_in_the_order_in_which_they_came() -> None:
    bench = Bench()
    bench.append(5)

    assert [1, 2, 3, 4, 5] == bench.drain()
    assert [] == bench.waiting(bench.level)
    assert (0, 0) == (bench.level.rows, bench.working.held)


@small
def test_what_the_working_set_cannot_hold_waits_on_disk_and_comes_in_order() -> None:
    bench = Bench(size=3)
    bench.append(20)

    assert (20, 3, 3) == (bench.level.rows, len(bench.level.head), bench.working.held)
    assert list(range(1, 21)) == bench.drain()


@small
def test_a_new_message_never_overtakes_one_that_is_on_disk_only() -> None:
    bench = Bench(size=3)
    bench.append(5)
    for _ in range(3):
        bench.level.take(bench.machine.open)
    bench.append(1)  # there would be room in memory

    assert [] == head(bench.level)
    assert [4, 5, 6] == bench.drain()


def test_one_that_is_put_back_has_its_old_place() -> None:
    bench = Bench()
    bench.append(4)
    first, second = (bench.level.take(bench.machine.open) for _ in range(2))
    bench.level.put_back(second, bench.machine.open)
    bench.level.put_back(first, bench.machine.open)

    assert [1, 2, 3, 4] == head(bench.level) == bench.waiting(bench.level)


def test_one_that_is_put_back_behind_the_last_is_last() -> None:
    bench = Bench()
    early, late = bench.new(), bench.new()
    bench.level.pass_through(late)
    bench.level.put_back(early, bench.machine.open)
    bench.level.put_back(late, bench.machine.open)

    assert [1, 2] == bench.drain()


@small
def test_one_that_is_put_back_behind_what_is_in_memory_is_found_on_disk() -> None:
    bench = Bench(size=3)
    (flying, *_) = bench.append(6)
    bench.level.take(bench.machine.open)
    bench.level.rewind()
    bench.level.put_back(flying, bench.machine.open)

    assert [] == head(bench.level)
    assert [1, 2, 3, 4, 5, 6] == bench.drain()


def test_one_that_is_put_back_where_nothing_waits_is_in_memory() -> None:
    bench = Bench()
    sent = bench.new()
    bench.level.put_back(sent, bench.machine.open)

    assert ([1], 1) == (head(bench.level), bench.level.loaded_to)


def test_one_that_passed_through_is_in_memory_before_those_on_disk() -> None:
    bench = Bench(size=0)
    sent = bench.new()
    bench.level.pass_through(sent)
    bench.append(2)
    bench.level.put_back(sent, bench.machine.open)

    assert [1] == head(bench.level)
    assert [1, 2, 3] == bench.drain()


def test_one_that_passed_through_and_comes_back_is_first() -> None:
    bench = Bench()
    sent = bench.new()
    bench.level.pass_through(sent)
    bench.append(2)
    bench.level.put_back(sent, bench.machine.open)

    assert [1, 2, 3] == bench.drain()


@small
@pytest.mark.parametrize("gone", [1, 2, 3, 4, 7])
def test_one_that_ends_where_it_stands_leaves_no_gap(gone: int) -> None:
    bench = Bench(size=3)
    bench.append(7)
    bench.level.drop(gone, bench.machine.open)

    assert 6 == bench.level.rows
    assert [place for place in range(1, 8) if place != gone] == bench.drain()
    assert 0 == bench.working.held


def test_an_empty_level_has_nothing_to_refill() -> None:
    bench = Bench()
    bench.append(2)

    assert [] == bench.level.refill(bench.view)
    assert [1, 2] == head(bench.level)


@small
def test_a_refill_finds_rows_wherever_their_turn_is() -> None:
    bench = Bench(size=0)
    bench.append(2)
    bench.commit()
    bench.append(2)
    turn = bench.machine.take()
    bench.append(2)
    bench.working.size = SIZE
    bench.level.refill(bench.view)

    assert turn is not None
    assert [1, 2, 3, 4, 5, 6] == head(bench.level)


@small
def test_a_row_without_its_message_is_told_and_stepped_over() -> None:
    bench = Bench(size=0)
    bench.append(3)
    bench.working.size = SIZE
    bench.machine.open.writes[tables.MESSAGE][ids.to_key(2)] = None

    assert [bench.level.prefix + ids.to_key(2)] == bench.level.refill(bench.view)
    assert [1, 3] == head(bench.level)


@small
def test_a_refilled_message_knows_how_often_it_was_sent() -> None:
    bench = Bench(size=0)
    made = bench.new()
    mark_resends(made, 2)
    bench.level.append(made, bench.machine.open)
    bench.level.refill(bench.view)
    (found,) = bench.level.head

    assert found is not made
    assert (2, made.body) == (found.resends, found.body)


# The working set


@small
def test_a_level_that_is_served_takes_its_room_from_the_longest() -> None:
    bench = Bench(levels=3)
    bench.append(8, bench.levels[1])
    bench.append(4, bench.levels[2])
    bench.append(9)
    bench.level.refill(bench.view)

    assert list(range(13, 17)) == head(bench.level)
    assert [3, 4] == [len(level.head) for level in bench.levels[1:]]
    assert SIZE - SIZE // TO_SPARE == bench.working.held


@small
def test_of_many_levels_each_loads_its_share_and_all_of_them_stay_in_the_working_set() -> None:
    bench = Bench(levels=LEVELS)
    bench.working.size = 0
    for level in bench.levels:
        bench.append(9, level)
    bench.commit()
    bench.working.size = SIZE
    most = 0
    while any(level.rows for level in bench.levels):
        for level in bench.levels:
            if level.rows and not level.head:
                level.refill(bench.view)
            most = max(most, bench.working.held)
            if level.head:
                level.take(bench.machine.open)

    assert 0 < most <= SIZE
    assert set() == bench.working.levels


@small
def test_a_level_keeps_a_few_when_it_gives_its_room_away() -> None:
    bench = Bench(levels=3)
    bench.append(6, bench.levels[1])
    bench.append(6, bench.levels[2])
    bench.append(9)
    bench.level.refill(bench.view)
    bench.working.make_room(100, keep=bench.level)

    assert [[1, 2], [7, 8]] == [head(level) for level in bench.levels[1:]]


@small
def test_what_was_shed_comes_back_by_a_refill() -> None:
    bench = Bench()
    bench.append(6)
    assert 4 == bench.level.shed(5, SPARED)
    assert 0 == bench.level.shed(5, SPARED)

    assert [1, 2] == head(bench.level)
    assert [1, 2, 3, 4, 5, 6] == bench.drain()


def test_a_working_set_with_room_takes_nothing_from_anybody() -> None:
    bench = Bench(levels=2)
    bench.append(5, bench.levels[1])
    bench.working.make_room(SIZE - 5, keep=bench.level)

    assert 5 == len(bench.levels[1].head)


# Lanes


def test_a_lane_serves_the_highest_priority_first() -> None:
    bench = Bench()
    lane = Lane("us", "C", bench.working)
    assert lane.first() is None
    for priority in (0, 2, 1, 3):
        lane.levels[priority].append(bench.new(), bench.machine.open)
    order = []
    while (level := lane.first()) is not None:
        order.append(lane.levels.index(level))
        level.take(bench.machine.open)

    assert ([3, 2, 1, 0], 0) == (order, lane.rows)


def test_the_rows_of_a_lane_are_in_the_order_in_which_they_are_served() -> None:
    lane = Lane("us", "C", WorkingSet(1))
    prefixes = [level.prefix for level in reversed(lane.levels)]

    assert sorted(prefixes) == prefixes
    assert all(prefix.startswith(lane_prefix("us", "C")) for prefix in prefixes)


@pytest.mark.parametrize("steps", [[1], [1, 2], [3, 0], [10, 1], [0], [1, 1]])
def test_the_body_tells_the_carrier_how_often_it_was_sent_before(steps: list[int]) -> None:
    made = message(1)
    for resends in steps:
        mark_resends(made, resends)

        assert (resends, resends) == (made.resends, resends_in(made.body))
    mark = tlv.encode(RESEND_TLV, bytes((steps[-1],))) if steps[-1] else b""
    assert BODY + mark == made.body


def test_more_resends_than_an_octet_holds_stay_at_its_end() -> None:
    made = message(1)
    mark_resends(made, 255)
    mark_resends(made, 256)

    assert (255, 255) == (made.resends, resends_in(made.body))


# Against the model


class Levels(RuleBasedStateMachine):
    """Four levels, a working set of twelve, and a window of five messages that are in flight."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(levels=LEVELS)
        self.model: list[list[int]] = [[] for _ in self.bench.levels]
        self.flying: list[tuple[int, Message]] = []

    @rule(place=st.integers(0, LEVELS - 1), count=st.integers(1, 8))
    def append(self, place: int, count: int) -> None:
        made = self.bench.append(count, self.bench.levels[place])
        self.model[place] += [entry.id for entry in made]

    @precondition(lambda self: len(self.flying) < FLYING_MAX)
    @rule(place=st.integers(0, LEVELS - 1))
    def send(self, place: int) -> None:
        """The first of a level is sent; a new message goes at once where nothing waits."""
        level = self.bench.levels[place]
        if not level.rows:
            made = self.bench.new()
            level.pass_through(made)
        else:
            if not level.head:
                assert [] == level.refill(self.bench.view)
            made = level.take(self.bench.machine.open)
            assert self.model[place].pop(0) == made.id
        self.flying.append((place, made))

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, FLYING_MAX), resends=st.integers(0, 2))
    def put_back(self, which: int, resends: int) -> None:
        place, made = self.flying.pop(which % len(self.flying))
        mark_resends(made, made.resends + resends)
        self.bench.levels[place].put_back(made, self.bench.machine.open)
        self.model[place] = sorted([*self.model[place], made.id])

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, FLYING_MAX))
    def answer(self, which: int) -> None:
        self.flying.pop(which % len(self.flying))

    @rule(place=st.integers(0, LEVELS - 1), which=st.integers(0, 50))
    def drop(self, place: int, which: int) -> None:
        if self.model[place]:
            gone = self.model[place].pop(which % len(self.model[place]))
            self.bench.levels[place].drop(gone, self.bench.machine.open)

    @rule(place=st.integers(0, LEVELS - 1))
    def rewind(self, place: int) -> None:
        self.bench.levels[place].rewind()

    @rule()
    def commit(self) -> None:
        self.bench.commit()

    @rule()
    def restart(self) -> None:
        """All that is in memory is gone, but for what is in flight and comes back at once."""
        self.bench.commit()
        self.bench.working = WorkingSet(SIZE)
        self.bench.levels = [
            Level(level.prefix, self.bench.working, rows=level.rows) for level in self.bench.levels
        ]
        while self.flying:
            self.put_back(0, 1)

    @invariant()
    def the_rows_are_the_model(self) -> None:
        for level, expected in zip(self.bench.levels, self.model, strict=True):
            assert expected == self.bench.waiting(level)
            assert len(expected) == level.rows

    @invariant()
    def the_head_is_all_up_to_where_it_was_loaded(self) -> None:
        for level, expected in zip(self.bench.levels, self.model, strict=True):
            assert [entry for entry in expected if entry <= level.loaded_to] == head(level)

    @invariant()
    def the_working_set_is_bounded(self) -> None:
        held = sum(len(level.head) for level in self.bench.levels)
        assert held == self.bench.working.held
        assert held <= max(SIZE, SPARED * (LEVELS - 1) + REFILL) + FLYING_MAX

    @invariant()
    def what_is_in_memory_is_what_is_on_disk(self) -> None:
        view = self.bench.view
        for level in self.bench.levels:
            for entry in level.head:
                row = view.get(tables.MESSAGE, ids.to_key(entry.id))
                assert row is not None
                kept = decode_message(row)
                mark_resends(kept, entry.resends)
                assert kept == entry
                key = level.prefix + ids.to_key(entry.id)
                assert bytes((entry.resends,)) == view.get(tables.QUEUE, key)


@small
def test_levels_agree_with_sorted_lists_whatever_is_done_to_them() -> None:
    run_state_machine_as_test(Levels, settings=settings(max_examples=60, stateful_step_count=40))
