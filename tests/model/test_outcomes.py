"""The outcomes: the contract's order fixes the statuses, and clients are told what they can know."""

import pytest

from gateway.model import states
from gateway.model.outcomes import OUTCOMES
from gateway.smpp import consts

CONTRACT = (
    "opted_out unknown_sender campaign_not_active brand_not_verified not_approved_at_carrier "
    "number_not_assigned not_opted_in outside_group not_sms_capable daily_cap rate_limited "
    "quiet_hours content_mismatch expired no_route queue_full too_long bad_address bad_text "
    "duplicate needs_broadcast carrier_refused carrier_unregistered carrier_spam "
    "handset_unavailable no_receipt in_doubt canceled_by_client canceled_by_stop"
)
"""The contract's list, which outside tools rely on: new ones go to its end."""

CODES = CONTRACT.split()

STANDARD = {
    "opted_out": consts.ESME_RSUBMITFAIL,
    "unknown_sender": consts.ESME_RINVSRCADR,
    "number_not_assigned": consts.ESME_RINVSRCADR,
    "outside_group": consts.ESME_RINVDSTADR,
    "not_sms_capable": consts.ESME_RINVDSTADR,
    "rate_limited": consts.ESME_RTHROTTLED,
    "expired": consts.ESME_RINVEXPIRY,
    "queue_full": consts.ESME_RMSGQFUL,
    "too_long": consts.ESME_RINVMSGLEN,
    "bad_address": consts.ESME_RINVDSTADR,
}
"""Where the specification has a status that says it; ESME_RSUBMITFAIL elsewhere."""

RETRYABLE = {"rate_limited", "queue_full"}


def test_the_outcomes_are_the_contracts_in_its_order() -> None:
    assert CODES == list(OUTCOMES)[: len(CODES)]


@pytest.mark.parametrize(("place", "code"), list(enumerate(CODES)))
def test_a_place_in_the_contract_fixes_the_status(place: int, code: str) -> None:
    outcome = OUTCOMES[code]

    assert code == outcome.code
    assert 0x0400 + place == outcome.status
    assert STANDARD.get(code, consts.ESME_RSUBMITFAIL) == outcome.standard


@pytest.mark.parametrize("code", CODES)
def test_each_style_answers_its_own_status_but_both_say_when_to_wait(code: str) -> None:
    outcome = OUTCOMES[code]

    assert outcome.standard == outcome.command_status("standard")
    assert (code in RETRYABLE) == outcome.retryable
    specific = outcome.standard if code in RETRYABLE else outcome.status
    assert specific == outcome.command_status("specific")


def test_the_constants_that_are_written_out_here_are_the_specifications() -> None:
    # The model stands below the protocol, so it repeats these numbers instead of importing them.
    known = {value for name, value in vars(consts).items() if name.startswith("ESME_")}

    assert {outcome.standard for outcome in OUTCOMES.values()} <= known


def test_an_outcome_ends_a_message_in_a_final_state_or_never() -> None:
    for outcome in OUTCOMES.values():
        assert outcome.final_state in states.FINAL | {None}
        assert outcome.retryable == (outcome.final_state is None)
        assert 400 <= outcome.http < 600
        assert outcome.text
