"""The carrier itself: what all its links share, and every decision that is not about one socket.

Which status a submit_sm is answered with, how ids are made, what is counted, and the accounts
(system_ids) with the receipts and inbound messages that wait for a bind. Links (`smsc_link`) do
the reading and writing; the process around it is `simulator`.

A receipt or inbound message is never forgotten because a link broke: what was not answered goes
back to its account and is sent again on the next receiving bind, as carriers do. Only above
`RECEIPTS_WAITING_MAX` are receipts dropped, and that is counted.
"""

from __future__ import annotations

import asyncio
import binascii
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Protocol

from bench import wire
from bench.ledger import LedgerWriter
from bench.loop import LoopLag
from bench.receipts import Later, Receipt, ReceiptEncoder, id_rewriter
from bench.settings import Settings, Stat
from bench.windows import MINUTE_NS, SECOND_NS, RateLimit, WindowMax

# A waiting receipt is some 300 bytes: this is 600 MB, more than any run here needs.
RECEIPTS_WAITING_MAX: Final = 2_000_000

# Sources whose windows are measured one by one; what comes after them only counts in the total.
SOURCES_MAX: Final = 100_000

# Sources listed by `stats`, the fullest windows first: the answer stays one line one can read.
SOURCES_LISTED_MAX: Final = 1_000


class Receiver(Protocol):
    """What an account knows of a bind that takes deliver_sm."""

    def pump(self) -> None:
        """Send what waits, as far as the window goes."""


class Mo:
    """An inbound message (MO) that waits for its deliver_sm_resp."""

    __slots__ = ("body", "reply", "sent", "system_id")

    def __init__(
        self, body: bytes, system_id: str, reply: Callable[[dict[str, object]], None]
    ) -> None:
        self.body = body
        self.system_id = system_id  # empty: any
        self.reply = reply
        self.sent = 0  # how often; more than once after a lost link


