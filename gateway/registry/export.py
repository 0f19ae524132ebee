"""Export: the registry as the TOML file that would import it.

Numbers of a campaign stand in its `numbers`; a [[number]] table is written for those without a
campaign, and for those with a client of their own. Fields with their default are left out.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.registry.entries import CampaignEntry, NumberEntry
from gateway.registry.records import Brand, Company, Number


def to_toml(
    companies: Iterable[Company],
    brands: Iterable[Brand],
    campaigns: Iterable[CampaignEntry],
    numbers: Iterable[tuple[bytes, NumberEntry]],
) -> str:
    """All records, sorted by kind and id."""
    by_digits = dict(sorted(numbers))
    lines: list[str] = []
    for company in sorted(companies, key=lambda company: company.id):
        lines += _table("company", company)
    for brand in sorted(brands, key=lambda brand: brand.id):
        lines += _table("brand", brand)
    for entry in sorted(campaigns, key=lambda entry: entry.id):
        owned = tuple(by_digits[digits].number for digits in sorted(entry.numbers))
        lines += _table("campaign", msgspec.structs.replace(entry.record, numbers=owned))
    for number in by_digits.values():
        if number.campaign is None:
            record = Number(number=number.number, company=number.own_company, client=number.client)
            lines += _table("number", record)
        elif number.client is not None:
            record = Number(number=number.number, campaign=number.campaign.id, client=number.client)
            lines += _table("number", record)
    return "\n".join(lines)


def _table(name: str, record: msgspec.Struct) -> Iterator[str]:
    yield f"[[{name}]]"
    yield from _pairs(record)
    yield ""


def _pairs(record: msgspec.Struct) -> Iterator[str]:
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        if value != field.default and not (value == {} and field.default_factory is dict):
            yield f"{field.encode_name} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_text(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, msgspec.Struct):
        return f"{{ {', '.join(_pairs(value))} }}"
    return _text(value)


def _text(value: str) -> str:
    # JSON's escapes are TOML's, as long as no character is written as two surrogates.
    return json.dumps(value, ensure_ascii=False)
