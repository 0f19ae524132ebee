"""Clients: `client [NAME]` and `client kick NAME`."""

import msgspec

from gateway.admin.office import Answer, Args, Desk, no, now, yes
from gateway.config.schema import Client as Settings
from gateway.link.link import Link
from gateway.model.now import Now
from gateway.relay.parties import Client


class LinkReport(msgspec.Struct):
    """One bound session of a client."""

    peer: str
    receives: bool
    """Bound as receiver or transceiver."""
    delivering: int
    """deliver_sm that it has not answered yet."""


class ClientReport(msgspec.Struct):
    """One client. What is counted is counted since the start."""

    name: str
    company: str
    company_known: bool
    system_id: str
    bound: int
    max_binds: int
    accepted: int
    accepted_per_s: float | None
    refused: dict[str, int]
    """submit_sm refused, by outcome."""
    delivered: int
    """deliver_sm that it answered."""
    queued: int
    queue_limit: int
    outbox_rows: int
    """Rows of up to 200 receipts and messages that it is owed, on disk."""
    links: list[LinkReport]


async def client(desk: Desk, args: Args) -> Answer:
    """All clients, or one."""
    clients = desk.office.state.clients
    name = args.get("name")
    if name is not None and name not in clients:
        return _unknown(desk, name)
    links = desk.office.server.bound()
    return yes(
        [
            _report(desk, clients[settings.name], settings, links.get(settings.name, []), now())
            for settings in desk.office.config.client
            if name in (None, settings.name)
        ]
    )


async def kick(desk: Desk, args: Args) -> Answer:
    """Ends the sessions of a client."""
    name = args["name"]
    if name not in desk.office.state.clients:
        return _unknown(desk, name)
    kicked = desk.office.server.kick(name)
    if not kicked:
        return no(f"client {name} is not bound")
    return yes({"client": name, "kicked": kicked})


def _report(
    desk: Desk, client: Client, settings: Settings, links: list[Link], at: Now
) -> ClientReport:
    return ClientReport(
        name=client.name,
        company=client.company,
        company_known=client.company in desk.office.state.catalog.companies,
        system_id=settings.system_id,
        bound=len(client.links),
        max_binds=settings.max_binds,
        accepted=client.accepted,
        accepted_per_s=desk.meter.per_s("accepted", client.name, client.accepted, at.monotonic),
        refused=dict(client.refused),
        delivered=client.delivered,
        queued=client.queued,
        queue_limit=client.queue_limit,
        outbox_rows=client.outbox.rows,
        links=[_link(client, link) for link in links],
    )


def _link(client: Client, link: Link) -> LinkReport:
    known = client.links.get(link.id)
    receives = known is not None and known.receives
    delivering = client.deliver_window - known.room if known is not None and receives else 0
    return LinkReport(peer=link.peer, receives=receives, delivering=delivering)


def _unknown(desk: Desk, name: str) -> Answer:
    known = ", ".join(desk.office.state.clients) or "none"
    return no(f"there is no client {name!r}; there are: {known}")
