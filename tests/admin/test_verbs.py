"""Each verb, asked of a real daemon through its socket."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import trio
import trio.lowlevel

from gateway import __version__
from gateway.daemon.app import App
from gateway.link.link import Link
from gateway.model import ids, tables
from gateway.throttle.limit import Limit
from tests.admin.offices import (
    REGISTRY,
    ask,
    carrier_down,
    carrier_up,
    ctl,
    running,
    settled,
    submit,
)

# status


async def test_status_tells_everything_at_a_glance(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await submit(app, 3)

        found = await ask(app, "status")

    assert (found["version"], found["phase"], found["start"]) == (__version__, "ready", 1)
    assert found["listening"] == app.listening
    assert found["messages"]["queued"] == found["queue_depth"] == found["accepted"] == 3
    assert found["queue_oldest_at"] > 0
    assert found["commits"]["commits"] >= 2
    assert found["room"] == "plenty"
    assert found["room_bytes"] > 1_000_000
    assert found["registry"] == {"companies": 1, "brands": 1, "campaigns": 2, "numbers": 2}
    assert [(one["name"], one["bound"], one["binds"]) for one in found["carriers"]] == [
        ("carrier-a", 0, 1)
    ]


async def test_status_warns_of_what_somebody_should_look_at(tmp_path: Path) -> None:
    bare = """
    [[company]]
    id = "other"
    [[brand]]
    id = "B1"
    company = "other"
    identity_status = "VERIFIED"
    """
    campaign = '[[campaign]]\nid = "C{}"\nbrand = "B1"\nuse_case = "2FA"\nstatus = "ACTIVE"\n'
    many = "".join(campaign.format(place) for place in range(7))
    async with running(tmp_path, bare + many) as app:
        app.state.counters.damaged = 2
        found = await ask(app, "status")

    default = "240 a minute and 2,000 a day"
    assert found["warnings"][0].startswith("carrier carrier-a is not bound: ")
    assert found["warnings"][1:] == [
        "2 damaged rows were found: run `audit`",
        "client shop: its company acme is not in the registry",
        f"without limits of their own, so {default} hold: C0, C1, C2, C3, C4 and 2 more",
    ]


# registry


async def test_an_import_is_on_disk_when_it_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path, registry="") as app:
        file = tmp_path / "r.toml"
        file.write_text(REGISTRY)

        found = await ask(app, "registry", "import", str(file))

        assert (found["applied"], found["dry_run"], found["faults"]) == (True, False, [])
        assert "campaign CHOLD: new" in found["changes"]
        assert app.snapshot.get(tables.REGISTRY, b"campaign:CHOLD") is not None
        again = await ask(app, "registry", "import", str(file))
        assert (again["applied"], again["changes"]) == (True, [])


async def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, registry="") as app:
        file = tmp_path / "r.toml"
        file.write_text(REGISTRY)

        found = await ask(app, "registry", "import", "--dry-run", str(file))

        assert (found["applied"], found["dry_run"]) == (False, True)
        assert len(found["changes"]) == 6
        assert app.state.catalog.campaigns == {}


async def test_a_faulty_import_names_every_fault_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        file = tmp_path / "r.toml"
        file.write_text('[[brand]]\nid = "B2"\ncompany = "nobody"\n[[campaign]]\nid = "C9"\n')

        code, out, err = await ctl(app, "--json", "registry", "import", str(file))
        _, text, _ = await ctl(app, "registry", "import", str(file))

        found = json.loads(out)
        assert code == 1
        assert f"nothing was changed: {len(found['faults'])} faults" in err
        assert len(found["faults"]) >= 4
        assert not found["applied"]
        assert text.count("fault: ") == len(found["faults"])
        assert "B2" not in app.state.catalog.brands


async def test_prune_removes_what_the_file_does_not_name(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        file = tmp_path / "r.toml"
        file.write_text('[[company]]\nid = "acme"\n')

        found = await ask(app, "registry", "import", "--prune", str(file))

        assert "campaign CHOLD: gone" in found["changes"]
        assert found["holds"] == {"companies": 1, "brands": 0, "campaigns": 0, "numbers": 0}


async def test_an_export_can_be_imported_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        code, out, _ = await ctl(app, "registry", "export")
        file = tmp_path / "exported.toml"
        file.write_text(out)

        found = await ask(app, "registry", "import", "--prune", str(file))

        assert code == 0
        assert found["changes"] == []


async def test_two_imports_at_once_are_one_after_the_other(tmp_path: Path) -> None:
    async with running(tmp_path, registry="") as app:
        names = []
        for place in range(4):
            file = tmp_path / f"{place}.toml"
            file.write_text(f'[[company]]\nid = "c{place}"\n')
            names.append(str(file))

        # One socket each, all before the first is answered.
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(_import, str(app.config.admin.socket), name)

        assert sorted(app.state.catalog.companies) == ["c0", "c1", "c2", "c3"]


async def _import(path: str, name: str) -> None:
    request = {"verb": "registry import", "args": {"file": Path(name).read_text()}}  # noqa: ASYNC240
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(json.dumps(request).encode() + b"\n")
        answer = json.loads(await stream.receive_some())
    assert answer["ok"], answer


# carrier


async def test_a_carrier_shows_its_sessions_windows_and_errors(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        carrier_up(app, window=10)
        await submit(app, 4)
        app.state.carriers["carrier-a"].refused[0x58] = 2
        await _tried(app)

        (found,) = await ask(app, "carrier")

        assert await ask(app, "carrier", "carrier-a") == [found | {"sessions": found["sessions"]}]
        assert (found["in_flight"], found["window"]) == (4, 10)
        assert found["refused"] == {"ESME_RTHROTTLED": 2}
        session = found["sessions"][0]
        assert (session["bind"], session["kind"]) == (0, "transceiver")
        assert session["status"] != "bound"
        assert "no connection to 127.0.0.1:1" in session["last_error"]


async def _tried(app: App) -> None:
    """The first attempt to bind has failed."""
    while not app.supervisors[0].last_error:
        await trio.lowlevel.checkpoint()


async def test_rebinding_tries_again_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        supervisor = app.supervisors[0]
        await _tried(app)
        before = supervisor.since_wall

        found = await ask(app, "carrier", "rebind", "carrier-a")

        assert found == {"carrier": "carrier-a", "rebound": 1}
        with trio.fail_after(10):  # by itself it would wait for ten minutes
            while supervisor.since_wall == before:
                await trio.lowlevel.checkpoint()


async def test_a_name_that_nobody_has_is_a_no_that_lists_those_there_are(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        for words in (("carrier", "x"), ("carrier", "rebind", "x")):
            code, out, err = await ctl(app, *words)
            assert (code, out) == (1, "")
            assert err == "smppgate ctl: there is no carrier 'x'; there are: carrier-a\n"
        for words in (("client", "x"), ("client", "kick", "x")):
            code, _, err = await ctl(app, *words)
            assert code == 1
            assert err == "smppgate ctl: there is no client 'x'; there are: shop\n"
        code, _, err = await ctl(app, "campaign", "x")
        assert (code, "there is no campaign 'x'" in err) == (1, True)


# client


async def test_a_client_shows_who_is_bound_from_where_and_what_was_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await submit(app, 5)
        app.state.clients["shop"].refused["unknown_sender"] = 3
        link = SimpleNamespace(id=1_000_002, peer="192.0.2.9:4711")
        app.server._bound["shop"][link.id] = cast("Link", link)
        try:
            (found,) = await ask(app, "client", "shop")
            _, text, _ = await ctl(app, "client")
        finally:
            app.server._bound["shop"].clear()

    assert (found["accepted"], found["queued"], found["bound"]) == (5, 5, 1)
    assert found["refused"] == {"unknown_sender": 3}
    assert found["links"] == [{"peer": "192.0.2.9:4711", "receives": False, "delivering": 0}]
    assert "unknown_sender 3" in text
    assert "192.0.2.9:4711" in text


async def test_a_kick_ends_the_sessions_of_a_client(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        code, _, err = await ctl(app, "client", "kick", "shop")
        assert (code, err) == (1, "smppgate ctl: client shop is not bound\n")

        ended: list[str] = []
        link = SimpleNamespace(id=1, peer="", end=ended.append)
        app.server._bound["shop"][1] = cast("Link", link)
        found = await ask(app, "client", "kick", "shop")
        app.server._bound["shop"].clear()

    assert found == {"client": "shop", "kicked": 1}
    assert ended == ["kicked by the operator"]


# campaign


async def test_a_campaign_shows_its_limits_and_what_waits(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        carrier_up(app)
        await submit(app, 3, source=b"12025550101")

        (found,) = await ask(app, "campaign", "CCAP")
        all_of_them = await ask(app, "campaign")
        _, text, _ = await ctl(app, "campaign", "CCAP")

    assert [one["id"] for one in all_of_them] == ["CCAP", "CHOLD"]
    assert (found["queued"], found["numbers"]) == (1, 1)
    (limit,) = found["limits"]
    assert (limit["per"], limit["segments"], limit["used"]) == ("day", 2.0, 2)
    assert (
        limit["resets_at"] == limit["opens_at"] or abs(limit["resets_at"] - limit["opens_at"]) < 1
    )
    assert found["blocked"]["why"] == "its 2 segments a day are used up"
    assert found["lanes"][0]["waits_for"] == "a limit or a pause"
    assert "2 used" in text
    assert "a limit or a pause until" in text


async def test_the_first_thing_that_blocks_a_campaign_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as app:

        async def blocked() -> tuple[str, str]:
            (found,) = await ask(app, "campaign", "CHOLD")
            block = found["blocked"] or {"outcome": "", "why": ""}
            return block["outcome"], block["why"]

        assert await blocked() == ("", "no carrier that its routes lead to is bound")
        carrier_up(app)
        assert await blocked() == ("", "")
        app.state.carriers["carrier-a"].paused["CHOLD"] = trio.current_time() + 60
        assert await blocked() == (
            "",
            "every carrier that is bound is paused for it, or at its rate",
        )
        entry = app.state.catalog.campaigns["CHOLD"]
        numbers, entry.numbers = entry.numbers, set()
        assert await blocked() == ("unknown_sender", "it has no number to send from")
        entry.numbers = numbers
        entry.blocked = "brand_not_verified"
        assert await blocked() == ("brand_not_verified", "the sender's brand is not verified")
        app.state.draining = True
        assert await blocked() == ("", "the daemon is draining")


# queue


async def test_the_queue_shows_depth_and_age_by_lane_and_state(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await submit(app, 7)
        await submit(app, 2, source=b"12025550101")

        found = await ask(app, "queue", "--limit", "1")
        _, text, _ = await ctl(app, "queue", "--limit", "1")

    assert found["states"][0]["messages"] == 9
    assert found["states"][0]["oldest_at"] == found["lanes"][0]["oldest_at"]
    assert (found["lanes_filled"], len(found["lanes"])) == (2, 1)
    lane = found["lanes"][0]
    assert (lane["route"], lane["campaign"], lane["rows"], lane["in_memory"]) == (
        "us",
        "CHOLD",
        7,
        7,
    )
    assert lane["waits_for"] == "room at a carrier"
    assert "1 more lanes: --limit N" in text


async def test_the_oldest_message_of_a_lane_that_is_only_on_disk_is_found(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await submit(app, 3)
        (lane,) = app.state.lanes.values()
        app.core.tick = lambda _now: None  # type: ignore[method-assign, assignment]  # it would bring them back
        for level in lane.levels:
            level.rewind()

        found = await ask(app, "queue")

    assert (found["in_memory"], found["lanes"][0]["rows"]) == (0, 3)
    assert ids.from_text(found["lanes"][0]["oldest_id"]) == (1 << 42)


async def test_what_is_in_doubt_is_listed_and_released(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        _, link = carrier_up(app)
        await submit(app, 3)
        carrier_down(app, link)
        await settled(app)

        found = await ask(app, "queue")
        named = [row["id"] for row in found["parked"]]
        assert [state["messages"] for state in found["states"]] == [0, 0, 0, 0, 3]
        assert {row["campaign"] for row in found["parked"]} == {"CHOLD"}
        assert {row["reason"] for row in found["parked"]} == {"in_doubt"}

        assert await ask(app, "queue", "release", named[1]) == {"released": 1}
        assert app.state.totals.in_state[0] == 1
        assert await ask(app, "queue", "release", "--all", "--campaign", "nobody") == {
            "released": 0
        }
        assert await ask(app, "queue", "release", "--all", "--state", "held") == {"released": 0}
        assert await ask(app, "queue", "expire", "--all", "--state", "in_doubt") == {"expired": 2}
        assert (await ask(app, "queue"))["parked"] == []
        assert await ask(app, "audit")


async def test_a_release_that_finds_less_than_it_was_told_is_a_no(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        code, out, err = await ctl(app, "queue", "release", "g000000000001")

        assert (code, out) == (1, "released: 0 messages\n")
        assert "released 0 of 1: only what is held or in doubt can be" in err


async def test_a_release_must_say_of_what(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        for words, told in (
            ((), "name messages, or say --all"),
            (("--all", "g000000000001"), "name messages, or say --all"),
            (("--state", "held", "g000000000001"), "--state and --campaign go with --all"),
            (("nonsense",), "no message can have the id nonsense"),
        ):
            code, out, err = await ctl(app, "queue", "expire", *words)
            assert (code, out) == (2, "")
            assert told in err


# message, audit and the rest


async def test_a_message_is_traced_from_what_is_not_even_on_disk_yet(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        _, link = carrier_up(app)
        await submit(app)
        text = ids.to_text(link.sent[0].id).decode()

        found = await ask(app, "message", text.upper())
        _, shown, _ = await ctl(app, "message", text)

    assert (found["id"], found["state"], found["carrier"]) == (text, "in_flight", "carrier-a")
    assert "+13105550123" in shown
    assert "in the window of the carrier" in shown


async def test_a_message_that_nobody_knows_is_a_no_and_a_bad_id_is_usage(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        code, _, err = await ctl(app, "message", "g000000000001")
        assert (code, "there is no message g000000000001" in err) == (1, True)

        code, _, err = await ctl(app, "message", "42")
        assert (code, "an id has 13 characters" in err) == (2, True)


async def test_an_audit_agrees_and_says_no_when_a_row_is_missing(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        await submit(app, 3)
        code, text, _ = await ctl(app, "audit")
        assert code == 0
        assert "it agrees" in text

        with app.environment.lmdb.begin(write=True) as txn:
            cursor = txn.cursor(app.environment.tables[tables.QUEUE])
            assert cursor.first()
            cursor.delete()

        code, out, err = await ctl(app, "--json", "audit")
        assert code == 1
        assert "differences" in err
        assert "queued: the counter says 3, the rows say 2" in json.loads(out)["differences"]


async def test_a_drain_is_answered_before_the_daemon_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        assert await ask(app, "drain") == {"draining": True, "in_flight": 0}
        assert app.draining.is_set()


async def test_the_log_level_can_be_changed(tmp_path: Path) -> None:
    before = logging.getLogger().level
    try:
        async with running(tmp_path) as app:
            assert await ask(app, "loglevel", "error") == {"level": "error"}
            assert logging.getLogger().level == logging.ERROR
    finally:
        logging.getLogger().setLevel(before)


async def test_the_version_is_that_of_the_daemon(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        assert await ask(app, "version") == {"version": __version__}


async def test_every_answer_is_text_for_people_too(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        _, link = carrier_up(app, window=3)
        await submit(app, 4)
        carrier_down(app, link)
        await settled(app)
        carrier = app.state.carriers["carrier-a"]
        carrier.paused["CHOLD"] = trio.current_time() + 60
        carrier.rate = Limit(key=b"k", per="second", segments=50)
        link_to_nobody = SimpleNamespace(id=7, peer="192.0.2.9:4711")
        app.server._bound["shop"][7] = cast("Link", link_to_nobody)
        app.state.clients["shop"].outbox.rows += 1
        texts = {}
        for line in ("status", "carrier", "client", "campaign", "campaign CHOLD", "queue", "audit"):
            code, texts[line], err = await ctl(app, *line.split())
            assert (code, err) == (0, "") or line == "audit"
        app.state.clients["shop"].outbox.rows -= 1
        app.server._bound["shop"].clear()

    assert "accepted     4 ever, 0 of them purged since" in texts["status"]
    assert "warning: carrier carrier-a is not bound" in texts["status"]
    assert "paused     CHOLD until" in texts["carrier"]
    assert "rate       50 segments a second, 0 used" in texts["carrier"]
    assert "owed       1 rows of receipts" in texts["client"]
    assert "in doubt    3" in texts["campaign CHOLD"]
    assert "blocked by  no carrier that its routes lead to is bound" in texts["campaign CHOLD"]
    assert texts["queue"].count("in_doubt") == 7


async def test_a_disk_without_room_is_warned_of(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        app.committer.room = "low"
        found = await ask(app, "status")

    assert "room on disk is low: new messages are refused (queue_full)" in found["warnings"]
