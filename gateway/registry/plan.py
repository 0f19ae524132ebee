"""Plan: what an import would change, all or nothing.

Upsert: a record of the file replaces the one of that id whole; what the file does not name stays,
or goes with `prune`. The result must hold together (a brand's company and a campaign's brand exist,
a number is in one campaign and of one company), or nothing changes and every fault is listed.

Numbers. A number gets into a campaign by standing in its `numbers`, or by its own [[number]] table.
A campaign's `numbers` are exactly its numbers: those it had and no longer names have no campaign
from then on. A campaign without that key keeps those it has. A number cannot silently be taken from
another campaign or company: that one must give it up in the same file, or a [[number]] table must
say so.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.config.table import Finding, show
from gateway.registry.entries import CampaignEntry, NumberEntry
from gateway.registry.importer import Import
from gateway.registry.records import (
    Brand,
    Campaign,
    Company,
    Number,
    Record,
    digits_of,
    to_row,
)


class Plan(msgspec.Struct, frozen=True):
    """The outcome of a check. With faults there are no rows, and there is nothing to apply."""

    changes: tuple[str, ...]
    """A line for people each."""
    faults: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    rows: dict[bytes, bytes | None]
    """Keys and rows of the registry's table; None is a row to delete."""
    records: dict[bytes, Record | None]
    """The same, decoded."""
    version: int
    """The state of the catalog for which it was made."""


class Known(msgspec.Struct, frozen=True):
    """What there is now, by id."""

    companies: Mapping[str, Company]
    brands: Mapping[str, Brand]
    campaigns: Mapping[str, CampaignEntry]
    numbers: Mapping[bytes, NumberEntry]


def make_plan(known: Known, import_: Import, *, prune: bool, version: int) -> Plan:
    """Checks an import against what there is, and says what it would change."""
    planner = _Planner(known, import_, prune=prune)
    planner.references()
    planner.numbers()
    faults = (*import_.faults, *planner.faults)
    if faults:
        return Plan((), faults, import_.warnings, {}, {}, version)
    planner.differences()
    return Plan(
        tuple(planner.changes), (), import_.warnings, planner.rows, planner.records, version
    )


