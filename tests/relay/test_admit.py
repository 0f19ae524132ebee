"""Admission: who may send what, and what those who may not are told."""

from typing import Any

import pytest

from gateway.model.outcomes import OUTCOMES, StatusStyle
from gateway.relay.admit import recipient
from gateway.relay.parties import Match
from gateway.relay.state import Policy
from gateway.smpp import consts
from gateway.smpp.codec import encode_sm
from tests.relay.links import sm_of
from tests.relay.setups import (
    COMPANIES,
    DAY_S,
    HOUR_S,
    NUMBER,
    SLOW_NUMBER,
    Setup,
    Shop,
    Way,
    campaign,
    limits,
)
from tests.relay.world import HANDSET, WALL, World

OTHERS = "12025550200"
PENDING = "12025550120"
UNVERIFIED = "12025550130"
FREE = "12025550190"
SHORT_CODE = "24365"

REGISTRY = (
    COMPANIES
    + campaign("CFAST01", NUMBER)
    + campaign("CSLOW01", SLOW_NUMBER, limits=limits(("second", 3)))
    + campaign("COTHER1", OTHERS, brand='"BOTHER1"')
    + campaign("CPEND01", PENDING, status='"PENDING"')
    + campaign("CUNVER1", UNVERIFIED, brand='"BNEW001"')
    + campaign("C2FA001", SHORT_CODE, use_case='"2FA"').replace("+24365", "24365")
    + """
[[brand]]
id = "BNEW001"
company = "acme"
identity_status = "UNVERIFIED"

[[number]]
number = "+12025550190"
company = "acme"
"""
)

LONG = b"x" * 254
"""Two segments."""

PAST = b"200101000000000+"


def refused(world: World, **fields: Any) -> int:
    """The status with which this submit is refused, at once and without a row."""
    link = world.connect()
    world.settle()
    commits, accepted = world.disk.commits, world.state.totals.accepted
    sequence_number = world.submit(link, **fields)
    status = link.answered[sequence_number].status
    world.settle()
    assert (commits, accepted) == (world.disk.commits, world.state.totals.accepted)
    assert 0 == world.client().accepted
    return status


REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("unknown_sender", {"source": "12025559999"}),
    ("unknown_sender", {"source": OTHERS}),
    ("unknown_sender", {"source": ""}),
    ("number_not_assigned", {"source": FREE}),
    ("campaign_not_active", {"source": PENDING}),
    ("brand_not_verified", {"source": UNVERIFIED}),
    ("bad_address", {"to": "0"}),
    ("bad_address", {"to": "1234567"}),
    ("expired", {"validity": PAST}),
    ("expired", {"validity": b"000000000000000R"}),
    ("expired", {"validity": b"not a time at al"}),
    ("no_route", {"to": "442071838750"}),
    ("too_long", {"source": SLOW_NUMBER, "text": b"", "tlvs": b"\x04\x24\x04\x00" + b"x" * 1024}),
]


@pytest.mark.parametrize("style", ["specific", "standard"])
@pytest.mark.parametrize(("outcome", "fields"), REFUSALS)
def test_a_refusal_leaves_at_once_with_the_status_of_its_outcome(
    style: StatusStyle, outcome: str, fields: dict[str, Any]
) -> None:
    world = World(Setup(registry=REGISTRY, policy=Policy(status_style=style)))

    assert OUTCOMES[outcome].command_status(style) == refused(world, **fields)
    assert {outcome: 1} == world.client().refused


def test_what_is_refused_by_several_is_answered_by_the_first() -> None:
    order: list[tuple[str, dict[str, Any]]] = [
        ("unknown_sender", {"source": "12025559999"}),
        ("campaign_not_active", {"source": PENDING}),
        ("bad_address", {"to": "5"}),
        ("expired", {"validity": PAST}),
        ("no_route", {"to": "442071838750"}),
    ]
    for place, (outcome, fields) in enumerate(order):
        world = World(Setup(registry=REGISTRY))
        wrong = dict(fields)
        for _, later in order[place + 1 :]:
            wrong = later | wrong

        assert OUTCOMES[outcome].status == refused(world, **wrong)


