"""Poison: whatever one peer puts into whole, well-framed PDUs, nothing raises and no other suffers.

The path is the daemon's: octets, the session, its events, the core, a commit, a release, a restart.
What raises anywhere on it would end the process, and with it every other carrier's sessions.
"""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.admin import trace
from gateway.smpp import codec, consts
from gateway.smpp.events import Answer, Deliver, Submit
from gateway.smpp.session import Session
from tests.faults.figures import sized
from tests.relay.setups import NUMBER, Setup, Smsc, Way
from tests.relay.world import HANDSET, World
from tests.smpp.pair import bound_session
from tests.smpp.strategies import OCTET, SM_FIELDS, TLVS

TWO = Setup(
    carriers=(Smsc(), Smsc("carrier-b")),
    routes=(Way(carriers=(("carrier-b", 1.0),)),),
)
LONG_S = 200 * 86_400.0
"""Past every retention: the sweep has walked over all that was left behind."""

KEYS = st.sampled_from(
    [b"id:", b"stat:", b"err:", b"done date:", b"text:", b" ", b"\0", b"DELIVRD"]
)
TEXTS = st.lists(st.one_of(KEYS, st.binary(max_size=12)), max_size=12).map(b"".join)
RECEIPT_TLVS = st.lists(
    st.tuples(
        st.sampled_from([0x001E, 0x0427, 0x0423, 0x0424, 0x020C, 0x020E, 0x020F]),
        st.binary(max_size=70),
    ),
    max_size=4,
)


def sm_body(fields: dict[str, object], changes: dict[str, object]) -> bytes:
    return codec.encode_sm(**(fields | changes))  # type: ignore[arg-type]


OURS = st.fixed_dictionaries(
    {},
    optional={
        "destination_addr": st.sampled_from([NUMBER.encode(), b"+" + NUMBER.encode(), b""]),
        "source_addr": st.sampled_from([NUMBER.encode(), HANDSET.encode(), b""]),
        "esm_class": st.sampled_from([0, 4, 0x20, 0x24, 0x40, 0x44, 0xFF]),
        "short_message": TEXTS.map(lambda text: text[:254]),
        "data_coding": st.sampled_from([0, 3, 4, 8, 0xF5]),
    },
)
BODIES = st.one_of(
    st.binary(max_size=120),
    st.builds(sm_body, SM_FIELDS, OURS),
    st.builds(
        lambda fields, changes, pairs: (
            sm_body(fields, changes | {"tlvs": b""})
            + b"".join(
                tag.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
                for tag, value in pairs
            )
        ),
        SM_FIELDS,
        OURS,
        RECEIPT_TLVS,
    ),
    st.builds(bytes.__add__, st.builds(sm_body, SM_FIELDS, OURS), TLVS),
)


def received(session: Session, command_id: int, bodies: Sequence[bytes]) -> list[object]:
    """What a session makes of these bodies, in one read."""
    pdus = [codec.pdu(command_id, 0, 1000 + at, body) for at, body in enumerate(bodies)]
    events: list[object] = list(session.receive_data(b"".join(pdus), 1.0))
    session.data_to_send()
    return events


@pytest.mark.timeout(600)
@settings(max_examples=sized(60, 1_000))
@given(st.lists(BODIES, min_size=1, max_size=12), st.binary(max_size=300), OCTET)
@example([b"\0" * 17], b"", 0)
def test_no_pdu_of_one_carrier_harms_another(bodies: list[bytes], answer: bytes, low: int) -> None:
    world = World(TWO)
    client = world.connect()
    poisoned, healthy = world.bind("carrier-a"), world.bind("carrier-b")
    before = world.accepted(client)
    message = healthy.unanswered.pop(before)

    events = received(bound_session("esme"), consts.DELIVER_SM, bodies)

    delivers = [event for event in events if isinstance(event, Deliver)]
    poisoned.answer(world.core.delivers(poisoned.id, delivers, world.now))
    odd = Answer(message, consts.SUBMIT_SM_RESP, 0 if low < 200 else low, answer)
    world.core.answers(healthy.id, [odd], world.now)
    world.settle()
    world.acknowledge(client)
    assert len(delivers) == len(poisoned.answered)
    after = world.accepted(client)
    carrier_id = world.respond(healthy, after)
    world.receipt(healthy, carrier_id)
    world.settle()
    assert world.state_of(after) == "delivered"
    assert trace.trace(world.state.view, before) is not None
    world.crash()
    world.tick(LONG_S)
    world.run(3600.0)


@pytest.mark.timeout(600)
@settings(max_examples=sized(60, 1_000))
@given(st.lists(BODIES, min_size=1, max_size=12), st.integers(0, 0xFFFFFFFF))
def test_no_pdu_of_one_client_harms_another(bodies: list[bytes], status: int) -> None:
    world = World(TWO)
    poisoned, healthy = world.connect(), world.connect()
    carrier = world.bind("carrier-b", window=1000)

    events = received(bound_session("smsc"), consts.SUBMIT_SM, bodies)

    submits = [event for event in events if isinstance(event, Submit)]
    poisoned.answer(world.core.submits(poisoned.id, submits, world.now))
    world.settle()
    assert len(submits) == len(poisoned.answered)
    for message_id, place in zip(list(carrier.unanswered), itertools.count(), strict=False):
        carrier_id = world.respond(carrier, message_id)
        if place % 2:
            world.receipt(carrier, carrier_id)
    world.settle()
    world.acknowledge(poisoned, status)
    world.settle()
    after = world.accepted(healthy)
    world.receipt(carrier, world.respond(carrier, after))
    world.settle()
    assert world.state_of(after) == "delivered"
    world.crash()
    world.tick(LONG_S)
    world.run(3600.0)
