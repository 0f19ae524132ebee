"""Peers that stand still: each costs its own traffic and nobody else's, and memory stays flat."""

import time
from typing import Any

import pytest

from bench.gateway import Carrier
from bench.process import run_load_process
from tests.daemon.peers import Esme
from tests.daemon.stage import REGISTRY, Stage, audit, bound
from tests.faults.figures import note, sized

MIB = 1 << 20
GROWTH_MAX = 50 * MIB
WARNED_MAX_S = 60.0

STANDING = "12025550160"
BINDS, WINDOW = 2, 100
COUNT = sized(6_000, 200_000)
OTHERS = sized(1_000, 20_000)
OTHERS_RATE = 1_000

CALM = """
[[client]]
name = "calm"
company = "acme"
system_id = "calm"
password = "secret"
"""

ROUTES = """
[[route]]
name = "standing"
to = "+1"
campaign = "CSTANDING"
carriers = ["b"]
[[route]]
name = "us"
to = "+1"
carriers = ["a"]
"""

CAMPAIGN = f"""
[[campaign]]
id = "CSTANDING"
brand = "BACME01"
use_case = "MARKETING"
status = "ACTIVE"
numbers = ["+{STANDING}"]
limits = []
"""


@pytest.mark.timeout(sized(120, 600))
def test_a_carrier_that_takes_all_and_answers_nothing_stops_its_own_lanes_and_is_told_of(
    stage: Stage,
) -> None:
    standing, moving = stage.simulator("--never-answer"), stage.simulator()
    gateway = stage.gateway(
        [
            Carrier("a", moving.address, binds=BINDS, window=WINDOW),
            Carrier("b", standing.address, binds=BINDS, window=WINDOW),
        ],
        registry=REGISTRY + CAMPAIGN,
        routes=ROUTES,
    )
    bound(standing, BINDS)
    bound(moving, BINDS)
    empty = gateway.anonymous_bytes()
    began = time.monotonic()
    stuck = run_load_process(gateway.smpp, "--count", str(COUNT), "--from", STANDING, "--json")
    others = run_load_process(
        gateway.smpp, *("--count", str(OTHERS), "--wait-receipts", "20", "--json")
    )
    status = gateway.wait_status(
        lambda status: any("carrier b has left a message" in text for text in status["warnings"]),
        WARNED_MAX_S,
    )
    warned_s = time.monotonic() - began
    growth = gateway.anonymous_bytes() - empty

    assert (COUNT, OTHERS, "complete") == (stuck["ok"], others["ok"], others["ended"])
    flying = BINDS * WINDOW
    messages = status["messages"]
    assert (flying, COUNT - flying) == (messages["in_flight"], messages["queued"])
    assert not [text for text in status["warnings"] if "carrier a" in text]
    assert growth <= GROWTH_MAX
    audit(gateway)
    note(
        "a carrier that never answers",
        f"{flying} in its windows, {COUNT - flying:,} wait, {growth / MIB:+.1f} MiB; a warning "
        f"{warned_s:.0f} s after the first; {OTHERS:,} by the other carrier all delivered",
    )


@pytest.mark.timeout(sized(120, 600))
def test_a_client_that_does_not_read_what_it_is_delivered_slows_nobody_else_down(
    stage: Stage,
) -> None:
    simulator = stage.simulator("--receipt-delay-ms=20")
    gateway = stage.gateway([Carrier("a", simulator.address, window=WINDOW)], client=CALM)
    bound(simulator, 2)
    calm = (
        *("--system-id", "calm", "--count", str(OTHERS), "--rate", str(OTHERS_RATE)),
        *("--wait-receipts", "20", "--json"),
    )
    alone = run_load_process(gateway.smpp, *calm)
    empty = gateway.anonymous_bytes()
    with Esme(gateway.smpp, bind_type="receiver", receive_bytes=4096):  # and reads nothing
        load = stage.load(
            gateway, *("--bind-type", "transmitter", "--count", str(COUNT), "--rate", "3000")
        )
        beside = run_load_process(gateway.smpp, *calm)
        assert COUNT == load.summary(sized(60, 300))["ok"]
        gateway.wait_status(
            lambda status: status["messages"]["delivered"] == COUNT + 2 * OTHERS, 60.0
        )
        growth = gateway.anonymous_bytes() - empty
        (shop,) = [one for one in gateway.ask("client") if one["name"] == "shop"]

    assert [(OTHERS, OTHERS)] * 2 == [
        (one["ok"], one["receipts_distinct"]) for one in (alone, beside)
    ]
    assert shop["outbox_rows"] > 0, "what it does not read waits on disk"
    assert growth <= GROWTH_MAX
    audit(gateway)
    note(
        "a client that reads nothing",
        f"{COUNT:,} receipts owed in {shop['outbox_rows']:,} rows, {growth / MIB:+.1f} MiB; p99 of "
        f"the other client's answers {p99(alone)} alone, {p99(beside)} beside it",
    )


def p99(summary: dict[str, Any]) -> str:
    return f"{summary['submit_resp_ms_p99']} ms"
