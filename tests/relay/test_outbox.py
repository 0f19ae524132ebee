"""What clients are owed: bounded in memory, on disk until it is answered, in order."""

import pytest

from gateway.model import ids, records, tables
from gateway.relay import outbox
from gateway.relay.outbox import RETRY_S
from gateway.smpp import consts
from gateway.smpp.events import Answer
from tests.relay.links import CarrierLink, ClientLink, sm_of
from tests.relay.setups import DAY_S, HOUR_S, NUMBER, Setup, Shop, Smsc
from tests.relay.world import WALK, World


def owing(count: int, setup: Setup | None = None, *, per_turn: int = 1) -> World:
    """A world in which the client, which is not there, is owed so many messages in order."""
    world = World(setup, audited=count < 50)
    link = world.bind()
    for place in range(count):
        world.inbound(link, NUMBER, b"%d" % place)
        if place % per_turn == per_turn - 1:
            world.settle()
    world.settle()
    return world


def texts(link: ClientLink) -> list[int]:
    return [int(sm_of(owed.body).short_message) for owed in link.inbox]


def read_all(world: World, link: ClientLink, status: int = 0) -> list[int]:
    """Acknowledges all that comes until nothing does; what came, in order."""
    found = []
    world.settle()
    while link.inbox:
        found += texts(link)
        world.acknowledge(link, status)
        world.settle()
    return found


def finals(world: World, link: CarrierLink, client: ClientLink, count: int) -> None:
    """So many messages that end at once, in one turn."""
    for _ in range(count):
        world.submit(client)
    world.settle()
    for message_id in list(link.unanswered):
        world.respond(link, message_id, consts.ESME_RSUBMITFAIL)


# The window


def test_a_link_is_owed_no_more_than_its_window_at_a_time() -> None:
    world = owing(7, Setup(clients=(Shop(deliver_window=3),)))
    client = world.connect()
    world.settle()
    assert [0, 1, 2] == texts(client)
    world.acknowledge(client, count=2)
    world.settle()
    assert [2, 3, 4] == texts(client)
    world.acknowledge(client)
    world.settle()

    assert [5, 6] == texts(client)
    world.acknowledge(client)
    world.settle()
    assert {} == world.disk.rows[tables.OUTBOX]
    assert 7 == world.client().delivered


def test_the_link_with_most_room_is_taken() -> None:
    world = World(Setup(clients=(Shop(deliver_window=4),)))
    one, other = world.connect(), world.connect()
    link = world.bind()
    for place in range(8):
        world.inbound(link, NUMBER, b"%d" % place)
    world.settle()

    assert (4, 4) == (len(one.inbox), len(other.inbox))


def test_a_row_goes_when_all_of_it_is_answered() -> None:
    world = owing(5, per_turn=5)
    assert 1 == len(world.disk.rows[tables.OUTBOX])
    client = world.connect()
    world.settle()
    world.acknowledge(client, count=4)
    world.settle()
    assert 1 == len(world.disk.rows[tables.OUTBOX])
    world.acknowledge(client)
    world.settle()

    assert {} == world.disk.rows[tables.OUTBOX]


