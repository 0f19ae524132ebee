"""Script: what a seed decides before its run begins: who takes part, how fast, when, and what fails.

One seed, one script: campaigns with every kind of limit and of doubt, carriers with windows and
rates, clients, the moment at which it begins (often shortly before a day ends, also the two that
daylight saving makes longer and shorter), and how often each fault strikes. Actors draw from a
stream of their own, so that what one of them does never changes what another does.
"""

import datetime
import random
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway.relay.parties import Match
from gateway.relay.receipt_map import Mode
from gateway.relay.state import Policy
from tests.relay.setups import COMPANIES, Setup, Shop, Smsc, Way, campaign, limits
from tests.sim.pace import DayCap, Rate

LA: Final = "America/Los_Angeles"
MODES: Final[tuple[Mode, ...]] = ("same", "resp_hex_receipt_dec", "resp_dec_receipt_hex")

CALM: Final = "CCALM01"
CALM_S: Final = 12.0
"""Nothing goes wrong for so long: then `use` is asked."""
SECONDS: Final = 150.0
"""How long anything may happen, in the small runs of `make test`."""

TIMEOUT_S: Final = 1200.0
"""How long a message waits for its receipt."""

BEGINNINGS: Final = (
    datetime.datetime(2026, 11, 1, 0, 0, tzinfo=ZoneInfo(LA)),  # the day of 25 hours begins
    datetime.datetime(2026, 11, 2, 0, 0, tzinfo=ZoneInfo(LA)),  # and ends
    datetime.datetime(2027, 3, 14, 0, 0, tzinfo=ZoneInfo(LA)),  # the day of 23 hours
    datetime.datetime(2027, 3, 15, 0, 0, tzinfo=ZoneInfo(LA)),
    datetime.datetime(2027, 3, 14, 3, 0, tzinfo=ZoneInfo(LA)),  # the hour that is not
    datetime.datetime(2026, 9, 22, 0, 0, tzinfo=ZoneInfo(LA)),
    datetime.datetime(2026, 12, 31, 0, 0, tzinfo=ZoneInfo("America/New_York")),
    datetime.datetime(2026, 9, 21, 15, 0, tzinfo=ZoneInfo(LA)),
)


DAILY: Final = ("CTWICE1", "CDAYLY1")
"""Campaigns that people are in a hurry to use before midnight."""


class Programme(NamedTuple):
    """One campaign: its number, its limits, what it does in doubt."""

    name: str
    number: str
    limits: tuple[tuple[str, float], ...] = ()
    at_cap: str = "hold"
    zone: str = LA
    in_doubt: str = "resend"
    resends: int = 1
    brand: str = "BACME01"
    use_case: str = "ACCOUNT_NOTIFICATION"
    weight: float = 1.0
    """How much of the traffic is its."""
    is_active: bool = True


class Rates(NamedTuple):
    """How often something goes wrong: per second, unless it says otherwise."""

    crash: float
    crash_at_step: float
    """For each step of each turn."""
    reset: float
    half_open: float
    clog: float
    storm: float
    room: float
    wall: float
    operate: float
    reimport: float
    slow_commit: float
    """For each commit."""
    failed_commit: float
    """For each commit: short of room, so it is tried again; a tenth of them ends the process."""
    lost: float
    """For each submit_sm: never answered."""
    late_commit: bool
    """One takes longer than a day's border, over midnight."""
    client_reset: float