@pytest.mark.parametrize("room", ["low", "none"])
def test_a_disk_that_is_filling_up_takes_nothing_new(room: str) -> None:
    world = World()
    world.core.room_changed(room)  # type: ignore[arg-type]

    assert consts.ESME_RMSGQFUL == refused(world)
    world.core.room_changed("plenty")
    world.accepted(world.connect())


def test_a_full_queue_is_told_to_every_style_as_queue_full() -> None:
    for style in ("specific", "standard"):
        shop = Shop(queue_limit=2)
        world = World(Setup(clients=(shop,), policy=Policy(status_style=style)))
        link = world.connect()
        for _ in range(2):
            world.accepted(link)
        full = world.submit(link)
        assert consts.ESME_RMSGQFUL == link.answered[full].status

        world.bind()  # the two are in flight now, and no longer queued
        world.accepted(link)


def test_a_full_queue_is_one_clients_own() -> None:
    world = World(Setup(clients=(Shop(queue_limit=1), Shop(name="till"))))
    shop, till = world.connect(), world.connect("till")
    world.accepted(shop)

    assert consts.ESME_RMSGQFUL == shop.answered[world.submit(shop)].status
    world.accepted(till)


# What is taken, and how it is read


def test_a_plus_before_a_number_changes_nothing() -> None:
    world = World()
    plain = world.message(world.accepted(world.connect()))
    plus = world.message(world.accepted(world.connect(), source=f"+{NUMBER}", to=f"+{HANDSET}"))

    assert (NUMBER.encode(), HANDSET.encode()) == (plain.source, plain.destination)
    assert (plain.source, plain.destination) == (plus.source, plus.destination)


@pytest.mark.parametrize(
    ("to", "dest_ton", "expected"),
    [
        ("3105550123", 0, b"13105550123"),  # ten digits
        ("3105550123", 2, b"13105550123"),
        ("3105550123", 1, b"3105550123"),  # marked international: Greece or so
        ("+3105550123", 0, b"3105550123"),
        ("13105550123", 0, b"13105550123"),
        ("1110550123", 0, None),  # no area code, and no country either
        ("11105550123", 1, None),
        ("13101550123", 1, None),  # no exchange begins with 1
        ("131055501234", 1, None),
        ("442071838750", 1, b"442071838750"),
        ("4420718", 1, b"4420718"),
        ("442071", 1, None),
        ("4420718387501234", 1, None),
        ("0442071838750", 1, None),
        ("88121234567", 1, b"88121234567"),
        ("4420718x8750", 1, None),
        ("++442071838750", 1, None),
        ("", 1, None),
        ("+", 1, None),
    ],
)
def test_a_recipient_is_e164_or_ten_digits_of_north_america(
    to: str, dest_ton: int, expected: bytes | None
) -> None:
    body = encode_sm(dest_addr_ton=dest_ton, destination_addr=to.encode())

    assert expected == recipient(sm_of(body))


@pytest.mark.parametrize(
    ("source", "validity", "expires_in_s"),
    [
        (NUMBER, b"", 48 * HOUR_S),
        (SHORT_CODE, b"", 600.0),
        (NUMBER, b"000000010000000R", HOUR_S),
        (NUMBER, b"000010000000000R", 10 * DAY_S),
    ],
)
def test_a_message_expires_by_its_own_wish_or_by_its_use_case(
    source: str, validity: bytes, expires_in_s: float
) -> None:
    world = World(Setup(registry=REGISTRY))
    message = world.message(world.accepted(world.connect(), source=source, validity=validity))

    assert (WALL, WALL + expires_in_s) == (message.accepted_at, message.expires_at)


@pytest.mark.parametrize(("wished", "given"), [(0, 0), (3, 3), (4, 3), (255, 3)])
def test_a_priority_is_at_most_3(wished: int, given: int) -> None:
    world = World()

    assert given == world.message(world.accepted(world.connect(), priority=wished)).priority


@pytest.mark.parametrize(("text", "segments"), [(b"x" * 140, 1), (b"x" * 161, 2), (LONG, 2)])
def test_segments_are_counted_at_the_door(text: bytes, segments: int) -> None:
    world = World()

    assert segments == world.message(world.accepted(world.connect(), text)).segments


