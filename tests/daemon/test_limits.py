"""Limits, measured where it counts: in the carrier's ledger. Through kill -9, too."""

import datetime
import logging
from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

from bench import wire
from bench.gateway import Carrier, GatewayProcess
from bench.ledger import Entry
from bench.process import SimulatorProcess, run_load_process
from bench.windows import MINUTE_NS, SECOND_NS, Judged, judge
from tests.daemon.peers import FAST, Esme, message_id, submit_body
from tests.daemon.stage import REGISTRY, Stage, audit, bound, quiet, wait_settled

log = logging.getLogger(__name__)

PER_SECOND = "12025550140"
PER_SECOND_LONG = "12025550141"
PER_MINUTE = "12025550142"
PER_DAY = "12025550143"
BY_DEFAULT = "12025550144"

LIMIT = 50
ENOUGH = 49
"""Of 50 a second, while commits take up to 5 ms."""
FAST_COMMIT_MS = 5.0
ENOUGH_ON_A_SLOW_DISK = 40
UNJUDGED_MAX = 0.05
"""Windows, of all, that begin while the simulator itself was late."""


def far_from_midnight() -> str:
    """A zone in which no day ends while a test runs."""
    zones = ("America/Los_Angeles", "Asia/Tokyo")
    return next(z for z in zones if 1 <= datetime.datetime.now(ZoneInfo(z)).hour < 23)


def registry() -> str:
    """The usual one, and a campaign for each kind of limit."""
    limits = {
        PER_SECOND: f'per = "second"\nsegments = {LIMIT}',
        PER_SECOND_LONG: f'per = "second"\nsegments = {LIMIT}',
        PER_MINUTE: 'per = "minute"\nsegments = 30',
        PER_DAY: f'per = "day"\nsegments = 2000\nzone = "{far_from_midnight()}"',
        BY_DEFAULT: "",
    }
    text = REGISTRY
    for source, limit in limits.items():
        text += (
            f'[[campaign]]\nid = "C{source}"\nbrand = "BACME01"\nuse_case = "MARKETING"\n'
            f'status = "ACTIVE"\nnumbers = ["+{source}"]\n'
        )
        if limit:
            text += f"[[campaign.limits]]\n{limit}\n"
    return text


def start(stage: Stage, more: str = "") -> tuple[SimulatorProcess, GatewayProcess]:
    simulator = stage.simulator()
    gateway = stage.gateway(
        [Carrier("a", simulator.address, more=more)],
        registry=registry(),
        top="in_doubt_resends = 10",
    )
    bound(simulator, 2)
    return simulator, gateway


def send(gateway: GatewayProcess, source: str, count: int) -> None:
    """So many messages are accepted."""
    summary = run_load_process(
        gateway.smpp,
        *("--count", str(count), "--from", source, "--registered-delivery", "0", "--json"),
    )
    assert count == summary["ok"], summary


def windows(
    entries: list[Entry], stats: dict[str, Any], source: str, limit: int, length_ns: int = SECOND_NS
) -> Judged:
    """What the carrier's ledger says about one number's limit; none of its windows is above it."""
    times = [entry.time_ns for entry in entries if entry.source_addr == source]
    judged = judge(times, length_ns, limit, stats["stalls_ns"])
    log.warning("%s, %d in %g s: %s", source, limit, length_ns / SECOND_NS, judged)
    assert 0 == judged.over, judged
    return judged


def by_source(entries: list[Entry]) -> Counter[str]:
    return Counter(entry.source_addr for entry in entries)


def test_no_second_holds_more_than_the_limit_and_hardly_less_while_there_is_a_backlog(
    stage: Stage,
) -> None:
    simulator, gateway = start(stage)
    with Esme(gateway.smpp, bind_type="transmitter") as esme:  # 3 segments each: 16 a second
        payload = wire.tlv(wire.MESSAGE_PAYLOAD, b"x" * 400)
        body = submit_body(source=PER_SECOND_LONG, text=b"", tlvs=payload, registered_delivery=0)
        esme.send(b"".join(wire.pdu(wire.SUBMIT_SM, number, body) for number in range(1, 49)))
        esme.receive_many(wire.SUBMIT_SM_RESP, 48)
    send(gateway, PER_SECOND, 6 * LIMIT)

    status = wait_settled(gateway)

    stats = simulator.stop()
    entries = simulator.entries()
    assert 6 * LIMIT == by_source(entries)[PER_SECOND]
    judged = windows(entries, stats, PER_SECOND, LIMIT)
    windows(entries, stats, PER_SECOND_LONG, LIMIT // 3)
    assert judged.unjudged <= max(UNJUDGED_MAX * judged.windows, 1)
    times = sorted(entry.time_ns for entry in entries if entry.source_addr == PER_SECOND)
    used = (len(times) - LIMIT) / ((times[-1] - times[0]) / SECOND_NS)
    slowest_ms = status["commits"]["slowest_ms"]
    log.warning(
        "%.2f of %d a second used, the slowest commit took %.1f ms", used, LIMIT, slowest_ms
    )
    assert used >= (ENOUGH if slowest_ms <= FAST_COMMIT_MS else ENOUGH_ON_A_SLOW_DISK)


def test_a_restart_gives_no_limit_a_second_time(stage: Stage) -> None:
    simulator, gateway = start(stage)
    for source, count in (
        (PER_DAY, 2100),
        (PER_MINUTE, 60),
        (BY_DEFAULT, 300),
        (PER_SECOND, 2 * LIMIT + 20),
    ):
        send(gateway, source, count)
    simulator.wait_stats(lambda stats: stats["submits"] > 2000 + 30 + 240 + LIMIT)
    gateway.kill()

    gateway = stage.start(gateway.config)

    bound(simulator, 2)
    with Esme(gateway.smpp) as esme:  # what has no limit goes on meanwhile
        expected = message_id(esme.submit(source=FAST))
        assert expected == esme.receive_receipt()[0]
    gateway.wait_status(lambda status: status["queue_depth"] == 100 + 30 + 60)
    assert [100, 30, 60] == [
        gateway.ask("campaign", id=f"C{source}")[0]["queued"]
        for source in (PER_DAY, PER_MINUTE, BY_DEFAULT)
    ]
    audit(gateway)
    quiet(gateway)
    stats = simulator.stop()
    entries = simulator.entries()
    windows(entries, stats, PER_SECOND, LIMIT)
    windows(entries, stats, PER_MINUTE, 30, MINUTE_NS)
    sent = by_source(entries)
    assert (2000, 30, 240) == (sent[PER_DAY], sent[PER_MINUTE], sent[BY_DEFAULT])


def test_a_carriers_own_rate_holds_over_all_its_binds(stage: Stage) -> None:
    simulator, gateway = start(stage, more="tps = 100")
    send(gateway, FAST, 250)

    wait_settled(gateway)

    assert simulator.stop()["max_1s_total"] <= 100
    assert 250 == len(simulator.entries())


def test_what_a_carrier_refused_counts_against_no_day(stage: Stage) -> None:
    simulator, gateway = start(stage)
    simulator.set(errors="0x0b:1")
    send(gateway, PER_DAY, 300)
    gateway.wait_status(lambda status: status["messages"]["failed"] == 300)
    simulator.set(errors="")

    send(gateway, PER_DAY, 100)

    gateway.wait_status(lambda status: status["messages"]["delivered"] == 100)
    (campaign,) = gateway.ask("campaign", id=f"C{PER_DAY}")
    assert [100] == [limit["used"] for limit in campaign["limits"]]
