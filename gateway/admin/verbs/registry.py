"""Registry: `registry import` and `registry export`.

Reading a file of 100,000 numbers takes seconds, so parsing and planning run in a thread while
traffic goes on; the lock keeps the catalogue as it is meanwhile. Only the applying is the core's:
all of it in one turn, or nothing.
"""

from collections.abc import Iterable

import msgspec
import trio

from gateway.admin.office import Answer, Args, Desk, no, yes
from gateway.config.table import Finding
from gateway.registry.catalog import Catalog, Plan
from gateway.registry.importer import parse


class ImportReport(msgspec.Struct):
    """What an import found and did."""

    applied: bool
    dry_run: bool
    changes: list[str]
    faults: list[Finding]
    warnings: list[Finding]
    holds: dict[str, int]
    """What the registry holds now, by kind."""


async def import_(desk: Desk, args: Args) -> Answer:
    """Takes up a file, all or nothing; says so when it is on disk."""
    catalog = desk.office.state.catalog
    dry_run = args.get("dry_run", False)
    async with desk.registry_lock:
        plan = await trio.to_thread.run_sync(_plan, catalog, args["file"], args.get("prune", False))
        apply = not plan.faults and not dry_run
        if apply and plan.rows:
            await desk.change(desk.office.changes.registry_apply(plan))
        report = ImportReport(
            applied=apply,
            dry_run=dry_run,
            changes=list(plan.changes),
            faults=_once(plan.faults),
            warnings=_once(plan.warnings),
            holds=holds(catalog),
        )
    if plan.faults:
        return no(f"nothing was changed: {len(report.faults)} faults", report)
    return yes(report)


async def export(desk: Desk, _args: Args) -> Answer:
    """The whole registry as TOML."""
    async with desk.registry_lock:
        toml = await trio.to_thread.run_sync(desk.office.state.catalog.export)
    return yes({"toml": toml})


def holds(catalog: Catalog) -> dict[str, int]:
    """How many records of each kind there are."""
    return {
        "companies": len(catalog.companies),
        "brands": len(catalog.brands),
        "campaigns": len(catalog.campaigns),
        "numbers": len(catalog.numbers),
    }


def _plan(catalog: Catalog, text: str, prune: bool) -> Plan:  # noqa: FBT001  (called by position)
    return catalog.plan(parse(text), prune=prune)


def _once(findings: Iterable[Finding]) -> list[Finding]:
    return list(dict.fromkeys(findings))
