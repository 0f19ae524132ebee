"""Render: what a verb found, as text for people: aligned, with local times and ages, no colours.

One function a verb, from the result as it came over the socket (`verbs` says what is in it) to
text. Numbers of telephones already have their `+`. Times are wall-clock seconds in results, and
here the local time with how long ago that is. Nothing here decides anything.
"""

from collections.abc import Callable
from typing import Any, Final

from gateway.admin.layout import age, blocks, indent, moment, number, octets, pairs, table

CHANGES_SHOWN: Final = 200
"""Lines of an import that people still read; `--json` has them all."""


def render(verb: str, result: Any) -> str:
    """The text for a result."""
    return RENDERERS[verb](result)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.1f}/s"


def _status(found: dict[str, Any]) -> str:
    commits, messages = found["commits"], found["messages"]
    last = "none yet" if commits["last_at"] is None else f"{age(commits['last_at'])} ago"
    oldest = age(found["queue_oldest_at"])
    rates = found["rates_per_s"]
    sessions = f"{found['client_binds']:,} sessions"
    clients = f"{found['clients_bound']:,} of {found['clients']:,} bound, {sessions}"
    written = f"{commits['commits']:,} ({commits['rows']:,} rows)"
    times = f"mean {commits['mean_ms']:.1f} ms, slowest {commits['slowest_ms']:.1f} ms"
    told = [
        ("version", found["version"]),
        ("state", f"{found['phase']}, process {found['process_id']}"),
        ("started", f"{moment(found['started_at'])}, start {found['start']} of this store"),
        ("listening", ", ".join(found["listening"])),
        ("metrics", ", ".join(found["metrics"])),
        ("data", found["data_dir"]),
        ("registry", _counts(found["registry"]) or "empty: `ctl registry import FILE`"),
        ("clients", clients),
        ("messages", _counts(messages) or "none"),
        ("accepted", f"{found['accepted']:,} ever, {found['purged']:,} of them purged since"),
        ("rates", ", ".join(f"{name} {_rate(rate)}" for name, rate in rates.items())),
        ("queue", f"{found['queue_depth']:,}" + (f", the oldest for {oldest}" if oldest else "")),
        ("commits", f"{written}, the last {last}, {times}"),
        ("room", f"{found['room']}, {octets(found['room_bytes'])} left"),
        ("store", _store(found["store"])),
        ("since start", _counts(found["counters"])),
    ]
    carriers = table(
        ("CARRIER", "BOUND", "OF", "LAST ERROR"),
        [(one["name"], one["bound"], one["binds"], one["last_error"]) for one in found["carriers"]],
    )
    warnings = "\n".join(f"warning: {warning}" for warning in found["warnings"])
    return blocks(pairs(told), carriers, warnings)


def _store(found: dict[str, Any]) -> str:
    text = f"{octets(found['file_bytes'])}, {octets(found['free_bytes'])} of it free"
    if found["oldest_reader_process_id"]:
        text += (
            f"; process {found['oldest_reader_process_id']} reads it for "
            f"{found['oldest_reader_s']:.0f} s and holds back up to {octets(found['held_bytes'])}"
        )
    if found["readers_cleared"]:
        text += f"; {found['readers_cleared']:,} dead readers cleared"
    return text


def _import(found: dict[str, Any]) -> str:
    lines = [_finding("fault", fault) for fault in found["faults"]]
    if not lines:
        would = "would change" if found["dry_run"] else "changed"
        changes = found["changes"]
        lines += changes[:CHANGES_SHOWN]
        if len(changes) > CHANGES_SHOWN:
            lines.append(f"... and {len(changes) - CHANGES_SHOWN:,} more")
        lines += [_finding("warning", warning) for warning in found["warnings"]]
        lines.append(f"{would}: {len(changes):,}; the registry holds {_counts(found['holds'])}")
    return "\n".join(lines)


def _finding(kind: str, found: dict[str, str]) -> str:
    where = f"{found['path']}: " if found["path"] else ""
    instead = f"; {found['instead']}" if found["instead"] else ""
    return f"{kind}: {where}{found['problem']}{instead}"


def _carriers(found: list[dict[str, Any]]) -> str:
    return blocks(*[_carrier(one) for one in found]) or "no carrier is configured"


