"""Entries: what admission reads of the registry, made ready beforehand.

A `NumberEntry` leads to its `CampaignEntry` in one step, so that looking up a sender is one dict
access. Entries live as long as their number or campaign; a change of a record is put into the
entry there is (`CampaignEntry.take`), so nobody who holds one ever has an outdated one.
"""

from gateway.registry.records import DEFAULT_LIMITS, VERIFIED, Brand, Campaign, Limit
from gateway.registry.use_cases import EXPIRY_S, find


class CampaignEntry:
    """A campaign as the hot path needs it. Read only, but for `take`."""

    __slots__ = (
        "blocked",
        "brand",
        "carriers",
        "client",
        "company",
        "expiry_s",
        "id",
        "in_doubt",
        "in_doubt_resends",
        "limits",
        "numbers",
        "priority",
        "record",
    )

    def __init__(self, record: Campaign, brand: Brand | None) -> None:
        self.id = record.id
        self.numbers: set[bytes] = set()
        self.take(record, brand)

    def take(self, record: Campaign, brand: Brand | None) -> None:
        """Takes up a changed record, of the campaign or of its brand."""
        use_case = find(record.use_case)
        self.record = record
        self.brand = record.brand
        self.company = "" if brand is None else brand.company
        self.blocked = _blocked(record, brand)
        """The outcome for which nothing may be sent now, or None."""
        self.priority = 0 if use_case is None else use_case.priority
        self.expiry_s = EXPIRY_S if use_case is None else use_case.expiry_s
        self.limits: tuple[Limit, ...] = DEFAULT_LIMITS if record.limits is None else record.limits
        self.in_doubt = record.in_doubt
        self.in_doubt_resends = record.in_doubt_resends
        self.client = record.client
        self.carriers = record.carriers

    def approved_at(self, carrier: str) -> bool:
        """Whether this carrier has approved it: by its own name, else by `*`."""
        approval = self.carriers.get(carrier)
        if approval is None:
            approval = self.carriers.get("*")
        return approval == "APPROVED"


class NumberEntry:
    """A number that may send or receive; `number` as people write it."""

    __slots__ = ("campaign", "client", "number", "own_company")

    def __init__(
        self, number: str, own_company: str, client: str | None, campaign: CampaignEntry | None
    ) -> None:
        self.number = number
        self.own_company = own_company
        """Whose it is while it has no campaign."""
        self.client = client
        self.campaign = campaign

    @property
    def company(self) -> str:
        """Whose it is."""
        return self.own_company if self.campaign is None else self.campaign.company


def _blocked(record: Campaign, brand: Brand | None) -> str | None:
    """The first thing that blocks it: a brand that is not verified blocks all its campaigns."""
    if brand is None or brand.identity_status not in VERIFIED:
        return "brand_not_verified"
    if record.status != "ACTIVE":
        return "campaign_not_active"
    return None
