"""The admin socket: one line in, one line out, and no peer can do it any harm."""

import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from gateway.admin import server
from gateway.admin.office import Answer, Args, ChangeFaultError, Desk
from gateway.admin.server import AdminServer
from gateway.admin.verbs.table import TABLE, Entry
from tests.admin.offices import dummy_office


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator["Place"]:
    place = Place(path)
    with closing(place):
        async with trio.open_nursery() as nursery:
            await nursery.start(place.admin.serve)
            yield place
            nursery.cancel_scope.cancel()


class Place:
    """A server, and the connections to it, which end with it."""

    def __init__(self, path: Path) -> None:
        self.admin = AdminServer(path, dummy_office())
        self._peers: list[Peer] = []

    async def peer(self) -> "Peer":
        peer = Peer(await trio.open_unix_socket(self.admin.path))
        self._peers.append(peer)
        return peer

    def close(self) -> None:
        for peer in self._peers:
            peer.stream.socket.close()


class Peer:
    """A connection to the admin socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def line(self) -> dict[str, Any] | None:
        while b"\n" not in self._buffer:
            data = await self.stream.receive_some()
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, request: object) -> dict[str, Any] | None:
        line = request if isinstance(request, bytes) else json.dumps(request).encode()
        await self.stream.send_all(line + b"\n")
        return await self.line()


async def test_a_verb_is_answered_in_one_line(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as place:
        peer = await place.peer()

        reply = await peer.ask({"verb": "version"})

        assert reply is not None
        assert (reply["ok"], reply["exit"], reply["text"]) == (True, 0, "")
        assert list(reply["result"]) == ["version"]


async def test_one_connection_may_ask_many_times_also_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as place:
        peer = await place.peer()
        line = json.dumps({"verb": "help", "args": {}}).encode()

        first = await peer.ask(line + b"\n" + line)
        second = await peer.line()
        third = await peer.ask({"verb": "version"})

        assert first == second
        assert first is not None
        assert {verb["name"] for verb in first["result"]} == set(TABLE)
        assert third is not None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "this is no request"),
        (b"hello", "this is no request"),
        (b"[]", "this is no request"),
        (b'{"verb": 7}', "this is no request"),
        (b'{"verb": "version", "args": 1}', "this is no request"),
        (b'{"verb": "\xff"}', "this is no request"),
        (b"[" * 100_000, "this is no request"),
        (b'{"verb": "dance"}', "there is no verb 'dance'; there are: status, registry import"),
        (b'{"verb": "version", "args": {"x": 1}}', "version has no argument 'x'"),
        (b'{"verb": "message"}', "message needs id"),
    ],
)
async def test_what_is_no_request_is_told_so_and_the_next_one_is_answered(
    tmp_path: Path, line: bytes, text: str
) -> None:
    async with serving(tmp_path / "s") as place:
        peer = await place.peer()

        reply = await peer.ask(line)

        assert reply is not None
        assert (reply["ok"], reply["exit"], reply["result"]) == (False, 2, None)
        assert text in reply["text"]
        assert (await peer.ask({"verb": "version"}) or {})["ok"]


async def test_a_line_without_end_ends_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINE_BYTES_MAX", 1_000)
    async with serving(tmp_path / "s") as place:
        peer = await place.peer()
        await peer.stream.send_all(b"x" * 2_000)

        reply = await peer.line()

        assert (reply or {})["text"] == "a line may have 1000 octets"
        assert await peer.line() is None


async def test_who_brings_no_line_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LINE_S", 0.01)
    async with serving(tmp_path / "s") as place:
        peer = await place.peer()
        await peer.stream.send_all(b'{"verb"')

        reply = await peer.line()

        assert (reply or {})["text"] == "no whole line came in 0.01 s"
        assert await peer.line() is None


async def test_a_peer_that_does_not_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shout(_desk: Desk, _args: Args) -> Answer:
        return Answer(0, "x" * 10_000_000)

    monkeypatch.setattr(server, "SEND_S", 0.01)
    monkeypatch.setitem(TABLE, "version", Entry(shout))
    async with serving(tmp_path / "s") as place:
        deaf = await place.peer()
        await deaf.stream.send_all(b'{"verb": "version"}\n')
        with trio.fail_after(5):
            while place.admin._connections:
                await trio.lowlevel.checkpoint()


async def test_one_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 1)
    async with serving(tmp_path / "s") as place:
        first = await place.peer()
        assert (await first.ask({"verb": "version"}) or {})["ok"]

        second = await place.peer()

        reply = await second.line()
        assert reply is not None
        assert (reply["exit"], reply["text"]) == (
            1,
            "1 others are connected already: try again",
        )
        assert (await first.ask({"verb": "version"}) or {})["ok"]


async def test_a_peer_that_goes_away_disturbs_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as place:
        peer = await place.peer()
        for _ in range(20):
            rude = await place.peer()
            await rude.stream.send_all(b'{"verb": "help"}\n' * 50)
            await rude.stream.aclose()

        assert (await peer.ask({"verb": "version"}) or {})["ok"]


async def test_a_bug_in_a_verb_costs_only_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(TABLE, "version", Entry(_stumble))
    async with serving(tmp_path / "s") as place:
        peer = await place.peer()

        with caplog.at_level(logging.ERROR):
            reply = await peer.ask({"verb": "version"})

        assert reply is not None
        assert (reply["exit"], reply["text"]) == (
            1,
            "a fault of the daemon's; its log has the details",
        )
        assert "ZeroDivisionError" in caplog.text
        assert (await peer.ask({"verb": "help"}) or {})["ok"]


async def test_a_bug_while_the_core_is_changing_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def change(desk: Desk, args: Args) -> Answer:
        return await desk.change(_stumble(desk, args))

    monkeypatch.setitem(TABLE, "version", Entry(change, changes=True))

    with pytest.RaisesGroup(ChangeFaultError, flatten_subgroups=True):
        async with serving(tmp_path / "s") as place:
            peer = await place.peer()
            await peer.ask({"verb": "version"})
            await trio.sleep_forever()


async def _stumble(_desk: Desk, _args: Args) -> Answer:
    return Answer(0, 1 // 0)


# The socket file


async def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with serving(tmp_path / "s"):
            mode = (tmp_path / "s").stat().st_mode
    finally:
        os.umask(before)

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_the_socket_and_only_ours_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "yet"
    async with serving(path):
        assert path.exists()
    assert not path.exists()

    async with serving(path):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"

    path.unlink()
    async with serving(path):
        path.unlink()
    assert not path.exists()


async def test_a_socket_that_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))

    async with serving(tmp_path / "s") as place:
        peer = await place.peer()
        assert (await peer.ask({"verb": "version"}) or {})["ok"]


async def test_a_socket_on_which_somebody_answers_is_left_alone(tmp_path: Path) -> None:
    async with serving(tmp_path / "s") as place:
        with pytest.raises(OSError, match="another daemon answers on the admin socket"):
            server.open_socket(tmp_path / "s")

        peer = await place.peer()
        assert (await peer.ask({"verb": "version"}) or {})["ok"]


def test_a_socket_whose_backlog_is_full_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / "s"))
        busy.listen(0)
        waiting = []
        try:
            for _ in range(2):
                caller = socket.socket(socket.AF_UNIX)
                caller.setblocking(False)
                waiting.append(caller)
                try:
                    caller.connect(str(tmp_path / "s"))
                except BlockingIOError:
                    break
            with pytest.raises(OSError, match="another daemon answers"):
                server.open_socket(tmp_path / "s")
        finally:
            for caller in waiting:
                caller.close()


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")

    with pytest.raises(FileExistsError, match="is there, and is no socket: remove it"):
        server.open_socket(tmp_path / "s")

    assert (tmp_path / "s").read_text() == "precious"


def test_a_socket_that_cannot_be_made_names_its_path(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 200)

    with pytest.raises(OSError, match="x" * 200):
        server.open_socket(path)


async def test_who_changes_something_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(TABLE, "version", Entry(TABLE["version"].run, changes=True))
    async with serving(tmp_path / "s") as place:
        with caplog.at_level(logging.INFO, "gateway.admin.server"):
            await (await place.peer()).ask({"verb": "version"})

    (record,) = caplog.records
    assert record.getMessage() == "told by an operator: version"
    assert vars(record)["operator_process"] == os.getpid()
    assert vars(record)["operator_user"] == os.getuid()
