"""The records of the registry: what a file of companies, brands, campaigns and numbers holds.

The same frozen structs are the tables of an imported file and the rows on disk. A row is a msgpack
map without the fields that have their default, so fields may be added anywhere and read rows stay
readable. Field names are ours; The Campaign Registry's own spelling is the linter's.

Only what sending needs is required. Everything else is kept as it was given: what is missing is a
finding of the linter, never a refused import.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from gateway.config.schema import InDoubt, Name, Operator, Resends
from gateway.config.table import WHOLE_TEXT

EntityType = Literal[
    "PRIVATE_PROFIT", "PUBLIC_PROFIT", "NON_PROFIT", "GOVERNMENT", "SOLE_PROPRIETOR"
]
IdentityStatus = Literal[
    "VERIFIED", "VETTED_VERIFIED", "UNVERIFIED", "SELF_DECLARED", "REGISTERING", "ERROR"
]
CampaignStatus = Literal["ACTIVE", "PENDING", "DECLINED", "SUSPENDED", "DORMANT", "EXPIRED"]
CampaignType = Literal["10dlc", "toll_free", "short_code"]
Approval = Literal["PENDING", "APPROVED", "REJECTED", "SUSPENDED"]
QuietHours = Literal["off", "federal", "strict"]
Per = Literal["second", "minute", "day"]

VERIFIED: Final[frozenset[IdentityStatus]] = frozenset({"VERIFIED", "VETTED_VERIFIED"})
"""The only states of a brand with which carriers let its campaigns send."""

Line = Annotated[str, Meta(max_length=255)]
Text = Annotated[str, Meta(max_length=16384, extra=WHOLE_TEXT)]
"""A text with lines of its own; TCR's longest, the description, has 4,096 characters of up to four
octets each."""

Digits = Annotated[
    str,
    Meta(
        pattern=r"^(\+[1-9][0-9]{6,14}|[1-9][0-9]{2,7})$",
        description='a number such as "+12025550100", or a short code',
        examples=["+12025550100"],
    ),
]


class Company(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An account: who owns numbers and lets clients send from them."""

    id: Name
    name: Line = ""
    support_phone: Line = ""
    support_email: Line = ""
    website: Line = ""


class Brand(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A registered business."""

    id: Name
    company: Name
    identity_status: IdentityStatus
    legal_name: Line = ""
    display_name: Line = ""
    entity_type: EntityType | None = None
    tax_exempt_status: Line = ""
    ein: Line = ""
    ein_issuing_country: Line = ""
    alt_business_id: Line = ""
    alt_business_id_type: Line = ""
    street: Line = ""
    city: Line = ""
    state: Line = ""
    postal_code: Line = ""
    country: Line = ""
    phone: Line = ""
    email: Line = ""
    website: Line = ""
    stock_symbol: Line = ""
    stock_exchange: Line = ""
    vertical: Line = ""
    vetting_class: Line = ""
    vetting_score: Annotated[int, Meta(ge=0, le=100)] | None = None
    reference_id: Line = ""


class Limit(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One limit of a campaign. Segments are counted, of all parts of a message together."""

    per: Per
    segments: Annotated[float, Meta(ge=0, le=1e9)]
    zone: Line = ""
    """The zone whose days are meant; only with `per = "day"`, and then `DEFAULT_ZONE` if empty."""
    at_cap: Literal["hold", "refuse"] = "hold"
    network: Operator | None = None
    scope: Literal["campaign", "number"] = "campaign"
    reserve: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Segments of a day kept for replies to STOP and HELP."""


class Campaign(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A registered use case; or the local program of toll-free numbers or of a short code."""

    id: Name
    brand: Name
    use_case: str
    """A code of `use_cases`; aliases are replaced when a file is read."""
    status: CampaignStatus
    type: CampaignType = "10dlc"
    carriers: dict[str, Approval] = {}
    """By carrier name, or `*` for those not named; not given: PENDING."""
    numbers: tuple[Digits, ...] | None = None
    """In a file only: exactly these numbers are the campaign's; not given: those it has. On disk
    it is None, each number has a row of its own."""
    limits: tuple[Limit, ...] | None = None
    """None: what the record entitles it to. Empty: none at all."""
    in_doubt: InDoubt | None = None
    in_doubt_resends: Resends | None = None
    client: Name | None = None
    """Who gets its inbound messages."""
    quiet_hours: QuietHours | None = None
    sub_use_cases: tuple[str, ...] = ()
    description: Text = ""
    message_flow: Text = ""
    samples: tuple[Text, ...] = ()
    help_message: Text = ""
    help_keywords: Text = ""
    optin_message: Text = ""
    optin_keywords: Text = ""
    optout_message: Text = ""
    optout_keywords: Text = ""
    subscriber_optin: bool | None = None
    subscriber_optout: bool | None = None
    subscriber_help: bool | None = None
    embedded_link: bool | None = None
    embedded_phone: bool | None = None
    number_pool: bool | None = None
    age_gated: bool | None = None
    direct_lending: bool | None = None
    affiliate_marketing: bool | None = None
    auto_renewal: bool | None = None
    terms_and_conditions: bool | None = None
    terms_link: Line = ""
    privacy_link: Line = ""
    vertical: Line = ""
    reference_id: Line = ""


class Number(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A source address. Belongs to at most one campaign, and is refused as a sender without."""

    number: Digits
    company: Name | None = None
    """Not given: that of its campaign."""
    campaign: Name | None = None
    client: Name | None = None
    """Who gets what handsets send to it; before the campaign's client."""


Record = Company | Brand | Campaign | Number

DEFAULT_ZONE: Final = "America/Los_Angeles"
"""Where T-Mobile's day ends, the only daily cap that carriers publish."""

DEFAULT_LIMITS: Final = (
    Limit(per="minute", segments=240),
    Limit(per="day", segments=2000, zone=DEFAULT_ZONE),
)
"""Of a campaign without `limits`, until they follow from its record: what AT&T and T-Mobile allow a
verified brand without vetting."""

KINDS: Final[dict[bytes, type[Any]]] = {
    b"company": Company,
    b"brand": Brand,
    b"campaign": Campaign,
    b"number": Number,
}

_encode: Final = msgspec.msgpack.Encoder().encode
_decoders: Final = {kind: msgspec.msgpack.Decoder(shape) for kind, shape in KINDS.items()}


def digits_of(number: str) -> bytes:
    """A number as SMPP carries it: digits without `+`."""
    return number.removeprefix("+").encode()


def to_row(record: Record) -> tuple[bytes, bytes]:
    """The key and the row of a record."""
    match record:
        case Company():
            key = f"company:{record.id}".encode()
        case Brand():
            key = f"brand:{record.id}".encode()
        case Campaign():
            key = f"campaign:{record.id}".encode()
            record = msgspec.structs.replace(record, numbers=None)
        case Number():
            key = b"number:%b" % digits_of(record.number)
    return key, _encode(record)


def from_row(key: bytes, row: bytes) -> Record:
    """The record of a row; ValueError if it cannot be read."""
    kind = key.partition(b":")[0]
    decoder = _decoders.get(kind)
    if decoder is None:
        raise ValueError(f"no record is kept under {key!r}")
    record: Record = decoder.decode(row)
    return record