def _carrier(one: dict[str, Any]) -> str:
    told = pairs(
        [
            ("carrier", f"{one['name']} at {one['address']}"),
            ("bound", f"{one['bound']} of {one['binds']}"),
            ("window", f"{one['in_flight']:,} of {one['window']:,} in flight"),
            ("submitted", f"{one['submitted']:,} ({_rate(one['submitted_per_s'])})"),
            ("throttled", one["throttled"] or None),
            ("refused", _counts(one["refused"])),
            ("receipts", f"{one['awaiting']:,} awaited, {one['orphans']:,} orphans"),
            ("rate", _limit(one["rate"]) if one["rate"] else None),
            (
                "paused",
                ", ".join(f"{name} until {moment(at)}" for name, at in one["paused"].items()),
            ),
        ]
    )
    head = ("BIND", "KIND", "STATUS", "SINCE", "PEER", "IN FLIGHT", "TIMES", "LAST ERROR")
    rows = [
        (
            str(session["bind"]),
            session["kind"],
            session["status"],
            moment(session["since"]),
            session["peer"] or "-",
            f"{session['in_flight']}/{session['window']}",
            session["bound_times"],
            session["last_error"],
        )
        for session in one["sessions"]
    ]
    return f"{told}\n{indent(table(head, rows))}"


def _clients(found: list[dict[str, Any]]) -> str:
    return blocks(*[_client(one) for one in found]) or "no client is configured"


def _client(one: dict[str, Any]) -> str:
    company = one["company"] if one["company_known"] else f"{one['company']} (not in the registry)"
    told = pairs(
        [
            ("client", f"{one['name']}, company {company}, system_id {one['system_id']}"),
            ("bound", f"{one['bound']} of at most {one['max_binds']}"),
            ("accepted", f"{one['accepted']:,} ({_rate(one['accepted_per_s'])})"),
            ("refused", _counts(one["refused"])),
            ("delivered", one["delivered"]),
            ("queued", f"{one['queued']:,} of at most {one['queue_limit']:,}"),
            ("owed", f"{one['outbox_rows']:,} rows of receipts" if one["outbox_rows"] else None),
        ]
    )
    rows = [(link["peer"], link["receives"], link["delivering"]) for link in one["links"]]
    links = table(("FROM", "RECEIVES", "DELIVERING"), rows)
    return f"{told}\n{indent(links)}" if links else told


def _campaigns(found: list[dict[str, Any]]) -> str:
    if len(found) == 1 and "lanes" in found[0]:
        return _campaign(found[0])
    head = ("CAMPAIGN", "BRAND", "USE CASE", "STATUS", "NUMBERS", "QUEUED", "LIMITS", "BLOCKED BY")
    rows = [
        (
            one["id"],
            one["brand"],
            one["use_case"],
            one["status"],
            one["numbers"],
            one["queued"],
            ", ".join(_limit_short(limit) for limit in one["limits"]) or "none",
            _block(one["blocked"]),
        )
        for one in found
    ]
    return table(head, rows) or "the registry has no campaign: `ctl registry import FILE`"


def _campaign(one: dict[str, Any]) -> str:
    more = "" if one["parked_complete"] else " or more"
    told = pairs(
        [
            ("campaign", f"{one['id']}, {one['use_case']}, {one['status']}"),
            ("brand", f"{one['brand']} of company {one['company']}"),
            ("numbers", one["numbers"]),
            ("queued", one["queued"]),
            ("held", f"{one['held']:,}{more}"),
            ("in doubt", f"{one['in_doubt']:,}{more}"),
            ("blocked by", _block(one["blocked"]) or "nothing"),
            *[("limit", _limit(limit)) for limit in one["limits"]],
        ]
    )
    return blocks(told, _lanes(one["lanes"]))


def _block(block: dict[str, Any] | None) -> str:
    if block is None:
        return ""
    code = f"{block['outcome']}: " if block["outcome"] else ""
    until = "" if block["until"] is None else f", until {moment(block['until'])}"
    return f"{code}{block['why']}{until}"


def _limit(limit: dict[str, Any]) -> str:
    used = "nothing used since the start" if limit["used"] is None else f"{limit['used']:,} used"
    zone = f" ({limit['zone']})" if limit["zone"] else ""
    parts = [f"{number(limit['segments'])} segments a {limit['per']}{zone}, {used}"]
    if limit["resets_at"] is not None:
        parts.append(f"resets {moment(limit['resets_at'])}")
    if limit["opens_at"] is not None:
        parts.append(f"full until {moment(limit['opens_at'])}")
    if limit["per"] == "day":
        parts.append(f"at the cap: {limit['at_cap']}")
    return "; ".join(parts)


