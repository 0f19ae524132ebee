"""The snapshot: the last commit, nothing newer, and exactly what the dict of the simulation says."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import tables
from gateway.model.view import View
from gateway.store.snapshot import Snapshot
from tests.relay.disk import Disk
from tests.store.stores import Writes, opened, put, rows_of

KEYS = [bytes((a, b)) for a in b"ab" for b in b"\x00\x7f\xff"] + [b"a", b"b", b"\x00", b"\xff\xff"]
TABLES = (tables.QUEUE, tables.FINAL)

some_writes = st.dictionaries(
    st.sampled_from(TABLES),
    st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=3), max_size=6),
)
scans = st.lists(
    st.tuples(
        st.sampled_from(TABLES),
        st.sampled_from([b"", b"a", b"a\x00", b"a\x7f", b"b", b"c", b"\xff"]),
        st.sampled_from([b"", *KEYS, b"aa", b"zz"]),
        st.integers(1, 8),
    ),
    max_size=15,
)


def test_a_snapshot_stays_as_it_was_until_it_is_renewed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, {tables.QUEUE: {b"a": b"old", b"b": b"gone"}})
        snapshot = Snapshot(store)
        put(store, {tables.QUEUE: {b"a": b"new", b"b": None, b"c": b"more"}})

        assert [b"old", b"gone", None] == snapshot.get_many(tables.QUEUE, [b"a", b"b", b"c"])
        assert [(b"a", b"old"), (b"b", b"gone")] == snapshot.scan(tables.QUEUE, b"", b"", 9)
        snapshot.renew()
        assert [b"new", None, b"more"] == snapshot.get_many(tables.QUEUE, [b"a", b"b", b"c"])
        assert [(b"a", b"new"), (b"c", b"more")] == snapshot.scan(tables.QUEUE, b"", b"", 9)
        snapshot.close()


def test_a_snapshot_that_was_closed_can_be_renewed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        snapshot = Snapshot(store)
        snapshot.close()
        put(store, {tables.QUEUE: {b"a": b"1"}})
        snapshot.renew()

        assert b"1" == snapshot.get(tables.QUEUE, b"a")
        snapshot.close()


def test_rows_are_bytes_that_outlive_the_snapshot(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, {tables.QUEUE: {b"a": b"1"}})
        snapshot = Snapshot(store)
        row, rows = snapshot.get(tables.QUEUE, b"a"), snapshot.scan(tables.QUEUE, b"", b"", 1)
        put(store, {tables.QUEUE: {b"a": b"2"}})
        snapshot.renew()
        snapshot.close()

        assert (bytes, b"1") == (type(row), row)
        assert [(b"a", b"1")] == rows


def test_a_scan_begins_behind_a_key_whether_it_is_there_or_not(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, {tables.QUEUE: {b"a1": b"1", b"a2": b"2", b"b": b"3"}})
        snapshot = Snapshot(store)

        assert [(b"a2", b"2")] == snapshot.scan(tables.QUEUE, b"a", b"a1", 9)
        assert [(b"a2", b"2")] == snapshot.scan(tables.QUEUE, b"a", b"a10", 9)
        assert [(b"a1", b"1")] == snapshot.scan(tables.QUEUE, b"a", b"", 1)
        assert [] == snapshot.scan(tables.QUEUE, b"a", b"a2", 9)
        assert [] == snapshot.scan(tables.QUEUE, b"c", b"", 9)
        snapshot.close()


def test_old_snapshots_do_not_pile_up(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        snapshot = Snapshot(store)
        for place in range(300):  # more than there are places for readers
            put(store, {tables.QUEUE: {b"a": b"%d" % place}})
            snapshot.renew()
        assert b"299" == snapshot.get(tables.QUEUE, b"a")
        snapshot.close()


def test_it_reads_as_the_dict_of_the_simulation_does(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        snapshot = Snapshot(store)

        @given(st.lists(some_writes, max_size=4), scans)
        def agrees(turns: list[Writes], looks: list[tuple[int, bytes, bytes, int]]) -> None:
            disk = Disk()
            put(store, {table: dict.fromkeys(KEYS) for table in TABLES})
            for writes in turns:
                put(store, writes)
                disk.commit(rows_of(writes))
            snapshot.renew()
            views: list[View] = [disk, snapshot]
            for table, prefix, after, limit in looks:
                one, other = (view.scan(table, prefix, after, limit) for view in views)
                assert one == other
            for table in TABLES:
                one_row, other_row = (view.get_many(table, KEYS) for view in views)
                assert one_row == other_row
                assert [disk.get(table, key) for key in KEYS] == one_row
                assert [snapshot.get(table, key) for key in KEYS] == one_row

        agrees()
        snapshot.close()
