"""The load generator against the simulator: what it counts is what happened."""

import asyncio
import signal
from pathlib import Path

import pytest

from bench import wire
from bench.ledger import Tally, read_acked
from bench.load import COMPLETE, LoadOptions, main, run_load
from bench.process import LoadProcess, run_load_process
from bench.traffic import Samples, SubmitTemplate, Summary
from tests.bench.conftest import STRICT, Simulators


def tokens(count: int, base: int = 1) -> list[str]:
    return [f"{number:012d}" for number in range(base, base + count)]


def options(address: str, **more: object) -> LoadOptions:
    host, _, port = address.rpartition(":")
    return LoadOptions(host=host, port=int(port), **more)  # type: ignore[arg-type]


def run_here(address: str, **more: object) -> Summary:
    return asyncio.run(run_load(options(address, **more)))


def test_a_run_as_a_process_accounts_for_every_message(
    simulators: Simulators, tmp_path: Path
) -> None:
    simulator = simulators("--errors=0x58:0.1,0x14:0.05", "--receipt-delay-ms=5")
    acked = tmp_path / "acked"

    with LoadProcess(
        simulator.address,
        *("--binds=4", "--window=50", "--count=3000", "--wait-receipts=5", "--json"),
        *("--from=12025550100,12025550101,12025550102", "--to-range=7"),
        f"--acked={acked}",
        python_options=STRICT,
    ) as load:
        summary = load.summary(30)
        status = load.exit_status()
    stats = simulator.stop()

    entries = simulator.entries()
    tally = Tally(entries)
    ids = read_acked(acked)
    assert status == 0
    assert (summary["ended"], summary["finished"]) == (COMPLETE, True)
    assert summary["submitted"] == stats["submits"] == len(entries) == 3000
    assert {**summary["errors"], "0x00000000": summary["ok"]} == stats["answers"]
    assert set(summary["errors"]) == {"0x00000058", "0x00000014"}
    assert sorted(tally.received) == tokens(3000)
    assert tally.duplicates() == {}
    assert ids == {entry.token: entry.message_id for entry in entries if entry.accepted}
    ok = summary["ok"]
    assert summary["distinct_ids"] == summary["receipts"] == summary["receipts_distinct"] == ok
    assert summary["receipts_matching_both"] == ok
    assert summary["receipts_by_state"] == {"DELIVRD": ok}
    assert stats["receipts"]["by_status"] == {"0x00000000": ok}
    assert summary["receipts_stray"] == summary["unanswered"] == summary["unexpected_resps"] == 0
    assert summary["binds_ever"] == stats["binds"]["ever"] == 4
    assert {entry.source_addr for entry in entries} == {
        "12025550100",
        "12025550101",
        "12025550102",
    }
    assert len({entry.destination_addr for entry in entries}) == 7
    assert 0 < summary["submit_resp_ms_p50"] <= summary["submit_resp_ms_p99"]
    assert summary["receipt_ms_p50"] >= 4.9
    assert summary["rate_per_s"] > 100
    assert summary["cpu_us_per_message"] > 0


def test_a_rate_is_kept_over_all_binds(simulators: Simulators) -> None:
    simulator = simulators()

    summary = run_here(simulator.address, binds=3, count=300, rate=1000.0)

    assert summary.finished
    assert 0.25 <= summary.seconds <= 3
    assert simulator.stats()["answers"] == {"0x00000000": 300}


def test_a_run_by_time_ends_in_time_with_everything_answered(simulators: Simulators) -> None:
    summary = run_here(simulators().address, seconds=0.2, rate=500.0, registered_delivery=0)

    assert summary.finished
    assert 50 <= summary.submitted == summary.ok <= 150
    assert summary.receipts == 0


def test_a_window_bounds_what_is_unanswered(simulators: Simulators) -> None:
    simulator = simulators("--never-answer")

    summary = run_here(
        simulator.address, binds=2, window=7, count=1000, answer_timeout_s=0.2, reconnect=True
    )

    assert not summary.finished
    assert summary.ended == "no answer for 0.2 s"
    assert summary.submitted == summary.unanswered == simulator.stats()["submits"] == 14


def test_lost_and_repeated_answers_are_told_apart(simulators: Simulators) -> None:
    simulator = simulators("--lose-answers=0.2", "--repeat-answers=0.2")

    summary = run_here(simulator.address, window=500, count=500, answer_timeout_s=0.2)
    stats = simulator.stats()

    assert summary.unanswered == stats["answers_lost"] > 0
    assert summary.unexpected_resps == stats["answers_repeated"] > 0
    assert summary.ok == 500 - summary.unanswered
    assert not summary.finished


def test_lost_receipts_are_missing_at_the_end(simulators: Simulators) -> None:
    simulator = simulators("--lose-receipts=0.5")

    summary = run_here(simulator.address, count=200, wait_receipts_s=0.2)

    assert summary.ended == "receipts are missing"
    assert summary.receipts == 200 - simulator.stats()["receipts"]["lost"] < 200
    assert not summary.finished


