"""`smppgate ctl`: how it finds the daemon, what it prints, and its exit codes."""

import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.admin import client
from gateway.admin.client import CtlError, configured_socket
from gateway.config.load import load
from tests.admin.offices import CONFIG, REGISTRY, ctl, running

Captured = pytest.CaptureFixture[str]


def config_file(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text)
    return file


@contextmanager
def daemon(path: Path, reply: Callable[[bytes], bytes]) -> Iterator[None]:
    """Something that answers one line on a UNIX socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(reply(lines.readline()))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        listener.close()


# Finding the daemon


def test_without_a_daemon_it_exits_with_3_and_says_what_to_do(
    tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "s"

    assert client.main(["--socket", str(path), "status"]) == 3

    out, err = capsys.readouterr()
    assert out == ""
    assert f"no daemon answers on {path} (No such file or directory)" in err
    assert "--socket PATH or --config FILE" in err
    assert "smppgate run --config FILE" in err


def test_a_socket_that_a_killed_daemon_left_is_no_daemon(tmp_path: Path, capsys: Captured) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))

    assert client.main(["--json", "--socket", str(tmp_path / "s"), "status"]) == 3

    out, err = capsys.readouterr()
    assert "Connection refused" in json.loads(out)["error"]
    assert "Connection refused" in err


def test_a_socket_that_may_not_be_opened_says_who_may(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.connect", refuse)

    assert client.main(["--socket", str(tmp_path / "s"), "status"]) == 3
    assert "be the user that runs the daemon, or root" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [b"", b'{"ok": true'])
def test_a_daemon_that_ends_before_it_answers_is_no_daemon(
    tmp_path: Path, capsys: Captured, answer: bytes
) -> None:
    with daemon(tmp_path / "s", lambda _line: answer):
        assert client.main(["--socket", str(tmp_path / "s"), "status"]) == 3

    assert "went away before it answered" in capsys.readouterr().err


def test_a_daemon_that_never_answers_is_not_waited_for(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.01)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen(1)

        assert client.main(["--socket", str(tmp_path / "s"), "status"]) == 3

    assert "did not answer in 0.01 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "",
        'data_dir = "elsewhere"',
        'data_dir = "/absolute"',
        'admin.socket = "var/admin.sock"',
        'admin.socket = "/run/smppgate/admin.sock"',
        'data_dir = "d"\nadmin.socket = "a/../s"',
        'admin.socket = "admin.sock"',
    ],
)
def test_the_socket_of_a_configuration_is_the_one_that_the_daemon_makes(
    tmp_path: Path, text: str
) -> None:
    file = config_file(tmp_path, text)
    loaded = load(text, base=tmp_path, environment={}, read_file=Path.read_bytes)  # type: ignore[arg-type]

    assert loaded.config is not None
    assert configured_socket(file) == Path(loaded.config.admin.socket)


def test_a_configuration_whose_secrets_cannot_be_read_still_leads_to_the_socket(
    tmp_path: Path,
) -> None:
    text = '[[client]]\nname = "shop"\npassword_env = "NOT_SET_HERE"\nnonsense = 1\n'

    assert configured_socket(config_file(tmp_path, text)) == tmp_path / "var/admin.sock"


def test_without_a_word_about_it_the_socket_is_below_the_current_folder(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert client.main(["status"]) == 3
    assert "no daemon answers on var/admin.sock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "cannot be read: No such file or directory"), ("x =", "is not TOML: Invalid value")],
)
def test_a_configuration_that_cannot_be_read_is_usage(
    tmp_path: Path, text: str | None, told: str
) -> None:
    file = tmp_path / "gateway.toml" if text is None else config_file(tmp_path, text)

    with pytest.raises(CtlError, match=told) as caught:
        configured_socket(file)

    assert caught.value.exit_code == 2


# The command line


def test_without_a_verb_it_lists_them(capsys: Captured) -> None:
    assert client.main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith("smppgate ctl: say what to do\n\nverbs:\n")

    assert client.main(["carier", "x"]) == 2
    assert "there is no verb 'carier x'" in capsys.readouterr().err


def test_help_needs_no_daemon(capsys: Captured) -> None:
    assert client.main(["--socket", "/nowhere", "help"]) == 0
    out = capsys.readouterr().out
    assert "registry import FILE [--dry-run] [--prune]" in out
    assert "queue release [ID ...] [--all] [--state held|in_doubt]" in out
    assert "loglevel LEVEL" in out

    with pytest.raises(SystemExit) as ended:
        client.main(["--help"])
    assert ended.value.code == 0
    assert "exit status: 0 yes, 1 no, 2 usage, 3 no daemon" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--nonsense", "status"],
        ["status", "--nonsense"],
        ["status", "more"],
        ["message"],
        ["queue", "--limit", "x"],
        ["loglevel", "loud"],
        ["queue", "release", "--state", "queued"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_usage(words: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        client.main(words)

    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("smppgate ctl")
    assert "usage: smppgate ctl" in err


def test_a_number_below_one_is_usage(capsys: Captured) -> None:
    assert client.main(["queue", "--limit", "0"]) == 2
    assert "limit must be a whole number above zero" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read: No such file or directory"), (b"\xff", "is not UTF-8")],
)
def test_a_file_that_cannot_be_read_is_usage(
    tmp_path: Path, capsys: Captured, content: bytes | None, told: str
) -> None:
    file = tmp_path / "r.toml"
    if content is not None:
        file.write_bytes(content)

    assert client.main(["registry", "import", str(file)]) == 2
    assert told in capsys.readouterr().err


async def test_options_may_stand_before_the_verb_or_behind_it(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        before = await ctl(app, "--json", "version")
        behind = await ctl(app, "version", "--json")

    assert before == behind
    assert list(json.loads(before[1])) == ["version"]


async def test_a_no_with_json_is_a_document_too(tmp_path: Path) -> None:
    async with running(tmp_path) as app:
        code, out, err = await ctl(app, "--json", "carrier", "x")

    assert code == 1
    assert json.loads(out) == {"error": "there is no carrier 'x'; there are: carrier-a"}
    assert err == "smppgate ctl: there is no carrier 'x'; there are: carrier-a\n"


async def test_the_file_of_an_import_may_be_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(REGISTRY.encode())))
    async with running(tmp_path, registry="") as app:
        code, out, _ = await ctl(app, "registry", "import", "-")

    assert code == 0
    assert out.splitlines()[-1] == (
        "changed: 6; the registry holds companies 1, brands 1, campaigns 2, numbers 2"
    )


async def test_a_verb_finds_its_daemon_by_the_configuration(tmp_path: Path) -> None:
    config_file(tmp_path, CONFIG)
    async with running(tmp_path) as app:
        code, out, _ = await ctl(app, "--config", str(tmp_path / "gateway.toml"), "status")

    assert code == 0
    assert "carrier-a" in out


def test_a_reader_that_has_seen_enough_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = {"ok": True, "exit": 0, "result": {"version": "1"}, "text": ""}
    with (
        (tmp_path / "pipe").open("w") as pipe,
        daemon(tmp_path / "s", lambda _line: json.dumps(reply).encode() + b"\n"),
    ):

        def broken(_text: str) -> int:
            raise BrokenPipeError

        out = io.TextIOWrapper(pipe.buffer, write_through=True)
        monkeypatch.setattr(out, "write", broken)
        monkeypatch.setattr(sys, "stdout", out)

        assert client.main(["--socket", str(tmp_path / "s"), "version"]) == 0
        out.detach()


def test_an_interrupt_ends_it_like_any_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "ask", interrupt)

    assert client.main(["--socket", str(tmp_path / "s"), "audit"]) == 130


def test_it_starts_without_the_heavy_modules() -> None:
    heavy = {"trio", "lmdb", "msgspec", "prometheus_client", "gateway.daemon.app"}
    code = (
        "import sys; from gateway.admin import client; client.main(['help']);"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(client.__file__).parents[2],
    )

    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"
