"""The load generator: `python -m bench.load --connect HOST:PORT --count 100000 [options]`.

An SMPP client that keeps the window of each of its binds full, or sends at a fixed rate, and
checks what comes back: each answer, each id, each receipt. It prints one JSON summary on stdout.
`run_load` is the same for other asyncio code, with a callback that shows the run while it lasts.

It ends when everything submitted is answered and, with `wait_receipts_s`, when every receipt has
come or none came for so long. It gives up when nothing at all comes back for `answer_timeout_s`.
Exit status 0 when all that was asked for came, 1 when not (`ended` in the summary says why), 2 on
bad usage. It never retries a message by itself: `resubmit` sends what a broken link left
unanswered again, under a new token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bench import wire
from bench.esme_link import EsmeLink
from bench.loop import LoopLag, Ticker, run
from bench.traffic import SubmitTemplate, Summary, Traffic

TICK_S: Final = 0.005
ACKED_FLUSH_TICKS: Final = 10  # 50 ms

# What a paced run may catch up with at once after the loop or a full window held it up.
CATCH_UP_S: Final = 0.1

RECONNECT_S_MIN: Final = 0.05
RECONNECT_S_MAX: Final = 1.0
UNBIND_S_MAX: Final = 3.0

# How a run ends that needs no explanation.
COMPLETE: Final = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What to send, how, and when it is enough. Exactly one of `count` and `seconds` is given."""

    host: str
    port: int
    system_id: str = "shop"
    password: str = "secret"
    bind_type: str = "transceiver"
    binds: int = 1
    window: int = 100
    count: int | None = None
    seconds: float | None = None
    rate: float | None = None  # of all binds together; None: as fast as the windows allow
    sources: tuple[str, ...] = ("12025550100",)
    to_base: int = 13105550000
    to_range: int = 10_000
    text_bytes: int = 100
    registered_delivery: int = 1
    token_base: int = 1
    wait_receipts_s: float = 0.0
    answer_timeout_s: float = 30.0
    enquire_link_s: float = 30.0
    acked: Path | None = None
    reconnect: bool = False
    resubmit: bool = False
    answers_deliver_sm: bool = True
    reads: bool = True


