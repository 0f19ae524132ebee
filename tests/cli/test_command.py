"""The command line as a person or systemd uses it: what it prints, and its exit codes."""

import json
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NoReturn

import pytest

from gateway import __main__, __version__
from gateway.daemon import command
from tests.cli.processes import CONFIG, ROOT, SECRETS, config, running, smppgate

CONTRACT = ROOT / "tests" / "contract" / "gateway.toml"

# version, help, usage


def test_version(tmp_path: Path) -> None:
    done = smppgate(tmp_path, "version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"smppgate {__version__}\n", "")


def test_help_lists_the_commands(tmp_path: Path) -> None:
    done = smppgate(tmp_path, "--help")

    assert done.returncode == 0
    for word in ("run", "check", "ctl", "demo", "version"):
        assert f"\n    {word} " in done.stdout


@pytest.mark.parametrize("words", [(), ("dance",), ("run",), ("check", "--config"), ("run", "x")])
def test_a_command_line_that_makes_no_sense_is_usage(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(list(words))

    assert ended.value.code == 2
    assert "usage: smppgate" in capsys.readouterr().err


def test_ctl_without_a_daemon_exits_with_3(tmp_path: Path) -> None:
    done = smppgate(tmp_path, "ctl", "status")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("smppgate ctl: no daemon answers on var/admin.sock")


# check


def test_the_contracts_configuration_is_right(tmp_path: Path) -> None:
    done = smppgate(tmp_path, "check", "--config", str(CONTRACT))

    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    assert last == f"{CONTRACT}: right, with 1 client, 1 carrier and 1 route"


def test_every_fault_is_listed_at_once_with_its_path_and_warnings_apart(tmp_path: Path) -> None:
    text = """
    data_dirr = "var"
    [http]
    listen = ["127.0.0.1:8080"]
    [[client]]
    name = "shop"
    system_id = "shop"
    password = "x"
    window = 0
    [[route]]
    name = "us"
    carriers = ["nobody"]
    """
    done = smppgate(tmp_path, "check", "--config", str(config(tmp_path, text)))

    assert done.returncode == 2
    faults = [line for line in done.stdout.splitlines() if line.startswith("fault: ")]
    assert len(faults) == 4
    for place, words in enumerate(
        (
            ("data_dirr: is not a key of this table", "data_dir"),
            ('client "shop".company: is missing', "write company ="),
            ('client "shop".window', "1"),
            ('route "us".carriers[0]: "nobody" is no carrier', "known: none"),
        )
    ):
        assert all(any(word in fault for fault in faults) for word in words), (place, faults)
    assert "warning: http.listen: the HTTP API comes in a later release" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("gateway.toml: 4 faults")


def test_a_file_that_cannot_be_read_is_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.toml"
    assert command.check(missing) == 2
    assert command.run(missing, "info") == 2
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    assert command.check(tmp_path / "binary.toml") == 2

    assert capsys.readouterr().err.splitlines() == [
        f"smppgate check: {missing} cannot be read: No such file or directory",
        f"smppgate run: {missing} cannot be read: No such file or directory",
        f"smppgate check: {tmp_path}/binary.toml is not UTF-8",
    ]


def test_a_secret_in_a_file_that_all_can_read_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path)
    assert command.check(file) == 0
    assert "warning" not in capsys.readouterr().out

    file.chmod(0o644)
    assert command.check(file) == 0
    assert 'warning: client "shop".password: is a secret' in capsys.readouterr().out


# run


def test_a_daemon_says_ready_and_exits_with_0_when_it_is_told_to_end(tmp_path: Path) -> None:
    with running(config(tmp_path)) as daemon:
        ready = daemon.lines[-1]
        host, port = ready["listening"][0].split(":")
        socket.create_connection((host, int(port))).close()
        daemon.process.send_signal(signal.SIGTERM)

        assert daemon.wait() == 0

    assert (ready["level"], ready["start"]) == ("info", 1)
    told = [line["message"] for line in daemon.lines if line["logger"].startswith("gateway.daemon")]
    assert told == ["ready", "draining", "stopped"]
    assert not (tmp_path / "var" / "admin.sock").exists()


def test_ctl_finds_the_daemon_and_can_drain_it(tmp_path: Path) -> None:
    file = config(tmp_path)
    with running(file) as daemon:
        found = smppgate(tmp_path, "ctl", "--config", str(file), "--json", "status")
        assert json.loads(found.stdout)["process_id"] == daemon.process.pid
        assert smppgate(tmp_path, "ctl", "drain").returncode == 0

        assert daemon.wait() == 0


def test_a_second_daemon_on_the_same_data_dir_exits_with_2_and_names_the_first(
    tmp_path: Path,
) -> None:
    file = config(tmp_path)
    with running(file) as daemon:
        second = smppgate(tmp_path, "run", "--config", str(file))

        assert second.returncode == 2
        assert f"in use by the daemon with process id {daemon.process.pid}" in second.stderr
        assert smppgate(tmp_path, "ctl", "status").returncode == 0


def test_an_address_that_is_taken_is_named_and_exits_with_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for key in ("smpp.listen", "metrics.listen"):
            text = "\n".join(
                f'{key} = ["127.0.0.1:{port}"]' if line.startswith(key) else line
                for line in CONFIG.splitlines()
            )
            done = smppgate(tmp_path, "run", "--config", str(config(tmp_path, text)))

            assert done.returncode == 2
            line = json.loads(done.stderr.splitlines()[-1])
            assert line["level"] == "critical"
            assert "Address already in use" in line["message"]
            assert f"{port}" in line["message"]
            assert "traceback" not in line


def test_a_faulty_configuration_is_not_run_and_all_its_faults_are_told(tmp_path: Path) -> None:
    text = CONFIG.replace('company = "acme"', "window = 0")

    done = smppgate(tmp_path, "run", "--config", str(config(tmp_path, text)))

    assert done.returncode == 2
    assert 'client "shop".company: is missing' in done.stderr
    assert 'client "shop".window' in done.stderr
    assert not (tmp_path / "var").exists()


def test_no_secret_is_logged_at_any_level(tmp_path: Path) -> None:
    with running(config(tmp_path), "--log-level", "debug") as daemon:
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0

    log = json.dumps(daemon.lines)
    assert len(daemon.lines) >= 3
    assert [secret for secret in SECRETS if secret in log] == []


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


class FaultyApp:
    """A daemon that stumbles before it is ready, or after."""

    def __init__(self, fault: BaseException, *, is_ready: bool) -> None:
        self.fault = fault
        self.ready = SimpleNamespace(is_set=lambda: is_ready)
        self.draining = SimpleNamespace(is_set=lambda: False)

    async def run(self) -> NoReturn:
        raise self.fault


@pytest.mark.usefixtures("_logging_as_it_was")
@pytest.mark.parametrize(
    ("app", "code"),
    [
        (FaultyApp(RuntimeError("a bug"), is_ready=False), 1),
        (FaultyApp(RuntimeError("a bug"), is_ready=True), 1),
        (FaultyApp(PermissionError(13, "Permission denied", "/data"), is_ready=False), 2),
        (FaultyApp(PermissionError(13, "Permission denied", "/data"), is_ready=True), 1),
        (FaultyApp(OSError(28, "No space left on device"), is_ready=False), 1),
    ],
)
def test_a_fault_is_one_critical_line_and_1_unless_the_configuration_must_change(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    app: FaultyApp,
    code: int,
) -> None:
    monkeypatch.setattr("gateway.daemon.app.App", lambda _config: app)

    assert command.run(config(tmp_path), "info") == code

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["critical"]
    assert ("traceback" in lines[0]) == (code == 1)
    if code == 2:
        assert lines[0]["message"] == "Permission denied: /data"


async def test_a_second_signal_hurries_and_more_change_nothing() -> None:
    told: list[str] = []

    class Event:
        def __init__(self, name: str) -> None:
            self.name = name
            self.value = False

        def is_set(self) -> bool:
            return self.value

        def set(self) -> None:
            self.value = True
            told.append(self.name)

    async def signals() -> AsyncIterator[int]:
        for _ in range(3):
            yield signal.SIGTERM

    app = SimpleNamespace(draining=Event("draining"), hurry=Event("hurry"))

    await command._obey(app, signals())  # type: ignore[arg-type]

    assert told[0] == "draining"
    assert set(told[1:]) == {"draining", "hurry"}


# demo


def test_a_demo_is_handed_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list[str]] = []
    module = ModuleType("bench.demo")
    module.main = heard.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench.demo", module)

    assert __main__.main(["demo", "--seconds", "2"]) == 0
    assert heard == [["--seconds", "2"]]


def test_a_demo_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> NoReturn:
        raise ModuleNotFoundError(f"No module named {name!r}", name="uvloop")

    monkeypatch.setattr("importlib.import_module", missing)

    assert command.demo([]) == 2
    assert "pip install 'smppgate[bench]'" in capsys.readouterr().err


def test_a_demo_that_is_broken_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> NoReturn:
        raise ModuleNotFoundError(f"No module named {name!r}", name="something_else")

    monkeypatch.setattr("importlib.import_module", missing)

    with pytest.raises(ModuleNotFoundError):
        command.demo([])
