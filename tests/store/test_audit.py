"""The audit agrees with a sound store, and finds what was planted in it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.model import ids, records, states, tables
from gateway.relay.state import COUNT_TOTALS, Policy
from gateway.smpp import consts
from gateway.store import audit as module
from gateway.store.audit import InterruptedAuditError, audit
from gateway.store.environment import Environment
from tests.relay import audit as brute_force
from tests.relay.setups import NUMBER, Setup
from tests.relay.world import World
from tests.store.stores import Writes, opened, put


@pytest.fixture(scope="module")
def world() -> World:
    """Messages in every state that there is, and some of everything else."""
    world = World(Setup(policy=Policy(in_doubt="hold")))
    client = world.connect(receives=False)
    link = world.bind(window=1)
    world.accepted(client)
    world.unbind(link)
    link = world.bind(window=8)
    for end in (*range(consts.DELIVERED, consts.UNDELIVERABLE + 1), 7, 8):
        world.receipt(link, world.respond(link, world.accepted(client)), end)
    world.respond(link, world.accepted(client))
    world.respond(link, world.accepted(client), consts.ESME_RSUBMITFAIL)
    world.receipt(link, b"orphan")
    world.inbound(link, NUMBER)
    for priority in range(12):
        world.accepted(client, priority=priority % 4)
    return world


@pytest.fixture
def store(world: World, tmp_path: Path) -> Iterator[Environment]:
    """A store with the rows of that world."""
    with opened(tmp_path) as environment:
        rows: Writes = {table: dict(entries) for table, entries in enumerate(world.disk.rows)}
        put(environment, {table: rows[table] for table in rows})
        yield environment


def key_of(world: World, table: int) -> bytes:
    return next(iter(world.disk.rows[table]))


def test_a_sound_store_agrees(world: World, store: Environment) -> None:
    report = audit(store)
    totals = world.state.totals

    assert [] == report.differences == brute_force.rows_that_disagree(world.disk)
    assert (totals.accepted, 0) == (report.accepted, report.purged)
    assert dict(zip(states.NAMES, totals.in_state, strict=True)) == report.counted
    assert report.expected == report.counted
    assert {"held"} == {name for name, count in report.counted.items() if not count}


def test_an_empty_store_agrees(tmp_path: Path) -> None:
    with opened(tmp_path) as environment:
        report = audit(environment)

    assert ([], 0) == (report.differences, report.accepted)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (tables.QUEUE, "queued: the counter says 4, the rows say 3"),
        (tables.PARKED, "in_doubt: the counter says 1, the rows say 0"),
        (tables.IN_FLIGHT, "in_flight: the counter says 8, the rows say 0"),
        (tables.AWAITING, "submitted: the counter says 1, the rows say 0"),
        (tables.FINAL, "the counter says"),
        (tables.MESSAGE, "messages are stored"),
        (tables.OUTBOX, "outbox"),
    ],
)
def test_a_row_that_is_gone_is_found(
    world: World, store: Environment, table: int, said: str
) -> None:
    put(store, {table: {key_of(world, table): None}})

    assert any(said in difference for difference in audit(store).differences)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (tables.QUEUE, "queued: the counter says 4, the rows say 5"),
        (tables.AWAITING, "submitted: the counter says 1, the rows say 2"),
        (tables.FINAL, "the counter says"),
        (tables.MESSAGE, "messages are stored"),
        (tables.OUTBOX, "the counter says 0, the rows say 1"),
    ],
)
def test_a_row_too_many_is_found(world: World, store: Environment, table: int, said: str) -> None:
    key = key_of(world, table)
    row = world.disk.rows[table][key]
    other = b"x\0" + bytes(8) if table == tables.OUTBOX else key[:-8] + ids.to_key(12345)
    put(store, {table: {other: row}})

    assert any(said in difference for difference in audit(store).differences)


def test_counters_that_lie_are_found(world: World, store: Environment) -> None:
    said = world.disk.rows[tables.COUNT]
    totals = msgspec.msgpack.decode(said[COUNT_TOTALS], type=states.Totals)
    for key in said:
        if key.startswith((b"level\0", b"outbox\0")):
            put(store, {tables.COUNT: {key: (99).to_bytes(8, "big")}})
            assert ["99" in difference for difference in audit(store).differences] == [True]
            put(store, {tables.COUNT: {key: said[key]}})
    totals.accepted += 1
    put(store, {tables.COUNT: {COUNT_TOTALS: records.encode(totals)}})
    assert ["accepted ever" in difference for difference in audit(store).differences] == [True]
    totals.accepted -= 1
    totals.in_state[states.DELIVERED] += 1
    totals.in_state[states.FAILED] -= 1
    put(store, {tables.COUNT: {COUNT_TOTALS: records.encode(totals)}})

    assert 2 == len(audit(store).differences)


def test_a_purged_message_is_counted_as_such(world: World, store: Environment) -> None:
    key = key_of(world, tables.FINAL)
    state = records.decode_ending(world.disk.rows[tables.FINAL][key]).state
    totals = msgspec.msgpack.decode(world.disk.rows[tables.COUNT][COUNT_TOTALS], type=states.Totals)
    totals.purged += 1
    totals.in_state[state] -= 1
    put(
        store,
        {
            tables.FINAL: {key: None},
            tables.MESSAGE: {key: None},
            tables.COUNT: {COUNT_TOTALS: records.encode(totals)},
        },
    )
    report = audit(store)

    assert ([], 1) == (report.differences, report.purged)


def test_it_gives_way_when_the_file_grows_under_it_into_the_last_room(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, {tables.MESSAGE: {b"%03d" % i: bytes(1_500) for i in range(60)}})
        began = store.lmdb.info()["last_pgno"]
        assert not store.must_let_go(began)
        put(store, {tables.MESSAGE: {b"%03d" % i: bytes(1_500) for i in range(60, 80)}})
        assert not store.must_let_go(began), "there is room left to grow into"
        put(store, {tables.MESSAGE: {b"%03d" % i: bytes(1_500) for i in range(80, 180)}})

        assert store.must_let_go(began)
        assert not store.must_let_go(store.lmdb.info()["last_pgno"]), "it does not grow any more"


def test_it_gives_way_when_the_map_must_grow(
    store: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_UP_ROWS", 1)
    store.map_must_move = True
    with pytest.raises(InterruptedAuditError):
        audit(store)
    assert not store.map_lock.locked()
    store.map_must_move = False

    assert [] == audit(store).differences
