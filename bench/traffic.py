"""One run of the load generator: what it sends, what came back, and the summary of both.

`SubmitTemplate` is the submit_sm with everything pre-encoded but token, destination and
sequence_number. `Traffic` is what all links of a run share: tokens to give out, counts, and every
message id we were given with how many receipts it got, so that a receipt can be told from a stray
one. Links (`esme_link`) do the reading and writing, `load` opens them and decides when it is over.

Memory is some 110 bytes per accepted message, for the ids: 10 million messages need 1.1 GB.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Final

from bench import wire

TOKEN_NUMBER_MAX: Final = 10**12 - 1

# Destinations kept ready as bytes; more of them are 50 bytes each.
DESTINATIONS_MAX: Final = 1_000_000

# Receipts for an id we do not know (yet) are kept so far, then only counted.
STRAYS_MAX: Final = 100_000

_FILLER: Final = b" Your order has shipped and should arrive on Tuesday. Reply HELP for help."


class SubmitTemplate:
    """The submit_sm of a run, cut into the parts between which the changing ones go.

    A PDU is: header, `head`, destination, `middle`, token, `tail`. Sources and destinations take
    turns; `heads` yields (length of the PDU without its destination, head).
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        to_base: int,
        to_range: int,
        text_bytes: int,
        registered_delivery: int,
    ) -> None:
        if not 1 <= to_range <= DESTINATIONS_MAX:
            raise ValueError(f"to-range: from 1 to {DESTINATIONS_MAX}")
        text = b"#%012d" % 0
        if not len(text) <= text_bytes <= 65_535:
            raise ValueError(f"text-bytes: from {len(text)}, which is the token, to 65535")
        text += (_FILLER * (text_bytes // len(_FILLER) + 1))[: text_bytes - len(text)]
        block = wire.address_block("")  # of the destination, whose digits come in between
        rest = wire.sm_body(b"", b"", text, registered_delivery=registered_delivery)
        after_digits = b"\0" + rest[1:]  # without service_type, which opens the head
        token_at = after_digits.index(b"#") + 1
        self.middle = after_digits[:token_at]
        self.tail = after_digits[token_at + 12 :]
        heads = []
        for source in sources:
            head = b"\0" + wire.address_block(source) + block[:-1]
            heads.append((wire.HEADER_BYTES + len(head) + len(after_digits), head))
        if not heads:
            raise ValueError("from: at least one address")
        numbers = range(to_base, to_base + to_range)
        self.heads: Iterator[tuple[int, bytes]] = cycle(heads)
        self.destinations: Iterator[bytes] = cycle([b"%d" % number for number in numbers])


class Samples:
    """Percentiles of a long series from a bounded, evenly spaced part of it."""

    LIMIT: Final = 20_000

    def __init__(self) -> None:
        self._values: list[int] = []
        self._every = 1
        self._skipped = 0

    def add(self, value: int) -> None:
        """Take in a value; when there are too many, every second one goes."""
        self._skipped += 1
        if self._skipped < self._every:
            return
        self._skipped = 0
        self._values.append(value)
        if len(self._values) >= self.LIMIT:
            del self._values[::2]
            self._every *= 2

    def percentile(self, fraction: float) -> int | None:
        """The value that this fraction of the series does not exceed."""
        if not self._values:
            return None
        ordered = sorted(self._values)
        return ordered[min(int(len(ordered) * fraction), len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """A run, during it and at its end. README.md explains the figures."""

    finished: bool  # all was answered, and every receipt that was waited for came
    ended: str  # why it ended; empty while it runs
    submitted: int
    ok: int
    errors: dict[str, int]
    unanswered: int
    in_flight: int
    resubmitted: int
    unexpected_resps: int
    distinct_ids: int
    receipts: int
    receipts_distinct: int
    receipts_matching_both: int
    receipts_stray: int
    receipts_by_state: dict[str, int]
    mo: int
    malformed: int
    binds: int
    binds_ever: int
    binds_refused: dict[str, int]
    links_lost: int
    last_error: str
    seconds: float
    rate_per_s: float
    receipt_rate: float
    submit_resp_ms_p50: float | None
    submit_resp_ms_p99: float | None
    receipt_ms_p50: float | None
    receipt_ms_p99: float | None
    cpu_s: float
    cpu_us_per_message: float
    loop_lag_ms_max: float

    def as_json(self) -> dict[str, object]:
        """All fields, for one line of JSON."""
        return asdict(self)


class Traffic:
    """The state that all links of one run share."""

    def __init__(
        self, template: SubmitTemplate, *, count: int | None, token_base: int, acked: bool
    ) -> None:
        self.template = template
        self.remaining = count if count is not None else TOKEN_NUMBER_MAX
        self.next_token = token_base
        # Small runs are measured whole, long ones at every 16th message.
        self.sample_every = 1 if count is not None and count <= 10_000 else 16
        self.acked: list[bytes] | None = [] if acked else None  # lines to be written
        self.submitted = 0
        self.ok = 0
        self.errors: Counter[int] = Counter()
        self.unanswered = 0
        self.resubmitted = 0
        self.unexpected_resps = 0
        self.ids: dict[bytes, int] = {}  # message id -> receipts so far
        self.strays: dict[bytes, int] = {}  # the same, for ids no answer has named
        self.strays_beyond = 0
        self.receipts = 0
        self.receipts_distinct = 0
        self.receipts_matching_both = 0
        self.states = [0] * 256  # receipts by message_state
        self.mo = 0
        self.malformed = 0  # deliver_sm
        self.binds = 0
        self.binds_ever = 0
        self.binds_refused: Counter[int] = Counter()
        self.links_lost = 0
        self.last_error = ""
        self.awaiting_receipt: dict[bytes, int] = {}  # sampled ids -> when submitted
        self.submit_resp_ns = Samples()
        self.receipt_ns = Samples()
        self.first_submit_ns = 0
        self.last_submit_ns = 0
        self.last_answer_ns = 0
        self.last_receipt_ns = 0
        self._cpu_start_s = time.process_time()

    def take_tokens(self, count: int) -> tuple[int, int]:
        """The first of some tokens in a row, and how many: at most `count`."""
        count = min(count, self.remaining)
        first = self.next_token
        self.next_token += count
        self.remaining -= count
        self.submitted += count
        return first, count

    def lose(self, count: int, *, resubmit: bool) -> None:
        """A link went with so many unanswered messages."""
        self.unanswered += count
        if resubmit:
            self.remaining += count
            self.resubmitted += count

    def add_early_receipts(self, message_id: bytes) -> None:
        """A receipt may overtake the answer that names its id; it is no stray then."""
        count = self.strays.pop(message_id, 0)
        if count:
            self.ids[message_id] = count
            self.receipts_distinct += 1

    def add_stray(self, message_id: bytes) -> None:
        """Count a receipt for an id that no answer has named so far."""
        if message_id in self.strays or len(self.strays) < STRAYS_MAX:
            self.strays[message_id] = self.strays.get(message_id, 0) + 1
        else:
            self.strays_beyond += 1

    def last_progress_ns(self) -> int:
        """When something last came back; when the first submit left, if nothing did."""
        return max(self.first_submit_ns, self.last_answer_ns, self.last_receipt_ns)

    def last_activity_ns(self) -> int:
        """The same, or when we last submitted."""
        return max(self.last_submit_ns, self.last_progress_ns())

    def summary(self, *, in_flight: int, ended: str, complete: bool, loop_lag_s: float) -> Summary:
        """Where the run stands."""
        now_ns = time.monotonic_ns()
        answer_s = (self.last_answer_ns - self.first_submit_ns) / 1e9
        receipt_s = (self.last_receipt_ns - self.first_submit_ns) / 1e9
        until_ns = self.last_progress_ns() if ended else now_ns
        cpu_s = time.process_time() - self._cpu_start_s
        states = {value: name for name, value in wire.MESSAGE_STATES.items()}
        return Summary(
            finished=complete,
            ended=ended,
            submitted=self.submitted,
            ok=self.ok,
            errors=wire.by_status(self.errors),
            unanswered=self.unanswered,
            in_flight=in_flight,
            resubmitted=self.resubmitted,
            unexpected_resps=self.unexpected_resps,
            distinct_ids=len(self.ids),
            receipts=self.receipts,
            receipts_distinct=self.receipts_distinct,
            receipts_matching_both=self.receipts_matching_both,
            receipts_stray=sum(self.strays.values()) + self.strays_beyond,
            receipts_by_state={
                states.get(state, str(state)): count
                for state, count in enumerate(self.states)
                if count
            },
            mo=self.mo,
            malformed=self.malformed,
            binds=self.binds,
            binds_ever=self.binds_ever,
            binds_refused=wire.by_status(self.binds_refused),
            links_lost=self.links_lost,
            last_error=self.last_error,
            seconds=round((until_ns - self.first_submit_ns) / 1e9, 3)
            if self.first_submit_ns
            else 0.0,
            rate_per_s=_rate(self.ok + self.errors.total(), answer_s),
            receipt_rate=_rate(self.receipts, receipt_s),
            submit_resp_ms_p50=_ms(self.submit_resp_ns.percentile(0.50)),
            submit_resp_ms_p99=_ms(self.submit_resp_ns.percentile(0.99)),
            receipt_ms_p50=_ms(self.receipt_ns.percentile(0.50)),
            receipt_ms_p99=_ms(self.receipt_ns.percentile(0.99)),
            cpu_s=round(cpu_s, 3),
            cpu_us_per_message=round(cpu_s / self.submitted * 1e6, 2) if self.submitted else 0.0,
            loop_lag_ms_max=round(loop_lag_s * 1000, 2),
        )


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if count and seconds > 0 else 0.0


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else round(value_ns / 1e6, 3)
