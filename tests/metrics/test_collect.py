"""A scrape of a real daemon: every family is there, is valid, and says what is so."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.admin.collect import COUNTERS, scrape
from gateway.daemon.app import App
from gateway.metrics.names import METRICS
from gateway.relay.state import Counters
from gateway.throttle.limit import Limit
from tests.admin.offices import carrier_down, carrier_up, running, settled, submit

Scraped = dict[tuple[str, ...], float]


async def scraped(app: App) -> Scraped:
    """(name, label values ...) -> value."""
    text = (await scrape(app)).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_every_metric_of_the_table_is_collected(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        carrier_up(app)
        carrier = app.state.carriers["carrier-a"]
        carrier.rate = Limit(key=b"k", per="second", segments=10)
        carrier.refused[0x58] = 1
        app.state.clients["shop"].refused["no_route"] = 1
        await submit(app, 12)
        await submit(app, 3, source=b"12025550101")

        found = await scraped(app)

    assert {name for name, *_ in found if name in METRICS} == set(METRICS)


async def test_the_numbers_are_those_of_the_daemon(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        _, link = carrier_up(app, window=4)
        await submit(app, 10)
        await submit(app, 3, source=b"12025550101")
        app.state.clients["shop"].refused["no_route"] = 7
        found = await scraped(app)

        assert found["smppgate_messages", "in_flight"] == 4
        assert found["smppgate_messages", "queued"] == 9
        assert found["smppgate_messages_accepted_total",] == 13
        assert found["smppgate_client_accepted_total", "shop"] == 13
        assert found["smppgate_client_refused_total", "shop", "no_route"] == 7
        assert found["smppgate_bind_window_used", "carrier-a", "0"] == 4
        assert found["smppgate_queue_messages", "us", "CHOLD"] == 6
        assert found["smppgate_queue_messages", "us", "CCAP"] == 3
        assert found["smppgate_queue_oldest_timestamp_seconds", "us", "CHOLD"] > 1e9
        assert found["smppgate_limit_segments", "CCAP", "0", "day"] == 2
        assert found["smppgate_ready",] == 1
        assert found["smppgate_draining",] == 0
        assert found["smppgate_room_plenty",] == 1
        assert found["smppgate_carrier_binds", "carrier-a"] == 1
        assert found["smppgate_commits_total",] == app.committer.commits

        carrier_down(app, link)
        await settled(app)
        found = await scraped(app)
        assert found["smppgate_messages", "in_doubt"] == 4
        assert found["smppgate_in_doubt_total",] == 4


async def test_the_process_and_the_build_are_told_by_the_usual_names(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        found = await scraped(app)

    assert found["process_resident_memory_bytes",] > 1e6
    assert found["process_open_fds",] > 3
    assert ("python_gc_collections_total", "0") in found
    assert [key for key in found if key[0] == "smppgate_build_info" and __version__ in key]


def test_every_counter_of_the_core_is_a_metric() -> None:
    assert set(COUNTERS) == set(Counters.__slots__)
