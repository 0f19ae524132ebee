"""A message's life, read back from the rows of each place where it can be."""

from typing import Any

import pytest

from gateway.admin.trace import Trace, trace
from gateway.model import ids, records, states, tables
from gateway.relay.lanes import lane_prefix
from gateway.smpp.codec import encode_sm
from tests.admin.offices import DictView

ID = (3 << 42) + 7
KEY = ids.to_key(ID)
LANE = lane_prefix("us", "C1")


def stored(**changes: Any) -> DictView:
    """A view in which the message is stored, and nothing else is known of it."""
    fields: dict[str, Any] = {
        "id": ID,
        "client": "shop",
        "campaign": "C1",
        "route": "us",
        "source": b"12025550100",
        "destination": b"13105550123",
        "accepted_at": 1000.0,
        "expires_at": 9000.0,
        "priority": 2,
        "segments": 3,
        "registered_delivery": 1,
        "source_ton_npi": b"\x01\x01",
        "dest_ton_npi": b"\x01\x01",
        "sm_at": 0,
        "body": b"",
    }
    view = DictView()
    view.rows[tables.MESSAGE][KEY] = records.encode(records.Message(**fields | changes))
    return view


def note(view: DictView, at: float, what: str, carrier: str = "", detail: str = "") -> None:
    moment = int(at * 1000).to_bytes(6, "big") + b"\0"
    view.rows[tables.HISTORY][KEY + moment] = records.encode(
        records.Step(at, what, carrier, detail)
    )


def end(view: DictView, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "state": states.DELIVERED,
        "outcome": "",
        "at": 1030.0,
        "carrier": "carrier-a",
        "carrier_id": b"abc",
        "submitted_at": 1010.0,
        "answered_at": 1011.0,
        "error": b"000",
        "resends": 0,
    }
    view.rows[tables.FINAL][KEY] = records.encode(records.Ending(**fields | changes))


def traced(view: DictView) -> Trace:
    found = trace(view, ID)
    assert found is not None
    return found


def steps(found: Trace) -> list[tuple[float, str]]:
    return [(step.at, step.state) for step in found.steps]


def test_a_message_that_nobody_accepted_is_none() -> None:
    assert trace(DictView(), ID) is None


def test_a_message_in_its_lane() -> None:
    view = stored()
    view.rows[tables.QUEUE][LANE + b"\x01" + KEY] = b"\0"

    found = traced(view)

    assert (found.state, found.faults, found.receipt) == ("queued", [], "not due yet")
    assert (found.sender, found.recipient) == ("+12025550100", "+13105550123")
    assert (found.id, found.kind) == (ids.to_text(ID).decode(), "outbound")
    assert steps(found) == [(1000.0, "queued")]
    assert found.steps[0].why == "accepted from client shop, for route us"


def test_a_message_in_the_window_of_a_carrier() -> None:
    view = stored()
    view.rows[tables.IN_FLIGHT][b"carrier-a\x000"] = ids.to_key(1) + b"\0"
    view.rows[tables.IN_FLIGHT][b"carrier-b\x001"] = ids.to_key(2) + b"\0" + KEY + b"\x02"

    found = traced(view)

    assert (found.state, found.carrier, found.resends) == ("in_flight", "carrier-b", 2)
    assert steps(found) == [(1000.0, "queued"), (1000.0, "in_flight")]


def test_a_message_that_the_carrier_has() -> None:
    view = stored()
    view.rows[tables.AWAITING][KEY] = records.encode(
        records.Awaiting("carrier-a", b"abc", 1010.0, 1011.0, 1)
    )

    found = traced(view)

    assert (found.state, found.carrier, found.carrier_message_id) == (
        "submitted",
        "carrier-a",
        "abc",
    )
    assert found.resends == 1
    assert steps(found) == [(1000.0, "queued"), (1010.0, "in_flight"), (1011.0, "submitted")]


def test_a_delivered_message_whose_receipt_its_client_has() -> None:
    view = stored()
    end(view)

    found = traced(view)

    assert (found.state, found.receipt, found.outcome) == ("delivered", "delivered", "")
    assert found.error == ""
    assert steps(found)[-1] == (1030.0, "delivered")
    assert found.steps[-1].why == "the carrier's receipt says so"


def test_a_receipt_that_its_client_is_still_owed() -> None:
    view = stored()
    end(view)
    others = b"".join(map(ids.to_key, range(100)))
    view.rows[tables.OUTBOX][b"shop\0" + ids.to_key(1)] = others
    view.rows[tables.OUTBOX][b"shop\0" + ids.to_key(2)] = others + KEY + others

    assert traced(view).receipt == "owed"


def test_an_id_across_two_others_is_not_taken_for_ours() -> None:
    view = stored()
    end(view)
    view.rows[tables.OUTBOX][b"shop\0" + ids.to_key(1)] = b"\0" * 4 + KEY + b"\0" * 4

    assert traced(view).receipt == "delivered"