def _limit_short(limit: dict[str, Any]) -> str:
    used = "" if limit["used"] is None else f"{limit['used']:,}/"
    return f"{used}{number(limit['segments'])} a {limit['per']}"


def _queue(found: dict[str, Any]) -> str:
    told = table(
        ("STATE", "MESSAGES", "OLDEST"),
        [(one["state"], one["messages"], age(one["oldest_at"]) or "-") for one in found["states"]],
    )
    shown = len(found["lanes"])
    cut = (
        f"{found['lanes_filled'] - shown:,} more lanes: --limit N"
        if shown < found["lanes_filled"]
        else ""
    )
    head = ("ID", "STATE", "SINCE", "CAMPAIGN", "ROUTE", "RESENDS", "REASON")
    parked = table(
        head,
        [
            (
                one["id"],
                one["state"],
                moment(one["since"]),
                one["campaign"],
                one["route"],
                one["resends"],
                f"{one['reason']} until {moment(one['until'])}" if one["until"] else one["reason"],
            )
            for one in found["parked"]
        ],
    )
    memory = f"{found['in_memory']:,} of at most {found['working_set']:,} messages are in memory"
    return blocks(told, memory, _lanes(found["lanes"]), cut, parked)


def _lanes(lanes: list[dict[str, Any]]) -> str:
    head = ("ROUTE", "CAMPAIGN", "QUEUED", "OLDEST", "OLDEST ID", "WAITS FOR")
    return table(
        head,
        [
            (
                lane["route"],
                lane["campaign"],
                lane["rows"],
                age(lane["oldest_at"]) or "-",
                lane["oldest_id"] or "-",
                lane["waits_for"]
                + ("" if lane["opens_at"] is None else f" until {moment(lane['opens_at'])}"),
            )
            for lane in lanes
        ],
    )


def _decided(found: dict[str, int]) -> str:
    return "\n".join(f"{name}: {count:,} messages" for name, count in found.items())


def _message(found: dict[str, Any]) -> str:
    outcome = f"{found['outcome']}: {found['outcome_text']}" if found["outcome"] else ""
    told = pairs(
        [
            ("message", f"{found['id']} ({found['kind']})"),
            ("state", found["state"]),
            ("why", outcome),
            ("from", found["sender"]),
            ("to", found["recipient"]),
            ("client", found["client"]),
            ("campaign", found["campaign"]),
            ("route", found["route"]),
            ("segments", found["segments"] or None),
            ("priority", found["priority"] if found["kind"] == "outbound" else None),
            ("expires", moment(found["expires_at"])),
            ("carrier", found["carrier"]),
            ("carrier's id", found["carrier_message_id"]),
            ("error", found["error"]),
            ("sent again", found["resends"] or None),
            ("receipt", found["receipt"]),
        ]
    )
    rows = [
        (
            moment(step["at"]),
            step["state"],
            step["carrier"],
            step["why"] + (f" ({step['detail']})" if step["detail"] else ""),
        )
        for step in found["steps"]
    ]
    faults = "\n".join(f"fault: {fault}" for fault in found["faults"])
    return blocks(told, table(("WHEN", "STATE", "CARRIER", "WHAT"), rows), faults)


def _audit(found: dict[str, Any]) -> str:
    counted, expected = found["counted"], found["expected"]
    rows = [(name, expected[name], counted[name]) for name in counted]
    sums = pairs(
        [
            ("accepted ever", found["accepted"]),
            ("purged", found["purged"]),
            ("in all states", sum(counted.values())),
        ]
    )
    differences = "\n".join(f"difference: {text}" for text in found["differences"])
    verdict = differences or "it agrees: every accepted message is in exactly one state, or purged"
    return blocks(table(("STATE", "COUNTER", "ROWS"), rows), sums, verdict)


def _help(found: list[dict[str, Any]]) -> str:
    return pairs((verb["name"], verb["help"]) for verb in found)


def _plain(found: dict[str, Any]) -> str:
    return pairs(found.items())


def _export(found: dict[str, str]) -> str:
    return found["toml"]


RENDERERS: Final[dict[str, Callable[[Any], str]]] = {
    "status": _status,
    "registry import": _import,
    "registry export": _export,
    "carrier": _carriers,
    "carrier rebind": _plain,
    "client": _clients,
    "client kick": _plain,
    "campaign": _campaigns,
    "queue": _queue,
    "queue release": _decided,
    "queue expire": _decided,
    "message": _message,
    "audit": _audit,
    "drain": _plain,
    "loglevel": _plain,
    "version": _plain,
    "help": _help,
}