class Script:
    """All that is known of a run before it begins."""

    def __init__(self, seed: int, seconds: float = SECONDS) -> None:
        self.seed = seed
        self.seconds = seconds
        draw = self.stream("script")
        self.calm_campaign = CALM
        self.calm_per_second = draw.choice([2.0, 5.0, 12.5, 20.0])
        self.programmes = self._programmes(draw)
        self.midnight_s = CALM_S + draw.uniform(0.2, 0.7) * seconds
        """When the day ends that it began on, or the moment of `BEGINNINGS` comes."""
        self.began_wall_s = draw.choice(BEGINNINGS).timestamp() - self.midnight_s
        self.per_second = draw.choice([4.0, 7.0, 10.0, 14.0])
        """Messages that clients submit, calm campaign aside."""
        self.shop_queue = 400
        self.till_queue = draw.choice([20, 60, 2_000])
        self.tps = float(draw.choice([8, 15, 25]))
        self.windows = {"calm": 12, "a": draw.choice([3, 10, 30]), "b": 10, "spare": 4}
        self.rates = _rates(draw)
        self.setup = self._setup(draw)
        self.has_spare = True
        """Whether the configuration names this carrier."""
        self.resends_max = {p.name: _resends(p) for p in self.programmes}
        self.senders = {
            "shop": [p.number for p in self.programmes if p.brand == "BACME01"],
            "till": [p.number for p in self.programmes if p.name in ("CFREE01", "CTWICE1")],
            "solo": [p.number for p in self.programmes if p.brand == "BOTHER1"],
        }

    def stream(self, name: str) -> random.Random:
        """The randomness of one actor."""
        return random.Random(f"{self.seed}/{name}")

    def programme(self, name: str) -> Programme:
        return next(p for p in self.programmes if p.name == name)

    def registry(self) -> str:
        """The registry as it is to be now."""
        return COMPANIES + "".join(
            campaign(
                p.name,
                p.number,
                brand=f'"{p.brand}"',
                status='"ACTIVE"' if p.is_active else '"SUSPENDED"',
                use_case=f'"{p.use_case}"',
                in_doubt=f'"{p.in_doubt}"',
                in_doubt_resends=str(max(p.resends, 1)),
                limits=limits(*p.limits, at_cap=p.at_cap, zone=p.zone),
            )
            for p in self.programmes
        )

    def setup_now(self) -> Setup:
        """What a process reads at its start."""
        if self.has_spare:
            return self.setup
        return self.setup._replace(
            carriers=tuple(smsc for smsc in self.setup.carriers if smsc.name != "spare"),
            routes=tuple(way._replace(backup=()) for way in self.setup.routes),
        )

    def change(self, changed: Programme) -> None:
        """One campaign is another from the next import on."""
        self.programmes = [changed if p.name == changed.name else p for p in self.programmes]

    def tell_limits(self, rate: Rate, days: DayCap) -> None:
        """The oracles' figures, at the beginning."""
        for smsc in self.setup.carriers:
            if smsc.tps is not None:
                rate.limit(smsc.name, "second", smsc.tps)
        for programme in self.programmes:
            for per, segments in programme.limits:
                if per == "day":
                    days.limit(programme.name, int(segments), programme.zone)
                else:
                    rate.limit(programme.name, per, segments)

    def _programmes(self, draw: random.Random) -> list[Programme]:
        cap = draw.choice([25, 60, 120])
        return [
            Programme(CALM, "12025550100", (("second", self.calm_per_second),), weight=0.0),
            Programme("CFREE01", "12025550101", weight=4.0),
            Programme("CHOLD01", "12025550102", (("second", 6),), in_doubt="hold"),
            Programme("CFAIL01", "12025550103", (("minute", 40),), in_doubt="fail", use_case="2FA"),
            Programme("CTWICE1", "12025550104", (("second", 9), ("day", cap)), resends=2),
            Programme("CSLOW01", "12025550105", (("second", draw.choice([0.25, 1.5])),)),
            Programme("CMINUT1", "12025550106", (("minute", draw.choice([1, 7])),), weight=0.3),
            Programme("CDAYRF1", "12025550107", (("day", cap // 2),), at_cap="refuse"),
            Programme("CDAYLY1", "12025550108", (("day", cap), ("minute", 90)), weight=2.0),
            Programme("CZERO01", "12025550109", (("second", 0),), weight=0.5),
            Programme("COTHER1", "12025550200", brand="BOTHER1", weight=2.0),
            Programme("COTHER2", "12025550201", brand="BOTHER1", weight=1.0),
        ]

    def _setup(self, draw: random.Random) -> Setup:
        return Setup(
            clients=(
                Shop("shop", deliver_window=6, queue_limit=self.shop_queue),
                Shop("till", deliver_window=2, queue_limit=self.till_queue),
                Shop("solo", company="other", deliver_window=20),
            ),
            carriers=(
                Smsc("calm", receipt_timeout_s=TIMEOUT_S),
                Smsc(
                    "a",
                    tps=self.tps,
                    throttle_pause_s=draw.choice([0.3, 1.0]),
                    receipt_timeout_s=draw.choice([TIMEOUT_S / 40, TIMEOUT_S]),
                ),
                Smsc(
                    "b",
                    always_receipts=False,
                    receipt_timeout_s=TIMEOUT_S,
                    receipt_id_mode=draw.choice(MODES),
                ),
                Smsc("spare", receipt_timeout_s=TIMEOUT_S / 10, receipt_id_mode=draw.choice(MODES)),
            ),
            routes=(
                Way("calm", (("calm", 1.0),), match=Match(campaign=CALM)),
                Way("other", (("a", 1.0),), match=Match(campaign="COTHER1")),
                Way("more", (("a", 1.0),), match=Match(campaign="COTHER2")),
                Way("free", (("a", 1.0),), match=Match(campaign="CFREE01")),
                Way("uk", (("b", 1.0),), match=Match(to=b"44")),
                Way("us", (("a", 1.0), ("b", 2.0)), backup=("spare",)),
            ),
            registry="",
            policy=Policy(
                # A day's step of the wall clock would purge what clients have not read.
                record_keep_s=90 * 86400.0 if self.rates.wall else 900.0,
                text_keep_s=7 * 86400.0 if self.rates.wall else 300.0,
                undelivered_keep_s=30 * 86400.0,
            ),
            working_set=25,
        )


def _resends(programme: Programme) -> int:
    return programme.resends if programme.in_doubt == "resend" else 0


def _rates(draw: random.Random) -> Rates:
    """Some seeds are wild, some see one fault alone, some are quiet but for the peers."""

    def often(*choices: float) -> float:
        return draw.choice([0.0, *choices])

    return Rates(
        crash=often(0.01, 0.05),
        crash_at_step=often(0.0005, 0.003),
        reset=often(0.01, 0.06),
        half_open=often(0.01, 0.03),
        clog=often(0.05, 0.3),
        storm=often(0.01, 0.03),
        room=often(0.01, 0.03),
        wall=often(0.01, 0.03),
        operate=draw.choice([0.05, 0.3]),
        reimport=draw.choice([0.02, 0.1]),
        slow_commit=often(0.002, 0.02),
        failed_commit=often(0.001, 0.005),
        lost=often(0.005, 0.03),
        late_commit=draw.random() < 0.3,
        client_reset=often(0.01, 0.05),
    )
