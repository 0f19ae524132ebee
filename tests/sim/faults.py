"""Faults: what goes wrong on top of what the peers do, by the script's rates.

A kill at any step of any turn, some in a row and some while the gateway recovers; commits that take
long, find no room, or fail for good; a disk that fills; links that are reset, half-open or clogged;
carriers that throttle all; clocks on the wall that are set wrong and right again; people who import
the registry, and release or expire what is parked.
"""

from collections.abc import Callable
from typing import Final

from gateway.model import ids, records, states, tables
from gateway.registry.importer import parse
from tests.relay.world import Done
from tests.sim.carriers import Carrier
from tests.sim.clients import Client
from tests.sim.gateway import Gateway
from tests.sim.links import CarrierLink, ClientLink
from tests.sim.script import DAILY, Programme, Script

SLOW_S: Final = (0.05, 0.5, 1.5, 9.0)
"""Slow commits; the slowest is longer than `day.BORDER_S`."""

LATE_S: Final = (5.1, 7.2)
"""Before midnight: a commit that begins then may end behind it."""

RUSH_S: Final = (14.0, 7.0, -2.0)
RUSH_LATE_S: Final = (7.5, -2.0, -4.0, -8.0)
"""Before midnight: when daily caps are used up; or when a late commit takes some of both days."""

STORM_S: Final = (3.0, 60.0)
HOURS_S: Final = (3600.0, -3600.0, 86400.0, -86400.0)
AGAIN: Final = 0.3
"""Of the crashes: so many are followed by one while it recovers."""


