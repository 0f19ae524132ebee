"""Clients that are hostile, broken or merely many: each costs little, is bounded, and harms no other.

`make test` has some of each; `make faults` 10,000 failed binds, 1,000 idle binds, 1,000 dribbling
strangers, 1,000 flaps.
"""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess, fetch
from tests.daemon.held import Scene
from tests.daemon.peers import (
    DEAF,
    PDU,
    WAIT_S,
    Esme,
    Smsc,
    flood,
    message_id,
    own_address,
    submit_body,
    wait_until,
)
from tests.daemon.stage import Stage, audit, bound, quiet
from tests.faults.figures import note, sized

NOBODY = Carrier("a", "127.0.0.1:1")
FAILED_BINDS = sized(300, 10_000)
IDLE_BINDS = sized(200, 1_000)
STRANGERS = sized(200, 1_000)
FLAPS = sized(60, 1_000)

MANY = """
[[client]]
name = "many"
company = "acme"
system_id = "many"
password = "secret"
max_binds = 2000
"""

BIND = wire.BIND_COMMANDS["transceiver"]
WRONG = "hunter22"
"""A password that must be nowhere."""

MEMORY_MAX_BYTES = 8 * 1024 * 1024
"""What a crowd of strangers may leave behind, beyond what the one before it has left: nothing when the
machine is quiet, 4.4 MiB once when it was busy, since more of them were there at one time."""
BIND_MAX_BYTES = 24 * 1024
"""What an idle bind may cost: 13 KiB when measured."""
LINE_S = 60.0
"""A line of the log about an address comes at most so often (`ingress.strangers.PERIOD_S`)."""


