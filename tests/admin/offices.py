"""Offices to test in: a real daemon on free ports, and a dummy for what asks next to nothing."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from gateway.admin import client
from gateway.admin.office import Office
from gateway.config.load import load
from gateway.config.schema import Config, Smpp
from gateway.daemon.app import App
from gateway.daemon.flow import now
from gateway.ingress.smpp_server import Door, Server
from gateway.link.link import Link
from gateway.model import tables
from gateway.model.records import Message
from gateway.relay.parties import Bind
from gateway.relay.state import Policy, State
from gateway.relay.turn import Overlay, Owed, TurnMachine
from gateway.smpp.codec import Sm, decode_sm, encode_sm
from gateway.smpp.events import Submit

CONFIG = """
smpp.listen = ["127.0.0.1:0"]
metrics.listen = ["127.0.0.1:0"]
admin.socket = "s"
store = { map_size_bytes = 67108864, reserve_bytes = 1048576 }
drain.timeout_s = 0

[[client]]
name = "shop"
company = "acme"
system_id = "shop"
password = "secret"

[[carrier]]
name = "carrier-a"
address = "127.0.0.1:1"
system_id = "smppgate"
password = "secret"
backoff_min_s = 600
backoff_max_s = 3600

[[route]]
name = "us"
to = "+1"
carriers = ["carrier-a"]
"""
"""Nobody listens on port 1, so the carrier stays away until a test brings one (`FakeLink`)."""

REGISTRY = """
[[company]]
id = "acme"

[[brand]]
id = "B1"
company = "acme"
identity_status = "VERIFIED"

[[campaign]]
id = "CHOLD"
brand = "B1"
use_case = "MARKETING"
status = "ACTIVE"
carriers = { "*" = "APPROVED" }
numbers = ["+12025550100"]
limits = []
in_doubt = "hold"

[[campaign]]
id = "CCAP"
brand = "B1"
use_case = "MARKETING"
status = "ACTIVE"
carriers = { "*" = "APPROVED" }
numbers = ["+12025550101"]
limits = [{ per = "day", segments = 2 }]
"""


def config(folder: Path, text: str = CONFIG) -> Config:
    loaded = load(text, base=folder, environment={}, read_file=lambda name: Path(name).read_bytes())
    assert loaded.config is not None, loaded.faults
    return loaded.config


@asynccontextmanager
async def running(folder: Path, registry: str = REGISTRY) -> AsyncIterator[App]:
    """A daemon that accepts traffic, with this registry; it is drained at the end."""
    app = App(config(folder))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app.run)
        await app.ready.wait()
        if registry:
            file = folder / "registry.toml"
            file.write_text(registry)
            code, _, err = await ctl(app, "registry", "import", str(file))
            assert code == 0, err
        yield app
        app.draining.set()


async def ctl(app: App, *words: str) -> tuple[int, str, str]:
    """Runs `smppgate ctl` against this daemon, as a thread of this process."""
    with pytest.MonkeyPatch.context() as patch:
        out, err = _Captured(), _Captured()
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        argv = ["--socket", str(app.config.admin.socket), *words]
        try:
            code = await trio.to_thread.run_sync(client.main, argv)
        except SystemExit as ended:  # argparse
            code = cast("int", ended.code)
    return code, out.text, err.text


async def ask(app: App, *words: str) -> Any:
    """The same with --json, for a verb that says yes."""
    code, out, err = await ctl(app, "--json", *words)
    assert (code, err) == (0, "")
    return json.loads(out)


class _Captured:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


class FakeLink:
    """A carrier's link without a socket: it takes everything and answers nothing."""

    def __init__(self, number: int = 1_000_001) -> None:
        self.id = number
        self.peer = "198.51.100.7:2775"
        self.session = SimpleNamespace(abandon=list)
        self.sent: list[Message] = []

    def answer(self, pdus: list[bytes]) -> None:
        pass

    def submit(self, messages: list[Message]) -> list[Message]:
        self.sent += messages
        return []

    def deliver(self, owed: list[Owed]) -> list[Owed]:
        return owed

    def end(self, why: str) -> None:
        pass


def carrier_up(app: App, window: int = 10) -> tuple[Bind, FakeLink]:
    """The first bind of the carrier is bound, to nobody."""
    link = FakeLink()
    bind = app.state.carriers["carrier-a"].binds[0]
    app.flow.bind_up(bind, cast("Link", link), window=window, sends=True)
    return bind, link


def carrier_down(app: App, link: FakeLink) -> None:
    """It is gone, without having answered."""
    app.flow.bind_down(cast("Link", link))


async def submit(app: App, count: int = 1, source: bytes = b"12025550100") -> None:
    """A client submits; returns when it is on disk."""
    link_id = 1_000_002
    if link_id not in app.state.client_links:
        app.core.client_up(link_id, "shop", receives=False, now=now())
    events = [Submit(number, sm(source)) for number in range(1, count + 1)]
    refusals = app.flow.submits(cast("Link", SimpleNamespace(id=link_id)), events)
    assert not refusals, refusals
    await settled(app)


async def settled(app: App) -> None:
    """Everything that was open is on disk."""
    while app.flow.has_work():
        await app.flow.settled()


def sm(source: bytes = b"12025550100", **fields: Any) -> Sm:
    body = encode_sm(
        source_addr_ton=1,
        source_addr=source,
        dest_addr_ton=1,
        destination_addr=b"13105550123",
        short_message=b"hello",
        registered_delivery=1,
        **fields,
    )
    decoded = decode_sm(body)
    assert isinstance(decoded, Sm)
    return decoded


class DictView:
    """A view on dicts, a row at a time."""

    def __init__(self) -> None:
        self.rows: list[dict[bytes, bytes]] = [{} for _ in tables.NAMES]

    def get(self, table: int, key: bytes) -> bytes | None:
        return self.rows[table].get(key)

    def get_many(self, table: int, keys: Iterable[bytes]) -> list[bytes | None]:
        return [self.get(table, key) for key in keys]

    def scan(
        self, table: int, prefix: bytes, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        found = [
            (key, row)
            for key, row in sorted(self.rows[table].items())
            if key.startswith(prefix) and key > after
        ]
        return found[:limit]


def dummy_office(**fields: Any) -> Office:
    """An office in which nothing is configured and nothing happens."""
    machine = TurnMachine()
    state = State(
        view=Overlay(DictView(), machine), machine=machine, policy=Policy(), working_set=100
    )
    office = {
        "config": Config(),
        "state": state,
        "supervisors": [],
        "readers": SimpleNamespace(
            oldest=None, cleared=0, file_bytes=0, free_bytes=0, held_bytes=0
        ),
        "server": Server(Smpp(), (), cast("Door", None)),
        "committer": SimpleNamespace(
            commits=0,
            rows=0,
            seconds=0.0,
            slowest_s=0.0,
            last_wall=0.0,
            room="plenty",
            room_bytes=2**40,
        ),
        "started_wall": 1_790_000_000.0,
        "listening": [],
        "warnings": [],
        "ready": trio.Event(),
        "draining": trio.Event(),
    }
    return cast("Office", SimpleNamespace(**(office | fields)))