class Faults:
    """The drawer of bad luck."""

    def __init__(
        self, script: Script, gateway: Gateway, carriers: list[Carrier], clients: list[Client]
    ) -> None:
        self.script = script
        self.gateway = gateway
        self.carriers = carriers
        self.clients = clients
        self.random = script.stream("faults")
        self.is_on = False
        self.rates = script.rates
        self._texts = 0
        self._imported = Done()
        self._imported.done()
        gateway.on_ready.insert(0, self._import_again)

    # In the driver's steps (`gateway.Faults`)

    def commit_s(self) -> float:
        before_s = self.script.midnight_s - self.gateway.clock.true_s
        if self.rates.late_commit and LATE_S[0] < before_s < LATE_S[1]:
            return before_s + self.random.uniform(0.0, 3.0)
        if self.is_on and self.random.random() < self.rates.slow_commit:
            return self.random.uniform(0.5, 1.0) * self.random.choice(SLOW_S)
        return self.random.uniform(0.001, 0.0045)

    def commit_fails(self) -> bool:
        return self.is_on and self.random.random() < self.rates.failed_commit

    def crashes_now(self, step: str) -> bool:
        if not self.is_on:
            return False
        if step == "recovery":
            crashes = self.gateway.crashes > 0 and self.random.random() < AGAIN
        elif step == "before the commit":
            fails = self.random.random() < self.rates.failed_commit / 10
            crashes = fails or self.random.random() < self.rates.crash_at_step
        else:
            crashes = self.random.random() < self.rates.crash_at_step
        if crashes:
            self.gateway.watch.note("killed", step)
            self._restart_later()
        return crashes

    # What strikes from outside

    def begin(self) -> None:
        """From here on anything may happen."""
        self.is_on = True
        rates = self.rates
        for rate, act in (
            (rates.crash, self._crash),
            (rates.reset, self._reset),
            (rates.half_open, self._half_open),
            (rates.clog, self._clog),
            (rates.storm, self._storm),
            (rates.room, self._fill_up),
            (rates.wall, self._set_clock),
            (rates.operate, self._operate),
            (rates.reimport, self._reimport),
            (rates.client_reset, self._client_reset),
            (0.2, self._stray),
            (0.5, self._handset),
        ):
            if rate:
                self._repeat(rate, act)
        for before_s in RUSH_LATE_S if self.rates.late_commit else RUSH_S:
            self.gateway.agenda.at(self.script.midnight_s - before_s, self._rush)

    def end(self) -> None:
        """All is well from here on, but for what has happened already."""
        self.is_on = False
        self.gateway.watch.expiry.clock(self.gateway.clock.wall)
        if not self.script.has_spare and self.gateway.ready:
            self._crash()  # its configuration names every carrier again
        self.gateway.clock.set(0.0)
        self.gateway.set_room("plenty")

    def _repeat(self, per_second: float, act: Callable[[], None]) -> None:
        def again() -> None:
            if self.is_on:
                act()
                self._repeat(per_second, act)

        self.gateway.agenda.after(self.random.expovariate(per_second), again)

    def _crash(self) -> None:
        if self.gateway.ready:
            self.gateway.watch.note("killed", "from outside")
            self._restart_later()
            self.gateway.crash()

    def _restart_later(self) -> None:
        """Sometimes the machine boots, sometimes a carrier is not configured for a while."""
        clock = self.gateway.clock

        def start() -> None:
            self.gateway.watch.expiry.clock(clock.wall)
            if clock.step_s:
                self.gateway.watch.receipts.clock_set(is_right=True)
            booted = self.random.random() < 0.2
            clock.restarted(self.random.uniform(0.0, 1e6), booted=booted)
            self.script.has_spare = not self.is_on or self.random.random() < 0.9
            self.gateway.start()

        self.gateway.agenda.after(self.random.choice([0.02, 0.3, 3.0]), start)

    def _links(self) -> list[CarrierLink]:
        return [link for carrier in self.carriers for link in carrier.links.values()]

    def _reset(self) -> None:
        links = self._links()
        if links:
            self.random.choice(links).reset()

    def _half_open(self) -> None:
        links = self._links()
        if links:
            self.random.choice(links).half_open()

    def _clog(self) -> None:
        links = self._links()
        if links:
            self.random.choice(links).takes = self.random.randrange(4)

    def _client_reset(self) -> None:
        links: list[ClientLink] = [link for one in self.clients for link in one.links.values()]
        if links:
            link = self.random.choice(links)
            if self.random.random() < 0.5:
                link.takes = self.random.randrange(3)
            else:
                link.reset()

    def _storm(self) -> None:
        carrier = self.random.choice(self.carriers)
        carrier.storm = self.random.choice([0.3, 1.0])
        carrier.storm_until_s = self.gateway.clock.true_s + self.random.choice(STORM_S)
        self.gateway.watch.note("storm", carrier.name, carrier.storm)

    def _rush(self) -> None:
        """Around midnight daily caps are used up, and carriers refuse slowly."""
        for name in DAILY:
            self.clients[0].backlog(name, 40)
        for carrier in self.carriers:
            carrier.storm = 0.3
            carrier.storm_until_s = self.gateway.clock.true_s + 7.0
            carrier.slow_until_s = carrier.storm_until_s

    def _fill_up(self) -> None:
        self.gateway.set_room(self.random.choice(["low", "none"]))
        after_s = self.random.choice([0.5, 5.0])
        self.gateway.agenda.after(after_s, lambda: self.gateway.set_room("plenty"))

    def _set_clock(self) -> None:
        clock = self.gateway.clock
        self.gateway.watch.expiry.clock(clock.wall)
        step_s = self.random.choice(HOURS_S)
        clock.set(step_s)
        sets = clock.sets
        self.gateway.watch.note("clock set", step_s)
        self.gateway.watch.receipts.clock_set(is_right=False)

        def right() -> None:
            self.gateway.watch.expiry.clock(clock.wall)
            if clock.sets == sets:
                clock.set(0.0)
                self.gateway.watch.receipts.clock_set(is_right=True)
                self.gateway.watch.note("clock right")

        self.gateway.agenda.after(self.random.choice([1.0, 20.0]), right)

    def _stray(self) -> None:
        self.random.choice(self.carriers).stray_receipt()

    def _handset(self) -> None:
        self._texts += 1
        text = b"MO %d" % self._texts
        programme = self.random.choice(self.script.programmes)
        is_ours = self.random.random() < 0.95
        owner = "shop" if programme.brand == "BACME01" else "solo"
        self.gateway.watch.mo.sent(text, owner if is_ours else "")
        number = programme.number if is_ours else "12025559999"
        self.random.choice(self.carriers).handset(number, text)

    # People

    def parked(self) -> dict[int, records.Parked]:
        """What the admin socket lists."""
        rows = self.gateway.state.view.scan(tables.PARKED, b"", b"", 100)
        return {ids.from_key(key): records.decode_parked(row) for key, row in rows}

    def expire_all(self) -> None:
        """Somebody expires whatever is parked."""
        found = self.parked()
        if found:
            self.gateway.change(lambda core, now: core.expire_parked(list(found), Done(), now))

    def _operate(self) -> None:
        if not self.gateway.ready:
            return
        found = self.parked()
        chosen = self.random.sample(list(found), min(3, len(found)))
        if chosen and self.random.random() < 0.6:
            self.gateway.watch.note("release", *chosen)
            self.gateway.watch.expiry.released(chosen)
            for message_id in chosen:
                if found[message_id].state == states.IN_DOUBT:
                    self.gateway.watch.twice.released(message_id)
            self.gateway.change(lambda core, now: core.release_parked(chosen, Done(), now))
        elif chosen:
            self.gateway.watch.note("expire", *chosen)
            self.gateway.change(lambda core, now: core.expire_parked(chosen, Done(), now))

    def _reimport(self) -> None:
        """Another figure for a limit; zero is raised with the first."""
        if not self.gateway.ready:
            return
        zero = self.script.programme("CZERO01")
        if zero.limits == (("second", 0),):
            self.import_(zero._replace(limits=(("second", 4),)))
        elif self.random.random() < 0.5:
            programme = self.script.programme("CHOLD01")
            limits = (("second", self.random.choice([3, 6, 12])),)
            self.import_(programme._replace(limits=limits))
        else:
            name = self.random.choice(["CFREE01", "CFAIL01", "COTHER1"])
            programme = self.script.programme(name)
            self.import_(programme._replace(is_active=not programme.is_active))

    def import_(self, *programmes: Programme) -> None:
        """`registry import`, and what the oracles are told of it."""
        gateway, watch = self.gateway, self.gateway.watch
        for programme in programmes:
            before = self.script.programme(programme.name)
            self.script.change(programme)
            watch.active.campaign(programme.name, gateway.open_turn, is_active=programme.is_active)
            now = dict(programme.limits)
            for per, _ in before.limits:
                if per == "day":
                    segments = now.get(per)
                    watch.days.limit(
                        programme.name, None if segments is None else int(segments), programme.zone
                    )
                else:
                    watch.rate.limit(programme.name, per, now.get(per), gateway.open_turn)
            watch.note("import", programme.name, programme.limits)
        self._import_all()

    def _import_all(self) -> None:
        ticket = self._imported = Done()
        plan = self.gateway.state.catalog.plan(parse(self.script.registry()))
        assert plan.faults == ()
        self.gateway.change(lambda core, now: core.registry_apply(plan, ticket, now))

    def _import_again(self) -> None:
        """Whoever imported something, and heard nothing before the kill, does it first of all."""
        if not self._imported.is_done:
            self._import_all()
