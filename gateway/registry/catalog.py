"""Catalog: the registry in memory, which admission asks for every message.

It is an index over rows that the store keeps (`kind:id` -> record), rebuilt from them at start with
`load`. A change is planned first (`plan`: checked, with its rows), and applied when those rows are
in the open turn (`apply`): the next message sees it, and no message before it is on disk leaves.

Not here: files (`importer`, `export`), rules by carrier, and whether a campaign may be sent right
now for reasons other than its record (limits, opt-outs, hours).
"""

from collections.abc import Iterable

import msgspec

from gateway.registry.entries import CampaignEntry, NumberEntry
from gateway.registry.export import to_toml
from gateway.registry.importer import Import
from gateway.registry.plan import Known, Plan, make_plan
from gateway.registry.records import (
    Brand,
    Campaign,
    Company,
    Number,
    Record,
    digits_of,
    from_row,
)

__all__ = ["CampaignEntry", "Catalog", "NumberEntry", "Plan", "StalePlanError"]


class StalePlanError(Exception):
    """The catalog has changed since the plan was made: make it again."""


class Catalog:
    """Companies, brands, campaigns and numbers, by id. Numbers are by digits without `+`."""

    __slots__ = ("brands", "campaigns", "companies", "numbers", "version")

    def __init__(self) -> None:
        self.companies: dict[str, Company] = {}
        self.brands: dict[str, Brand] = {}
        self.campaigns: dict[str, CampaignEntry] = {}
        self.numbers: dict[bytes, NumberEntry] = {}
        self.version = 0

    # What admission asks

    def sender(self, client_company: str, source: bytes) -> NumberEntry | None:
        """The number, if it is this company's.

        Another company's is answered like an unknown one: nobody learns about others' numbers.
        """
        entry = self.numbers.get(source)
        if entry is None:
            return None
        campaign = entry.campaign
        company = entry.own_company if campaign is None else campaign.company
        return entry if company == client_company else None

    def blocked(self, entry: NumberEntry) -> str | None:
        """The outcome of the first thing that blocks sending from this number; None: nothing."""
        return "number_not_assigned" if entry.campaign is None else entry.campaign.blocked

    def approved_at(self, campaign: CampaignEntry, carrier: str) -> bool:
        """Whether this carrier has approved the campaign."""
        return campaign.approved_at(carrier)

    def without_limits(self) -> list[str]:
        """The campaigns that keep to the default limits, for warnings."""
        return sorted(e.id for e in self.campaigns.values() if e.record.limits is None)

    # How it changes

    def plan(self, import_: Import, *, prune: bool = False) -> Plan:
        """What this import would change; nothing is changed yet."""
        known = Known(self.companies, self.brands, self.campaigns, self.numbers)
        return make_plan(known, import_, prune=prune, version=self.version)

    def apply(self, plan: Plan) -> None:
        """Changes what was planned. The caller puts `plan.rows` into the same turn."""
        if plan.faults or plan.version != self.version:
            raise StalePlanError
        self._take(plan.records)
        self.version += 1

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> list[str]:
        """Takes up the rows on disk; gives back the keys of those that cannot be read.

        What such a row described is unknown from then on, so its messages are refused, not lost.
        """
        records: dict[bytes, Record | None] = {}
        unreadable = []
        for key, row in rows:
            try:
                records[key] = from_row(key, row)
            except (ValueError, msgspec.MsgspecError):
                unreadable.append(key.decode(errors="backslashreplace"))
        self._take(records)
        return unreadable

    def export(self) -> str:
        """All of it as a file that `registry import` takes."""
        return to_toml(
            self.companies.values(),
            self.brands.values(),
            self.campaigns.values(),
            self.numbers.items(),
        )

    def _take(self, records: dict[bytes, Record | None]) -> None:
        """Companies and brands first, then what refers to them, whatever the order of rows."""
        campaigns: list[Campaign] = []
        numbers: list[Number] = []
        brands: set[str] = set()
        for key, record in records.items():
            match record:
                case None:
                    brands.update(self._forget(key))
                case Company():
                    self.companies[record.id] = record
                case Brand():
                    self.brands[record.id] = record
                    brands.add(record.id)
                case Campaign():
                    campaigns.append(record)
                case Number():
                    numbers.append(record)
        for record in campaigns:
            self._take_campaign(record)
        if brands:
            for entry in self.campaigns.values():
                if entry.brand in brands:
                    entry.take(entry.record, self.brands.get(entry.brand))
        for record in numbers:
            self._take_number(record)

    def _take_campaign(self, record: Campaign) -> None:
        entry = self.campaigns.get(record.id)
        brand = self.brands.get(record.brand)
        if entry is None:
            self.campaigns[record.id] = CampaignEntry(record, brand)
        else:
            entry.take(record, brand)

    def _take_number(self, record: Number) -> None:
        digits = digits_of(record.number)
        campaign = None if record.campaign is None else self.campaigns.get(record.campaign)
        entry = self.numbers.get(digits)
        if entry is None:
            entry = NumberEntry(record.number, "", None, None)
            self.numbers[digits] = entry
        elif entry.campaign is not None:
            entry.campaign.numbers.discard(digits)
        entry.number = record.number
        entry.own_company = record.company or ""
        entry.client = record.client
        entry.campaign = campaign
        if campaign is not None:
            campaign.numbers.add(digits)

    def _forget(self, key: bytes) -> set[str]:
        """Removes a record; gives back the brands whose campaigns must look again."""
        kind, _, name = key.partition(b":")
        if kind == b"number":
            entry = self.numbers.pop(name, None)
            if entry is not None and entry.campaign is not None:
                entry.campaign.numbers.discard(name)
        elif kind == b"campaign":
            gone = self.campaigns.pop(name.decode(), None)
            if gone is not None:
                for digits in gone.numbers:
                    self.numbers[digits].campaign = None
        elif kind == b"brand":
            self.brands.pop(name.decode(), None)
            return {name.decode()}
        else:
            self.companies.pop(name.decode(), None)
        return set()