class Account:
    """One system_id: its binds, and the receipts that any of them may carry."""

    def __init__(self, system_id: str) -> None:
        self.system_id = system_id
        self.binds = 0
        self.receivers: deque[Receiver] = deque()
        self.ready: deque[Receipt] = deque()
        self.later: Later[list[Receipt]] = Later()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ns = 0

    def put(self, receipts: list[Receipt], now_ns: int, delay_ns: int) -> None:
        """Take these for whichever bind has room, `delay_ns` from now."""
        if delay_ns <= 0:
            self.ready.extend(receipts)
        else:
            self.later.put(now_ns, delay_ns, receipts)
            self._arm()

    def put_back(self, receipts: list[Receipt]) -> None:
        """These were sent before and not answered: they go first."""
        self.ready.extendleft(reversed(receipts))

    def kick(self) -> None:
        """Let receiving binds take what is ready, each time another one first."""
        for _ in range(len(self.receivers)):
            if not self.ready:
                return
            receiver = self.receivers[0]
            self.receivers.rotate(-1)
            receiver.pump()

    def _arm(self) -> None:
        due_ns = self.later.next_due_ns()
        if due_ns is None or (self._timer is not None and self._timer_due_ns <= due_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due_ns = due_ns
        self._timer = asyncio.get_running_loop().call_later(delay_s(due_ns), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        for receipts in self.later.due(time.monotonic_ns()):
            self.ready.extend(receipts)
        self._arm()
        self.kick()


def delay_s(due_ns: int) -> float:
    """Seconds until then, in whole milliseconds and rounded up.

    uvloop's timers are milliseconds rounded to the nearest, so one armed for the exact time may
    fire too early, and would then fire again and again until the time has come.
    """
    return max(0, -((time.monotonic_ns() - due_ns) // 1_000_000)) / 1000


class MessageIds:
    """Message ids, many at a time. Unpredictable by default, as an id of a real carrier may be."""

    def __init__(self, kind: str, rng: random.Random) -> None:
        self._kind = kind
        self._rng = rng
        self._next = 1 if kind == "sequence" else rng.randrange(1, 0x40000000)

    def take(self, count: int) -> list[bytes]:
        """Make `count` new ids."""
        if self._kind == "random":
            digits = binascii.hexlify(self._rng.randbytes(8 * count))
            return [digits[at : at + 16] for at in range(0, 16 * count, 16)]
        first = self._next
        self._next += count
        spell = {"sequence": b"%d", "hex": b"%08X", "decimal": b"%010d"}[self._kind]
        return [spell % number for number in range(first, first + count)]


class Smsc:
    """The state behind all links of one simulator."""

    def __init__(self, settings: Settings, rng: random.Random, ledger: LedgerWriter | None) -> None:
        self.rng = rng
        self.ledger = ledger
        self.lag = LoopLag()
        self.started_ns = time.monotonic_ns()
        self.accounts: dict[str, Account] = {}
        self.mo_waiting: deque[Mo] = deque()
        self.refusing_binds = False
        self.silent = False
        self.counts: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()  # submit_sm_resp decided on, by command_status
        self.receipt_answers: Counter[int] = Counter()  # deliver_sm_resp to receipts
        self.date = b""
        self.reset_meters()
        self.refresh_date()
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Take these settings from now on, and what the hot loop needs ready-made from them."""
        old = getattr(self, "settings", None)
        if old is None or old.ids != settings.ids:
            self.ids = MessageIds(settings.ids, self.rng)
        self.settings = settings
        self.encoder = ReceiptEncoder(settings.receipt_form)
        self.rewrite_id = id_rewriter(settings.receipt_ids)
        mix = settings.receipt_stat_mix.choices
        self.only_stat: Stat | None = mix[0][1] if len(mix) == 1 else None
        self.judging = bool(
            settings.errors.choices or settings.throttle_per_second or settings.throttle_per_minute
        )
        self.answers_faulty = bool(
            settings.lose_answers
            or settings.repeat_answers
            or settings.never_answer
            or settings.cut_inside_pdu
        )
        self.receipts_faulty = bool(settings.lose_receipts or settings.repeat_receipts)
        self.answer_delay_ns = int(settings.answer_delay_ms * 1e6)
        self.receipt_delay_ns = int(settings.receipt_delay_ms * 1e6)
        limits = (settings.throttle_per_second, settings.throttle_per_minute)
        if old is None or limits != (old.throttle_per_second, old.throttle_per_minute):
            self._limits: dict[bytes, list[RateLimit]] = {}

    def reset_meters(self) -> None:
        """Forget maxima, not counts: for measuring one phase of a run."""
        self.lag.reset()
        self._windows: dict[bytes, WindowMax] = {}
        self._window_total = WindowMax(SECOND_NS)

    def refresh_date(self) -> None:
        """The minute that receipts are dated with, in UTC; asked for by a timer, not per message."""
        self.date = time.strftime("%y%m%d%H%M", time.gmtime()).encode()

    def judge(self, source_addr: bytes, now_ns: int) -> int:
        """The command_status for a well-formed submit_sm. What is refused takes no rate."""
        limits = self._limits.get(source_addr)
        if limits is None:
            limits = self._limits[source_addr] = [
                RateLimit(count, length_ns)
                for count, length_ns in (
                    (self.settings.throttle_per_second, SECOND_NS),
                    (self.settings.throttle_per_minute, MINUTE_NS),
                )
                if count
            ]
        for limit in limits:
            if not limit.has_room(now_ns):
                return wire.ESME_RTHROTTLED
        if self.settings.errors.choices:
            status = self.settings.errors.pick(self.rng.random())
            if status:
                return status
        for limit in limits:
            limit.take(now_ns)
        return wire.ESME_ROK

    def draw_stat(self) -> Stat:
        """A receipt's final state, by the mix."""
        stat = self.settings.receipt_stat_mix.pick(self.rng.random())
        assert stat is not None  # the fractions of this mix add up to one
        return stat

    def count_submits(self, sources: list[bytes], refusals: list[int], now_ns: int) -> None:
        """Count the submit_sm of one read, whatever they are answered."""
        self.counts["submits"] += len(sources)
        self.answers[wire.ESME_ROK] += len(sources) - len(refusals)
        self.answers.update(refusals)
        windows = self._windows
        for source, count in Counter(sources).items():
            window = windows.get(source)
            if window is None:
                if len(windows) >= SOURCES_MAX:
                    continue
                window = windows[source] = WindowMax(SECOND_NS)
            window.add(now_ns, count)
        self._window_total.add(now_ns, len(sources))

    def spread_receipts(self, receipts: list[Receipt]) -> list[Receipt]:
        """Lose some and repeat some, as the settings say."""
        spread: list[Receipt] = []
        for receipt in receipts:
            if self.rng.random() < self.settings.lose_receipts:
                self.counts["receipts_lost"] += 1
                continue
            spread.append(receipt)
            if self.rng.random() < self.settings.repeat_receipts:
                self.counts["receipts_repeated"] += 1
                spread.append(receipt)
        return spread

    def count_receipts(self, receipts: list[Receipt]) -> list[Receipt]:
        """Take these into the books; gives back those there is room for."""
        room = RECEIPTS_WAITING_MAX - self.receipts_waiting()
        if len(receipts) > room:
            self.counts["receipts_dropped"] += len(receipts) - max(0, room)
            receipts = receipts[: max(0, room)]
        self.counts["receipts_made"] += len(receipts)
        return receipts

    def receipts_waiting(self) -> int:
        """Made and neither answered for good nor given up: waiting, or sent and unanswered."""
        return self.counts["receipts_made"] - self.counts["receipts_done"]

    def next_mo(self, system_id: str) -> Mo | None:
        """Take out the oldest inbound message this account may carry."""
        for index, mo in enumerate(self.mo_waiting):
            if mo.system_id in ("", system_id):
                del self.mo_waiting[index]
                return mo
        return None

    def kick_mo(self) -> None:
        """Let the binds take waiting inbound messages, each time another one first."""
        for account in self.accounts.values():
            for _ in range(len(account.receivers)):
                if not self.mo_waiting:
                    return
                account.receivers[0].pump()
                account.receivers.rotate(-1)

    def statistics(self) -> dict[str, object]:
        """What `stats` answers; README.md explains each figure."""
        counts = self.counts
        fullest = sorted(
            ((window.maximum, source) for source, window in self._windows.items()), reverse=True
        )
        return {
            "uptime_s": round((time.monotonic_ns() - self.started_ns) / 1e9, 3),
            "cpu_s": round(time.process_time(), 3),
            "connections": {"now": counts["connections"], "ever": counts["connections_ever"]},
            "binds": {
                "now": counts["binds"],
                "ever": counts["binds_ever"],
                "refused": counts["binds_refused"],
                "by_system_id": {a.system_id: a.binds for a in self.accounts.values()},
            },
            "submits": counts["submits"],
            "malformed": counts["malformed"],
            "answers": wire.by_status(self.answers),
            "answers_lost": counts["answers_lost"],
            "answers_repeated": counts["answers_repeated"],
            "links_cut": counts["links_cut"],
            "receipts": {
                "made": counts["receipts_made"],
                "sent": counts["receipts_sent"],
                "answered": sum(self.receipt_answers.values()),
                "by_status": wire.by_status(self.receipt_answers),
                "waiting": self.receipts_waiting(),
                "lost": counts["receipts_lost"],
                "repeated": counts["receipts_repeated"],
                "redelivered": counts["receipts_redelivered"],
                "dropped": counts["receipts_dropped"],
            },
            "mo": {
                "waiting": len(self.mo_waiting),
                "sent": counts["mo_sent"],
                "answered": counts["mo_answered"],
            },
            "unexpected_resps": counts["unexpected_resps"],
            "max_1s_total": self._window_total.maximum,
            "max_1s_by_source": {
                source.decode("latin-1"): maximum
                for maximum, source in fullest[:SOURCES_LISTED_MAX]
            },
            "loop_lag_ms": {
                "max": round(self.lag.max_s * 1000, 2),
                "p99": round(self.lag.percentile_s(0.99) * 1000, 2),
            },
            "stalls_ns": self.lag.stalls_ns,
            "settings": self.settings.as_json(),
        }
