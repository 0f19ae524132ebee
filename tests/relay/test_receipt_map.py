"""The receipt map: every spelling of an id that a carrier may use, and where the map keeps it."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import ids, tables
from gateway.relay import receipt_map, runs, sweep
from gateway.relay.receipt_map import Mode, ReceiptMap, fold
from gateway.smpp import consts
from gateway.smpp.codec import encode_sm
from tests.relay.disk import Disk
from tests.relay.links import CarrierLink, ClientLink
from tests.relay.setups import HOUR_S, NUMBER, Setup, Smsc
from tests.relay.world import HANDSET, WALK, World

HEX_DEC: Final = "resp_hex_receipt_dec"
DEC_HEX: Final = "resp_dec_receipt_hex"


def gateway(mode: Mode = "same", *, rebuilds: bool = True) -> tuple[World, ClientLink, CarrierLink]:
    world = World(Setup(carriers=(Smsc(receipt_id_mode=mode),)), rebuilds=rebuilds)
    return world, world.connect(), world.bind(window=1_000)


def submitted(world: World, client: ClientLink, link: CarrierLink, carrier_id: bytes) -> int:
    """A message that the carrier took under this id."""
    message_id = world.accepted(client)
    world.respond(link, message_id, carrier_id=carrier_id)
    world.settle()
    return message_id


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays in memory for long, and a run is three entries."""
    monkeypatch.setattr(receipt_map, "RECENT_MAX", 1)
    monkeypatch.setattr(receipt_map, "OLD_MAX", 1)
    monkeypatch.setattr(runs, "RUN", 3)


# Spellings

SPELLINGS: list[tuple[Mode, bytes, bytes, bool]] = [
    ("same", b"a1b2", b"a1b2", True),
    ("same", b"A1B2", b"a1b2", True),
    ("same", b"a1b2", b"A1B2", True),
    ("same", b"000a1", b"A1", True),
    ("same", b"A1", b"00a1", True),
    ("same", b"000", b"0", True),
    ("same", b"0", b"0000", True),
    ("same", b"10", b"16", False),
    ("same", b"a", b"10", False),
    ("same", b"10", b"a", False),
    (HEX_DEC, b"1F", b"31", True),
    (HEX_DEC, b"001f", b"0031", True),
    (HEX_DEC, b"10", b"16", True),
    (HEX_DEC, b"10", b"10", False),
    (HEX_DEC, b"1f", b"1f", False),
    (HEX_DEC, b"no-number", b"NO-NUMBER", True),
    (DEC_HEX, b"31", b"1F", True),
    (DEC_HEX, b"0031", b"001f", True),
    (DEC_HEX, b"16", b"16", False),
    (DEC_HEX, b"1_6", b"16", False),
]


@pytest.mark.parametrize(("mode", "answer", "receipt", "matches"), SPELLINGS)
@pytest.mark.parametrize("order", ["answer", "receipt", "crash"])
def test_a_receipt_finds_its_message_in_the_carriers_spelling_and_no_other(
    mode: Mode, answer: bytes, receipt: bytes, matches: bool, order: str
) -> None:
    world, client, link = gateway(mode)
    message_id = world.accepted(client)
    if order == "receipt":
        world.receipt(link, receipt)
    world.respond(link, message_id, carrier_id=answer)
    world.settle()
    if order == "crash":
        world.crash()
        link = world.bind()
    if order != "receipt":
        world.receipt(link, receipt)
        world.settle()

    assert ("delivered" if matches else "submitted") == world.state_of(message_id)
    assert (not matches) == bool(world.disk.rows[tables.ORPHAN])
    if matches:
        assert answer == world.ending(message_id).carrier_id
        assert 0 == world.state.carriers["carrier-a"].receipts.awaited


@pytest.mark.parametrize(("mode", "answer", "receipt", "matches"), SPELLINGS)
@pytest.mark.usefixtures("_tiny")
def test_the_same_holds_for_what_has_left_memory(
    mode: Mode, answer: bytes, receipt: bytes, matches: bool
) -> None:
    world, client, link = gateway(mode)
    message_id = submitted(world, client, link, answer)
    for place in range(8):
        submitted(world, client, link, b"%d" % (900_000 + place))
    found = world.state.carriers["carrier-a"].receipts
    assert found.runs.moments
    assert message_id not in [getattr(entry, "id", entry) for entry in found._waiting.values()]
    world.receipt(link, receipt)
    world.settle()

    assert ("delivered" if matches else "submitted") == world.state_of(message_id)


