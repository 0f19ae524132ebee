"""Day: one long run: a day and a night of traffic as it is, faults included, in minutes.

The small runs reach every limit of memory within seconds; this one looks for what needs hours:
what grows, what drifts, what a second midnight does. It begins in the evening before the day of 25
hours, the traffic follows the clock, and something fails every few minutes.
"""

import math
import time
from collections.abc import Callable
from typing import Final

from gateway.relay import sweep
from tests.sim import gateway
from tests.sim.script import CALM_S, Programme, Rates, Script
from tests.sim.store import DictStore
from tests.sim.world import Result, World, verdict

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
PER_SECOND: Final = 5.0
"""On average over the day; a fifth is refused: for its sender, or while its campaign is suspended."""

CAP: Final = 15_000
"""Segments a day."""

EVENING_S: Final = 6 * HOUR_S
"""From the beginning to midnight."""

RATES: Final = Rates(
    crash=1 / 1800,
    crash_at_step=1e-5,
    reset=1 / 600,
    half_open=1 / 1800,
    clog=1 / 300,
    storm=1 / 1200,
    room=1 / 3600,
    wall=0.0,
    operate=1 / 30,
    reimport=1 / 600,
    slow_commit=1e-4,
    failed_commit=1e-5,
    lost=1e-4,
    late_commit=True,
    client_reset=1 / 900,
)


class LongDay(Script):
    """The script of a day."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, DAY_S)
        self.rates = RATES
        self.per_second = PER_SECOND
        self.tps = 25.0
        self.shop_queue = self.till_queue = 50_000
        self.programmes = [_for_a_day(programme) for programme in self.programmes]
        self.setup = self._setup(self.stream("day"))
        self.midnight_s = EVENING_S
        self.began_wall_s = DAY_OF_25_HOURS - EVENING_S


def _for_a_day(programme: Programme) -> Programme:
    """Its daily cap lasts until the evening."""
    limits = [(per, CAP if per == "day" else segments) for per, segments in programme.limits]
    return programme._replace(limits=tuple(limits))


DAY_OF_25_HOURS: Final = 1793516400.0
"""2026-11-01 00:00 in Los Angeles."""


def share_of(true_s: float) -> float:
    """Of the average traffic, at this time of the day: little at night, most in the afternoon."""
    hour = (18.0 + true_s / HOUR_S) % 24.0
    return 1.0 + 0.8 * math.cos((hour - 15.0) / 12.0 * math.pi)


def run(seed: int, say: Callable[[str], None]) -> Result:
    """The whole day."""
    began_s = time.perf_counter()
    big = ((sweep, "BITE", 500), (sweep, "PASS_S", 60.0), (gateway, "LOOK_TURNS", 20_000))

    def each_hour(world: World) -> None:
        true_s = world.clock.true_s
        for client in world.clients:
            client.share = share_of(true_s)
        say(
            f"{true_s / HOUR_S:5.1f} h, {world.watch.seen['accepted']:8,} messages, "
            f"{world.gateway.crashes:3} crashes, {len(world.watch.mirror.messages):6,} stored, "
            f"{time.perf_counter() - began_s:4.0f} s"
        )

    def act(world: World) -> None:
        world.calm()
        while world.clock.true_s < CALM_S + DAY_S:
            each_hour(world)
            world.agenda.run_until(min(world.clock.true_s + HOUR_S, CALM_S + DAY_S))
        world.end()

    return verdict(LongDay(seed), DictStore(), act, *big)
