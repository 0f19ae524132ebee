"""Client: `smppgate ctl`: one command line, one request to a running daemon, one answer.

    smppgate ctl [--socket PATH] [--config FILE] [--json] VERB ...

The socket is the one that `--socket` names, else the one of the configuration FILE, else
`var/admin.sock` here. `--json` prints the result as one JSON document; without it people read it.
Exit 0 yes, 1 no, 2 usage, 3 no daemon.

Plain blocking sockets: `ctl` waits for one answer, and starts without trio, LMDB or msgspec.
"""

import argparse
import json
import os
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any, Final, NoReturn

from gateway.admin import grammar
from gateway.admin.grammar import NO_DAEMON, USAGE, Verb
from gateway.admin.render import render

DEFAULT_SOCKET: Final = Path("var/admin.sock")
"""Where the daemon of a configuration without a word about it has its socket."""

ANSWER_S: Final = 30.0
"""How long the daemon may take for a verb that only looks."""

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""

USAGE_WIDTH: Final = 34
"""In the list of verbs, a longer usage has a line of its own."""

EPILOG: Final = """\
exit status: 0 yes, 1 no, 2 usage, 3 no daemon. The socket is the one of --socket, else that of the
--config file, else var/admin.sock."""


class CtlError(Exception):
    """Why there is no answer, and the exit code for it."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def main(argv: list[str]) -> int:
    """Runs one `ctl` command line; returns the exit code."""
    options = _parser().parse_args(argv)
    words: list[str] = options.words
    found = grammar.find(words)
    if found is None:
        said = f"there is no verb {' '.join(words[:2])!r}" if words else "say what to do"
        print(f"smppgate ctl: {said}\n\n{verbs_text()}", file=sys.stderr)
        return USAGE
    verb, rest = found
    arguments = _verb_parser(verb).parse_args(rest, options)
    try:
        if verb.name == "help":
            print(verbs_text())
            return grammar.YES
        path = _socket_path(arguments)
        reply = ask(path, verb, _request_args(verb, arguments))
    except CtlError as error:
        if arguments.json:
            _write(json.dumps({"error": str(error)}))
        print(f"smppgate ctl: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return _show(verb, reply, as_json=arguments.json)


def ask(path: Path, verb: Verb, args: dict[str, Any]) -> dict[str, Any]:
    """Sends one request; the daemon's answer."""
    line = json.dumps({"verb": verb.name, "args": args}, ensure_ascii=False).encode() + b"\n"
    with _connect(path) as sock:
        sock.settimeout(None if verb.slow else ANSWER_S)
        try:
            sock.sendall(line)
            with sock.makefile("rb") as answers:
                answer = answers.readline()
        except TimeoutError:
            text = f"the daemon on {path} did not answer in {ANSWER_S:g} s: look at its log"
            raise CtlError(NO_DAEMON, text) from None
        except OSError as error:
            text = f"the daemon on {path} went away: {error.strerror}"
            raise CtlError(NO_DAEMON, text) from None
    if not answer.endswith(b"\n"):
        text = f"the daemon on {path} went away before it answered: look at its log"
        raise CtlError(NO_DAEMON, text)
    reply: dict[str, Any] = json.loads(answer)
    return reply


def verbs_text() -> str:
    """What can be asked, a line a verb."""
    lines = [(_usage(verb), verb.help) for verb in grammar.VERBS]
    width = max(len(usage) for usage, _ in lines if len(usage) <= USAGE_WIDTH)
    text = []
    for usage, explanation in lines:
        if len(usage) > width:
            text += [f"  {usage}", f"  {'':{width}}  {explanation}"]
        else:
            text.append(f"  {usage:{width}}  {explanation}")
    return "verbs:\n" + "\n".join(text)


def _show(verb: Verb, reply: dict[str, Any], *, as_json: bool) -> int:
    result, text = reply["result"], reply["text"]
    if as_json:
        _write(json.dumps({"error": text} if result is None else result, ensure_ascii=False))
    elif result is not None:
        _write(render(verb.name, result))
    if text:
        print(f"smppgate ctl: {text}", file=sys.stderr)
    exit_code: int = reply["exit"]
    return exit_code