def test_repeated_receipts_are_counted_once_and_twice(simulators: Simulators) -> None:
    summary = run_here(simulators("--repeat-receipts=1").address, count=50, wait_receipts_s=2.0)

    assert summary.receipts_distinct == 50
    assert summary.receipts in range(51, 101)  # it ends when each id has one
    assert summary.finished


def test_an_id_counts_as_matching_only_in_text_and_tlv(simulators: Simulators) -> None:
    simulator = simulators("--receipt-stat-mix=UNDELIV:1")

    for form, matching, states in (
        ("both", 50, {"UNDELIV": 50}),
        ("text", 0, {}),
        ("tlv", 0, {"UNDELIV": 50}),
    ):
        simulator.set(receipt_form=form)
        summary = run_here(simulator.address, count=50, wait_receipts_s=2.0)
        assert (summary.receipts, summary.receipts_distinct) == (50, 50)
        assert summary.receipts_matching_both == matching
        assert summary.receipts_by_state == states


def test_a_receipt_that_overtakes_its_answer_is_no_stray(simulators: Simulators) -> None:
    simulator = simulators("--answer-delay-ms=50")

    summary = run_here(simulator.address, count=20, wait_receipts_s=2.0)

    assert (summary.receipts_distinct, summary.receipts_stray) == (20, 0)
    assert summary.finished


def test_a_receipt_for_an_id_we_were_not_given_is_a_stray(simulators: Simulators) -> None:
    simulator = simulators("--receipt-delay-ms=1")
    simulator.set(deliver_window=1)
    first = run_here(simulator.address, count=5, answers_deliver_sm=False)
    simulator.set(receipts="never", deliver_window=100)

    second = run_here(simulator.address, count=5, wait_receipts_s=0.2)

    assert first.ok == second.ok == 5
    assert second.receipts_distinct == 0
    assert second.receipts == second.receipts_stray == 5


def test_a_lost_link_ends_a_run_that_may_not_reconnect(simulators: Simulators) -> None:
    simulator = simulators("--cut-inside-pdu=1")

    summary = run_here(simulator.address, binds=2, window=5, count=100)

    assert summary.ended == "no link left"
    assert summary.links_lost == 2
    assert summary.last_error == "the link was closed"
    assert summary.unanswered == summary.submitted
    assert not summary.finished


def test_a_run_that_reconnects_counts_what_a_lost_link_left(simulators: Simulators) -> None:
    simulator = simulators("--cut-inside-pdu=0.05")

    summary = run_here(simulator.address, binds=2, window=5, count=200, reconnect=True)
    simulator.stop()

    tally = Tally(simulator.entries())
    assert summary.ended == "messages are left unanswered"
    assert not summary.finished
    assert summary.submitted == 200 == summary.ok + summary.unanswered
    assert summary.unanswered > 0
    assert 0 < summary.links_lost <= summary.binds_ever <= summary.links_lost + 2
    assert tally.duplicates() == {}


def test_a_run_that_resubmits_ends_with_all_accepted_under_new_tokens(
    simulators: Simulators, tmp_path: Path
) -> None:
    simulator = simulators("--cut-inside-pdu=0.05")
    acked = tmp_path / "acked"

    summary = run_here(
        simulator.address, binds=2, window=5, count=200, reconnect=True, resubmit=True, acked=acked
    )
    simulator.stop()

    tally = Tally(simulator.entries())
    assert summary.finished
    assert summary.ok == 200
    assert summary.unanswered == summary.resubmitted == summary.submitted - 200 > 0
    assert tally.duplicates() == {}
    assert tally.missing(read_acked(acked)) == []
    assert len(read_acked(acked)) == 200


def test_a_run_survives_a_simulator_that_drops_every_link(simulators: Simulators) -> None:
    simulator = simulators()

    with LoadProcess(
        simulator.address, "--binds=2", "--count=2000", "--rate=4000", "--resubmit"
    ) as load:
        simulator.wait_stats(lambda stats: stats["submits"] > 100)
        assert simulator.ask("drop")["dropped"] == 2
        summary = load.summary(20)

    assert summary["finished"]
    assert summary["ok"] == 2000
    assert summary["links_lost"] == 2
    assert summary["binds_ever"] == 4


def test_deliver_sm_left_unanswered_fill_the_peers_window(simulators: Simulators) -> None:
    simulator = simulators("--deliver-window=10")

    summary = run_here(simulator.address, count=100, wait_receipts_s=0.2, answers_deliver_sm=False)

    assert summary.receipts == 10
    assert simulator.stats()["receipts"]["answered"] == 0


def test_a_run_that_does_not_read_leaves_all_unanswered(simulators: Simulators) -> None:
    simulator = simulators()

    summary = run_here(simulator.address, window=50, seconds=0.1, reads=False)

    assert summary.ended == "time is up, and nothing was read"
    assert (summary.submitted, summary.unanswered) == (50, 50)
    assert simulator.stats()["answers"] == {"0x00000000": 50}


