"""Messages from handsets: stored, owed to the right client, and only then answered."""

import pytest

from gateway.model import records, tables
from gateway.smpp import consts
from tests.relay.links import ClientLink, sm_of
from tests.relay.setups import COMPANIES, NUMBER, Setup, Shop, campaign
from tests.relay.world import HANDSET, World

REGISTRY = (
    COMPANIES
    + campaign("C1", NUMBER, client='"till"')
    + campaign("C2", "12025550102")
    + campaign("C3", "12025550103", client='"gone"')
    + campaign("COTHER1", "12025550200", brand='"BOTHER1"')
    + """
[[number]]
number = "+12025550104"
company = "acme"

[[number]]
number = "+12025550105"
company = "acme"
client = "web"

[[number]]
number = "+12025550106"
campaign = "C1"
client = "web"

[[company]]
id = "nobodys"

[[number]]
number = "+12025550300"
company = "nobodys"
"""
)
SHOPS = (Shop("shop"), Shop("till"), Shop("web"), Shop("solo", company="other"))


def connected() -> tuple[World, dict[str, ClientLink]]:
    world = World(Setup(clients=SHOPS, registry=REGISTRY))
    return world, {shop.name: world.connect(shop.name) for shop in SHOPS}


@pytest.mark.parametrize(
    ("number", "client"),
    [
        ("12025550106", "web"),  # the number's own
        ("12025550105", "web"),
        (NUMBER, "till"),  # its campaign's
        ("12025550102", "shop"),  # the company's first in the file
        ("12025550104", "shop"),
        ("12025550103", "shop"),  # the one that is named is not configured
        ("12025550200", "solo"),  # the company's only one
        ("+12025550106", "web"),
        ("12025550300", ""),
        ("13105550000", ""),
        ("", ""),
    ],
)
def test_a_message_goes_to_the_client_of_its_number(number: str, client: str) -> None:
    world, links = connected()
    link = world.bind()
    sequence_number = world.inbound(link, number)
    assert {} == link.answered
    world.settle()

    assert [client] * bool(client) == [name for name, one in links.items() if one.inbox]
    (row,) = world.disk.rows[tables.INBOUND].values()
    assert (client, "carrier-a") == (
        records.decode_inbound(row).client,
        records.decode_inbound(row).carrier,
    )
    assert consts.ESME_ROK == link.answered[sequence_number]
    assert 1 == world.state.counters.inbound


def test_a_message_is_passed_on_octet_by_octet() -> None:
    world, links = connected()
    link = world.bind()
    world.inbound(link, NUMBER, b"\x00\xff stop", esm_class=0x40)
    world.settle()
    (owed,) = links["till"].inbox
    sm = sm_of(owed.body)

    assert (HANDSET.encode(), NUMBER.encode()) == (sm.source_addr, sm.destination_addr)
    assert (b"\x00\xff stop", 0x40) == (sm.short_message, sm.esm_class)


def test_nobodys_message_is_stored_and_answered_all_the_same() -> None:
    world = World()
    link = world.bind(sends=False)
    sequence_number = world.inbound(link, "13105550000")
    world.settle()
    world.crash()

    assert consts.ESME_ROK == link.answered[sequence_number]
    assert 1 == len(world.disk.rows[tables.INBOUND])
    assert {} == world.disk.rows[tables.OUTBOX]


def test_a_message_waits_on_disk_for_its_client() -> None:
    world = World()
    link = world.bind()
    for place in range(3):
        world.inbound(link, NUMBER, b"%d" % place)
        world.settle()
    world.crash()
    client = world.connect()
    world.settle()

    assert [b"0", b"1", b"2"] == [sm_of(owed.body).short_message for owed in client.inbox]


def test_a_client_that_only_transmits_is_delivered_nothing() -> None:
    world = World()
    deaf = world.connect(receives=False)
    world.inbound(world.bind(), NUMBER)
    world.settle()
    assert [] == deaf.inbox
    hearing = world.connect()
    world.settle()

    assert 1 == len(hearing.inbox)


def test_a_batch_counts_against_the_turn() -> None:
    world = World()
    link = world.bind()
    for _ in range(3):
        world.inbound(link, NUMBER, b"x" * 100)

    assert 3 == world.machine.open.events
    assert 300 < world.machine.open.octets


def test_a_receipt_that_names_no_message_is_counted_and_is_nobodys_message() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    esm_class = consts.ESM_CLASS_RECEIPT
    sequence_number = world.inbound(link, NUMBER, b"no id in here", esm_class=esm_class)
    world.settle()

    assert [] == client.inbox
    assert (1, 1) == (world.state.counters.orphans, world.state.carriers["carrier-a"].orphaned)
    assert ({}, {}) == (world.disk.rows[tables.ORPHAN], world.disk.rows[tables.INBOUND])
    assert consts.ESME_ROK == link.answered[sequence_number]