@pytest.mark.parametrize(
    ("asked", "state", "receipt"),
    [
        (0, states.FAILED, "not asked for"),
        (2, states.DELIVERED, "not asked for"),
        (2, states.FAILED, "delivered"),
        (1, states.SUBMITTED, "not asked for"),
    ],
)
def test_a_receipt_is_only_for_who_asked(asked: int, state: int, receipt: str) -> None:
    view = stored(registered_delivery=asked)
    end(view, state=state)

    assert traced(view).receipt == receipt


def test_a_message_whose_receipt_nobody_asked_for_ends_as_submitted() -> None:
    view = stored(registered_delivery=0)
    end(view, state=states.SUBMITTED, at=1011.0)

    found = traced(view)

    assert found.state == "submitted"
    assert steps(found) == [(1000.0, "queued"), (1010.0, "in_flight"), (1011.0, "submitted")]


def test_what_was_out_of_the_ordinary_stands_between_the_rest() -> None:
    view = stored()
    note(view, 1002.0, "put_back", "carrier-a", "ESME_RTHROTTLED")
    note(view, 1005.0, "in_doubt", detail="the link was lost before the answer")
    note(view, 1005.001, "resend", detail="1")
    end(view, resends=1)

    found = traced(view)

    assert steps(found) == [
        (1000.0, "queued"),
        (1002.0, "queued"),
        (1005.0, "in_doubt"),
        (1005.001, "queued"),
        (1010.0, "in_flight"),
        (1011.0, "submitted"),
        (1030.0, "delivered"),
    ]
    assert found.steps[1].detail == "ESME_RTHROTTLED"
    assert found.resends == 1


def test_a_refused_message_says_by_whom_and_why() -> None:
    view = stored()
    note(view, 1011.0, "refused", "carrier-a", "ESME_RINVDSTADR")
    end(
        view,
        state=states.FAILED,
        outcome="carrier_refused",
        carrier_id=b"",
        error=b"00b",
        at=1011.0,
    )

    found = traced(view)

    assert (found.state, found.outcome, found.error) == ("failed", "carrier_refused", "00b")
    assert found.outcome_text == "the carrier refused it"
    assert [step.detail for step in found.steps[-2:]] == ["ESME_RINVDSTADR", "carrier's error 00b"]


def test_a_message_that_was_answered_at_a_time_that_was_not_kept() -> None:
    view = stored()
    end(view, answered_at=0.0)

    found = traced(view)

    assert found.steps[2].state == "submitted"
    assert found.steps[2].detail == "the time of its answer was not kept"


@pytest.mark.parametrize(("state", "name"), [(states.HELD, "held"), (states.IN_DOUBT, "in_doubt")])
def test_a_parked_message_waits_for_a_decision(state: int, name: str) -> None:
    view = stored()
    view.rows[tables.PARKED][KEY] = records.encode(
        records.Parked(state, "in_doubt", 1020.0, 1, LANE)
    )

    found = traced(view)

    assert (found.state, found.outcome, found.resends) == (name, "in_doubt", 1)
    assert steps(found)[-1] == (1020.0, name)


def test_a_message_in_no_state_or_in_two_is_damage_and_said_to_be() -> None:
    lost = traced(stored())
    view = stored()
    view.rows[tables.QUEUE][LANE + b"\x01" + KEY] = b"\0"
    end(view)
    twice = traced(view)

    assert lost.state == "unknown to every table"
    assert twice.state == "queued and delivered"
    assert lost.faults == twice.faults
    assert len(lost.faults) == 1


@pytest.mark.parametrize(
    ("source", "text"),
    [(b"12025550100", "+12025550100"), (b"12345", "12345"), (b"SHOP", "SHOP"), (b"\xff", "\\xff")],
)
def test_a_sender_is_written_as_people_write_it(source: bytes, text: str) -> None:
    assert traced(stored(source=source)).sender == text


def test_a_message_from_a_handset() -> None:
    view = DictView()
    body = encode_sm(source_addr=b"+13105550123", destination_addr=b"12025550100")
    row = records.Inbound("shop", "carrier-a", 1000.0, body)
    view.rows[tables.INBOUND][KEY] = records.encode(row)

    found = traced(view)

    assert (found.kind, found.state, found.client) == ("inbound", "stored", "shop")
    assert (found.sender, found.recipient) == ("+13105550123", "+12025550100")


def test_a_message_from_a_handset_that_cannot_be_read_is_shown_without_its_numbers() -> None:
    view = DictView()
    row = records.Inbound("", "carrier-a", 1000.0, b"\xff")
    view.rows[tables.INBOUND][KEY] = records.encode(row)

    assert (traced(view).sender, traced(view).recipient) == ("", "")