@pytest.fixture(scope="module", autouse=True)
def descriptors() -> Iterator[None]:
    """A thousand peers of the daemon are a thousand sockets here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def gateway(module_stage: Stage) -> Iterator[GatewayProcess]:
    """Half a second for anything that a peer has begun."""
    gateway = module_stage.gateway(
        [NOBODY], smpp="pdu_timeout_s = 0.5\nbind_timeout_s = 1", client=MANY
    )
    with Esme(gateway.smpp) as esme:
        message_id(esme.submit(registered_delivery=0))
    yield gateway
    assert 0 == gateway.stop()
    quiet(gateway)


def connect(gateway: GatewayProcess, source: str = "127.0.0.1") -> socket.socket:
    host, _, port = gateway.smpp.rpartition(":")
    return socket.create_connection((host, int(port)), WAIT_S, source_address=(source, 0))


def metric(gateway: GatewayProcess, name: str) -> float:
    """The value of a metric without labels."""
    ready = next(line for line in gateway.log if line["message"] == "ready")
    _, page = fetch(f"http://{ready['metrics'][0]}/metrics")
    line = next(line for line in page.splitlines() if line.startswith(f"smppgate_{name} "))
    return float(line.split()[1])


def cpu_share(gateway: GatewayProcess, seconds: float) -> float:
    """How much of a core it uses while nobody does anything."""
    used, began = gateway.cpu_s(), time.monotonic()
    time.sleep(seconds)
    return (gateway.cpu_s() - used) / (time.monotonic() - began)


def sockets_of(gateway: GatewayProcess) -> int:
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


# -------------------------------------------------------------------------------------- dribble


@pytest.mark.parametrize("cut", [1, 15, 16, len(PDU) - 1])
def test_half_a_pdu_and_then_silence_ends_the_link(gateway: GatewayProcess, cut: int) -> None:
    with Esme(gateway.smpp) as esme:
        began = time.monotonic()
        esme.send(PDU + PDU[:cut])
        message_id(esme.receive_a(wire.SUBMIT_SM_RESP))

        esme.receive_end()

        assert 0.45 < time.monotonic() - began < 2.0


def dribble(esme: Esme) -> None:
    """An octet each 50 ms."""
    for octet in PDU:
        esme.send(bytes((octet,)))
        with contextlib.suppress(TimeoutError):
            esme.receive(0.05)


def test_a_pdu_that_dribbles_has_the_same_time(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp) as esme:
        began = time.monotonic()

        with pytest.raises((EOFError, ConnectionError)):
            dribble(esme)

        assert 0.45 < time.monotonic() - began < 2.0


def crowd_of_strangers(gateway: GatewayProcess, other: Esme) -> float:
    """They come, say half of a bind, and are closed; the slowest answer that another got."""
    slowest_s = 0.0
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect(gateway)) for _ in range(STRANGERS)]
        bind = wire.pdu(BIND, 1, wire.bind_body("shop", WRONG))
        for sock in crowd:
            sock.sendall(bind[:9])
        for token in range(20):
            asked = time.monotonic()
            message_id(other.submit(token, registered_delivery=0))
            slowest_s = max(slowest_s, time.monotonic() - asked)
        for sock in crowd:
            assert b"" == sock.recv(100)
    wait_until(lambda: metric(gateway, "connections") <= 1, "they are gone")
    return slowest_s


def test_a_crowd_of_dribbling_strangers_is_gone_in_time_and_costs_the_others_little(
    gateway: GatewayProcess,
) -> None:
    with Esme(gateway.smpp) as other:
        crowd_of_strangers(gateway, other)
        before, used = gateway.anonymous_bytes(), gateway.cpu_s()

        slowest_s = crowd_of_strangers(gateway, other)

    each_s, growth = (gateway.cpu_s() - used) / STRANGERS, gateway.anonymous_bytes() - before
    assert slowest_s < 0.5
    assert each_s < 0.003, "to set up and take down"
    assert growth < MEMORY_MAX_BYTES
    note(
        f"{STRANGERS:,} strangers with half a bind",
        f"{1000 * each_s:.2f} ms of the daemon each, {growth / 1024:+.0f} KiB; another client waits"
        f" {1000 * slowest_s:.0f} ms at most",
    )


def ask_for_ever(esme: Esme) -> None:
    while True:
        esme.socket.sendall(wire.pdu(wire.ENQUIRE_LINK, 1) * 1000)


def test_a_stranger_that_asks_and_does_not_read_keeps_its_place_no_longer_than_another(
    gateway: GatewayProcess, module_stage: Stage
) -> None:
    with module_stage.esme(gateway, is_bound=False, **DEAF) as stranger:
        began = time.monotonic()
        stranger.socket.settimeout(WAIT_S)

        with pytest.raises(ConnectionError):
            ask_for_ever(stranger)

        assert time.monotonic() - began < 5.0


def test_a_crowd_that_only_connects_keeps_out_nobody_who_binds(stage: Stage) -> None:
    places = 20
    gateway = stage.gateway([NOBODY], smpp=f"max_connections = {places}", client=MANY)
    with contextlib.ExitStack() as stack, Esme(gateway.smpp) as first:
        crowd = [stack.enter_context(connect(gateway)) for _ in range(3 * places)]
        wait_until(lambda: metric(gateway, "connections_refused_total") > 2 * places, "it is full")

        clients = [stage.esme(gateway, system_id="many") for _ in range(places - 1)]

        for esme in (first, *clients):
            message_id(esme.submit(registered_delivery=0))
        assert places == metric(gateway, "connections")
        for sock in crowd:
            assert b"" == sock.recv(100), "they made room"
        with pytest.raises((ConnectionError, EOFError)):
            Esme(gateway.smpp)
        first.settle()
        lines = [line for line in gateway.log if "refused a connection" in line["message"]]
        assert 1 == len(lines)


# --------------------------------------------------------------------------------- failed binds


def test_each_failed_bind_of_an_address_is_answered_later(gateway: GatewayProcess) -> None:
    source, waits = own_address(), []
    for _ in range(4):
        with Esme(gateway.smpp, is_bound=False, source=source) as esme:
            began = time.monotonic()
            assert wire.ESME_RINVPASWD == esme.bind(password=WRONG).command_status
            waits.append(time.monotonic() - began)
            esme.receive_end()

    for wait_s, least_s in zip(waits, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert least_s <= wait_s + 0.001 < least_s + 1.0
    began = time.monotonic()
    with Esme(gateway.smpp, source=source) as esme:
        assert time.monotonic() - began < 0.5, "the right password is not made to wait"
        message_id(esme.submit(registered_delivery=0))


def test_a_storm_of_failed_binds_is_slowed_counted_and_forgotten(stage: Stage) -> None:
    gateway = stage.gateway([NOBODY], smpp="max_connections = 500")
    source, began = own_address(), time.monotonic()
    with Esme(gateway.smpp) as other:
        message_id(other.submit(registered_delivery=0))
        before = gateway.anonymous_bytes()
        body = wire.bind_body("shop", WRONG)
        with contextlib.ExitStack() as stack:
            for number in range(FAILED_BINDS):
                sock = stack.enter_context(connect(gateway, source))
                with contextlib.suppress(ConnectionError):
                    sock.sendall(wire.pdu(BIND, 1, body))
                if number % 100 == 0:
                    message_id(other.submit(registered_delivery=0))
            assert sockets_of(gateway) < 150, "64 of them wait, the others are closed"
        growth = gateway.anonymous_bytes() - before
        assert growth < MEMORY_MAX_BYTES
        with Esme(gateway.smpp, source=own_address()) as elsewhere:
            message_id(elsewhere.submit(registered_delivery=0))
        wait_until(lambda: binds(gateway, source), "the right password, from there", 30.0)
        refused = metric(gateway, "binds_refused_total")
        closed = metric(gateway, "connections_refused_total")
        assert refused > 64
        assert refused + closed >= FAILED_BINDS
    assert 0 == gateway.stop()
    log = "\n".join(map(str, gateway.log))
    assert WRONG not in log
    loud = [line for line in gateway.log if line["level"] != "info"]
    lines = [line for line in loud if source in str(line["message"])]
    assert len(lines) <= 3 + 2 * (time.monotonic() - began) / LINE_S
    counts = [int(str(line["message"]).split()[0]) for line in lines if "more" in line["message"]]
    assert refused == 1 + sum(counts)
    note(
        f"{FAILED_BINDS:,} failed binds from one address",
        f"{refused:.0f} answered late, {closed:.0f} closed as they came; {len(lines)} lines in the"
        f" log, {growth / 1024:+.0f} KiB",
    )
    quiet(gateway)


def binds(gateway: GatewayProcess, source: str) -> bool:
    """Whether a good bind from there is taken now."""
    try:
        with Esme(gateway.smpp, source=source) as esme:
            message_id(esme.submit(registered_delivery=0))
    except (ConnectionError, EOFError):
        return False
    return True


# ------------------------------------------------------------------------------- many, and flaps


def test_idle_binds_cost_little_and_are_asked_whether_they_are_still_there(stage: Stage) -> None:
    gateway = stage.gateway([NOBODY], smpp="enquire_link_s = 2", client=MANY)
    message_id(stage.esme(gateway).submit(registered_delivery=0))
    before = gateway.anonymous_bytes()
    crowd = [stage.esme(gateway, system_id="many") for _ in range(IDLE_BINDS)]

    share = cpu_share(gateway, 1.0)

    each = (gateway.anonymous_bytes() - before) / IDLE_BINDS
    assert share < 0.05 + 0.0001 * IDLE_BINDS
    assert each < BIND_MAX_BYTES
    note(
        f"{IDLE_BINDS:,} idle binds, asked each 2 s",
        f"{100 * share:.1f} % of a core, {each / 1024:.1f} KiB each",
    )
    for _ in range(2):
        for esme in crowd:
            esme.respond(esme.receive_a(wire.ENQUIRE_LINK))
    assert IDLE_BINDS == gateway.ask("client", name="many")[0]["bound"]


def test_binding_and_unbinding_as_fast_as_it_goes_leaves_nothing_behind(scene: Scene) -> None:
    daemon = scene.daemon
    address = own_address()
    with contextlib.closing(Esme(daemon.smpp, source=address)) as esme:
        esme.unbind()
    wait_until(lambda: daemon.ask("client", name="shop")[0]["bound"] == 1, "it is gone")
    before = daemon.tasks()

    for _ in range(FLAPS):
        with contextlib.closing(Esme(daemon.smpp, source=address)) as esme:
            esme.unbind()

    wait_until(lambda: daemon.tasks() <= before, "no task is left over")


# --------------------------------------------------------------------- never reads, resets, floods


def test_a_client_that_never_reads_is_given_up_and_is_owed_its_receipts_still(
    stage: Stage,
) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address)], smpp="enquire_link_s = 0.5")
    bound(simulator, 2)
    with Esme(gateway.smpp, bind_type="transmitter") as esme:
        token = message_id(esme.submit())
    gateway.wait_status(lambda status: status["messages"]["delivered"] == 1)
    deaf = stage.esme(gateway, **DEAF)
    with pytest.raises(ConnectionError):
        flood_for_ever(deaf)

    gateway.wait_log(
        lambda line: "shop" in line["message"] and "took" in line["message"], WAIT_S, ""
    )
    with Esme(gateway.smpp, bind_type="receiver") as again:
        receipts = [again.receive_receipt()[0]]
        while token not in receipts:
            receipts.append(again.receive_receipt()[0])


def flood_for_ever(esme: Esme) -> None:
    while True:
        flood(esme)


def test_what_a_client_submitted_stands_though_it_resets_in_the_middle_of_the_turn(
    scene: Scene,
) -> None:
    scene.daemon.hold()
    scene.esme.send(b"".join(wire.pdu(wire.SUBMIT_SM, n, submit_body(n)) for n in range(1, 51)))
    scene.daemon.wait_held()
    scene.esme.reset()
    scene.daemon.release()

    scene.carrier.receive_many(wire.SUBMIT_SM, 10)
    status = scene.daemon.ask("status")
    assert 50 == status["accepted"]
    assert 50 >= status["counters"]["acks_undelivered"] > 0


def test_a_client_is_not_read_beyond_its_window(tmp_path: Path) -> None:
    with Smsc() as smsc, contextlib.ExitStack() as stack:
        config = tmp_path / "gateway.toml"
        scene = Scene.configured(config, smsc, stack, client="window = 10")
        scene.daemon.hold()
        scene.esme.submit_nowait(0)
        scene.daemon.wait_held()

        sent = flood(scene.esme)

        assert sent < 4_000_000, "what kernels hold, and one read"
        links = scene.daemon.app.server.bound()["shop"] if scene.daemon.app else []
        (owed,) = [link._owed for link in links]
        assert 10 < owed <= 256 * 1024 // len(PDU) + 10, "one read, and nothing after it"
        scene.daemon.release()


# ------------------------------------------------------------------------------------ half open


def test_a_client_that_falls_silent_is_given_up_within_two_intervals(stage: Stage) -> None:
    gateway = stage.gateway([NOBODY], smpp="enquire_link_s = 0.5")
    with Esme(gateway.smpp) as silent:
        began = time.monotonic()

        assert wire.ENQUIRE_LINK == silent.receive().command_id
        silent.receive_end()

        assert 0.95 < time.monotonic() - began < 1.0 + 0.5
    audit(gateway)