def test_of_two_that_differ_in_case_only_a_third_spelling_means_neither() -> None:
    world, client, link = gateway()
    first, second = (submitted(world, client, link, one) for one in (b"aB", b"Ab"))
    world.receipt(link, b"AB")
    world.settle()
    assert ["submitted"] * 2 == [world.state_of(one) for one in (first, second)]
    world.receipt(link, b"Ab")
    world.receipt(link, b"aB", consts.UNDELIVERABLE)
    world.settle()

    assert ["failed", "delivered"] == [world.state_of(one) for one in (first, second)]


def test_an_exact_id_comes_before_one_that_is_alike() -> None:
    world, client, link = gateway()
    folded, other = (submitted(world, client, link, one) for one in (b"ab", b"AB"))
    world.receipt(link, b"aB")  # could be either
    world.receipt(link, b"AB")
    world.settle()

    assert ["submitted", "delivered"] == [world.state_of(one) for one in (folded, other)]


@pytest.mark.usefixtures("_tiny")
def test_on_disk_too_a_third_spelling_means_neither_of_two() -> None:
    world, client, link = gateway()
    first, second = (submitted(world, client, link, one) for one in (b"aB", b"Ab"))
    for place in range(8):
        submitted(world, client, link, b"%d" % (900_000 + place))
    world.receipt(link, b"AB")
    world.settle()
    assert ["submitted"] * 2 == [world.state_of(one) for one in (first, second)]
    world.receipt(link, b"Ab")
    world.settle()

    assert ["submitted", "delivered"] == [world.state_of(one) for one in (first, second)]


def test_a_message_that_the_carrier_gave_no_id_is_found_by_none() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"")
    body = encode_sm(
        source_addr=HANDSET.encode(),
        destination_addr=NUMBER.encode(),
        esm_class=consts.ESM_CLASS_RECEIPT,
        short_message=b"stat:DELIVRD err:000",
    )
    world.deliver(link, body)
    world.settle()

    assert "submitted" == world.state_of(message_id)
    assert 1 == world.state.carriers["carrier-a"].receipts.awaited
    world.crash()
    found = world.state.carriers["carrier-a"].receipts
    assert (1, 0) == (found.awaited, len(found))


def test_the_tlv_comes_before_the_text() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"right")
    tlvs = b"\x00\x1e\x00\x06right\0\x04\x27\x00\x01\x05"
    text = (
        b"id:wrong sub:001 dlvrd:001 submit date:2609211413 done date:2609211413 stat:DELIVRD err:9"
    )
    body = encode_sm(
        source_addr=HANDSET.encode(),
        destination_addr=NUMBER.encode(),
        esm_class=consts.ESM_CLASS_RECEIPT,
        short_message=text,
        tlvs=tlvs,
    )
    world.deliver(link, body)
    world.settle()

    assert "failed" == world.state_of(message_id)


@given(st.binary(min_size=1, max_size=20), st.integers(0, 5), st.data())
def test_zeros_and_case_are_all_that_a_spelling_may_change(
    carrier_id: bytes, zeros: int, data: st.DataObject
) -> None:
    flips = data.draw(st.lists(st.booleans(), min_size=len(carrier_id), max_size=len(carrier_id)))
    respelled = b"0" * zeros + b"".join(
        bytes((octet,)).swapcase() if flip else bytes((octet,))
        for octet, flip in zip(carrier_id, flips, strict=True)
    )
    other = data.draw(
        st.binary(min_size=1, max_size=20).filter(lambda o: fold(o) != fold(carrier_id))
    )
    found = ReceiptMap("a", "same")
    disk = Disk()
    found.restore(carrier_id, 77, disk)

    assert found.take(other) is None is found.look_further(disk, other)
    assert 77 == (found.take(respelled) or found.look_further(disk, respelled))
    assert (0, {}) == (len(found), found._folded)


def test_a_spelling_is_forgotten_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_map, "RECENT_MAX", 1)
    world, client, link = gateway()
    for carrier_id in (b"0A", b"0B", b"0C"):
        submitted(world, client, link, carrier_id)
        world.receipt(link, carrier_id)
        world.settle()
    found = world.state.carriers["carrier-a"].receipts

    assert [b"0C"] == list(found._waiting) == list(found._folded.values())


# Twice, and late


def test_a_receipt_that_comes_twice_is_known_as_such() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"1")
    for state in (consts.DELIVERED, consts.DELIVERED, consts.UNDELIVERABLE):
        world.receipt(link, b"1", state)
        world.settle()

    assert "delivered" == world.state_of(message_id)
    assert (1, 2, 0) == (
        len(client.inbox),
        world.state.counters.repeated,
        world.state.counters.orphans,
    )


def walk(world: World) -> None:
    for _ in range(WALK + 2):
        world.tick(10.0)