@pytest.mark.parametrize("registered_delivery", [0, 1, 2, 3, 0x11])
def test_the_carrier_is_asked_for_a_receipt_and_the_client_is_remembered(
    registered_delivery: int,
) -> None:
    world = World()
    message = world.message(
        world.accepted(world.connect(), registered_delivery=registered_delivery)
    )
    sm = sm_of(message.body)

    assert registered_delivery == message.registered_delivery
    assert registered_delivery & ~3 | 1 == sm.registered_delivery
    assert (b"hello", message.sm_at) == (sm.short_message, sm.sm_at)


def test_the_answer_waits_for_the_disk_and_carries_the_id() -> None:
    world = World()
    link = world.connect()
    sequence_number = world.submit(link)
    assert sequence_number not in link.answered
    turn = world.take()
    assert turn is not None
    assert sequence_number not in link.answered
    world.commit(turn)
    world.release(turn)

    assert consts.ESME_ROK == link.answered[sequence_number].status
    assert "queued" == world.state_of(link.answered[sequence_number].message_id)


def test_a_batch_is_answered_in_its_order_and_counted() -> None:
    world = World(Setup(registry=REGISTRY))
    link = world.connect()
    good = [world.submit(link) for _ in range(3)]
    bad = world.submit(link, source=OTHERS)
    assert 4 == world.machine.open.events
    assert 3 * 100 < world.machine.open.octets
    assert [bad] == list(link.answered)
    world.settle()

    assert [bad, *good] == list(link.answered)
    assert 3 == world.client().accepted


def test_an_answer_to_a_client_that_has_gone_is_counted_and_the_message_stands() -> None:
    world = World()
    link = world.connect()
    world.submit(link)
    world.disconnect(link)
    world.settle()

    assert 1 == world.state.counters.acks_undelivered
    assert [1] == [world.state.totals.accepted]
    assert 1 == len(list(world.disk.queued()))


# Limits at the door


def test_a_message_longer_than_a_limit_can_ever_pass_is_refused() -> None:
    world = World(Setup(registry=COMPANIES + campaign("C1", NUMBER, limits=limits(("second", 1)))))

    assert OUTCOMES["too_long"].status == refused(world, text=LONG)


def test_a_limit_of_zero_holds_and_does_not_refuse() -> None:
    world = World(Setup(registry=COMPANIES + campaign("C1", NUMBER, limits=limits(("day", 0)))))

    assert "queued" == world.state_of(world.accepted(world.connect(), LONG))


def test_a_daily_cap_that_refuses_is_told_at_the_door() -> None:
    cap = limits(("day", 2), at_cap="refuse")
    world = World(Setup(registry=COMPANIES + campaign("C1", NUMBER, limits=cap)))
    link = world.connect()
    world.bind()
    for _ in range(2):
        world.accepted(link)

    assert OUTCOMES["daily_cap"].status == link.answered[world.submit(link)].status
    world.tick(DAY_S)
    world.accepted(link)


def test_a_rate_that_refuses_says_that_it_is_a_rate() -> None:
    rate = limits(("second", 2), at_cap="refuse")
    world = World(Setup(registry=COMPANIES + campaign("C1", NUMBER, limits=rate)))
    link = world.connect()
    world.bind()
    world.run(2.0)
    for _ in range(2):
        world.accepted(link)

    assert consts.ESME_RTHROTTLED == link.answered[world.submit(link)].status
    world.run(1.1)
    world.accepted(link)


# Routes


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("by number", {"source": SLOW_NUMBER}),
        ("by campaign", {"source": SHORT_CODE}),
        ("by client", {"client": "till"}),
        ("by area", {"to": "12125550100"}),
        ("rest", {}),
    ],
)
def test_the_first_route_that_matches_is_taken(name: str, fields: dict[str, str]) -> None:
    ways = (
        Way("by number", match=Match(source=b"120255501")),
        Way("by campaign", match=Match(to=b"1", campaign="C2FA001")),
        Way("by client", match=Match(to=b"1", client="till")),
        Way("by area", match=Match(to=b"1212")),
        Way("rest", match=Match()),
    )
    registry = REGISTRY.replace(NUMBER, "12025560100")
    world = World(Setup(clients=(Shop(), Shop(name="till")), routes=ways, registry=registry))
    settings: dict[str, Any] = {"source": "12025560100", **fields}
    link = world.connect(str(settings.pop("client", "shop")))

    assert name == world.message(world.accepted(link, **settings)).route
