"""The table of states against the specification's, and that it leads somewhere from everywhere."""

from gateway.smpp import consts, states

# SMPP 3.4 section 2.3, table 2-1: when, and by whom.
TABLE_2_1 = """
bind_transmitter     open                          esme
bind_receiver        open                          esme
bind_transceiver     open                          esme
outbind              open                          smsc
unbind               bound_tx,bound_rx,bound_trx   esme,smsc
submit_sm            bound_tx,bound_trx            esme
submit_multi         bound_tx,bound_trx            esme
data_sm              bound_tx,bound_rx,bound_trx   esme,smsc
deliver_sm           bound_rx,bound_trx            smsc
query_sm             bound_tx,bound_trx            esme
cancel_sm            bound_tx,bound_trx            esme
replace_sm           bound_tx,bound_trx            esme
enquire_link         bound_tx,bound_rx,bound_trx   esme,smsc
alert_notification   bound_rx,bound_trx            smsc
"""


def test_the_operations_are_those_of_the_specification() -> None:
    table = {
        name: (set(when.split(",")), set(by.split(",")))
        for name, when, by in (line.split() for line in TABLE_2_1.strip().splitlines())
    }

    assert table == {
        consts.command_name(row.command_id): (
            {states.NAMES[state] for state in row.states},
            set(row.sides),
        )
        for row in states.OPERATIONS
    }


def test_every_state_is_reached_and_every_one_but_closed_is_left() -> None:
    reached, seen = {states.OPEN}, -1
    while len(reached) != seen:
        seen = len(reached)
        reached |= {target for (origin, _), target in states.MOVES.items() if origin in reached}

    assert set(range(len(states.NAMES))) == reached
    for state in reached:
        targets = {target for (origin, _), target in states.MOVES.items() if origin == state}
        assert (targets == {states.CLOSED}) == (state == states.CLOSED)
        assert states.CLOSED in targets


def test_nothing_is_taken_or_sent_once_it_is_closed() -> None:
    for role in states.PEER:
        for table in (states.MAY_SEND, states.MAY_TAKE, states.MAY_ANSWER):
            assert not table[role][states.CLOSED]


def test_whatever_a_side_may_send_its_peer_takes_in_the_same_state() -> None:
    for role, peer in states.PEER.items():
        for state in range(len(states.NAMES)):
            assert states.MAY_SEND[role][state] <= states.MAY_TAKE[peer][state]


def test_what_is_taken_may_be_answered_in_the_same_state_and_while_ending() -> None:
    answered_elsewhere = {consts.ENQUIRE_LINK, consts.UNBIND}
    for role in states.PEER:
        for state in range(states.UNBINDING):
            owed = {
                command_id | consts.RESPONSE
                for command_id in states.MAY_TAKE[role][state] - answered_elsewhere
            }
            assert owed == states.MAY_ANSWER[role][state]
            if state != states.OPEN:
                assert owed <= states.MAY_ANSWER[role][states.UNBINDING]
                assert owed <= states.MAY_ANSWER[role][states.UNBOUND]