class _Planner:
    """Works out one plan."""

    def __init__(self, known: Known, import_: Import, *, prune: bool) -> None:
        self.known = known
        self.file = import_
        self.prune = prune
        self.faults: list[Finding] = []
        self.changes: list[str] = []
        self.rows: dict[bytes, bytes | None] = {}
        self.records: dict[bytes, Record | None] = {}
        # What there would be afterwards.
        self.companies = {**({} if prune else known.companies), **import_.companies}
        self.brands = {**({} if prune else known.brands), **import_.brands}
        self.campaigns: dict[str, Campaign] = {} if prune else _records(known.campaigns)
        self.campaigns.update(import_.campaigns)
        self.wanted: dict[bytes, Number] = {}

    def references(self) -> None:
        """Every record leads to one that exists."""
        for brand in self.brands.values():
            if brand.company and brand.company not in self.companies:
                self._unknown(f'brand "{brand.id}".company', "company", brand.company)
        for campaign in self.campaigns.values():
            if campaign.brand and campaign.brand not in self.brands:
                self._unknown(f'campaign "{campaign.id}".brand', "brand", campaign.brand)
        for number in self.file.numbers.values():
            at = f'number "{number.number}"'
            if number.company is not None and number.company not in self.companies:
                self._unknown(f"{at}.company", "company", number.company)
            if number.campaign is not None and number.campaign not in self.campaigns:
                self._unknown(f"{at}.campaign", "campaign", number.campaign)

    def numbers(self) -> None:
        """Where each number that the file speaks of belongs afterwards."""
        listed: dict[bytes, str] = {}
        for campaign in self.file.campaigns.values():
            for place, number in enumerate(campaign.numbers or ()):
                at = f'campaign "{campaign.id}".numbers[{place}]'
                digits = digits_of(number)
                other = listed.setdefault(digits, campaign.id)
                own = self.file.numbers.get(digits)
                if other != campaign.id:
                    self._fault(at, f"{number} is in campaign {other} too", "keep it in one")
                elif own is not None and own.campaign not in (None, campaign.id):
                    problem = f"its own table puts {number} into campaign {own.campaign}"
                    self._fault(at, problem, "keep it in one")
                else:
                    self._assign(at, digits, number, campaign.id)
        for digits, own in self.file.numbers.items():
            if digits not in listed:
                self._place(digits, own)
        for campaign in self.file.campaigns.values():
            entry = self.known.campaigns.get(campaign.id)
            if entry is not None and campaign.numbers is not None:
                for digits in entry.numbers:
                    if digits not in self.wanted and digits not in listed:
                        self._release(self.known.numbers[digits])

    def differences(self) -> None:
        """The rows that change, and a line for people about each."""
        known = self.known
        self._compare("company", known.companies, self.companies)
        self._compare("brand", known.brands, self.brands)
        self._compare("campaign", _records(known.campaigns), self.campaigns)
        numbers = {digits: _number(known.numbers.get(digits)) for digits in self.wanted}
        self._compare("number", {d: n for d, n in numbers.items() if n is not None}, self.wanted)
        if self.prune:
            for digits, entry in known.numbers.items():
                if digits not in self.wanted:
                    self._gone(f"number {entry.number}", b"number:%b" % digits)

    def _assign(self, at: str, digits: bytes, number: str, campaign: str) -> None:
        """A number goes into a campaign, or stays there."""
        own = self.file.numbers.get(digits)
        entry = self.known.numbers.get(digits)
        brand = self.brands.get(self.campaigns[campaign].brand)
        company = "" if brand is None else brand.company
        if own is not None:
            if own.company not in (None, company) and company:
                problem = f"{number} is of company {own.company}, the campaign of {company}"
                self._fault(at, problem, "correct one of the two")
        elif entry is not None and not self._may_take(entry, campaign, company):
            holder = "" if entry.campaign is None else f", in campaign {entry.campaign.id}"
            problem = f"{number} is of company {entry.company}{holder}"
            self._fault(at, problem, "give it up there in the same file, or add a [[number]] table")
        source = entry if own is None else own
        client = None if source is None else source.client
        self.wanted[digits] = Number(
            number=number, company=company or None, campaign=campaign, client=client
        )

    def _may_take(self, entry: NumberEntry, campaign: str, company: str) -> bool:
        """Whether a campaign may list a number that there is already."""
        if self.prune:
            return True
        if entry.campaign is None:
            return entry.own_company == company
        if entry.campaign.id == campaign:
            return True
        giver = self.file.campaigns.get(entry.campaign.id)
        gives_up = giver is not None and giver.numbers is not None
        return gives_up and entry.company == company

    def _place(self, digits: bytes, own: Number) -> None:
        """A number that only its own table speaks of."""
        at = f'number "{own.number}"'
        if own.campaign is not None:
            if own.campaign in self.campaigns:
                self._assign(at, digits, own.number, own.campaign)
        elif own.company is None:
            self._fault(f"{at}.company", "is missing", "write the company that owns it")
        else:
            self.wanted[digits] = own

    def _release(self, entry: NumberEntry) -> None:
        """A number that its campaign no longer names."""
        if not self.prune:
            self.wanted[digits_of(entry.number)] = Number(
                number=entry.number, company=entry.company, client=entry.client
            )

    def _compare(
        self, kind: str, before: Mapping[Any, Record], after: Mapping[Any, Record]
    ) -> None:
        for name, record in after.items():
            new = record
            if isinstance(new, Campaign) and new.numbers is not None:
                new = msgspec.structs.replace(new, numbers=None)
            old = before.get(name)
            if old == new:
                continue
            label = f"{kind} {new.number if isinstance(new, Number) else name}"
            key, row = to_row(new)
            self.rows[key] = row
            self.records[key] = new
            self.changes.append(f"{label}: {'new' if old is None else _difference(old, new)}")
        for name in before:
            if name not in after:
                self._gone(f"{kind} {name}", f"{kind}:{name}".encode())

    def _gone(self, label: str, key: bytes) -> None:
        self.rows[key] = None
        self.records[key] = None
        self.changes.append(f"{label}: gone")

    def _unknown(self, at: str, kind: str, name: str) -> None:
        instead = f"add a [[{kind}]] with id = {show(name)}"
        self._fault(at, f"there is no {kind} {show(name)}", instead)

    def _fault(self, path: str, problem: str, instead: str) -> None:
        self.faults.append(Finding(path, problem, instead))


def _records(campaigns: Mapping[str, CampaignEntry]) -> dict[str, Campaign]:
    return {name: entry.record for name, entry in campaigns.items()}


def _number(entry: NumberEntry | None) -> Number | None:
    """The record behind an entry."""
    if entry is None:
        return None
    campaign = None if entry.campaign is None else entry.campaign.id
    company = entry.own_company or None
    return Number(number=entry.number, company=company, campaign=campaign, client=entry.client)


def _difference(old: Record, new: Record) -> str:
    """`field before -> after` of every field that changes."""
    changed = []
    for field in new.__struct_fields__:
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            changed.append(f"{field} {_brief(before)} -> {_brief(after)}")
    return ", ".join(changed)


def _brief(value: object) -> str:
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
    return show(value) if isinstance(value, str) and " " in value else str(value)
