"""World: one run: a script's gateway, its peers and its bad luck, from the first start to the end.

    calm       a backlog, and nothing in its way: is the limit used?
    turmoil    anything, at any time
    settle     all is well again: does everything end, and does everybody hear of it?

`run` gives a `Result`: what was broken, if anything, and what happened last.
"""

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.model import tables
from gateway.relay import sweep
from tests.sim.carriers import Carrier
from tests.sim.clients import Client
from tests.sim.clock import Agenda, Clock
from tests.sim.faults import Faults
from tests.sim.gateway import Gateway
from tests.sim.invariants import BrokenError
from tests.sim.scale import replaced, scaled
from tests.sim.script import CALM, CALM_S, SECONDS, TIMEOUT_S, Script
from tests.sim.store import DictStore, Store, lmdb_store
from tests.sim.watch import Watch

LMDB_EVERY: Final = 10
"""Of so many seeds one runs on LMDB."""

LOOK_S: Final = 1.0
FLOOD: Final = 160
FLOODED_TPS: Final = 8.0
"""A carrier of this rate has more to do than it can: who is served, and who waits?"""

SETTLE_S: Final = 100_000.0
"""All that is well must have ended by then: what was answered while our clock was a day ahead waits
for its receipt until that day is over."""


class Result(NamedTuple):
    """How a run went."""

    seed: int
    invariant: str
    """The name of what was broken; "" if nothing was."""
    what: str
    journal: tuple[str, ...]
    digest: int
    happened: int
    virtual_s: float
    crashes: int
    seen: Counter[str]
    took_s: float


class World:
    """Everybody."""

    def __init__(self, script: Script, store: Store) -> None:
        self.script = script
        self.clock = Clock(script.began_wall_s)
        self.agenda = Agenda(self.clock)
        self.watch = Watch(script, self.clock)
        self.gateway = Gateway(script, store, self.clock, self.agenda, self.watch)
        link_ids = itertools.count(1)
        self.clients = [
            Client(shop.name, self.gateway, script, link_ids) for shop in script.setup.clients
        ]
        self.carriers = [
            Carrier(smsc.name, self.gateway, script, link_ids) for smsc in script.setup.carriers
        ]
        self.faults = self.gateway.faults = Faults(
            script, self.gateway, self.carriers, self.clients
        )

    def run(self) -> None:
        """All of it; raises at the first thing that is broken."""
        self.calm()
        self.agenda.run_until(CALM_S + self.script.seconds)
        self.end()

    def calm(self) -> None:
        """The first seconds; what comes after them is turmoil."""
        self._begin()
        self.agenda.run_until(CALM_S)
        self.watch.calm_ends()
        for carrier in self.carriers:
            carrier.calm_ends()
        self.faults.begin()
        if self.script.tps <= FLOODED_TPS:
            self.clients[0].backlog("CFREE01", FLOOD)
            self.clients[2].backlog("COTHER1", FLOOD)
        self._look_again()

    def end(self) -> None:
        """All is well again, and the last questions are asked."""
        self._settle()
        self.watch.settled()
        self.gateway.look()

    def _begin(self) -> None:
        self.gateway.start()
        self.agenda.run_until(0.1)
        self.faults.import_(*self.script.programmes)
        while not self.clients[0].links.get(0):
            self.agenda.run_until(self.clock.true_s + 0.1)
        self.clients[0].backlog(CALM, int(self.script.calm_per_second * (CALM_S + 2)) + 2)
        share = self.script.per_second / len(self.clients)
        for client in self.clients:
            client.traffic(share)

    def _look_again(self) -> None:
        if self.gateway.ready:
            self.watch.looked(self.gateway.state)
        self.agenda.after(LOOK_S if self.faults.is_on else 60.0, self._look_again)

    # The end

    def _settle(self) -> None:
        """Limits are lifted, peers behave, what is parked is expired; then time passes."""
        self.faults.end()
        for client in self.clients:
            client.get_well()
        for carrier in self.carriers:
            carrier.get_well()
        self.watch.note("all is well")
        while not self.gateway.ready:
            self.agenda.run_until(self.clock.true_s + 1.0)
        self.faults.import_(
            *[p._replace(limits=(), is_active=True) for p in self.script.programmes]
        )
        ends_s = self.clock.true_s + SETTLE_S
        while self.clock.true_s < ends_s and not self._is_settled():
            self.faults.expire_all()
            self.agenda.run_until(self.clock.true_s + 60.0)
            if self.clock.true_s > ends_s - SETTLE_S + 2 * TIMEOUT_S:
                sweep.PASS_S = SLOW_PASS_S  # type: ignore[misc] # a day passes: `scaled` resets it

    def _is_settled(self) -> bool:
        mirror = self.watch.mirror
        return not (
            mirror.queue
            or mirror.flying
            or mirror.parked
            or mirror.awaiting
            or any(count > 0 for count in mirror.owed.values())
            or self.gateway.machine.open.writes[tables.MESSAGE]
        )


SLOW_PASS_S: Final = 600.0
"""Between two walks of the sweep when there is nothing left to do but to wait."""


@contextmanager
def _store(seed: int) -> Iterator[Store]:
    if seed % LMDB_EVERY:
        yield DictStore()
        return
    with tempfile.TemporaryDirectory() as folder, lmdb_store(Path(folder)) as store:
        yield store


def run(seed: int, seconds: float = SECONDS) -> Result:
    """One seed, from its script to its end."""
    with _store(seed) as store:
        return verdict(Script(seed, seconds), store, World.run)


def verdict(
    script: Script, store: Store, act: Callable[[World], None], *guards: tuple[Any, str, object]
) -> Result:
    """How a run of this script went; `guards` are attributes that have other values meanwhile."""
    began_s = time.perf_counter()
    invariant = what = ""
    with scaled(), replaced(*guards):
        world = World(script, store)
        try:
            act(world)
        except BrokenError as broken:
            invariant, what = broken.invariant, str(broken)
        except Exception as error:  # noqa: BLE001
            # Whatever our own code raises, the seed is the finding.
            invariant, what = f"our own {type(error).__name__}", _where(error)
    return Result(
        script.seed,
        invariant,
        what,
        tuple(" ".join(map(str, entry)) for entry in world.watch.journal),
        world.watch.digest,
        world.agenda.happened,
        world.clock.true_s,
        world.gateway.crashes,
        world.watch.seen,
        time.perf_counter() - began_s,
    )


def _where(error: Exception) -> str:
    """The error, and the last of our lines that it passed."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        name = Path(trace.tb_frame.f_code.co_filename).name
        place = f"{name}:{trace.tb_lineno} in {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} ({place})"