def test_a_late_receipt_corrects_unknown_and_the_client_hears_of_both() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"00Ab")
    world.tick(73 * HOUR_S)
    walk(world)
    assert "unknown" == world.state_of(message_id)
    world.receipt(link, b"ab")
    world.settle()

    assert "delivered" == world.state_of(message_id)
    assert [consts.UNKNOWN, consts.DELIVERED] == [one.state for one in client.receipts()]
    assert (1, {}) == (world.state.counters.corrected, world.disk.rows[tables.LATE])
    assert 0 == world.state.carriers["carrier-a"].receipts.awaited
    world.receipt(link, b"ab", consts.UNDELIVERABLE)
    world.settle()
    assert "delivered" == world.state_of(message_id)


def test_what_memory_has_as_ended_may_be_unknown_in_whatever_spelling_the_correction_comes() -> (
    None
):
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"00Ab")
    world.receipt(link, b"00Ab", consts.UNKNOWN)
    world.settle()
    world.receipt(link, b"ab", consts.DELIVERED)
    world.settle()

    assert "delivered" == world.state_of(message_id)
    assert (1, 0) == (world.state.counters.corrected, world.state.counters.orphans)


@pytest.mark.parametrize("crashed", [True, False])
def test_unknown_in_the_carriers_own_words_is_corrected_too(crashed: bool) -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"1")
    world.receipt(link, b"1", consts.UNKNOWN)
    world.settle()
    assert "unknown" == world.state_of(message_id)
    if crashed:
        world.crash()
        client, link = world.connect(), world.bind()
    world.receipt(link, b"1", consts.UNKNOWN)
    world.receipt(link, b"1", consts.REJECTED)
    world.settle()

    assert "rejected" == world.state_of(message_id)
    assert (1, 1) == (world.state.counters.corrected, world.state.counters.repeated)


def test_a_correction_may_come_for_three_days() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"1")
    world.tick(73 * HOUR_S)
    walk(world)
    world.tick(73 * HOUR_S)
    walk(world)
    world.receipt(link, b"1")
    world.settle()

    assert ({}, "unknown") == (world.disk.rows[tables.LATE], world.state_of(message_id))


# Runs


@pytest.mark.usefixtures("_tiny")
def test_every_message_finds_its_receipt_wherever_its_id_is() -> None:
    world, client, link = gateway()
    found = world.state.carriers["carrier-a"].receipts
    messages = {
        b"%x" % (place * 7_919 % 1_000): submitted(
            world, client, link, b"%x" % (place * 7_919 % 1_000)
        )
        for place in range(40)
    }
    assert len(found) < 8
    assert 40 == found.awaited
    world.crash()
    client, link = world.connect(), world.bind()
    for carrier_id in reversed(messages):
        world.receipt(link, carrier_id)
    world.settle()

    assert {"delivered"} == {world.state_of(one) for one in messages.values()}
    assert (0, 0) == (
        world.state.carriers["carrier-a"].receipts.awaited,
        world.state.counters.orphans,
    )


@pytest.mark.usefixtures("_tiny")
def test_a_receipt_that_comes_twice_for_what_left_memory_is_known_as_such() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"first")
    for place in range(8):
        submitted(world, client, link, b"%d" % place)
    for _ in range(2):
        world.receipt(link, b"first")
        world.settle()

    assert ("delivered", 1) == (world.state_of(message_id), world.state.counters.repeated)


def test_what_has_its_receipt_on_the_way_to_a_run_is_forgotten_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("RECENT_MAX", 0), ("OLD_MAX", 0), ("SPILL", 1)):
        monkeypatch.setattr(receipt_map, name, value)
    monkeypatch.setattr(runs, "RUN", 4)
    world, client, link = gateway()
    messages = {}
    for place in range(12):
        carrier_id = b"%d" % place
        messages[carrier_id] = submitted(world, client, link, carrier_id)
        if place % 3 == 1:  # what was collected last, and is not written yet
            world.receipt(link, carrier_id)
            world.settle()
    found = world.state.carriers["carrier-a"].receipts
    assert found.runs.moments
    for carrier_id in messages:
        world.receipt(link, carrier_id)
    world.settle()

    assert {"delivered"} == {world.state_of(one) for one in messages.values()}
    assert 0 == found.awaited


@pytest.mark.usefixtures("_tiny")
def test_old_ids_that_had_their_receipts_are_passed_over() -> None:
    world, client, link = gateway()
    found = world.state.carriers["carrier-a"].receipts
    for place in range(3):
        submitted(world, client, link, b"%d" % place)
    world.receipt(link, b"1")
    world.settle()
    for place in range(3, 12):
        submitted(world, client, link, b"%d" % place)
        world.receipt(link, b"%d" % place)
        world.settle()

    assert 2 == found.awaited


