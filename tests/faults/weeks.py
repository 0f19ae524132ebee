"""Weeks: the core on the real LMDB with the clock in hand: three weeks of traffic in seconds.

`relay.world` with a store for a disk (its flushes off: nothing here crashes), and a day's traffic
that leaves every kind of row behind: what ends well and badly, what nobody answers, what nobody
fetches, campaigns that come and go.
"""

from collections.abc import Iterable, Iterator

from gateway.model import ids, records, tables
from gateway.registry.importer import parse
from gateway.relay.state import Policy
from gateway.relay.sweep import REST_S
from gateway.smpp import consts
from gateway.store.environment import Environment, write_rows
from gateway.store.readers import Readers
from gateway.store.snapshot import Snapshot
from tests.relay.disk import Disk
from tests.relay.setups import (
    DAY_S,
    HOUR_S,
    NUMBER,
    REGISTRY,
    SLOW_NUMBER,
    Setup,
    Shop,
    Smsc,
    campaign,
    limits,
)
from tests.relay.world import Done, World

POLICY = Policy(
    text_keep_s=1 * DAY_S, record_keep_s=4 * DAY_S, undelivered_keep_s=1 * DAY_S, in_doubt="resend"
)
"""A week has several of each, so that three weeks show what stays."""

SETUP = Setup(
    clients=(Shop(queue_limit=100_000, deliver_window=1_000), Shop("sender")),
    carriers=(Smsc(receipt_timeout_s=1 * DAY_S),),
    registry=REGISTRY,
    policy=POLICY,
)


class LmdbDisk(Disk):
    """The disk of the simulated gateway, on LMDB."""

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        self._environment = environment
        self._snapshot = Snapshot(environment)

    def commit(self, writes: tables.Rows) -> None:
        with self._environment.lmdb.begin(write=True) as txn:
            write_rows(txn, self._environment.tables, writes)
        self._snapshot.renew()

    def get(self, table: int, key: bytes) -> bytes | None:
        return self._snapshot.get(table, key)

    def get_many(self, table: int, keys: Iterable[bytes]) -> list[bytes | None]:
        return self._snapshot.get_many(table, keys)

    def scan(
        self, table: int, prefix: bytes, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        return self._snapshot.scan(table, prefix, after, limit)

    def flights(self) -> Iterator[tuple[int, int]]:
        for _, row in self.scan(tables.IN_FLIGHT, b"", b"", 1_000):
            yield from records.decode_flights(row)

    def owed(self) -> Iterator[int]:
        for _, row in self.scan(tables.OUTBOX, b"", b"", 100_000):
            for at in range(0, len(row), ids.KEY_LENGTH):
                yield ids.from_key(row[at : at + ids.KEY_LENGTH])


class StoredWorld(World):
    """The simulated gateway, its disk a real store."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        super().__init__(SETUP, audited=False)

    def new_disk(self) -> LmdbDisk:
        return LmdbDisk(self._environment)


class Weeks:
    """Traffic at a steady rate, an hour at a time."""

    def __init__(self, environment: Environment, *, per_hour: int) -> None:
        self.world = StoredWorld(environment)
        self._environment = environment
        self.readers = Readers(environment)
        self.per_hour = per_hour
        self._day = 0
        self.shop = self.world.connect()
        self.sender = self.world.connect("sender", receives=False)
        self.link = self.world.bind(window=10_000)

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        with self._environment.lmdb.begin() as txn:
            return {
                name: txn.stat(table)["entries"]
                for name, table in zip(tables.NAMES, self._environment.tables, strict=True)
            }

    def day(self) -> None:
        """24 hours, the last day's campaign gone and a new one come."""
        world = self.world
        self._day += 1
        passing = campaign(
            f"CDAY{self._day}",
            SLOW_NUMBER,
            limits=limits(("minute", 100_000), ("day", 1_000_000)),
        )
        plan = world.state.catalog.plan(parse(REGISTRY + passing), prune=True)
        assert () == plan.faults
        world.core.registry_apply(plan, Done(), world.now)
        for _ in range(24):
            self._hour()
        self.readers.look(world.clock.monotonic)

    def _hour(self) -> None:
        world, link, place = self.world, self.link, 0
        for place in range(self.per_hour):
            client = self.sender if place % 20 == 0 else self.shop
            world.submit(client, source=SLOW_NUMBER if place % 10 == 0 else NUMBER)
        for place in range(self.per_hour // 20 + 1):
            world.inbound(link, NUMBER, b"hello")
            world.receipt(link, b"nobody%d" % place)
        world.settle()
        self._answer()
        for client in (self.shop, self.sender):
            client.answered.clear()
            world.acknowledge(client)
        world.settle()
        world.sent.clear()
        link.answered.clear()
        world.pass_time(HOUR_S)
        self._sweep()

    def _answer(self) -> None:
        """Most end well; some are refused, throttled, lost with their link, or never reported."""
        world, link = self.world, self.link
        for place, message_id in enumerate(list(link.unanswered)):
            match place % 25:
                case 1:
                    world.respond(link, message_id, consts.ESME_RSUBMITFAIL)
                case 2:
                    world.respond(link, message_id, consts.ESME_RTHROTTLED)
                case 3:
                    world.respond(link, message_id)  # its receipt never comes
                case 4:
                    continue  # in doubt, and sent again
                case _:
                    world.receipt(link, world.respond(link, message_id))
        world.settle()
        world.unbind(link)
        world.tick(2.0)
        self.link = world.bind(window=10_000)
        world.settle()
        for message_id in list(self.link.unanswered):
            world.receipt(self.link, world.respond(self.link, message_id))
        world.settle()

    def _sweep(self) -> None:
        """One walk over everything, and to its end."""
        sweep, clock = self.world.core.sweep, self.world.clock
        self.world.tick()
        while sweep.due_at <= clock.monotonic + 2 * REST_S:
            self.world.tick(REST_S)
