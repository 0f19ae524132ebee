"""Use cases: The Campaign Registry's codes, and what a campaign has by default because of its own.

The codes are those that TCR and its partners accept; other vendors' spellings are aliases. A
priority is SMPP's: 0 to 3, the higher goes first. An expiry is how long a message may wait when its
client does not say: a one-time code is useless after ten minutes, the rest after two days.
"""

from typing import Final, Literal

import msgspec

Kind = Literal["standard", "special"]

EXPIRY_S: Final = 48 * 3600.0
EXPIRY_2FA_S: Final = 600.0


class UseCase(msgspec.Struct, frozen=True):
    """One code. `special` ones need vetting or a carrier's own approval."""

    code: str
    kind: Kind
    priority: int
    expiry_s: float = EXPIRY_S


_URGENT, _ALERT, _SERVICE, _BULK = 3, 2, 1, 0

_TABLE: Final = (
    UseCase("2FA", "standard", _URGENT, EXPIRY_2FA_S),
    UseCase("ACCOUNT_NOTIFICATION", "standard", _SERVICE),
    UseCase("CUSTOMER_CARE", "standard", _SERVICE),
    UseCase("DELIVERY_NOTIFICATION", "standard", _SERVICE),
    UseCase("FRAUD_ALERT", "standard", _ALERT),
    UseCase("HIGHER_EDUCATION", "standard", _SERVICE),
    UseCase("LOW_VOLUME", "standard", _SERVICE),
    UseCase("M2M", "standard", _SERVICE),
    UseCase("MARKETING", "standard", _BULK),
    UseCase("MIXED", "standard", _SERVICE),
    UseCase("POLLING_VOTING", "standard", _BULK),
    UseCase("PUBLIC_SERVICE_ANNOUNCEMENT", "standard", _SERVICE),
    UseCase("SECURITY_ALERT", "standard", _ALERT),
    UseCase("AGENTS_FRANCHISES", "special", _SERVICE),
    UseCase("CARRIER_EXEMPT", "special", _SERVICE),
    UseCase("CHARITY", "special", _BULK),
    UseCase("CONVERSATIONAL", "special", _SERVICE),
    UseCase("EMERGENCY", "special", _URGENT),
    UseCase("K12_EDUCATION", "special", _SERVICE),
    UseCase("POLITICAL", "special", _BULK),
    UseCase("PROXY", "special", _SERVICE),
    UseCase("PUBLIC_SAFETY_RESTRICTED", "special", _URGENT),
    UseCase("SOCIAL", "special", _BULK),
    UseCase("SOLE_PROPRIETOR", "special", _SERVICE),
    UseCase("SWEEPSTAKE", "special", _BULK),
    UseCase("TRIAL", "special", _BULK),
    UseCase("UCAAS_HIGH", "special", _SERVICE),
    UseCase("UCAAS_LOW", "special", _SERVICE),
)

USE_CASES: Final[dict[str, UseCase]] = {use_case.code: use_case for use_case in _TABLE}

ALIASES: Final[dict[str, str]] = {
    "LOW_VOLUME_MIXED": "LOW_VOLUME",
    "POLITICAL_SECTION_527": "POLITICAL",
}
"""How some vendors spell them."""


def find(code: str) -> UseCase | None:
    """The use case that a code or an alias of it names."""
    return USE_CASES.get(ALIASES.get(code, code))
