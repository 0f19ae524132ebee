"""The environment: one daemon at a time, of this release, with a reserve for bad days."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from gateway.model import tables
from gateway.model.room import Room
from gateway.store import environment as module
from gateway.store import folder
from gateway.store.environment import (
    SCHEMA_KEY,
    SCHEMA_VERSION,
    SHORT_WRITE_BYTES,
    Environment,
)
from gateway.store.folder import (
    BALLAST_FILE,
    DATA_FILE,
    HOLDER_BYTES,
    LOCK_FILE,
    NEW_FILE,
    READERS_BYTES,
    READERS_FILE,
    DataDirLockedError,
    StoreError,
)
from tests.store.stores import MAP_BYTES, RESERVE_BYTES, all_rows, opened, put

ROOT = Path(__file__).parent.parent.parent

OPEN_AND_SAY_WHY_NOT = """
import pathlib, sys
from gateway.store.environment import Environment
from gateway.store.folder import DataDirLockedError
try:
    Environment(pathlib.Path(sys.argv[1]), map_size_bytes=1 << 20, reserve_bytes=1 << 18)
except DataDirLockedError as error:
    print(error)
"""


def no_space(*_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# One daemon


def test_what_was_committed_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, {tables.MESSAGE: {b"a": b"1"}, tables.QUEUE: {b"a": b"2"}})
    with opened(tmp_path) as store:
        assert {b"a": b"1"} == all_rows(store, tables.MESSAGE)
        assert {b"a": b"2"} == all_rows(store, tables.QUEUE)
        assert {} == all_rows(store, tables.FINAL)


def test_a_folder_is_made_for_nobody_else_to_read(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "var"
    with opened(folder):
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}

    assert 0o700 == folder.stat().st_mode & 0o777
    assert {0o600} == {modes[name] for name in (DATA_FILE, LOCK_FILE, BALLAST_FILE)}


def test_a_second_one_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with (
        opened(tmp_path),
        pytest.raises(DataDirLockedError, match=f"process id {os.getpid()}:"),
        opened(tmp_path),
    ):
        pass
    with opened(tmp_path):  # the lock went with its holder
        pass


def test_another_process_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with opened(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", OPEN_AND_SAY_WHY_NOT, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )

    assert f"in use by the daemon with process id {os.getpid()}:" in done.stdout
    assert str(tmp_path) in done.stdout


def test_a_lock_whose_holder_did_not_say_who_it_is_is_still_a_lock(tmp_path: Path) -> None:
    with opened(tmp_path):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(DataDirLockedError, match="process id unknown"), opened(tmp_path):
            pass


def test_a_lock_file_that_was_left_behind_locks_nothing(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("1\n")
    with opened(tmp_path):
        assert f"{os.getpid()}\n" == (tmp_path / LOCK_FILE).read_text().lstrip()


def test_who_holds_it_is_said_without_taking_room(tmp_path: Path) -> None:
    # On a full volume a file that is written anew cannot have its block back.
    with opened(tmp_path):
        block = (tmp_path / LOCK_FILE).stat().st_blocks
    with opened(tmp_path):
        stat = (tmp_path / LOCK_FILE).stat()

    assert (HOLDER_BYTES, block) == (stat.st_size, stat.st_blocks)


def test_a_holder_that_cannot_say_who_it_is_holds_the_lock_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", no_space)
        with (
            opened(tmp_path),
            pytest.raises(DataDirLockedError, match="process id unknown"),
            opened(tmp_path),
        ):
            pass


# A store comes to be


def test_a_new_store_gets_its_name_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(folder, "flush", no_space)
        with pytest.raises(OSError, match="No space"), opened(tmp_path):
            pass
        assert [NEW_FILE, f"{NEW_FILE}-lock", LOCK_FILE] == names(tmp_path)
    (tmp_path / NEW_FILE).write_bytes(b"half of it")
    with opened(tmp_path) as store:
        put(store, {tables.MESSAGE: {b"a": b"1"}})
        assert [BALLAST_FILE, DATA_FILE, READERS_FILE, LOCK_FILE] == names(tmp_path)


def test_the_table_of_readers_has_blocks_of_its_own(tmp_path: Path) -> None:
    # A full volume that cannot give one would end the process by SIGBUS.
    with opened(tmp_path):
        stat = (tmp_path / READERS_FILE).stat()

    assert READERS_BYTES <= stat.st_size <= 512 * stat.st_blocks


@pytest.mark.parametrize("content", [b"", b"x" * 20_000])
def test_a_file_that_is_no_database_is_refused_with_a_reason(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / DATA_FILE).write_bytes(content)
    for _ in range(2):  # and nothing stays locked
        with pytest.raises(StoreError, match=r"schema version 0|not a database"), opened(tmp_path):
            pass


def test_a_file_that_outgrew_its_map_keeps_its_size(tmp_path: Path) -> None:
    with opened(tmp_path, map_size_bytes=4 * MAP_BYTES) as store:
        put(store, {tables.MESSAGE: {b"%03d" % i: bytes(1_500) for i in range(300)}})
    with opened(tmp_path, map_size_bytes=MAP_BYTES // 4) as store:
        assert store.lmdb.info()["map_size"] == store.map_size_bytes
        assert 300 * 1_500 < store.map_size_bytes
        with store.lmdb.begin() as txn:
            assert "low" == store.room(txn)[0]


# This release


def test_a_new_store_has_this_releases_schema(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert {SCHEMA_KEY: SCHEMA_VERSION.to_bytes(4, "big")} == all_rows(store, tables.META)


def test_a_store_of_the_first_release_becomes_one_of_this_and_keeps_its_rows(
    tmp_path: Path,
) -> None:
    old = tables.NAMES[: tables.RUN]
    environment = lmdb.open(str(tmp_path / DATA_FILE), subdir=False, max_dbs=len(old))
    databases = {name: environment.open_db(name.encode()) for name in old}
    with environment.begin(write=True) as txn:
        txn.put(SCHEMA_KEY, (1).to_bytes(4, "big"), db=databases["meta"])
        txn.put(b"key", b"row", db=databases["message"])
    environment.close()

    for _ in range(2):
        with opened(tmp_path) as store:
            assert {b"key": b"row"} == all_rows(store, tables.MESSAGE)
            assert {} == all_rows(store, tables.DUE)
            row = all_rows(store, tables.META)[SCHEMA_KEY]
            assert SCHEMA_VERSION == int.from_bytes(row, "big")


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
def test_a_store_of_another_release_is_refused_and_left_as_it_is(
    tmp_path: Path, version: int
) -> None:
    row = version.to_bytes(4, "big")
    with opened(tmp_path) as store:
        put(store, {tables.META: {SCHEMA_KEY: row}})
    for _ in range(2):  # and nothing stays open or locked
        with pytest.raises(StoreError, match=f"schema version {version}"), opened(tmp_path):
            pass
    environment = lmdb.open(str(tmp_path / DATA_FILE), subdir=False, max_dbs=20)
    with environment.begin() as txn:
        assert row == txn.get(SCHEMA_KEY, db=environment.open_db(b"meta", txn))
    environment.close()


def test_a_commit_is_flushed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        flags = store.lmdb.flags()

    assert flags["sync"]
    assert flags["metasync"]
    assert not flags["map_async"]


# Room


def test_a_reserve_is_never_more_than_a_share_of_the_map(tmp_path: Path) -> None:
    with opened(tmp_path, reserve_bytes=1 << 30) as store:
        assert MAP_BYTES // 4 == store.reserve_bytes
        assert MAP_BYTES // 4 == (tmp_path / BALLAST_FILE).stat().st_size


def test_the_ballast_is_real_blocks(tmp_path: Path) -> None:
    with opened(tmp_path):
        stat = (tmp_path / BALLAST_FILE).stat()

    assert RESERVE_BYTES == stat.st_size
    assert RESERVE_BYTES <= stat.st_blocks * 512


@pytest.mark.parametrize(
    ("free", "is_open", "level"),
    [
        (RESERVE_BYTES, False, "plenty"),
        (RESERVE_BYTES - 1, False, "low"),
        (0, False, "low"),
        (RESERVE_BYTES // 4, True, "low"),
        (RESERVE_BYTES // 4 - 1, True, "none"),
        (RESERVE_BYTES * 3, True, "low"),
    ],
)
def test_room_is_what_the_volume_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, is_open: bool, level: Room
) -> None:
    with opened(tmp_path) as store:
        store.reserve_open = is_open
        monkeypatch.setattr(folder, "volume_free", lambda _: free)
        with store.lmdb.begin() as txn:
            assert level == store.room(txn)[0]
            assert min(free, MAP_BYTES - 8_192) >= store.room(txn)[1]


def test_room_is_what_the_map_has_left(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        with store.lmdb.begin() as txn:
            assert "plenty" == store.room(txn)[0]
            before = store.room(txn)[1]
        put(store, {tables.MESSAGE: {b"%03d" % i: bytes(1_500) for i in range(150)}})
        with store.lmdb.begin() as txn:
            after = store.room(txn)[1]
        assert 150 * 1_500 <= before - after <= 150 * 1_500 * 3
        put(store, {tables.MESSAGE: {b"%03d" % i: bytes(1_500) for i in range(150, 210)}})
        with store.lmdb.begin() as txn:
            assert "low" == store.room(txn)[0]


def test_the_reserve_makes_the_map_larger_and_the_volume_emptier(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.open_reserve()
        assert MAP_BYTES + RESERVE_BYTES == store.map_size_bytes == store.lmdb.info()["map_size"]
        assert not (tmp_path / BALLAST_FILE).exists()
        assert (True, False) == (store.reserve_open, store.map_must_move)
        assert store.can_close_reserve(2 * RESERVE_BYTES + 1)
        assert not store.can_close_reserve(2 * RESERVE_BYTES)
        store.open_reserve()  # a second time, without any ballast left
        store.close_reserve()

        assert RESERVE_BYTES == (tmp_path / BALLAST_FILE).stat().st_size
        assert not store.reserve_open
        assert not store.can_close_reserve(1 << 40)


def test_a_reserve_that_does_not_fit_back_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        store.open_reserve()
        monkeypatch.setattr(os, "posix_fallocate", no_space)
        store.close_reserve()

        assert store.reserve_open
        assert not (tmp_path / BALLAST_FILE).exists()


def test_a_full_volume_is_no_reason_not_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is queued can still be sent, and what was sent can still be ended.
    with opened(tmp_path) as store:
        store.open_reserve()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_space)
        with opened(tmp_path) as store, store.lmdb.begin() as txn:
            assert store.reserve_open
            assert "low" == store.room(txn)[0]


def test_a_ballast_that_cannot_be_laid_for_another_reason_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_ours(*_: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "posix_fallocate", not_ours)
    with pytest.raises(PermissionError), opened(tmp_path):
        pass


def test_what_lacks_room_is_told_from_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        assert store.is_short_of_room(lmdb.MapFullError("full"))
        assert store.is_short_of_room(lmdb.DiskError("write: No space left on device"))
        assert store.is_short_of_room(lmdb.Error("write: Disk quota exceeded"))
        assert not store.is_short_of_room(lmdb.Error("write: Input/output error"))
        assert not store.is_short_of_room(lmdb.PanicError("MDB_PANIC"))
        # A short write is reported as EIO.
        monkeypatch.setattr(folder, "volume_free", lambda _: SHORT_WRITE_BYTES - 1)
        assert store.is_short_of_room(lmdb.Error("write: Input/output error"))
        assert not store.is_short_of_room(lmdb.PanicError("MDB_PANIC"))


def test_an_environment_that_could_not_be_opened_holds_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_check_schema", no_space)
        with pytest.raises(OSError, match="No space"):
            Environment(tmp_path, map_size_bytes=MAP_BYTES, reserve_bytes=RESERVE_BYTES)
    with opened(tmp_path):
        pass
