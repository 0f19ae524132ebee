"""Storms of throttling: nothing is lost in one, and the rate is back soon after it.

Lessons 33, 34, 36 of users of other gateways: a throttled message waited a minute while others passed
it, long ones were lost, a full queue counted as a failure.
"""

import random
from collections.abc import Callable

import pytest

from gateway.smpp import consts
from tests.relay.links import CarrierLink
from tests.relay.setups import COMPANIES, NUMBER, Setup, campaign, limits
from tests.relay.world import World

RATE = 50
STEP_S = 0.02


class Storm:
    """A backlog at a carrier that answers every submit_sm after 20 ms, as it is told."""

    def __init__(self, messages: int) -> None:
        registry = COMPANIES + campaign("C1", NUMBER, limits=limits(("second", RATE)))
        self.world = World(Setup(registry=registry), audited=False)
        self.world.run(2.0)
        client = self.world.connect()
        for place in range(messages):
            self.world.submit(client, b"x" * (254 if place % 7 == 0 else 5))
        self.world.settle()
        self.link: CarrierLink = self.world.bind(window=200)
        self.taken: list[tuple[float, int]] = []
        self.order: list[int] = []

    def run(self, seconds: float, answer: Callable[[], int]) -> None:
        """So long it answers what `answer` says."""
        for _ in range(round(seconds / STEP_S)):
            self.world.run(STEP_S)
            for message_id, message in list(self.link.unanswered.items()):
                status = answer()
                self.world.respond(self.link, message_id, status)
                if status == consts.ESME_ROK:
                    self.taken.append((self.world.clock.monotonic, message.segments))
                    self.order.append(message_id)

    def taken_since(self, moment: float) -> int:
        """Segments that the carrier took."""
        return sum(segments for at, segments in self.taken if at >= moment)


def ok() -> int:
    return consts.ESME_ROK


@pytest.mark.parametrize("status", [consts.ESME_RTHROTTLED, consts.ESME_RMSGQFUL])
def test_after_a_minute_of_throttling_the_rate_is_back_within_ten_seconds(status: int) -> None:
    storm = Storm(3_000)
    storm.run(5.0, ok)
    storm.run(60.0, lambda: status)
    ended = storm.world.clock.monotonic
    storm.run(20.0, ok)

    assert storm.taken_since(ended + 10.0) >= 0.9 * RATE * 10
    assert 3_000 == storm.world.state.totals.accepted
    assert 3_000 == sum(storm.world.state.totals.in_state[:4])  # nothing has failed
    assert storm.order == sorted(storm.order)


def test_random_throttling_loses_nothing() -> None:
    storm = Storm(200)
    dice = random.Random(1)
    answers = (consts.ESME_RTHROTTLED, consts.ESME_ROK, consts.ESME_ROK)
    storm.run(120.0, lambda: dice.choice(answers))

    assert 200 == len(storm.order) == len(set(storm.order))
    assert storm.world.state.carriers["carrier-a"].throttled > 40