def test_a_turn_that_owes_more_than_a_row_holds_writes_several() -> None:
    world = owing(401, per_turn=401)

    assert [200, 200, 1] == [len(row) // 8 for row in world.disk.rows[tables.OUTBOX].values()]
    assert all(len(row) <= 1_600 for row in world.disk.rows[tables.OUTBOX].values())
    assert list(range(401)) == read_all(world, world.connect())


# Answers


@pytest.mark.parametrize(
    "status",
    [
        consts.ESME_RMSGQFUL,
        consts.ESME_RTHROTTLED,
        consts.ESME_RSYSERR,
        consts.ESME_RX_T_APPN,
    ],
)
def test_a_client_that_says_not_now_is_left_alone_for_a_while(status: int) -> None:
    world = owing(3)
    client = world.connect()
    world.settle()
    world.acknowledge(client, status, count=1)
    world.run(RETRY_S - 0.1)
    assert [1, 2] == texts(client)
    world.run(0.2)

    assert [1, 2, 0] == texts(client)
    world.acknowledge(client)
    world.settle()
    assert ({}, 3) == (world.disk.rows[tables.OUTBOX], world.client().delivered)


def test_what_was_put_off_comes_again_in_its_order() -> None:
    world = owing(5)
    client = world.connect()
    world.settle()
    world.acknowledge(client, consts.ESME_RTHROTTLED)
    world.run(RETRY_S + 0.1)

    assert [0, 1, 2, 3, 4] == texts(client)
    assert [] == world.state.retries


def test_a_client_that_goes_on_saying_not_now_is_asked_again_and_again() -> None:
    world = owing(1)
    client = world.connect()
    for _ in range(4):
        world.settle()
        assert [0] == texts(client)
        world.acknowledge(client, consts.ESME_RMSGQFUL)
        world.run(RETRY_S + 0.1)
    world.acknowledge(client)
    world.settle()

    assert {} == world.disk.rows[tables.OUTBOX]


def test_nothing_new_is_sent_to_a_client_that_is_left_alone() -> None:
    world = owing(1)
    client = world.connect()
    world.settle()
    world.acknowledge(client, consts.ESME_RMSGQFUL)
    (link,) = [one for one in world.links.values() if isinstance(one, CarrierLink)]
    world.inbound(link, NUMBER, b"1")
    world.settle()
    assert [] == client.inbox
    world.run(RETRY_S + 0.1)

    assert [0, 1] == texts(client)


def test_what_a_client_refuses_is_done_with_and_counted() -> None:
    world = owing(2)
    client = world.connect()
    world.settle()
    world.acknowledge(client, consts.ESME_RX_R_APPN)
    world.settle()

    assert (2, 0) == (world.state.counters.delivers_refused, world.client().delivered)
    assert {} == world.disk.rows[tables.OUTBOX]


def test_an_answer_to_something_else_changes_nothing() -> None:
    world = owing(1)
    client = world.connect()
    world.settle()
    answer = Answer("enquire_link", consts.ENQUIRE_LINK | consts.RESPONSE, 0, b"")
    world.core.deliver_answers(client.id, [answer], world.now)
    world.settle()

    assert [0] == texts(client)
    assert 1 == len(world.disk.rows[tables.OUTBOX])


# Links that are lost


def test_what_a_lost_link_did_not_answer_goes_over_the_next() -> None:
    world = owing(4)
    client = world.connect()
    world.settle()
    world.acknowledge(client, count=1)
    world.disconnect(client)
    again = world.connect()

    assert [1, 2, 3] == read_all(world, again)
    assert {} == world.disk.rows[tables.OUTBOX]


def test_what_a_lost_link_did_not_answer_goes_over_the_other_at_once() -> None:
    world = World(Setup(clients=(Shop(deliver_window=2),)))
    one, other = world.connect(), world.connect()
    link = world.bind()
    for place in range(4):
        world.inbound(link, NUMBER, b"%d" % place)
    world.settle()
    lost = texts(one)
    world.acknowledge(other)
    world.disconnect(one)
    world.settle()

    assert lost == texts(other)


def test_what_was_on_its_way_to_a_lost_link_goes_over_the_other_at_once() -> None:
    world = World()
    lost, other = world.connect(), world.connect()
    link = world.bind()
    for place in range(4):
        world.inbound(link, NUMBER, b"%d" % place)
    turn = world.take()
    assert turn is not None
    assert {lost.id: 2, other.id: 2} == {at: len(owed) for at, owed in turn.delivers.items()} or (
        4 == sum(map(len, turn.delivers.values()))
    )
    world.disconnect(lost)
    world.commit(turn)
    world.release(turn)
    world.settle()

    assert [0, 1, 2, 3] == sorted(texts(other))


def test_what_a_link_could_not_take_is_offered_when_it_answers() -> None:
    world = owing(4)
    client = world.connect()
    client.takes = 1
    world.settle()
    assert [0] == texts(client)
    client.takes = None
    world.acknowledge(client)

    assert [1, 2, 3] == read_all(world, client)


def test_a_link_that_takes_nothing_does_not_keep_the_gateway_busy() -> None:
    world = owing(4)
    client = world.connect()
    client.takes = 0
    world.settle()  # comes to rest
    world.disconnect(client)

    assert [0, 1, 2, 3] == read_all(world, world.connect())


def test_a_link_that_is_lost_twice_is_lost_once() -> None:
    world = owing(1)
    client = world.connect()
    world.disconnect(client)
    world.core.client_down(client.id, [], world.now)

    assert [0] == read_all(world, world.connect())


# Memory and disk


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five in memory."""
    monkeypatch.setattr(outbox, "READY_MAX", 5)


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("per_turn", [1, 3, 7])
def test_beyond_a_number_it_waits_on_disk_and_comes_back_in_order(per_turn: int) -> None:
    world = owing(40, per_turn=per_turn)
    box = world.client().outbox
    assert box.rows > box.loaded
    assert len(box.ready) < 5 + per_turn

    assert list(range(40)) == read_all(world, world.connect())
    assert ({}, 0, 0) == (world.disk.rows[tables.OUTBOX], box.rows, box.loaded)


@pytest.mark.usefixtures("_few")
def test_what_comes_while_older_ones_are_on_disk_stays_behind_them() -> None:
    world = owing(9)
    client = world.connect()
    link = next(one for one in world.links.values() if isinstance(one, CarrierLink))
    found = []
    for place in range(9, 30):
        world.inbound(link, NUMBER, b"%d" % place)
        world.settle()
        found += texts(client)[:1]
        world.acknowledge(client, count=1)
    found += read_all(world, client)

    assert list(range(30)) == found


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("per_turn", [1, 4])
def test_a_crash_loses_nothing_and_keeps_the_order(per_turn: int) -> None:
    world = owing(20, per_turn=per_turn)
    client = world.connect()
    world.settle()
    first = texts(client)[:3]
    world.acknowledge(client, count=3)
    world.settle()
    world.crash()
    found = read_all(world, world.connect())

    assert list(range(20)) == sorted({*first, *found})
    assert found == sorted(found)
    assert set(found) >= set(range(4, 20))  # at least once; of a row that was begun, all of it


def test_what_came_in_the_open_turn_and_is_not_in_memory_follows_what_is_on_disk() -> None:
    world = owing(2)
    world.crash()
    link = world.bind()
    world.inbound(link, NUMBER, b"2")  # behind the two, so its row is on disk only, when it is
    client = world.connect()

    assert [0, 1, 2] == read_all(world, client)


def test_receipts_are_made_again_from_their_rows_after_a_crash() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    finals(world, link, client, 3)
    turn = world.take()
    assert turn is not None
    bodies = [owed.body for owed in turn.delivers[client.id]]
    world.commit(turn)
    world.crash()
    again = world.connect()
    world.settle()

    assert bodies == [owed.body for owed in again.inbox]
    assert 3 == len(again.receipts())


def test_what_is_owed_and_has_lost_its_rows_is_counted_and_stepped_over() -> None:
    world = owing(3, per_turn=2)
    first = next(iter(world.disk.rows[tables.INBOUND]))
    world.machine.open.writes[tables.INBOUND][first] = None
    world.settle()
    world.crash()

    assert [1, 2] == read_all(world, world.connect())
    assert 1 == world.state.counters.damaged


def test_a_row_of_which_nothing_is_left_goes() -> None:
    world = owing(3)
    for key in list(world.disk.rows[tables.INBOUND])[:2]:
        world.machine.open.writes[tables.INBOUND][key] = None
    world.settle()
    world.crash()

    assert [2] == read_all(world, world.connect())
    assert ({}, 0) == (world.disk.rows[tables.OUTBOX], world.client().outbox.rows)


def test_clients_have_outboxes_of_their_own() -> None:
    world = World(Setup(clients=(Shop(), Shop("shop2"))))
    one, two = world.connect(), world.connect("shop2")
    link = world.bind()
    for client in (one, two, one):
        world.submit(client)
    world.settle()
    for message_id in list(link.unanswered):
        world.respond(link, message_id, consts.ESME_RSUBMITFAIL)
    world.settle()
    assert (2, 1) == (len(one.inbox), len(two.inbox))
    world.crash()
    again = world.connect("shop2")
    world.settle()

    assert 1 == len(again.inbox)


def test_a_client_that_is_not_configured_any_more_is_warned_of_and_kept() -> None:
    world = owing(2)
    world.crash(Setup(clients=(Shop("other"),)))
    assert ["'shop'" in warning for warning in world.warnings] == [True]
    world.crash(Setup())

    assert [0, 1] == read_all(world, world.connect())


# For how long


def sweep(world: World) -> None:
    """One whole walk of the sweep, from where it stands."""
    for _ in range(2):
        world.tick(10.0)
        for _ in range(WALK):
            world.tick(1.0)


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize("crashed", [True, False])
def test_what_nobody_fetched_for_72_hours_is_dropped_and_counted(
    *, configured: bool, crashed: bool
) -> None:
    world = owing(3, per_turn=2)
    world.tick(71 * HOUR_S)
    sweep(world)
    assert 2 == len(world.disk.rows[tables.OUTBOX])
    if not configured:
        world.crash(Setup(clients=()))
    elif crashed:
        world.crash()
    world.tick(2 * HOUR_S)
    sweep(world)

    assert {} == world.disk.rows[tables.OUTBOX]
    assert 3 == world.state.counters.undelivered
    if configured:
        box = world.client().outbox
        assert (0, 0, 0) == (box.rows, box.loaded, len(box.ready))
        world.inbound(world.bind(index=1), NUMBER, b"9")
        assert [9] == read_all(world, world.connect())


@pytest.mark.usefixtures("_few")
def test_of_what_is_dropped_some_may_be_in_memory_and_some_on_disk_only() -> None:
    world = owing(20)
    world.tick(73 * HOUR_S)
    sweep(world)
    box = world.client().outbox

    assert ({}, 0, 0) == (world.disk.rows[tables.OUTBOX], box.rows, box.loaded)


def test_a_receipt_that_nobody_fetched_is_dropped_by_its_end() -> None:
    world = World()
    client = world.connect()
    link = world.bind()
    message_id = world.accepted(client)
    carrier_id = world.respond(link, message_id)
    world.disconnect(client)
    world.tick(71 * HOUR_S)
    world.receipt(link, carrier_id)
    world.tick(71 * HOUR_S)
    sweep(world)
    assert 1 == len(world.disk.rows[tables.OUTBOX])
    world.tick(2 * HOUR_S)
    sweep(world)

    assert {} == world.disk.rows[tables.OUTBOX]
    assert "delivered" == world.state_of(message_id)


def test_what_a_client_is_about_to_read_is_not_dropped() -> None:
    world = owing(2)
    world.tick(73 * HOUR_S - 100)
    client = world.connect()
    world.settle()
    sweep(world)
    assert [0, 1] == texts(client)
    world.acknowledge(client)
    world.settle()

    assert 0 == world.state.counters.undelivered


def test_what_is_on_its_way_back_from_a_lost_link_is_dropped_the_next_time() -> None:
    world = owing(2)
    world.tick(71 * HOUR_S)
    client = world.connect()
    turn = world.take()
    assert turn is not None
    world.disconnect(client)
    world.pass_time(2 * HOUR_S)
    for _ in range(WALK + 2):
        world.pass_time(1.0)
        world.core.tick(world.now)
    world.commit(turn)
    world.release(turn)
    world.settle()
    box = world.client().outbox
    assert (2, 2, 2) == (box.rows, box.loaded, len(box.ready))
    sweep(world)

    assert (0, 0, 0) == (box.rows, box.loaded, len(box.ready))
    assert 2 == world.state.counters.undelivered


def test_a_row_whose_messages_are_purged_is_long_ago() -> None:
    world = owing(1)
    for key in list(world.disk.rows[tables.INBOUND]):
        world.machine.open.writes[tables.INBOUND][key] = None
    world.settle()
    sweep(world)

    assert {} == world.disk.rows[tables.OUTBOX]


def test_the_text_of_a_receipt_does_not_need_the_text_of_its_message() -> None:
    keep = Setup(carriers=(Smsc(receipt_timeout_s=HOUR_S),)).policy
    world = World(Setup(policy=keep))
    client = world.connect(receives=False)
    link = world.bind()
    finals(world, link, client, 1)
    world.settle()
    (key,) = world.disk.rows[tables.MESSAGE]
    message = records.decode_message(world.disk.rows[tables.MESSAGE][key])
    message.body = b""
    world.machine.open.writes[tables.MESSAGE][key] = records.encode(message)
    world.settle()
    world.crash()
    again = world.connect()
    world.settle()

    assert [ids.to_text(message.id)] == [receipt.message_id for receipt in again.receipts()]
    assert DAY_S > world.clock.monotonic
