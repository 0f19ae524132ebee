"""Two sessions that talk to each other: whatever the order and the splits, nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smpp import codec, consts, states
from gateway.smpp.codec import decode_message_id
from gateway.smpp.events import Answer, Deliver, Event, Submit, UnbindAnswer, Unbound
from gateway.smpp.session import Session
from tests.smpp.pair import BIND_OF, Pair
from tests.smpp.strategies import cut

MESSAGE = {"esme": consts.SUBMIT_SM, "smsc": consts.DELIVER_SM}


class Conversation:
    """A pair with octets under way in both directions, and what each side owes and has heard."""

    def __init__(self) -> None:
        self.pair = Pair(window=8)
        self.pair.bind()
        self.sides = (self.pair.esme, self.pair.smsc)
        self.under_way = {"esme": b"", "smsc": b""}
        self.owed: dict[str, list[tuple[int, bytes]]] = {"esme": [], "smsc": []}
        self.made: dict[str, list[object]] = {"esme": [], "smsc": []}
        self.answered: dict[str, list[object]] = {"esme": [], "smsc": []}
        self.unbound: dict[str, list[Event]] = {"esme": [], "smsc": []}
        self.count = 0

    def request(self, side: Session, count: int) -> None:
        """Each message says its number, and its ref is that number."""
        items: list[tuple[bytes, object]] = []
        for _ in range(min(count, side.room)):
            self.count += 1
            text = b"%d" % self.count
            items.append((codec.encode_sm(short_message=text), text))
        if items:
            self.made[side.role] += [ref for _, ref in items]
            pdus = side.requests(MESSAGE[side.role], items, 0.0)
            self.under_way[side.role] += b"".join(pdus)

    def withdraw(self, side: Session, count: int) -> None:
        """The last of what is under way never left."""
        count = min(count, side.room)
        before = self.under_way[side.role]
        self.request(side, count)
        self.under_way[side.role] = before
        taken = side.withdraw(min(count, len(self.made[side.role])) if count else 0)
        assert self.made[side.role][len(self.made[side.role]) - len(taken) :] == taken
        del self.made[side.role][len(self.made[side.role]) - len(taken) :]

    def answer(self, side: Session, place: int) -> None:
        """Answers one of the messages owed, in any order, with its own text as id."""
        owed = self.owed[side.role]
        if owed:
            sequence_number, text = owed.pop(place % len(owed))
            response = MESSAGE[states.PEER[side.role]] | consts.RESPONSE
            body = codec.message_id_body(text)
            self.under_way[side.role] += side.respond(response, 0, sequence_number, body)

    def probe(self, side: Session) -> None:
        """As if the peer had been silent for long; a second time, the link would end."""
        if consts.ENQUIRE_LINK not in side._window.own.values():
            assert side.on_deadline(side.next_deadline()) == []
            self.under_way[side.role] += side.data_to_send()

    def hear(self, side: Session, places: list[int]) -> None:
        """What is under way arrives, in pieces."""
        peer = states.PEER[side.role]
        data, self.under_way[peer] = self.under_way[peer], b""
        for piece in cut(data, places):
            for event in side.receive_data(piece, 0.0):
                if isinstance(event, (Submit, Deliver)):
                    message = (event.sequence_number, event.sm.short_message)
                    self.owed[side.role].append(message)
                elif isinstance(event, Answer):
                    assert event.ref == decode_message_id(event.body)
                    self.answered[side.role].append(event.ref)
                else:
                    self.unbound[side.role].append(event)
            self.under_way[side.role] += side.data_to_send()

    def settle(self) -> None:
        """Until nothing is under way or owed."""
        while any(self.owed.values()) or any(self.under_way.values()):
            for side in self.sides:
                self.hear(side, [])
                while self.owed[side.role]:
                    self.answer(side, 0)


ACTIONS = st.one_of(
    st.tuples(st.just("request"), st.integers(0, 1), st.integers(1, 5)),
    st.tuples(st.just("withdraw"), st.integers(0, 1), st.integers(0, 3)),
    st.tuples(st.just("answer"), st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("probe"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("hear"), st.integers(0, 1), st.lists(st.integers(0), max_size=3)),
)


@given(st.lists(ACTIONS, max_size=40), st.sampled_from(("esme", "smsc", "both")))
def test_every_message_is_answered_exactly_once_and_both_sides_close(
    actions: list[tuple[str, int, object]], who_unbinds: str
) -> None:
    conversation = Conversation()
    for name, index, argument in actions:
        side = conversation.sides[index]
        if name == "probe":
            conversation.probe(side)
        else:
            getattr(conversation, name)(side, argument)
    for side in conversation.sides:
        if who_unbinds in (side.role, "both"):
            conversation.under_way[side.role] += side.unbind(0.0)
    conversation.settle()
    for _ in range(2):
        for side in conversation.sides:
            for event in conversation.unbound[side.role]:
                if isinstance(event, Unbound) and side.state == states.UNBOUND:
                    conversation.under_way[side.role] += side.respond(
                        consts.UNBIND_RESP, 0, event.sequence_number
                    )
        conversation.settle()

    for side in conversation.sides:
        role = side.role
        assert sorted(conversation.made[role], key=repr) == sorted(
            conversation.answered[role], key=repr
        )
        assert (side.outstanding, side.state) == (0, states.CLOSED)
        assert side.statistics().answers_unmatched == 0
        if who_unbinds == role:
            assert [UnbindAnswer(0)] == conversation.unbound[role]


@pytest.mark.parametrize("state", sorted(states.BOUND))
def test_what_a_bind_lets_one_side_send_the_other_takes(state: int) -> None:
    pair = Pair()
    pair.bind(BIND_OF[state])

    for side in (pair.esme, pair.smsc):
        if side.room:
            body = codec.encode_sm(short_message=b"hello")
            pdu = side.request(MESSAGE[side.role], body, "ref", 0.0)
            (taken,) = pair.say(side, pdu)
            assert isinstance(taken, (Submit, Deliver))

    assert (state != states.BOUND_RX) == (pair.esme.outstanding == 1)
    assert (state != states.BOUND_TX) == (pair.smsc.outstanding == 1)
