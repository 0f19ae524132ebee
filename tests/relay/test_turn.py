"""The turn machine: one turn at a time, in order, and every effect goes somewhere or comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import tables
from gateway.model.records import Message
from gateway.relay.turn import LinkOut, Overlay, Owed, Turn, TurnMachine, release
from gateway.throttle.window import Window
from tests.relay.disk import Disk


class Recorder:
    """A link that notes what it is given, in order, and takes as much as it is told to."""

    def __init__(self, log: list[str], *, takes: int = 1_000) -> None:
        self.log = log
        self.takes = takes

    def answer(self, pdus: list[bytes]) -> None:
        self.log += [f"answer {pdu.decode()}" for pdu in pdus]

    def submit(self, messages: list[Message]) -> list[Message]:
        self.log += [f"submit {message.id}" for message in messages[: self.takes]]
        return messages[self.takes :]

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        self.log += [f"deliver {entry.message_id}" for entry in owed[: self.takes]]
        return owed[self.takes :]


class Ticket:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def done(self) -> None:
        self.log.append("ticket")


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
        sm_at=0,
        body=b"",
    )


def full_turn(log: list[str]) -> Turn:
    """Every kind of effect, on two links."""
    turn = Turn()
    turn.submits[7] = [message(1), message(2), message(3)]
    turn.answer(5, b"a")
    turn.answer(5, b"b")
    turn.answer(6, b"c")
    turn.delivers[5] = [Owed(None, 8, b""), Owed(None, 9, b"")]
    turn.tickets.append(Ticket(log))
    return turn


# Release


def test_answers_leave_before_submits_and_those_before_deliveries() -> None:
    log: list[str] = []
    link: LinkOut = Recorder(log)
    back = release(full_turn(log), {5: link, 6: link, 7: link}, lambda: 0.0)

    assert [
        "answer a",
        "answer b",
        "answer c",
        "submit 1",
        "submit 2",
        "submit 3",
        "deliver 8",
        "deliver 9",
        "ticket",
    ] == log
    assert (0, [], []) == (back.answers_undelivered, back.unsent, back.undelivered)


def test_what_was_for_a_link_that_is_gone_comes_back() -> None:
    log: list[str] = []
    turn = full_turn(log)
    back = release(turn, {}, lambda: 0.0)

    assert ["ticket"] == log
    assert 3 == back.answers_undelivered
    assert [(7, turn.submits[7])] == back.unsent
    assert [(5, turn.delivers[5])] == back.undelivered


def test_what_a_link_does_not_take_comes_back_in_order() -> None:
    log: list[str] = []
    link = Recorder(log, takes=1)
    back = release(full_turn(log), {5: link, 6: link, 7: link}, lambda: 0.0)

    assert ["submit 1", "deliver 8", "ticket"] == log[3:]
    assert [(7, [2, 3])] == [(at, [m.id for m in messages]) for at, messages in back.unsent]
    assert [(5, [9])] == [(at, [o.message_id for o in owed]) for at, owed in back.undelivered]


def test_windows_are_stamped_after_the_writes_with_one_time_for_all() -> None:
    log: list[str] = []
    times = iter([1.0])

    def clock() -> float:
        log.append("clock")
        return next(times)

    turn = full_turn(log)
    windows = [Window(5, 1.0), Window(9, 1.0)]
    for window in windows:
        window.reserve(2, turn.slots)
    link = Recorder(log)
    release(turn, {5: link, 6: link, 7: link}, clock)

    assert [1.0, 1.0] == [slot.stamp for slot in turn.slots]
    assert log.index("submit 3") < log.index("clock") < log.index("deliver 8")


def test_a_turn_that_charged_nothing_asks_no_clock() -> None:
    def clock() -> float:
        raise AssertionError("asked")

    release(Turn(), {}, clock)


# Take and commit


def test_a_turn_that_owes_nothing_is_not_taken() -> None:
    machine = TurnMachine()
    machine.open.events, machine.open.octets = 5, 500

    assert machine.take() is None
    assert (0, 0, 0) == (machine.open.events, machine.open.octets, machine.taken)
    assert machine.committing is None


@pytest.mark.parametrize("effect", ["answers", "submits", "delivers", "tickets", "slots"])
def test_a_turn_without_writes_but_with_effects_is_taken(effect: str) -> None:
    machine = TurnMachine()
    turn = machine.open
    match effect:
        case "answers":
            turn.answer(1, b"")
        case "submits":
            turn.submits[1] = [message(1)]
        case "delivers":
            turn.delivers[1] = []
        case "tickets":
            turn.tickets.append(Ticket([]))
        case "slots":
            Window(1, 1.0).reserve(1, turn.slots)

    assert not turn.has_writes()
    assert turn.has_effects()
    assert machine.take() is turn


def test_a_turn_with_a_deletion_only_is_taken_and_must_be_committed() -> None:
    machine = TurnMachine()
    machine.open.writes[tables.QUEUE][b"key"] = None
    turn = machine.take()

    assert turn is not None
    assert turn.has_writes()
    assert not turn.has_effects()


def test_events_that_arrive_while_one_turn_commits_gather_in_the_next() -> None:
    machine = TurnMachine()
    machine.open.answer(1, b"first")
    first = machine.take()
    machine.open.answer(1, b"second")

    assert first is machine.committing
    assert first is not None
    assert {1: [b"first"]} == first.answers
    machine.committed(first)
    second = machine.take()

    assert second is not None
    assert {1: [b"second"]} == second.answers
    assert 2 == machine.taken


def test_two_turns_never_commit_at_once() -> None:
    machine = TurnMachine()
    machine.open.answer(1, b"")
    machine.take()
    machine.open.answer(1, b"")

    with pytest.raises(AssertionError, match="two turns"):
        machine.take()


def test_only_the_committing_turn_can_have_been_committed() -> None:
    machine = TurnMachine()
    machine.open.answer(1, b"")
    turn = machine.take()
    assert turn is not None
    machine.committed(turn)

    with pytest.raises(AssertionError, match="another turn"):
        machine.committed(turn)


def test_what_is_charged_after_the_take_belongs_to_the_next_turn() -> None:
    machine = TurnMachine()
    window = Window(10, 1.0)
    window.reserve(3, machine.open.slots)
    first = machine.take()
    window.reserve(4, machine.open.slots)

    assert first is not None
    assert [3] == [slot.segments for slot in first.slots]
    assert [4] == [slot.segments for slot in machine.open.slots]


# The overlay

KEYS = [bytes((a, b)) for a in b"abc" for b in b"\x00\x7f\xff"] + [b"a", b"b", b"c", b"\xff"]

Writes = dict[bytes, bytes | None]
writes = st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=2), max_size=10)
prefixes = st.sampled_from([b"", b"a", b"b", b"a\x00", b"\xff", b"d"])


def overlay_of(
    on_disk: Writes,
    committing: Writes,
    opened: Writes,
) -> Overlay:
    disk, machine = Disk(), TurnMachine()
    for place, rows in enumerate((on_disk, committing, opened)):
        machine.open.writes[tables.QUEUE].update(rows)
        if place == 0:
            disk.commit(machine.open.writes)
            machine.open = Turn()
        elif place == 1:
            machine.take()
    return Overlay(disk, machine)


@given(
    st.tuples(writes, writes, writes), prefixes, st.sampled_from([b"", *KEYS]), st.integers(1, 8)
)
def test_the_overlay_reads_as_if_all_turns_were_on_disk(
    turns: tuple[Writes, Writes, Writes],
    prefix: bytes,
    after: bytes,
    limit: int,
) -> None:
    on_disk, committing, opened = turns
    overlay = overlay_of(on_disk, committing, opened)
    rows = {k: v for k, v in {**on_disk, **committing, **opened}.items() if v is not None}
    found = sorted((k, v) for k, v in rows.items() if k.startswith(prefix) and k > after)

    assert found[:limit] == overlay.scan(tables.QUEUE, prefix, after, limit)
    assert [rows.get(key) for key in KEYS] == overlay.get_many(tables.QUEUE, KEYS)
    assert [] == overlay.scan(tables.PARKED, b"", b"", limit)


def test_a_deletion_that_is_not_committed_hides_the_row_on_disk() -> None:
    overlay = overlay_of({b"a1": b"1", b"a2": b"2", b"a3": b"3"}, {b"a1": None}, {b"a2": None})

    assert [None, None, b"3"] == overlay.get_many(tables.QUEUE, [b"a1", b"a2", b"a3"])
    assert [(b"a3", b"3")] == overlay.scan(tables.QUEUE, b"a", b"", 1)


def test_an_uncommitted_row_behind_what_was_read_waits_for_the_next_page() -> None:
    overlay = overlay_of({b"a1": b"1", b"a2": b"2"}, {b"a9": b"9"}, {b"a0": b"0"})

    assert [(b"a0", b"0")] == overlay.scan(tables.QUEUE, b"a", b"", 1)
    assert [(b"a0", b"0"), (b"a1", b"1")] == overlay.scan(tables.QUEUE, b"a", b"", 2)
    assert [(b"a2", b"2"), (b"a9", b"9")] == overlay.scan(tables.QUEUE, b"a", b"a1", 9)


def test_a_row_that_was_deleted_and_written_again_is_there() -> None:
    overlay = overlay_of({b"a": b"old"}, {b"a": None}, {b"a": b"new"})

    assert b"new" == overlay.get(tables.QUEUE, b"a")
    assert [(b"a", b"new")] == overlay.scan(tables.QUEUE, b"", b"", 9)