class Load:
    """One run: its links, its pace and its end."""

    def __init__(
        self,
        options: LoadOptions,
        progress: Callable[[Summary], None] | None = None,
        progress_s: float = 0.25,
    ) -> None:
        if (options.count is None) == (options.seconds is None):
            raise ValueError("give either a count or seconds")
        template = SubmitTemplate(
            options.sources,
            to_base=options.to_base,
            to_range=options.to_range,
            text_bytes=options.text_bytes,
            registered_delivery=options.registered_delivery,
        )
        self.traffic = Traffic(
            template,
            count=options.count,
            token_base=options.token_base,
            acked=options.acked is not None,
        )
        self._options = options
        self._bind_body = wire.bind_body(options.system_id, options.password)
        self._progress = progress
        self._progress_ticks = max(1, round(progress_s / TICK_S))
        self._lag = LoopLag()
        self._links: deque[EsmeLink] = deque()  # connected ones
        self._over = asyncio.Event()
        self._ended = ""
        self._credit = 0.0  # messages the rate allows now
        self._paced_ns = 0
        self._started_ns = 0
        self._stopping = False
        self._acked_file: IO[bytes] | None = None

    def stop(self) -> None:
        """Submit nothing more and end when all is answered; the second time, end at once."""
        if self._stopping:
            self._end("stopped")
        self._stopping = True
        self.traffic.remaining = 0

    def summary(self) -> Summary:
        """Where the run stands."""
        return self.traffic.summary(
            in_flight=self._in_flight(),
            ended=self._ended,
            complete=self._ended == COMPLETE,
            loop_lag_s=self._lag.max_s,
        )

    async def run(self) -> Summary:
        """Do it all; the final summary."""
        self._started_ns = time.monotonic_ns()
        if self._options.acked is not None:
            self._acked_file = self._options.acked.open("ab", buffering=0)
        keepers = [asyncio.create_task(self._keep_bind()) for _ in range(self._options.binds)]
        ticker = Ticker(self._tick, self._lag, interval_s=TICK_S)
        try:
            over = asyncio.create_task(self._over.wait())
            await asyncio.wait((over, asyncio.gather(*keepers)), return_when="FIRST_COMPLETED")
            over.cancel()
            self._end("no link left")  # unless it has ended for another reason
            for link in self._links:
                if self._options.reads:
                    link.unbind()
                else:
                    link.abort()
            await asyncio.wait(keepers, timeout=UNBIND_S_MAX)
        finally:
            ticker.stop()
            for link in self._links:
                link.abort()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            self._flush_acked()
            if self._acked_file is not None:
                self._acked_file.close()
        summary = self.summary()
        if self._progress is not None:
            self._progress(summary)
        return summary

    def _end(self, why: str) -> None:
        if not self._ended:
            self._ended = why
            self._over.set()

    # -- links ------------------------------------------------------------------------------

    async def _keep_bind(self) -> None:
        """Hold one bind, and with `reconnect` connect and bind again and again."""
        pause_s = RECONNECT_S_MIN
        while not self._over.is_set():
            was_bound = await self._hold_link()
            if self._over.is_set() or not self._options.reconnect:
                return
            pause_s = RECONNECT_S_MIN if was_bound else min(pause_s * 2, RECONNECT_S_MAX)
            await asyncio.sleep(pause_s)

    async def _hold_link(self) -> bool:
        """One link from connect to close; whether it was bound."""
        traffic, options = self.traffic, self._options
        loop = asyncio.get_running_loop()
        try:
            _, link = await loop.create_connection(self._new_link, options.host, options.port)
        except OSError as error:
            traffic.last_error = f"connect: {error}"
            return False
        self._links.append(link)
        if self._over.is_set():
            link.abort()
        try:
            status = await link.bound
            if status > 0:
                traffic.binds_refused[status] += 1
                traffic.last_error = f"bind: 0x{status:08X}"
            await link.closed
        finally:
            self._links.remove(link)
            traffic.lose(len(link.in_flight), resubmit=options.resubmit and not self._ended)
        if not self._ended:
            traffic.links_lost += 1
            if status <= 0:
                traffic.last_error = "the link was closed"
        return status == wire.ESME_ROK

    def _new_link(self) -> EsmeLink:
        options = self._options
        return EsmeLink(
            self.traffic,
            bind_command=wire.BIND_COMMANDS[options.bind_type],
            bind_body=self._bind_body,
            window=options.window,
            paced=options.rate is not None,
            reads=options.reads,
            answers_deliver_sm=options.answers_deliver_sm,
        )

    def _in_flight(self) -> int:
        return sum(len(link.in_flight) for link in self._links)

    # -- time -------------------------------------------------------------------------------

    def _tick(self, number: int) -> None:
        now_ns = time.monotonic_ns()
        if self._options.rate is not None:
            self._pace(now_ns, self._options.rate)
        if number % ACKED_FLUSH_TICKS == 0:
            self._flush_acked()
            for link in self._links:
                link.keep_alive(now_ns, int(self._options.enquire_link_s * 1e9))
        if not self._ended:
            if self._progress is not None and number % self._progress_ticks == 0:
                self._progress(self.summary())
            self._check_end(now_ns)

    def _pace(self, now_ns: int, rate: float) -> None:
        """Send what the rate allows by now, spread over the links in turn."""
        if self._paced_ns:
            self._credit += (now_ns - self._paced_ns) / 1e9 * rate
        self._paced_ns = now_ns
        self._credit = min(self._credit, max(1.0, rate * CATCH_UP_S))
        for left in range(len(self._links), 0, -1):
            share = -(-int(self._credit) // left)
            if not share:
                return
            self._credit -= self._links[0].submit(share)
            self._links.rotate(-1)

    def _check_end(self, now_ns: int) -> None:
        traffic, options = self.traffic, self._options
        if options.seconds is not None and now_ns - self._begin_ns() >= options.seconds * 1e9:
            traffic.remaining = 0
        in_flight = self._in_flight()
        quiet_s = (now_ns - max(self._started_ns, traffic.last_activity_ns())) / 1e9
        if (in_flight or traffic.remaining) and quiet_s >= options.answer_timeout_s:
            self._end(f"no answer for {options.answer_timeout_s:g} s")
        elif traffic.remaining:
            return
        elif not options.reads:
            self._end("time is up, and nothing was read")
        elif in_flight or (self._receipts_missing() > 0 and quiet_s < options.wait_receipts_s):
            return
        elif traffic.unanswered != traffic.resubmitted:
            self._end("messages are left unanswered")
        elif options.wait_receipts_s and self._receipts_missing() > 0 and self._receipts_known():
            self._end("receipts are missing")
        else:
            self._end(COMPLETE)

    def _begin_ns(self) -> int:
        return self.traffic.first_submit_ns or self._started_ns

    def _receipts_missing(self) -> int:
        """Receipts still to come; always one more when only failures get one."""
        if self._options.registered_delivery & 3 == 0:
            return 0
        return self.traffic.ok - self.traffic.receipts_distinct if self._receipts_known() else 1

    def _receipts_known(self) -> bool:
        """Whether each accepted message gets a receipt, so that one knows how many there will be."""
        return self._options.registered_delivery & 3 == 1

    def _flush_acked(self) -> None:
        acked = self.traffic.acked
        if acked and self._acked_file is not None:
            block = memoryview(b"".join(acked))
            acked.clear()
            while block:  # an unbuffered write may take less than it was given
                block = block[self._acked_file.write(block) or 0 :]


async def run_load(
    options: LoadOptions,
    progress: Callable[[Summary], None] | None = None,
    *,
    progress_s: float = 0.25,
) -> Summary:
    """One run of the load generator; `progress` gets its state every so often and at the end."""
    return await Load(options, progress, progress_s).run()


def _live_line(summary: Summary) -> None:
    end = "\n" if summary.ended else ""
    print(
        f"\r{summary.seconds:7.1f} s  {summary.submitted:,} submitted  {summary.ok:,} ok"
        f"  {sum(summary.errors.values()):,} refused  {summary.receipts:,} receipts"
        f"  {summary.rate_per_s:,.0f}/s  {summary.binds} binds ",
        end=end,
        file=sys.stderr,
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    add = parser.add_argument
    add("--connect", required=True, metavar="HOST:PORT")
    add("--system-id", default="shop")
    add("--password", default="secret")
    add("--bind-type", choices=sorted(wire.BIND_COMMANDS), default="transceiver")
    add("--binds", type=int, default=1)
    add("--window", type=int, default=100, help="unanswered submit_sm per bind")
    enough = parser.add_mutually_exclusive_group(required=True)
    enough.add_argument("--count", type=int, help="messages to send")
    enough.add_argument("--seconds", type=float, help="how long to send")
    add("--rate", type=float, help="messages per second in total; else as windows allow")
    add("--from", dest="sources", default="12025550100", help="source addresses: a,b,...")
    add("--to-base", type=int, default=13105550000, help="first destination")
    add("--to-range", type=int, default=10_000, help="how many destinations, in turn")
    add("--text-bytes", type=int, default=100, help="above 254 in message_payload")
    add("--registered-delivery", type=int, default=1)
    add("--token-base", type=int, default=1, help="first token; runs at once need ranges apart")
    add("--wait-receipts", type=float, default=0.0, metavar="SECONDS", help="since the last")
    add("--answer-timeout", type=float, default=30.0, metavar="SECONDS", help="give up after")
    add("--enquire-link", type=float, default=30.0, metavar="SECONDS", help="0 for never")
    add("--acked", type=Path, metavar="FILE", help="a line `token id` per positive answer")
    add("--reconnect", action="store_true", help="go on after a lost link")
    add("--resubmit", action="store_true", help="send again what it left, under new tokens")
    add("--no-deliver-resp", action="store_true", help="answer no deliver_sm")
    add("--no-read", action="store_true", help="after the bind read nothing at all")
    add("--json", action="store_true", help="only the summary: no live line on a terminal")
    return parser


def _options(arguments: argparse.Namespace) -> LoadOptions:
    host, _, port = arguments.connect.rpartition(":")
    if not port.isdecimal():
        raise ValueError(f"--connect: HOST:PORT, not {arguments.connect!r}")
    if arguments.binds < 1 or arguments.window < 1:
        raise ValueError("binds and window: from 1 up")
    if arguments.rate is not None and arguments.rate <= 0:
        raise ValueError("rate: above 0")
    return LoadOptions(
        host=host.strip("[]") or "127.0.0.1",
        port=int(port),
        system_id=arguments.system_id,
        password=arguments.password,
        bind_type=arguments.bind_type,
        binds=arguments.binds,
        window=arguments.window,
        count=arguments.count,
        seconds=arguments.seconds,
        rate=arguments.rate,
        sources=tuple(filter(None, arguments.sources.split(","))),
        to_base=arguments.to_base,
        to_range=arguments.to_range,
        text_bytes=arguments.text_bytes,
        registered_delivery=arguments.registered_delivery,
        token_base=arguments.token_base,
        wait_receipts_s=arguments.wait_receipts,
        answer_timeout_s=arguments.answer_timeout,
        enquire_link_s=arguments.enquire_link,
        acked=arguments.acked,
        reconnect=arguments.reconnect or arguments.resubmit,
        resubmit=arguments.resubmit,
        answers_deliver_sm=not arguments.no_deliver_resp,
        reads=not arguments.no_read,
    )


async def _run_here(load: Load) -> Summary:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, load.stop)
    return await load.run()


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    live = sys.stderr.isatty() and not parsed.json
    try:
        load = Load(_options(parsed), _live_line if live else None)
    except ValueError as error:
        parser.error(str(error))
    try:
        summary = run(_run_here(load))
    except OSError as error:
        print(f"bench.load: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary.as_json(), separators=(",", ":")))
    return 0 if summary.finished else 1


if __name__ == "__main__":
    sys.exit(main())
