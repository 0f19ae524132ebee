"""The table of verbs: which function does what `grammar` describes. One line a verb."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from gateway.admin.office import Answer, Args, Desk
from gateway.admin.verbs import campaigns, carriers, clients, process, queue, registry

Run = Callable[[Desk, Args], Awaitable[Answer]]


class Entry(NamedTuple):
    """What runs, and whether it changes anything: then the log says who asked for it."""

    run: Run
    changes: bool = False


TABLE: Final[dict[str, Entry]] = {
    "status": Entry(process.status),
    "registry import": Entry(registry.import_, changes=True),
    "registry export": Entry(registry.export),
    "carrier": Entry(carriers.carrier),
    "carrier rebind": Entry(carriers.rebind, changes=True),
    "client": Entry(clients.client),
    "client kick": Entry(clients.kick, changes=True),
    "campaign": Entry(campaigns.campaign),
    "queue": Entry(queue.queue),
    "queue release": Entry(queue.release, changes=True),
    "queue expire": Entry(queue.expire, changes=True),
    "message": Entry(process.message),
    "audit": Entry(process.audit),
    "drain": Entry(process.drain, changes=True),
    "loglevel": Entry(process.loglevel, changes=True),
    "version": Entry(process.version),
    "help": Entry(process.help_),
}