def test_long_texts_travel_in_message_payload(simulators: Simulators) -> None:
    simulator = simulators()

    summary = run_here(simulator.address, count=3, text_bytes=300)
    simulator.stop()

    entries = simulator.entries()
    assert summary.finished
    assert [entry.token for entry in entries] == tokens(3)
    assert all(
        entry.tlvs.startswith(wire.tlv(wire.MESSAGE_PAYLOAD, bytes(300))[:4]) for entry in entries
    )


def test_inbound_messages_are_answered_and_counted(simulators: Simulators) -> None:
    simulator = simulators("--answer-delay-ms=50")
    number = simulator.send("mo", {"from": "13105550042", "to": "12025550100", "text": "STOP"})

    summary = run_here(simulator.address, count=1)

    assert simulator.answer(number)["command_status"] == 0
    assert (summary.mo, summary.receipts) == (1, 1)


def test_quiet_links_are_kept_alive(simulators: Simulators) -> None:
    simulator = simulators("--answer-delay-ms=200", "--enquire-link-s=0.05")

    summary = run_here(simulator.address, count=1, enquire_link_s=0.05)

    assert summary.finished
    assert summary.submit_resp_ms_p50 is not None
    assert summary.submit_resp_ms_p50 >= 200


def test_a_refused_bind_or_connection_is_named(simulators: Simulators) -> None:
    simulator = simulators("--password=right")

    refused = run_here(simulator.address, count=1, password="wrong")
    simulator.ask("refuse")
    nobody = run_load_process(simulator.address, "--count=1")

    assert (refused.ended, refused.last_error) == ("no link left", "bind: 0x0000000E")
    assert refused.binds_refused == {"0x0000000E": 1}
    assert nobody["ended"] == "no link left"
    assert nobody["last_error"].startswith("connect: ")


def test_a_signal_ends_a_run_with_its_summary(simulators: Simulators) -> None:
    simulator = simulators()

    with LoadProcess(
        simulator.address, "--seconds=60", "--rate=1000", python_options=STRICT
    ) as load:
        simulator.wait_stats(lambda stats: stats["submits"] > 10)
        load.signal(signal.SIGINT)
        summary = load.summary(10)

    assert summary["finished"]
    assert summary["submitted"] == summary["ok"] > 10


def test_progress_shows_the_run_while_it_lasts_and_its_end(simulators: Simulators) -> None:
    seen: list[Summary] = []
    address = simulators().address

    final = asyncio.run(
        run_load(options(address, count=100, rate=500.0), seen.append, progress_s=0.02)
    )

    assert len(seen) > 1
    assert [summary.submitted for summary in seen] == sorted(s.submitted for s in seen)
    assert [summary.ended for summary in seen] == [""] * (len(seen) - 1) + [COMPLETE]
    assert seen[-1] == final


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--connect=127.0.0.1:1"], "one of the arguments --count --seconds is required"),
        (["--connect=here", "--count=1"], "--connect: HOST:PORT, not 'here'"),
        (["--connect=127.0.0.1:1", "--count=1", "--text-bytes=5"], "text-bytes: from 13"),
        (["--connect=127.0.0.1:1", "--count=1", "--binds=0"], "binds and window: from 1 up"),
        (["--connect=127.0.0.1:1", "--count=1", "--rate=0"], "rate: above 0"),
        (["--connect=127.0.0.1:1", "--count=1", "--from=,"], "from: at least one address"),
        (["--connect=127.0.0.1:1", "--count=1", "--to-range=0"], "to-range: from 1 to"),
    ],
)
def test_options_that_make_no_sense_are_explained(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_run_needs_either_a_count_or_a_time() -> None:
    for enough in ({}, {"count": 1, "seconds": 1.0}):
        with pytest.raises(ValueError, match="either a count or seconds"):
            asyncio.run(run_load(options("127.0.0.1:1", **enough)))


def test_a_template_has_room_for_every_destination() -> None:
    template = SubmitTemplate(["1"], to_base=9, to_range=2, text_bytes=20, registered_delivery=1)

    for expected in (b"9", b"10", b"9"):
        length, head = next(template.heads)
        destination = next(template.destinations)
        body = head + destination + template.middle + b"000000000042" + template.tail
        found = wire.read_sm_body(body, 0, len(body))
        assert length + len(destination) == wire.HEADER_BYTES + len(body)
        assert found.destination_addr == expected
        assert found.short_message.startswith(b"#000000000042 ")
        assert len(found.short_message) == 20


def test_samples_stay_few_and_keep_the_percentiles() -> None:
    samples = Samples()
    assert samples.percentile(0.5) is None

    for value in range(200_000):
        samples.add(value)

    assert len(samples._values) < Samples.LIMIT
    assert samples.percentile(0.5) == pytest.approx(100_000, rel=0.05)
    assert samples.percentile(1.0) == pytest.approx(200_000, rel=0.05)
