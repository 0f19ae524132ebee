"""Pace: the invariants of speed: never too fast, not needlessly slow, no day over its cap, fair.

The oracles count by true time what was written to carriers, and know nothing of windows, slots,
reservations or charges: a window of a limit is the moments at which something left in its last
`span_s`, a day is a date in its zone. What the gateway must keep is a guard wider than what a
carrier counts (`limits.guard_ms`), so that is what they ask for.
"""

import datetime
from collections import Counter, deque
from typing import Final
from zoneinfo import ZoneInfo

from gateway.model.records import Message
from gateway.relay.lanes import Lane
from gateway.relay.state import State
from gateway.throttle.day import BORDER_S
from gateway.throttle.limit import PERIOD_S
from tests.sim.invariants import Invariant

SLACK_S: Final = 1e-6
"""Floating point; a guard is ten thousand times as long."""

AHEAD_S: Final = 4.5
"""A carrier's clock may be ahead by as much (`day.BORDER_S` is 5 s), if a commit is prompt."""

PROMPT_S: Final = 0.45

USED_MIN: Final = 0.98
"""P3: of a limit a second, with a backlog and commits of up to 5 ms."""

FAIR_S: Final = 8.0
FAIR_TURNS: Final = 14
FAIR_SEGMENTS: Final = 350
"""A lane that could go on is passed over for so long, while others on its carrier got so much: of one
with a rate what passes in so many seconds, a turn of every other lane and a few more."""

MINUTES_S: Final = 66.0
"""After a start a limit a minute counts what may have left just before it: for so long nobody can say
that its lane could go on."""


