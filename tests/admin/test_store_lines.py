"""What `status` and the metrics say of the store's file, its readers, and carriers that are silent."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gateway.admin.collect import scrape
from gateway.daemon import app as module
from gateway.store.readers import Reader
from tests.admin.offices import ask, carrier_down, carrier_up, ctl, running, submit
from tests.daemon.peers import wait_until
from tests.store.stores import end, reader


async def seen(holds: Callable[[], object]) -> None:
    """The next looks find it."""
    await trio.to_thread.run_sync(wait_until, lambda: bool(holds()), "it is seen")


async def test_status_shows_the_file_and_what_of_it_is_free(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await submit(app, 3)
        app.readers.look(1.0)
        found = (await ask(app, "status"))["store"]
        _, text, _ = await ctl(app, "status")

    assert 0 < found["free_bytes"] < found["file_bytes"]
    assert (0, 0, 0) == (
        found["held_bytes"],
        found["oldest_reader_process_id"],
        found["readers_cleared"],
    )
    assert " KiB of it free" in text
    assert "reads it" not in text


async def test_the_place_of_a_reader_that_was_killed_is_given_back_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READERS_POLL_S", 0.01)
    async with running(tmp_path) as app:
        process = await trio.to_thread.run_sync(reader, Path(app.config.data_dir))
        await submit(app, 1)
        await seen(lambda: (oldest := app.readers.oldest) and oldest.process_id == process.pid)
        await trio.to_thread.run_sync(end, process)
        await seen(lambda: app.readers.cleared > 0)

        assert (await ask(app, "status"))["store"]["readers_cleared"] == 1
        assert app.readers.oldest is None


async def test_status_shows_the_oldest_reader_and_warns_when_it_is_old(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        app.readers.look(1.0)
        app.readers.cleared = 2
        app.readers.oldest = Reader(process_id=4711, seconds=59.0, commits_behind=9)
        found = await ask(app, "status")
        _, text, _ = await ctl(app, "status")
        app.readers.oldest = Reader(process_id=4711, seconds=61.0, commits_behind=9)
        warned = (await ask(app, "status"))["warnings"]
        page = (await scrape(app)).decode()

    line = found["store"]
    assert (59.0, 4711, 9) == (
        line["oldest_reader_s"],
        line["oldest_reader_process_id"],
        line["oldest_reader_commits_behind"],
    )
    assert line["free_bytes"] == line["held_bytes"]
    assert "process 4711 reads it for 59 s and holds back up to" in text
    assert "2 dead readers cleared" in text
    assert not [one for one in found["warnings"] if "4711" in one]
    assert [
        one for one in warned if one.startswith("process 4711 has been reading the store for 61")
    ]
    assert "smppgate_store_oldest_reader_seconds 61" in page
    assert "smppgate_store_readers_cleared_total 2" in page


async def test_status_warns_of_a_carrier_that_leaves_a_message_unanswered(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        bind, link = carrier_up(app)
        await submit(app, 2)
        before = (await ask(app, "status"))["warnings"]
        first = next(iter(bind.flights.values()))
        first.submitted_at -= 7.0
        after = (await ask(app, "status"))["warnings"]
        page = (await scrape(app)).decode()
        carrier_down(app, link)

    assert not [one for one in before if "unanswered" in one]
    assert ["carrier carrier-a has left a message unanswered for 7 s"] == [
        one for one in after if "unanswered" in one
    ]
    assert 'smppgate_carrier_oldest_in_flight_timestamp_seconds{carrier="carrier-a"}' in page
