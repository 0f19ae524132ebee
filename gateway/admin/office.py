"""Office: what may be looked at and touched of the running daemon, by verbs and by the monitor.

`daemon.app.App` is one. Everything here is read on the loop and without waiting; what changes
anything goes through `Changes`, which returns when the change is on disk.

`Desk` is an office with what those who work there share: the meter, and a lock for each thing that
only one may do at a time.
"""

import time
from collections.abc import Awaitable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import trio

from gateway.admin.grammar import NO, YES
from gateway.admin.meter import Meter
from gateway.carriers.supervisor import Supervisor
from gateway.config.schema import Config
from gateway.ingress.smpp_server import Server
from gateway.model.now import Now
from gateway.registry.catalog import Plan
from gateway.relay.state import State
from gateway.store.committer import Committer
from gateway.store.environment import Environment
from gateway.store.readers import Readers

T = TypeVar("T")

Args = dict[str, Any]
"""The arguments of a request, checked against `grammar`."""


class Changes(Protocol):
    """The door of the admin socket. Each returns when what it did is on disk."""

    async def registry_apply(self, plan: Plan) -> None:
        """Applies an import."""

    async def release_parked(self, message_ids: list[int]) -> int:
        """Puts held and in-doubt messages back into their lanes; how many of these were parked."""

    async def expire_parked(self, message_ids: list[int]) -> int:
        """Ends held and in-doubt messages; how many of these were parked."""


class Office(Protocol):
    """The daemon, as far as it is anybody's business."""

    @property
    def config(self) -> Config:
        """What it was started with."""

    @property
    def state(self) -> State:
        """What the core remembers, and its view of the disk."""

    @property
    def changes(self) -> Changes:
        """How to change anything."""

    @property
    def server(self) -> Server:
        """The connections of clients."""

    @property
    def supervisors(self) -> list[Supervisor]:
        """The binds to carriers."""

    @property
    def committer(self) -> Committer:
        """What was committed, and the room that is left."""

    @property
    def environment(self) -> Environment:
        """The store, for the audit."""

    @property
    def readers(self) -> Readers:
        """Who reads the store, and how large its file is."""

    @property
    def started_wall(self) -> float:
        """When the process began."""

    @property
    def listening(self) -> list[str]:
        """Where clients can bind."""

    @property
    def warnings(self) -> list[str]:
        """What the start found worth saying."""

    @property
    def ready(self) -> trio.Event:
        """Set once traffic is accepted."""

    @property
    def draining(self) -> trio.Event:
        """Set it, and the daemon finishes and ends."""


class Answer(msgspec.Struct):
    """What a verb gives back: an exit code, a result for tools, and a sentence if it is no."""

    exit: int
    result: Any = None
    text: str = ""


def yes(result: object) -> Answer:
    """It is so, or it was done."""
    return Answer(YES, result)


def no(text: str, result: object = None) -> Answer:
    """It is not so, or it could not be done; `text` says why, and what to do."""
    return Answer(NO, result, text)


class ChangeFaultError(Exception):
    """A bug came to light while the core was changing: what it remembers is suspect from then on."""


class Desk(NamedTuple):
    """What a verb works with."""

    office: Office
    meter: Meter
    registry_lock: trio.Lock
    """Held by imports and exports: they read the catalogue in a thread."""
    audit_lock: trio.Lock
    """One audit at a time: each reads the whole disk."""

    @classmethod
    def of(cls, office: Office) -> "Desk":
        """A desk in this office."""
        return cls(office, Meter(), trio.Lock(), trio.Lock())

    async def change(self, what: Awaitable[T]) -> T:
        """Awaits one of the office's `changes`. A bug in it is not contained: the process ends."""
        try:
            return await what
        except Exception as fault:
            raise ChangeFaultError("the core may be changed by half") from fault


def now() -> Now:
    """This moment, on the loop's clock and on the wall's."""
    return Now(trio.current_time(), time.time())
