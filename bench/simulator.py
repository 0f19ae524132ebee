"""The carrier simulator: `python -m bench.simulator --listen 127.0.0.1:0 [options]`.

The process around `smsc` and `smsc_link`: it listens, takes commands as JSON lines on stdin,
answers each with one JSON line on stdout, and stops on a command or a signal. The first line it
prints names the address it listens on. Every setting (`settings`) is an option and can be changed
while it runs. `bench/README.md` has the commands.

A command that makes no sense is answered `{"ok":false,"error":...}` and changes nothing. stdout is
written synchronously: whoever starts the simulator must read it. Exit status 0 when told to stop,
1 when it cannot listen, 2 on bad usage.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

from bench import settings, wire
from bench.ledger import LedgerWriter
from bench.loop import Ticker, run
from bench.smsc import Mo, Smsc
from bench.smsc_link import SmscLink

Answer = Callable[[dict[str, object]], None]
Command = dict[str, Any]


class CommandError(Exception):
    """The command cannot be carried out; the text goes into its answer."""


class Simulator:
    """The listener, the open links and the verbs of the control channel."""

    def __init__(self, smsc: Smsc) -> None:
        self.smsc = smsc
        self.links: set[SmscLink] = set()
        self.stopped = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._address = ("", 0)
        self._connections = 0

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Port 0 takes a free one, which is kept from then on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._new_link, host, port, backlog=1024)
        self._address = self._server.sockets[0].getsockname()[:2]
        return self._address

    def _new_link(self) -> SmscLink:
        self._connections += 1
        return SmscLink(self.smsc, self.links, self._connections)

    def tick(self, number: int) -> None:
        """Every 10 ms: the ledger every 50 ms, time-outs and the date every 100 ms."""
        if number % 5 == 0 and self.smsc.ledger is not None:
            self.smsc.ledger.flush()
        if number % 10 == 0:
            self.smsc.refresh_date()
            now_ns = time.monotonic_ns()
            for link in list(self.links):
                link.check_time(now_ns)

    def close(self) -> None:
        """Close the listener, every link and the ledger."""
        if self._server is not None:
            self._server.close()
        for link in list(self.links):
            link.drop(reset=False)
        if self.smsc.ledger is not None:
            self.smsc.ledger.close()

    # -- the control channel ----------------------------------------------------------------

    async def obey(self, line: str, answer: Answer) -> None:
        """Carry out one line. A command's `id` comes back in its answer."""
        try:
            command = json.loads(line)
            if not isinstance(command, dict):
                raise CommandError("a command is a JSON object")
        except (ValueError, CommandError) as error:
            answer({"ok": False, "error": str(error)})
            return
        tag = {"id": command.pop("id")} if "id" in command else {}

        def reply(result: dict[str, object]) -> None:
            answer({"ok": True, **tag, **result})

        verb = command.pop("do", None)
        method = self._VERBS.get(verb) if isinstance(verb, str) else None
        try:
            if method is None:
                raise CommandError(f"do: one of {' '.join(self._VERBS)}")
            result = method(self, command, reply)
            if result is not None:
                await result
        except (CommandError, OSError, ValueError) as error:
            answer({"ok": False, **tag, "error": str(error)})

    def _stats(self, _command: Command, reply: Answer) -> None:
        reply({"stats": self.smsc.statistics()})

    def _reset(self, _command: Command, reply: Answer) -> None:
        self.smsc.reset_meters()
        reply({})

    def _set(self, command: Command, reply: Answer) -> None:
        self.smsc.apply(self.smsc.settings.changed(command.items()))
        reply({"settings": self.smsc.settings.as_json()})

    def _mo(self, command: Command, reply: Answer) -> None:
        self.smsc.mo_waiting.append(Mo(_mo_body(command), str(command.get("system_id", "")), reply))
        self.smsc.kick_mo()

    def _drop(self, command: Command, reply: Answer) -> None:
        how = command.get("how", "rst")
        if how not in ("rst", "fin"):
            raise CommandError(f"how: rst or fin, not {how!r}")
        links = list(self.links)
        for link in links:
            link.drop(reset=how == "rst")
        reply({"dropped": len(links)})

    async def _refuse(self, command: Command, reply: Answer) -> None:
        on = _on(command)
        what = command.get("what", "connections")
        if what == "binds":
            self.smsc.refusing_binds = on
        elif what == "connections":
            if on and self._server is not None:
                self._server.close()
                self._server = None
            elif not on and self._server is None:
                await self.listen(*self._address)
        else:
            raise CommandError(f"what: connections or binds, not {what!r}")
        reply({})

    def _silence(self, command: Command, reply: Answer) -> None:
        self.smsc.silent = _on(command)
        for link in list(self.links):
            if self.smsc.silent:
                link.update_reading()
            else:
                link.speak_again()
        reply({})

    def _stop(self, _command: Command, reply: Answer) -> None:
        reply({})
        self.stopped.set()

    _VERBS: ClassVar[dict[str, Callable[[Simulator, Command, Answer], Awaitable[None] | None]]] = {
        "stats": _stats,
        "set": _set,
        "mo": _mo,
        "drop": _drop,
        "refuse": _refuse,
        "silence": _silence,
        "reset": _reset,
        "stop": _stop,
    }


