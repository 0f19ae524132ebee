"""Outcomes: one code per reason, the same in SMPP answers, HTTP problems, receipts, logs, `ctl`.

The order is the contract's and fixes the statuses of our own (0x0400 + position), so a new outcome
goes to the end. `standard` is the specification's status for those who want no vendor range
(`status_style = "standard"`); where it says nothing better, ESME_RSUBMITFAIL. Retryable refusals
answer with the specification's status in both styles: every SMPP library knows how to wait for
those two, and none knows ours.
"""

from typing import Final, Literal

import msgspec

from gateway.model import states

StatusStyle = Literal["standard", "specific"]

STATUS_BASE: Final = 0x0400
"""Our first status: 0x0400-0x04FF is the range that SMPP 3.4 section 5.1.3 leaves to vendors."""

_RINVSRCADR, _RINVDSTADR, _RMSGQFUL = 0x0A, 0x0B, 0x14
_RSUBMITFAIL, _RTHROTTLED, _RINVSCHED, _RINVEXPIRY, _RINVMSGLEN = 0x45, 0x58, 0x61, 0x62, 0x01


class Outcome(msgspec.Struct, frozen=True):
    """One reason. `final_state` is the state of a message that ends for it, if one can."""

    code: str
    status: int
    standard: int
    http: int
    retryable: bool
    final_state: int | None
    text: str

    def command_status(self, style: StatusStyle) -> int:
        """What a submit_sm that is refused for this reason is answered."""
        return self.standard if style == "standard" or self.retryable else self.status


_F, _E, _C = states.FAILED, states.EXPIRED, states.CANCELED
_TABLE: Final[tuple[tuple[str, int, int, bool, int | None, str], ...]] = (
    ("opted_out", _RSUBMITFAIL, 403, False, _C, "the recipient opted out of this sender"),
    ("unknown_sender", _RINVSRCADR, 403, False, _F, "the source address is not one of yours"),
    ("campaign_not_active", _RSUBMITFAIL, 403, False, _F, "the sender's campaign is not active"),
    ("brand_not_verified", _RSUBMITFAIL, 403, False, _F, "the sender's brand is not verified"),
    ("not_approved_at_carrier", _RSUBMITFAIL, 403, False, _F, "no carrier approved the campaign"),
    ("number_not_assigned", _RINVSRCADR, 403, False, _F, "the source number has no campaign yet"),
    ("not_opted_in", _RSUBMITFAIL, 403, False, _F, "this campaign needs an opt-in first"),
    ("outside_group", _RINVDSTADR, 403, False, _F, "the recipient is not in the campaign's group"),
    ("not_sms_capable", _RINVDSTADR, 422, False, _F, "the recipient cannot receive SMS"),
    ("daily_cap", _RSUBMITFAIL, 429, False, _F, "the daily cap is used up"),
    ("rate_limited", _RTHROTTLED, 429, True, None, "faster than the limit allows"),
    ("quiet_hours", _RSUBMITFAIL, 403, False, _F, "quiet hours where the recipient lives"),
    ("content_mismatch", _RSUBMITFAIL, 422, False, _F, "the text is not what was registered"),
    ("expired", _RINVEXPIRY, 422, False, _E, "its validity ended before it could be sent"),
    ("no_route", _RSUBMITFAIL, 422, False, _F, "no route leads to this recipient"),
    ("queue_full", _RMSGQFUL, 503, True, None, "the queue is full, try again later"),
    ("too_long", _RINVMSGLEN, 422, False, _F, "more segments than can ever be sent"),
    ("bad_address", _RINVDSTADR, 422, False, _F, "the recipient is not a telephone number"),
    ("bad_text", _RSUBMITFAIL, 422, False, _F, "the text cannot be encoded"),
    ("duplicate", _RSUBMITFAIL, 409, False, _F, "submitted already"),
    ("needs_broadcast", _RSUBMITFAIL, 403, False, _F, "bulk sends need a moderated broadcast"),
    ("carrier_refused", _RSUBMITFAIL, 502, False, _F, "the carrier refused it"),
    ("carrier_unregistered", _RSUBMITFAIL, 502, False, _F, "the carrier says: not registered"),
    ("carrier_spam", _RSUBMITFAIL, 502, False, _F, "the carrier blocked it as spam"),
    ("handset_unavailable", _RSUBMITFAIL, 502, False, _F, "the handset could not be reached"),
    ("no_receipt", _RSUBMITFAIL, 504, False, states.UNKNOWN, "no receipt came in time"),
    ("in_doubt", _RSUBMITFAIL, 504, False, _F, "sent, and never answered by the carrier"),
    ("canceled_by_client", _RSUBMITFAIL, 410, False, _C, "canceled by the client"),
    ("canceled_by_stop", _RSUBMITFAIL, 410, False, _C, "the recipient replied STOP"),
    # Behind the contract's list:
    ("bad_schedule", _RINVSCHED, 422, False, _F, "the time to send it at is none, or too far off"),
)

OUTCOMES: Final[dict[str, Outcome]] = {
    code: Outcome(code, STATUS_BASE + place, standard, http, retryable, final_state, text)
    for place, (code, standard, http, retryable, final_state, text) in enumerate(_TABLE)
}