class Span:
    """One limit's window: `capacity` segments in `span_s`, as a carrier with a stop-watch counts."""

    def __init__(self, segments: float, period_s: float, guard_s: float) -> None:
        self.capacity = -int(-segments // 1)
        self.span_s = period_s * (self.capacity / segments if segments else 1.0) + guard_s
        self._left: deque[tuple[float, int]] = deque()
        self.inside = 0

    def add(self, at: float, segments: int) -> int:
        """So many left at this time; how many are inside the window that ends here."""
        self._left.append((at, segments))
        self.inside += segments
        return self.inside_at(at)

    def inside_at(self, at: float) -> int:
        left, gone = self._left, at - self.span_s + SLACK_S
        while left and left[0][0] <= gone:
            self.inside -= left.popleft()[1]
        return self.inside

    def taken_over(self, old: "Span") -> "Span":
        """The same limit with other figures: what left counts on."""
        self._left, self.inside = deque(old._left), old.inside
        return self


class Rate(Invariant):
    """P3, for each limit of a campaign, and for each carrier's `tps`."""

    name = "rate"

    def __init__(self, guard_s: float) -> None:
        self._guard_s = guard_s
        self._spans: dict[tuple[str, str], Span] = {}
        self._by_campaign: dict[str, list[tuple[str, str]]] = {}
        self._loose_until: dict[tuple[str, str], int] = {}

    def limit(self, owner: str, per: str, segments: float | None, turn: int = -1) -> None:
        """A limit is so high from now on; None: there is none any more.

        What is in the turns until then was decided by the old one: `turn` is the open one, and the
        lesser of both limits counts when all before it have left.
        """
        key = owner, per
        old = self._spans.pop(key, None)
        names = self._by_campaign.setdefault(owner, [])
        if segments is None:
            if key in names:
                names.remove(key)
            return
        span = Span(segments, PERIOD_S[per], self._guard_s)
        if old is not None:
            span.taken_over(old)
            self._loose_until[key] = turn + 1
        else:
            names.append(key)
        self._spans[key] = span

    def wrote(self, owner: str, segments: int, true_s: float, turn: int) -> None:
        """So many segments left, of this campaign or to this carrier, with this turn."""
        for key in self._by_campaign.get(owner, ()):
            span = self._spans[key]
            inside = span.add(true_s, segments)
            if inside > span.capacity and turn > self._loose_until.get(key, -1):
                raise self.broken(
                    f"{inside} segments of {owner} in {span.span_s:.3f} s, {span.capacity} allowed"
                )

    def has_room(self, owner: str, segments: int, true_s: float) -> bool:
        """Whether nothing here keeps it waiting."""
        return all(
            self._spans[key].inside_at(true_s) + segments <= self._spans[key].capacity
            for key in self._by_campaign.get(owner, ())
        )


class Use(Invariant):
    """P3, the other half: a limit is there to be used. Told of one campaign while all is well."""

    name = "use"

    def __init__(self, campaign: str, per_second: float) -> None:
        self.campaign = campaign
        self._per_second = per_second
        self._first_s: float | None = None
        self._first = 0
        self._last_s = 0.0
        self._total = 0

    def wrote(self, segments: int, true_s: float) -> None:
        if self._first_s is None:
            self._first_s = true_s
        if true_s - self._first_s < SLACK_S:
            self._first += segments
        self._last_s = true_s
        self._total += segments

    def calm_ended(self, true_s: float) -> None:
        """So far there was a backlog, and nothing in its way."""
        if self._first_s is None:
            raise self.broken(f"nothing of {self.campaign} was sent at all")
        # One period after the last it could have been used, too: nothing came.
        ended_s = max(self._last_s, true_s - 1.1 * max(1.0, 1.0 / self._per_second))
        allowed = self._per_second * (ended_s - self._first_s)
        used = (self._total - self._first) / allowed
        if used < USED_MIN:
            raise self.broken(f"{used:.4f} of the limit of {self.campaign} was used")


class DayCap(Invariant):
    """P4: by the calendar of the cap's zone, whatever our clocks say.

    And by the calendar of a carrier whose clock is a little ahead. A refusal gives its place back to
    the day on which it left.
    """

    name = "day-cap"

    def __init__(self) -> None:
        self._caps: dict[str, tuple[int, ZoneInfo]] = {}
        self._used: Counter[tuple[str, bool, datetime.date]] = Counter()
        self._late: list[tuple[tuple[str, bool, datetime.date], int]] = []
        self._left: dict[int, tuple[str, tuple[datetime.date, datetime.date], int]] = {}

    def limit(self, campaign: str, segments: int | None, zone: str) -> None:
        """A campaign's cap; None: it has none any more."""
        if segments is None:
            self._caps.pop(campaign, None)
        else:
            self._caps[campaign] = segments, ZoneInfo(zone)

    def wrote(self, message: Message, true_wall: float, waited_s: float) -> None:
        """It left so long after it was put into its turn."""
        cap = self._caps.get(message.campaign)
        if cap is None:
            return
        # Carriers' clocks may be ahead, and ours knows it; of a slow commit it could not know.
        ahead_s = AHEAD_S if 0.0 <= waited_s < PROMPT_S else 0.0
        ours, theirs = (
            datetime.datetime.fromtimestamp(wall, cap[1]).date()
            for wall in (true_wall, true_wall + ahead_s)
        )
        self._left[message.id] = message.campaign, (ours, theirs), message.segments
        for is_ahead, day in enumerate((ours, theirs)):
            key = message.campaign, bool(is_ahead), day
            if waited_s > BORDER_S:
                self._late.append((key, message.segments))
            used = self._used[key] = self._used[key] + message.segments
            if used > cap[0]:
                raise self.broken(
                    f"{used} segments of {message.campaign} on {day}, {cap[0]} allowed"
                )

    def crashed(self) -> None:
        """P4's limit: what left late over a reset counts to the old day, if we crash right then."""
        for key, segments in self._late:
            self._used[key] -= segments
        self._late.clear()

    def refused(self, message_id: int) -> None:
        left = self._left.pop(message_id, None)
        if left is not None:
            for is_ahead, day in enumerate(left[1]):
                self._used[left[0], bool(is_ahead), day] -= left[2]


class Fair(Invariant):
    """No lane waits for ever that could be served: looked at now and then, by what was written."""

    name = "fair"

    def __init__(self, rate: Rate, tps: dict[str, float]) -> None:
        self._rate = rate
        self._most = {name: FAIR_TURNS * per_second for name, per_second in tps.items()}
        self._sent: Counter[str] = Counter()
        self._since: dict[tuple[str, str], tuple[float, int, int]] = {}
        """A lane that could go on: since when, what its carrier had got, and it itself."""
        self._of_lane: Counter[tuple[str, str]] = Counter()
        self._minutes_from_s = 0.0

    def wrote(self, carrier: str, lane: tuple[str, str], segments: int) -> None:
        self._sent[carrier] += segments
        self._of_lane[lane] += segments

    def crashed(self, true_s: float) -> None:
        self._since.clear()
        self._minutes_from_s = true_s + MINUTES_S

    def look(self, state: State, true_s: float, monotonic: float) -> None:
        for key, lane in state.lanes.items():
            carrier = self._could_use(state, lane, true_s, monotonic)
            if carrier is None:
                self._since.pop(key, None)
                continue
            own = self._of_lane[key]
            since_s, sent, own_then = self._since.setdefault(
                key, (true_s, self._sent[carrier], own)
            )
            if own > own_then:
                self._since[key] = true_s, self._sent[carrier], own
            elif true_s - since_s > FAIR_S and self._sent[carrier] - sent > self._most.get(
                carrier, FAIR_SEGMENTS
            ):
                raise self.broken(
                    f"lane {key} waited {true_s - since_s:.0f} s, while {carrier} got "
                    f"{self._sent[carrier] - sent} segments of others"
                )

    def _could_use(self, state: State, lane: Lane, true_s: float, monotonic: float) -> str | None:
        """The carrier that serves others while this lane waits; None if it has a reason to wait."""
        route = state.route_by_name[lane.route]
        if not lane.rows or route.only is None or not route.only.bound:
            return None
        if route.only.paused.get(lane.campaign, 0.0) > monotonic:
            return None
        level = lane.first()
        # What is first may not have been brought into memory yet: then it counts as short.
        segments = 1 if level is None or not level.head else level.head[0].segments
        campaign = state.catalog.campaigns.get(lane.campaign)
        if campaign is None or campaign.blocked is not None:
            return None
        limits = state.limits.get(lane.campaign, ())
        if any(limit.day is not None for limit in limits):
            return None
        if true_s < self._minutes_from_s and any(limit.per == "minute" for limit in limits):
            return None
        return route.only.name if self._rate.has_room(lane.campaign, segments, true_s) else None