def _write(text: str) -> None:
    """Prints; a reader that has seen enough (`| head`) is no fault."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_S)
    try:
        sock.connect(str(path))
    except OSError as error:
        sock.close()
        raise CtlError(NO_DAEMON, _no_daemon(path, error)) from None
    return sock


def _no_daemon(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"you may not open {path}: be the user that runs the daemon, or root"
    return (
        f"no daemon answers on {path} ({error.strerror or error}). If one runs, name its socket"
        " with --socket PATH or --config FILE; else start it: smppgate run --config FILE"
    )


def _socket_path(arguments: argparse.Namespace) -> Path:
    if arguments.socket is not None:
        return Path(arguments.socket)
    if arguments.config is not None:
        return configured_socket(Path(arguments.config))
    return DEFAULT_SOCKET


def configured_socket(path: Path) -> Path:
    """The admin socket of a configuration file.

    Nothing else in the file matters, nor its faults: who asks may not even read its secrets.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CtlError(USAGE, f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CtlError(USAGE, f"{path} is not TOML: {error}") from None
    admin, data_dir = raw.get("admin", {}), raw.get("data_dir", "var")
    named = admin.get("socket") if isinstance(admin, dict) else None
    if named is None:
        named = Path(str(data_dir), "admin.sock")
    return path.parent / str(named)


def _request_args(verb: Verb, arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that were given, files as their text."""
    args = {}
    for argument in verb.arguments:
        value = getattr(arguments, argument.name)
        if value is None or value is False or value == []:
            continue
        args[argument.name] = _text_of(value) if argument.kind == "file" else value
    fault = grammar.fault(verb, args)
    if fault:
        raise CtlError(USAGE, fault)
    return args


def _text_of(name: str) -> str:
    try:
        octets = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return octets.decode()
    except OSError as error:
        raise CtlError(USAGE, f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CtlError(USAGE, f"{name} is not UTF-8") from None


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in our words: which verb, and where the help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n{self.format_usage()}")


def _options(parser: argparse.ArgumentParser, *, again: bool) -> None:
    """The options of `ctl` itself; they may stand before the verb, or `again` behind it."""
    nothing = argparse.SUPPRESS if again else None
    off = argparse.SUPPRESS if again else False
    add = parser.add_argument
    add("--socket", metavar="PATH", default=nothing, help="the admin socket")
    add("--config", metavar="FILE", default=nothing, help="the daemon's configuration file")
    add("--json", action="store_true", default=off, help="print one JSON document")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="smppgate ctl",
        usage="smppgate ctl [--socket PATH] [--config FILE] [--json] VERB ...",
        description="Ask a running daemon, or tell it something.",
        epilog=f"{verbs_text()}\n\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _options(parser, again=False)
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _verb_parser(verb: Verb) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"smppgate ctl {verb.name}",
        usage=f"smppgate ctl {_usage(verb)}",
        description=verb.help,
        allow_abbrev=False,
    )
    _options(parser, again=True)
    for argument in verb.arguments:
        name = argument.name.replace("_", "-")
        match argument.kind:
            case "flag":
                parser.add_argument(f"--{name}", action="store_true", help=argument.help)
            case "number":
                parser.add_argument(f"--{name}", type=int, metavar="N", help=argument.help)
            case "texts":
                parser.add_argument(argument.name, nargs="*", help=argument.help)
            case _ if argument.option:
                choices = argument.choices or None
                parser.add_argument(f"--{name}", choices=choices, help=argument.help)
            case _:
                parser.add_argument(
                    argument.name,
                    nargs=None if argument.required else "?",
                    choices=argument.choices or None,
                    help=argument.help,
                )
    return parser


def _usage(verb: Verb) -> str:
    """The verb with its arguments, as one writes it."""
    words = [verb.name]
    for argument in verb.arguments:
        name = argument.name.replace("_", "-")
        match argument.kind:
            case "flag":
                words.append(f"[--{name}]")
            case "number":
                words.append(f"[--{name} N]")
            case "texts":
                words.append("[ID ...]")
            case _ if argument.option:
                words.append(f"[--{name} {'|'.join(argument.choices) or name.upper()}]")
            case _:
                words.append(name.upper() if argument.required else f"[{name.upper()}]")
    return " ".join(words)
