"""Who reads the store: the dead are cleared, the old are seen, and what they cost is measured."""

import os
from pathlib import Path

from gateway.model import tables
from gateway.store.environment import Environment
from gateway.store.readers import Reader, Readers
from gateway.store.snapshot import Snapshot
from tests.store.stores import end, opened, put, reader


def churn(store: Environment, turns: int) -> None:
    """The same rows again and again: each commit frees what the one before wrote."""
    for turn in range(turns):
        rows: dict[bytes, bytes | None] = {
            b"%02d" % i: b"%02d" % (turn % 100) * 700 for i in range(10)
        }
        put(store, {tables.MESSAGE: rows})


def test_a_reader_that_was_killed_gives_back_its_place_and_its_pages(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        readers = Readers(store)
        churn(store, 1)
        process = reader(tmp_path)
        churn(store, 3)
        end(process)
        assert str(process.pid) in store.lmdb.readers()
        readers.look(1.0)
        assert (1, None) == (readers.cleared, readers.oldest)
        churn(store, 50)
        readers.look(1.5)
        grown = readers.file_bytes
        churn(store, 200)
        readers.look(2.0)

        assert (1, 0) == (readers.cleared, readers.held_bytes)
        assert grown == readers.file_bytes, "its pages are used again"


def test_the_oldest_reader_is_seen_for_as_long_as_it_lags(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        readers = Readers(store)
        churn(store, 1)
        process = reader(tmp_path)
        readers.look(10.0)
        assert readers.oldest is None, "it reads the last commit, and keeps nothing"
        churn(store, 4)
        readers.look(20.0)
        before = readers.free_bytes
        churn(store, 10)
        readers.look(50.0)

        assert Reader(process.pid, 30.0, 14) == readers.oldest
        assert before < readers.held_bytes <= readers.free_bytes < readers.file_bytes
        end(process)
        readers.look(60.0)
        assert readers.oldest is None


def test_our_own_snapshot_is_a_reader_only_until_it_is_renewed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        readers = Readers(store)
        snapshot = Snapshot(store)
        churn(store, 1)
        readers.look(1.0)
        assert Reader(os.getpid(), 0.0, 1) == readers.oldest
        snapshot.renew()
        readers.look(2.0)

        assert readers.oldest is None
        snapshot.close()


def test_nothing_is_looked_at_while_the_map_may_move(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        readers = Readers(store)
        with store.map_lock:
            readers.look(1.0)
        assert 0 == readers.file_bytes
        readers.look(2.0)

        assert 0 < readers.free_bytes < readers.file_bytes
