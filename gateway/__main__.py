"""The command `smppgate`: which words lead where, and the exit code. Nothing else.

`ctl` and `demo` read their own words; the rest is small enough to stand here. What a command does
is in `daemon.command` and `admin.client`, imported only by the command that needs it.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

LOG_LEVELS: Final = ("debug", "info", "warning", "error")

EPILOG: Final = """\
exit status: 0 yes, 1 a fault or no, 2 bad usage or configuration, 3 no daemon (ctl).
smppgate ctl --help lists what a running daemon can be asked."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command line; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["ctl"]:
        from gateway.admin import client  # noqa: PLC0415

        return client.main(words[1:])
    from gateway.daemon import command  # noqa: PLC0415

    if words[:1] == ["demo"]:
        return command.demo(words[1:])
    options = _parser().parse_args(words)
    match options.command:
        case "run":
            return command.run(options.config, options.log_level)
        case "check":
            return command.check(options.config)
        case _:
            from gateway import __version__  # noqa: PLC0415

            print(f"smppgate {__version__}")
            return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="smppgate",
        description="An SMPP gateway for US application-to-person text messages.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="the daemon, in the foreground", allow_abbrev=False)
    _config(run)
    run.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="not given: info")
    check = commands.add_parser(
        "check", help="every fault of a configuration file", allow_abbrev=False
    )
    _config(check)
    commands.add_parser("ctl", help="ask a running daemon, or tell it something")
    commands.add_parser("demo", help="the main job on this machine, with real traffic")
    commands.add_parser("version", help="the version")
    return parser


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the configuration (TOML)"
    )


if __name__ == "__main__":
    sys.exit(main())