@pytest.mark.usefixtures("_tiny")
def test_an_id_that_is_given_out_twice_in_a_row_is_kept_once() -> None:
    world, client, link = gateway()
    first, second = (submitted(world, client, link, b"same") for _ in range(2))
    submitted(world, client, link, b"other")
    submitted(world, client, link, b"another")
    world.receipt(link, b"same")
    world.settle()

    assert ["submitted", "delivered"] == [world.state_of(one) for one in (first, second)]


@pytest.mark.usefixtures("_tiny")
def test_a_run_goes_when_all_of_it_is_over() -> None:
    world, client, link = gateway()
    for place in range(8):
        submitted(world, client, link, b"%d" % place)
    found = world.state.carriers["carrier-a"].receipts
    assert 2 == len(found.runs.moments)
    world.tick(74 * HOUR_S)
    walk(world)

    assert ([], {}) == (found.runs.moments, world.disk.rows[tables.RUN])
    assert {"unknown"} == {
        world.state_of(ids.from_key(key)) for key in world.disk.rows[tables.MESSAGE]
    }


@pytest.mark.usefixtures("_tiny")
def test_runs_of_a_carrier_that_is_not_configured_any_more_go_too() -> None:
    world, client, link = gateway()
    for place in range(8):
        submitted(world, client, link, b"%d" % place)
    world.crash(Setup(carriers=(Smsc("other"),), routes=()))
    world.tick(74 * HOUR_S)
    walk(world)

    assert {} == world.disk.rows[tables.RUN]


@pytest.mark.usefixtures("_tiny")
def test_a_message_that_is_unknown_and_in_a_run_is_one_message() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"0Ab")
    for place in range(8):
        submitted(world, client, link, b"%d" % (900_000 + place))
    world.tick(72.5 * HOUR_S)
    walk(world)
    found = world.state.carriers["carrier-a"].receipts
    assert [message_id] * 2 == list(found._on_disk(world.state.view, b"ab"))
    world.receipt(link, b"aB")
    world.settle()

    assert "delivered" == world.state_of(message_id)


@pytest.mark.usefixtures("_tiny")
def test_an_entry_whose_message_is_purged_means_nothing() -> None:
    world, client, link = gateway()
    message_id = submitted(world, client, link, b"1")
    for place in range(8):
        submitted(world, client, link, b"%d" % (900_000 + place))
    world.audited = False
    for table in (tables.MESSAGE, tables.AWAITING):
        world.machine.open.writes[table][ids.to_key(message_id)] = None
    world.receipt(link, b"1")
    world.settle()

    assert 1 == len(world.disk.rows[tables.ORPHAN])


def test_two_runs_of_one_moment_are_two() -> None:
    disk = Disk()
    found = runs.Runs("a")
    for message_id in (1, 2):
        rows: dict[bytes, bytes | None] = {}
        found.collect(b"%d" % message_id, message_id)
        found.write(rows, 1_790_000_000.0)
        for key, row in rows.items():
            assert row is not None
            disk.rows[tables.RUN][key] = row
    again = runs.Runs("a")
    disk._keys[tables.RUN] = sorted(disk.rows[tables.RUN])
    again.load(disk)

    assert 2 == len(found.moments) == len(again.moments)
    assert [[1], [2], []] == [list(again.find(disk, b"%d" % one)) for one in (1, 2, 3)]
    again.forget(again.moments[0])
    again.forget(b"another")
    assert [[], [2]] == [list(again.find(disk, b"%d" % one)) for one in (1, 2)]


def test_an_entry_is_looked_for_at_its_own_places_only() -> None:
    # The digest of one may stand across two entries of others.
    digest = runs.digest_of(b"x")
    row = b"\1" * 8 + b"\2" * 4 + digest + b"\3" * 12 + digest + (9).to_bytes(8, "big")

    assert [9] == list(runs._entries(row, digest))


@pytest.mark.usefixtures("_tiny")
def test_a_clock_that_steps_ahead_for_a_moment_forgets_no_run() -> None:
    world, client, link = gateway()
    first = submitted(world, client, link, b"first")
    for place in range(8):
        submitted(world, client, link, b"%d" % place)
    world.tick(HOUR_S)
    world.core.sweep._place = [table for table, *_ in sweep._WALK].index(tables.RUN)
    world.clock.wall += 100 * HOUR_S
    world.tick(10.0)
    world.clock.wall -= 100 * HOUR_S
    world.receipt(link, b"first")
    world.settle()

    assert "delivered" == world.state_of(first)
