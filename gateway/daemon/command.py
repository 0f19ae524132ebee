"""Command: what `smppgate run`, `check` and `demo` do, and the exit code of each.

    0   yes: drained, or the file is right
    1   a fault: one critical line with its traceback, and a restart recovers from disk
    2   bad usage or configuration: starting again cannot help (systemd does not try)

What needs the configuration's own answer (a data_dir in use, an address that is taken) is 2, too.
Heavy modules are imported where they are needed, so that `version` and `ctl` start at once.
"""

import errno
import importlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import trio

    from gateway.config.load import Loaded
    from gateway.config.schema import Config
    from gateway.daemon.app import App

DRAINED: Final = 0
FAULT: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

NOT_OURS_TO_MEND: Final = frozenset(
    {
        errno.EADDRINUSE,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    }
)
"""What the system says when an address or a path of the configuration cannot be had. A full disk is
not among them: a restart may find room."""

OTHERS_MAY_READ: Final = 0o004


class CannotStartError(Exception):
    """The daemon did not get as far as `ready`, and would not the next time either."""


def check(path: Path) -> int:
    """Every fault of a configuration file, then its warnings."""
    loaded = read(path)
    if isinstance(loaded, str):
        _complain(f"smppgate check: {loaded}")
        return USAGE
    for fault in loaded.faults:
        _say(f"fault: {fault}")
    for warning in loaded.warnings:
        _say(f"warning: {warning}")
    config = loaded.config
    if config is None:
        _say(f"{path}: {_count(len(loaded.faults), 'fault')}")
        return USAGE
    clients, carriers = len(config.client), len(config.carrier)
    _say(
        f"{path}: right, with {_count(clients, 'client')}, {_count(carriers, 'carrier')} "
        f"and {_count(len(config.route), 'route')}"
    )
    return DRAINED


def run(path: Path, log_level: str) -> int:
    """The daemon, in the foreground, until it is drained."""
    import logging  # noqa: PLC0415  (only `run` logs)

    from gateway.daemon import log  # noqa: PLC0415  (the same)

    loaded = read(path)
    if isinstance(loaded, str):
        _complain(f"smppgate run: {loaded}")
        return USAGE
    if loaded.config is None:
        for fault in loaded.faults:
            _complain(f"smppgate run: {path}: {fault}")
        return USAGE
    log.set_up(log_level)
    logger = logging.getLogger(__name__)
    for warning in loaded.warnings:
        logger.warning("configuration: %s", warning)
    try:
        _run(loaded.config)
    except KeyboardInterrupt:  # before the signals are ours
        return INTERRUPTED
    except CannotStartError as error:
        logger.critical("%s", error)
        return USAGE
    except Exception:
        logger.critical("a fault: the daemon ends, and a restart recovers from disk", exc_info=True)
        return FAULT
    return DRAINED


def demo(argv: list[str]) -> int:
    """Hands over to the bench, which has the carrier simulator."""
    try:
        module = importlib.import_module("bench.demo")
    except ModuleNotFoundError as error:
        if error.name not in ("bench", "bench.demo", "uvloop"):
            raise
        text = "the demo needs the extra `bench`: pip install 'smppgate[bench]'"
        _complain(f"smppgate demo: {text}")
        return USAGE
    code: int | None = module.main(argv)
    return code or DRAINED


def read(path: Path) -> "Loaded | str":
    """A configuration file; or why it cannot be read."""
    from gateway.config.load import load  # noqa: PLC0415  (msgspec, for all commands but `ctl`)

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().decode()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return f"{path} is not UTF-8"
    loaded = load(
        text,
        base=path.absolute().parent,
        environment=os.environ,
        read_file=lambda name: Path(name).read_bytes(),
        world_readable=bool(mode & OTHERS_MAY_READ),
    )
    if loaded.config is None or not _has_tls(loaded.config):
        return loaded
    from gateway.link import tls  # noqa: PLC0415  (OpenSSL, where there is TLS)

    faults = tls.faults(loaded.config)
    if not faults:
        return loaded
    return type(loaded)(None, tuple(faults), loaded.warnings)


def _has_tls(config: "Config") -> bool:
    return bool(config.smpp.tls.listen) or any(one.tls is not None for one in config.carrier)


def why_it_cannot_start(fault: BaseException) -> str:
    """What the configuration or the machine must change; "" if it is a fault of the daemon."""
    from gateway.store.folder import StoreError  # noqa: PLC0415  (lmdb, for `run` only)

    for leaf in _leaves(fault):
        if isinstance(leaf, StoreError):
            return str(leaf)
        if isinstance(leaf, OSError) and leaf.errno in NOT_OURS_TO_MEND:
            where = f": {leaf.filename}" if leaf.filename else ""
            return f"{leaf.strerror}{where}"
    return ""


def _run(config: "Config") -> None:
    import trio  # noqa: PLC0415  (half of what a start takes, and only `run` needs it)

    from gateway.daemon.app import App  # noqa: PLC0415  (the same)

    async def main() -> None:
        app = None
        try:
            app = App(config)
            async with trio.open_nursery() as nursery:
                await nursery.start(_signals, app)
                await app.run()
                nursery.cancel_scope.cancel()
        except BaseException as fault:
            was_ready = app is not None and app.ready.is_set()
            why = "" if was_ready else why_it_cannot_start(fault)
            if why:
                raise CannotStartError(why) from fault
            raise

    trio.run(main)


async def _signals(app: "App", task_status: "trio.TaskStatus[None]") -> None:
    """The first SIGTERM or SIGINT drains, the second hurries; more change nothing."""
    import trio  # noqa: PLC0415  (as above)

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        await _obey(app, signals)


async def _obey(app: "App", signals: AsyncIterator[int]) -> None:
    async for _ in signals:
        if app.draining.is_set():
            app.hurry.set()
        app.draining.set()


def _leaves(fault: BaseException) -> Iterator[BaseException]:
    """What is in the groups that nurseries make."""
    if isinstance(fault, BaseExceptionGroup):
        for inner in fault.exceptions:
            yield from _leaves(inner)
    else:
        yield fault


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
