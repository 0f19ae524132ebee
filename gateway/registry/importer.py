"""Importer: the text of a registry file becomes records, with everything that is wrong with it.

Looks at the file alone. Whether its parts fit together and fit what is known already is for `plan`,
which is asked even when there are faults here, so that one try names them all. Never raises,
whatever the text.
"""

import tomllib
from pathlib import PurePath
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from gateway.config.table import Finding, Reader, did_you_mean, labels, show
from gateway.registry import use_cases
from gateway.registry.records import (
    DEFAULT_ZONE,
    Brand,
    Campaign,
    Company,
    Limit,
    Number,
    digits_of,
)

ZONE_CHARACTERS_MAX: Final = 64


class File(msgspec.Struct, frozen=True):
    """The tables of a registry file."""

    company: tuple[Company, ...] = ()
    brand: tuple[Brand, ...] = ()
    campaign: tuple[Campaign, ...] = ()
    number: tuple[Number, ...] = ()


class Import(msgspec.Struct, frozen=True):
    """What a file holds, by id; what is wrong with it alone. Numbers are by their digits."""

    companies: dict[str, Company]
    brands: dict[str, Brand]
    campaigns: dict[str, Campaign]
    numbers: dict[bytes, Number]
    faults: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def parse(text: str) -> Import:
    """Reads a registry file (TOML)."""
    try:
        text.encode()
        raw = tomllib.loads(text)
    except UnicodeEncodeError:
        return _nothing("the file is not UTF-8")
    except RecursionError:
        return _nothing("lists or tables are nested too deep")
    except ValueError as error:  # TOMLDecodeError is one; a number of 5,000 digits is a plain one
        return _nothing(f"this is not TOML: {error}")
    reader = Reader(PurePath(), {})
    file = reader.table(File, raw, "")
    campaigns = [
        _campaign(reader, at, campaign)
        for at, campaign in zip(_labels(Campaign, raw, "campaign"), file.campaign, strict=True)
    ]
    _twice(reader, "company", [company.id for company in file.company])
    _twice(reader, "brand", [brand.id for brand in file.brand])
    _twice(reader, "campaign", [campaign.id for campaign in campaigns])
    _twice(reader, "number", [digits_of(number.number).decode() for number in file.number])
    return Import(
        companies={company.id: company for company in file.company if company.id},
        brands={brand.id: brand for brand in file.brand if brand.id},
        campaigns={campaign.id: campaign for campaign in campaigns if campaign.id},
        numbers={digits_of(number.number): number for number in file.number if number.number},
        faults=tuple(reader.faults),
        warnings=tuple(finding for campaign in campaigns for finding in _warnings(campaign)),
    )


def _campaign(reader: Reader, at: str, campaign: Campaign) -> Campaign:
    """The campaign with its use case by its own name and the zones of its limits."""
    codes = []
    for spot, code in (
        (f"{at}.use_case", campaign.use_case),
        *((f"{at}.sub_use_cases[{n}]", code) for n, code in enumerate(campaign.sub_use_cases)),
    ):
        found = use_cases.find(code)
        if found is None and code:
            instead = did_you_mean(code, list(use_cases.USE_CASES))
            reader.fault(spot, f"{show(code)} is no use case", instead)
        codes.append(code if found is None else found.code)
    limits = campaign.limits
    if limits is not None:
        limits = tuple(
            _limit(reader, f"{at}.limits[{place}]", limit) for place, limit in enumerate(limits)
        )
    return msgspec.structs.replace(
        campaign, use_case=codes[0], sub_use_cases=tuple(codes[1:]), limits=limits
    )


def _limit(reader: Reader, at: str, limit: Limit) -> Limit:
    if limit.per == "day":
        if limit.segments != int(limit.segments):
            reader.fault(f"{at}.segments", "must be a whole number for a day")
        if not limit.zone:
            return msgspec.structs.replace(limit, zone=DEFAULT_ZONE)
        if not _is_zone(limit.zone):
            problem = f"{show(limit.zone)} is no time zone"
            reader.fault(f"{at}.zone", problem, f'write zone = "{DEFAULT_ZONE}" or such')
        return limit
    if limit.zone:
        reader.fault(f"{at}.zone", "belongs to a limit per day", "leave it out")
    if limit.reserve:
        reader.fault(f"{at}.reserve", "belongs to a limit per day", "leave it out")
    return limit


def _is_zone(name: str) -> bool:
    if len(name) > ZONE_CHARACTERS_MAX:
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a folder of zones
        return False
    return True


def _warnings(campaign: Campaign) -> list[Finding]:
    at = f'campaign "{campaign.id}"'
    if campaign.limits is None:
        problem = (
            "has no limits: 240 segments a minute and 2,000 a day (Los Angeles) hold until limits"
            " follow from its record"
        )
        return [Finding(at, problem, "write limits = [] for none at all")]
    found = []
    for place, limit in enumerate(campaign.limits):
        spot = f"{at}.limits[{place}]"
        if limit.network is not None:
            problem = f"is for {limit.network} only; until a later release it counts every network"
            found.append(Finding(f"{spot}.network", problem))
        if limit.scope == "number":
            problem = "is for each number; until a later release it is for all of them together"
            found.append(Finding(f"{spot}.scope", problem))
        if limit.reserve:
            found.append(Finding(f"{spot}.reserve", "keeps nothing free until a later release"))
    if campaign.quiet_hours not in (None, "off"):
        found.append(Finding(f"{at}.quiet_hours", "are not kept until a later release"))
    return found


def _labels(shape: type[msgspec.Struct], raw: dict[str, Any], key: str) -> list[str]:
    """The paths of the tables that were read: those that are tables."""
    tables = raw.get(key)
    if not isinstance(tables, list):
        return []
    pairs = zip(labels(shape, tables, key), tables, strict=True)
    return [at for at, table in pairs if isinstance(table, dict)]


def _twice(reader: Reader, key: str, names: list[str]) -> None:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    for name, count in seen.items():
        if name and count > 1:
            reader.fault(f"{key} {show(name)}", "is there more than once", "keep one of them")


def _nothing(problem: str) -> Import:
    return Import({}, {}, {}, {}, (Finding("", problem),), ())
