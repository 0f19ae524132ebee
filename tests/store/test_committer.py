"""The committer: all of a turn or nothing, from the reserve if need be, and never torn."""

import threading
from pathlib import Path

import lmdb
import pytest
import trio

from gateway.model import tables
from gateway.store import committer as module
from gateway.store import folder
from gateway.store.committer import RESERVES_MAX, CommitFailedError, Committer
from gateway.store.environment import Environment, write_rows
from gateway.store.folder import BALLAST_FILE
from gateway.store.snapshot import Snapshot
from tests.store.stores import MAP_BYTES, RESERVE_BYTES, all_rows, opened, rows_of


def new_committer(store: Environment) -> tuple[Committer, Snapshot]:
    snapshot = Snapshot(store)
    return Committer(store, snapshot), snapshot


def rows(count: int, start: int = 0) -> tables.Rows:
    """So many rows of 1,500 octets."""
    entries: dict[bytes, bytes | None] = {
        (start + place).to_bytes(8, "big"): bytes(1_500) for place in range(count)
    }
    return rows_of({tables.MESSAGE: entries})


async def test_a_turn_is_on_disk_and_seen_when_commit_returns(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        await committer.commit(rows_of({tables.QUEUE: {b"a": b"1", b"b": b"2"}}))
        await committer.commit(
            rows_of({tables.QUEUE: {b"a": None, b"c": b"3"}, tables.FINAL: {b"x": b"y"}})
        )

        assert [None, b"2", b"3"] == snapshot.get_many(tables.QUEUE, [b"a", b"b", b"c"])
        assert (2, 5) == (committer.commits, committer.rows)
        assert 0.0 < committer.slowest_s <= committer.seconds
        assert 0.0 < committer.last_wall
        snapshot.close()
    with opened(tmp_path) as store:
        assert {b"b": b"2", b"c": b"3"} == all_rows(store, tables.QUEUE)
        assert {b"x": b"y"} == all_rows(store, tables.FINAL)


async def test_to_delete_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        await committer.commit(rows_of({tables.QUEUE: {b"a": None}, tables.ORPHAN: {}}))

        assert {} == all_rows(store, tables.QUEUE)
        snapshot.close()


async def test_a_full_map_opens_the_reserve_and_the_same_turn_is_committed(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        committed = 0
        while not store.reserve_open:
            await committer.commit(rows(40, committed))
            committed += 40
            assert committed < 10_000

        assert committed == len(all_rows(store, tables.MESSAGE))
        assert bytes(1_500) == snapshot.get(tables.MESSAGE, (committed - 1).to_bytes(8, "big"))
        assert not (tmp_path / BALLAST_FILE).exists()
        assert committer.room in ("low", "none")
        assert MAP_BYTES < store.map_size_bytes
        snapshot.close()
    with opened(tmp_path) as store:
        assert committed == len(all_rows(store, tables.MESSAGE))


async def test_before_the_map_is_full_the_core_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        seen = ["plenty"]
        committed = 0
        while not store.reserve_open:
            await committer.commit(rows(10, committed))
            committed += 10
            if seen[-1] != committer.room:
                seen.append(committer.room)

        assert ["plenty", "low"] == seen[:2]
        snapshot.close()


async def test_the_reserve_is_laid_back_when_there_is_room_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        committed = 0
        while not store.reserve_open:
            await committer.commit(rows(40, committed))
            committed += 40
        gone: dict[bytes, bytes | None] = dict.fromkeys(rows(committed)[tables.MESSAGE])
        await committer.commit(rows_of({tables.MESSAGE: gone}))
        assert not store.reserve_open
        assert RESERVE_BYTES == (tmp_path / BALLAST_FILE).stat().st_size
        await committer.look_at_room()

        assert "plenty" == committer.room
        snapshot.close()


async def test_room_is_looked_at_without_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        store.open_reserve()
        monkeypatch.setattr(folder, "volume_free", lambda _: 1_000)
        await committer.look_at_room()
        assert ("none", 1_000, 0) == (committer.room, committer.room_bytes, committer.commits)
        monkeypatch.undo()
        await committer.look_at_room()
        assert not store.reserve_open
        await committer.look_at_room()

        assert "plenty" == committer.room
        snapshot.close()


async def test_a_turn_that_no_reserve_can_hold_is_a_failed_commit(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        await committer.commit(rows(1))
        with pytest.raises(CommitFailedError, match="even in the reserve"):
            await committer.commit(rows(RESERVES_MAX * 1_000, 10))

        assert 1 == len(all_rows(store, tables.MESSAGE))  # nothing of it
        assert None is snapshot.get(tables.MESSAGE, (10).to_bytes(8, "big"))
        snapshot.close()


async def test_any_other_failure_is_final_and_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        too_long = b"k" * 512
        with pytest.raises(CommitFailedError, match="could not be committed"):
            await committer.commit(
                rows_of({tables.MESSAGE: {b"a": b"1"}, tables.QUEUE: {too_long: b"2"}})
            )

        assert {} == all_rows(store, tables.MESSAGE)
        assert (0, False) == (committer.commits, store.reserve_open)
        snapshot.close()


async def test_a_fault_that_is_not_the_disks_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise TypeError("a bug of ours")

    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        monkeypatch.setattr(module, "write_rows", broken)
        with pytest.raises(TypeError, match="ours"):
            await committer.commit(rows(1))
        snapshot.close()


async def test_a_cancelled_loop_still_waits_for_the_end_of_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_end = threading.Event(), threading.Event()

    def held(txn: object, databases: object, writes: tables.Rows) -> int:
        began.set()
        assert may_end.wait(10)
        return write_rows(txn, databases, writes)  # type: ignore[arg-type]

    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        monkeypatch.setattr(module, "write_rows", held)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(committer.commit, rows(3))
            await trio.to_thread.run_sync(began.wait)
            nursery.cancel_scope.cancel()
            assert {} == all_rows(store, tables.MESSAGE)
            may_end.set()

        assert 3 == len(all_rows(store, tables.MESSAGE))
        snapshot.close()


async def test_the_loop_goes_on_while_a_turn_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_end = threading.Event(), threading.Event()

    def held(txn: object, databases: object, writes: tables.Rows) -> int:
        began.set()
        assert may_end.wait(10)
        return write_rows(txn, databases, writes)  # type: ignore[arg-type]

    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        await committer.commit(rows(1))
        monkeypatch.setattr(module, "write_rows", held)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(committer.commit, rows(2))
            await trio.to_thread.run_sync(began.wait)
            # The snapshot is what was committed last.
            assert 1 == len(snapshot.scan(tables.MESSAGE, b"", b"", 9))
            may_end.set()

        assert 2 == len(snapshot.scan(tables.MESSAGE, b"", b"", 9))
        snapshot.close()


async def test_a_volume_without_room_gives_up_its_ballast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True, False])

    def once(txn: object, databases: object, writes: tables.Rows) -> int:
        if next(failures):
            raise lmdb.DiskError("mdb_txn_commit: No space left on device")
        assert not (tmp_path / BALLAST_FILE).exists()
        return write_rows(txn, databases, writes)  # type: ignore[arg-type]

    with opened(tmp_path) as store:
        committer, snapshot = new_committer(store)
        monkeypatch.setattr(module, "write_rows", once)
        await committer.commit(rows(2))

        assert 2 == len(snapshot.scan(tables.MESSAGE, b"", b"", 9))
        snapshot.close()
