"""The simulator as a process: its control channel, its figures, how it starts and ends."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from bench import wire
from bench.process import ProcessError, SimulatorProcess
from bench.settings import Settings
from bench.simulator import main
from bench.smsc import Smsc
from bench.smsc_link import SmscLink
from tests.bench.client import Client
from tests.bench.conftest import STRICT, Simulators


def test_commands_that_make_no_sense_are_answered_and_change_nothing(
    simulators: Simulators,
) -> None:
    simulator = simulators("--answer-delay-ms=5")

    for do, command, says in (
        ("jump", {}, "do: one of stats set mo"),
        ("set", {"answer_delay_ms": 7, "colour": "red"}, "no setting 'colour'"),
        ("set", {"lose_answers": 2}, "lose_answers: 2: a fraction"),
        ("drop", {"how": "gently"}, "how: rst or fin, not 'gently'"),
        ("refuse", {"what": "everything"}, "what: connections or binds, not 'everything'"),
        ("silence", {"on": "yes"}, "on: true or false, not 'yes'"),
        ("mo", {"from": "1", "to": "2", "hex": "0g"}, "non-hexadecimal"),
        ("mo", {"from": "1" * 30, "to": "2"}, "does not fit a C-Octet String"),
        ("mo", {"from": "1", "to": "2", "tlvs": [1]}, "tlvs: "),
        ("mo", {"from": "1", "to": "2", "esm_class": 999}, "bytes must be in range"),
    ):
        with pytest.raises(ProcessError, match=says):
            simulator.ask(do, command)
    assert simulator.stats()["settings"]["answer_delay_ms"] == 5


def test_a_line_that_is_no_command_is_answered() -> None:
    answers = subprocess.run(
        [sys.executable, *STRICT, "-m", "bench.simulator", "--exit-on-eof"],
        input=b'nonsense\n[1]\n\n{"do":5}\n',
        capture_output=True,
        check=True,
        timeout=10,
    ).stdout.splitlines()

    assert [json.loads(line).get("ok") for line in answers] == [None, False, False, False, None]


def test_figures_name_lag_windows_and_settings(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        client.submit_many(3)
        client.receive_many(3, wire.SUBMIT_SM_RESP)
        stats = simulator.wait_stats(lambda stats: stats["loop_lag_ms"]["p99"] > 0)
        simulator.ask("reset")
        after = simulator.stats()

    assert stats["submits"] == after["submits"] == 3
    assert (stats["max_1s_total"], after["max_1s_total"]) == (3, 0)
    assert stats["loop_lag_ms"]["max"] < 1000
    assert stats["cpu_s"] > 0
    assert "password" not in stats["settings"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_its_figures_and_a_whole_ledger(
    simulators: Simulators, number: signal.Signals
) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        client.submit_many(5)
        client.receive_many(5, wire.SUBMIT_SM_RESP)
        simulator.signal(number)
        line = simulator.wait_line(lambda line: line.get("event") == "stopped", 5, "stop")

    assert simulator.exit_status() == 0
    assert line["stats"]["submits"] == 5
    assert len(simulator.entries()) == 5


def test_the_end_of_stdin_is_no_end_unless_told_so(simulators: Simulators) -> None:
    simulator = simulators()
    simulator.close_stdin()
    with Client(simulator) as client:
        client.settle()

    simulator = simulators("--exit-on-eof")
    simulator.close_stdin()
    assert simulator.exit_status() == 0


def test_it_says_why_it_cannot_listen(simulators: Simulators) -> None:
    taken = simulators().address
    ended = subprocess.run(
        [sys.executable, *STRICT, "-m", "bench.simulator", f"--listen={taken}"],
        capture_output=True,
        check=False,
        timeout=10,
    )

    assert ended.returncode == 1
    assert f"cannot listen on {taken}" in ended.stderr.decode()
    assert ended.stdout == b""


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--lose-answers=2", "lose_answers: '2': a fraction is between 0 and 1"),
        ("--listen=here", "--listen: HOST:PORT, not 'here'"),
    ],
)
def test_options_that_make_no_sense_are_explained(
    argument: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([argument])

    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_child_that_ends_is_reported_not_waited_for() -> None:
    with SimulatorProcess(python_options=STRICT) as simulator:
        simulator.signal(signal.SIGKILL)
        assert simulator.exit_status() == -signal.SIGKILL
        with pytest.raises(ProcessError, match="ended"):
            simulator.ask("stats")


class StubTransport:
    """What `SmscLink` uses of a transport."""

    def __init__(self) -> None:
        self.reading = True
        self.written = b""

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    async def scenario() -> None:
        settings = Settings().changed([("receipts", "always")])
        link = SmscLink(Smsc(settings, random.Random(1), None), set(), 1)
        transport = StubTransport()
        link.connection_made(cast("asyncio.Transport", transport))
        link.data_received(wire.pdu(wire.BIND_TRANSCEIVER, 1, wire.bind_body("gw", "")))
        link.pause_writing()
        assert not transport.reading
        transport.written = b""
        body = wire.sm_body(wire.address_block("1"), wire.address_block("2"), b"hello")
        link.data_received(wire.pdu(wire.SUBMIT_SM, 2, body))  # was read before
        kinds = [frame[0] for frame in wire.Splitter().feed(transport.written)[1]]
        assert kinds == [wire.SUBMIT_SM_RESP]  # and no deliver_sm on top of it
        link.resume_writing()
        assert transport.reading
        kinds = [frame[0] for frame in wire.Splitter().feed(transport.written)[1]]
        assert kinds == [wire.SUBMIT_SM_RESP, wire.DELIVER_SM]

    asyncio.run(scenario())


def test_the_tools_do_not_import_the_gateway() -> None:
    tools = Path(wire.__file__).parent
    code = "import sys, bench.simulator, bench.load, bench.process, bench.ledger\n"
    code += "print([name for name in sys.modules if name.split('.')[0] == 'gateway'])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tools.parent, capture_output=True, check=True, text=True
    )

    assert found.stdout == "[]\n"