def _on(command: Command) -> bool:
    on = command.get("on", True)
    if not isinstance(on, bool):
        raise CommandError(f"on: true or false, not {on!r}")
    return on


def _mo_body(command: Command) -> bytes:
    """A deliver_sm from a handset; `hex` is the short_message as it is, `text` is encoded."""
    if "hex" in command:
        coding, text = int(command.get("data_coding", 0)), bytes.fromhex(command["hex"])
    else:
        written = str(command.get("text", ""))
        coding = int(command.get("data_coding", 0 if written.isascii() else 8))
        text = written.encode("utf-16-be" if coding == 8 else "latin-1")
    try:
        tlvs = [wire.tlv(tag, bytes.fromhex(value)) for tag, value in command.get("tlvs", ())]
    except (TypeError, struct.error) as error:
        raise CommandError(f"tlvs: a list of [tag, hex]: {error}") from None
    try:
        source, dest = (str(command[name]).removeprefix("+") for name in ("from", "to"))
    except KeyError as error:
        raise CommandError(f"{error.args[0]}: missing") from None
    return wire.sm_body(
        wire.address_block(source),
        wire.address_block(dest),
        text,
        esm_class=int(command.get("esm_class", 0)),
        data_coding=coding,
        tlvs=b"".join(tlvs),
    )


class StdinLines:
    """Hands stdin to the loop line by line, from a thread.

    A thread, because the loop can wait for pipes but not for files or /dev/null, and stdin may be
    any of them. os.read, because a daemon thread inside sys.stdin would hold its lock at exit.
    """

    def __init__(self, on_line: Callable[[str], None], on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_line = on_line
        self._on_end = on_end
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        rest = b""
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the loop has ended
            while data := os.read(0, 65_536):
                *lines, rest = (rest + data).split(b"\n")
                for line in filter(None, lines):
                    self._loop.call_soon_threadsafe(self._on_line, line.decode("utf-8", "replace"))
            self._loop.call_soon_threadsafe(self._on_end)


def print_json(value: dict[str, object]) -> None:
    """One line on stdout, at once; a reader that has gone is not an error."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(value, separators=(",", ":")), flush=True)


async def serve(options: argparse.Namespace, chosen: settings.Settings) -> int:
    """Run the simulator until it is told to stop; the exit status."""
    rng = random.Random(options.seed)
    ledger = None if options.ledger == "none" else LedgerWriter(Path(options.ledger))
    simulator = Simulator(Smsc(chosen, rng, ledger))
    host, _, port = options.listen.rpartition(":")
    try:
        host, actual_port = await simulator.listen(host.strip("[]") or "127.0.0.1", int(port))
    except OSError as error:
        print(f"bench.simulator: cannot listen on {options.listen}: {error}", file=sys.stderr)
        return 1
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, simulator.stopped.set)
    tasks: set[asyncio.Task[None]] = set()

    def on_line(line: str) -> None:
        task = loop.create_task(simulator.obey(line, print_json))
        tasks.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(tasks.discard)

    def on_end() -> None:
        if options.exit_on_eof:
            simulator.stopped.set()

    print_json({"event": "listening", "host": host, "port": actual_port, "pid": os.getpid()})
    StdinLines(on_line, on_end)
    ticker = Ticker(simulator.tick, simulator.smsc.lag)
    await simulator.stopped.wait()
    ticker.stop()
    stats = simulator.smsc.statistics()
    simulator.close()
    print_json({"event": "stopped", "stats": stats})
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulator", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--ledger", default="none", metavar="FILE", help="or none")
    parser.add_argument("--seed", type=int, default=None, help="of faults and message ids")
    parser.add_argument("--exit-on-eof", action="store_true", help="stop when stdin ends")
    settings.add_options(parser)
    options = parser.parse_args(arguments)
    try:
        chosen = settings.from_options(options)
        if re.fullmatch(r".*:\d{1,5}", options.listen) is None:
            raise ValueError(f"--listen: HOST:PORT, not {options.listen!r}")
    except ValueError as error:
        parser.error(str(error))
    return run(serve(options, chosen))


if __name__ == "__main__":
    sys.exit(main())
