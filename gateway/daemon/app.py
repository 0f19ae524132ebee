"""App: builds the objects of one daemon from its configuration, and holds its tree of tasks.

    root
    |- admin, metrics     started first, stopped last
    |- turns, ticks       the flow; a fault here ends the process with status 1
    |- room, readers      looks at the disk, and at who reads the store
    |- carriers           one supervisor a bind
    |- ingress            listeners, then a task a connection
    `- signals            TERM, INT: drain; a second one: hurry

Start: open and recover the store, commit the recovery, open listeners, `ready`. Nothing is accepted
before. Readiness does not wait for carriers: messages are taken and queued while none is bound.
"""

import gc
import logging
import sys
import time
import uuid
from pathlib import Path
from typing import Final

import msgspec
import trio

from gateway.admin.monitor import MetricsServer
from gateway.admin.server import AdminServer
from gateway.carriers.connect import Connector
from gateway.carriers.pacer import Pacer
from gateway.carriers.supervisor import Kind, Supervisor
from gateway.config.schema import Carrier as CarrierSettings
from gateway.config.schema import Config
from gateway.config.schema import Route as RouteSettings
from gateway.daemon import descriptors, drain, systemd
from gateway.daemon.changes import Changes
from gateway.daemon.flow import Flow, now
from gateway.ingress.smpp_server import Server
from gateway.model.now import Boot
from gateway.relay.core import Core
from gateway.relay.parties import Bind, Carrier, Client, Match, Route
from gateway.relay.state import Policy, State
from gateway.relay.turn import Overlay, TurnMachine
from gateway.store.committer import Committer
from gateway.store.environment import Environment
from gateway.store.readers import Readers
from gateway.store.snapshot import Snapshot
from gateway.throttle.limit import Limit

log = logging.getLogger(__name__)

DAY_S: Final = 86_400.0

READERS_POLL_S: Final = 5.0
"""How often who reads the store is looked at: what a dead reader can hold back meanwhile is small."""

BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")

KINDS: Final[dict[str, tuple[Kind, ...]]] = {
    "transceiver": ("transceiver",),
    "transmitter": ("transmitter",),
    "receiver": ("receiver",),
    "pair": ("transmitter", "receiver"),
}


class App:
    """One daemon, in this process. Tests run it as it is."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started_wall = time.time()
        self.ready = trio.Event()
        self.draining = trio.Event()
        self.hurry = trio.Event()
        self.listening: list[str] = []
        self.warnings: list[str] = []
        self.environment = Environment(
            Path(config.data_dir),
            map_size_bytes=config.store.map_size_bytes,
            reserve_bytes=config.store.reserve_bytes,
        )
        self.snapshot = Snapshot(self.environment)
        self.committer = Committer(self.environment, self.snapshot)
        self.readers = Readers(self.environment)
        self.machine = TurnMachine()
        self.state = build_state(config, self.machine, Overlay(self.snapshot, self.machine))
        self.core = Core(self.state)
        self.flow = Flow(
            self.core,
            self.machine,
            self.committer,
            turn_events_max=config.limits.turn_events,
            turn_octets_max=config.limits.turn_bytes,
        )
        self.changes = Changes(self.core, self.flow)
        connections, warning = descriptors.fit(config)
        if warning:
            self.warnings.append(warning)
        smpp = msgspec.structs.replace(config.smpp, max_connections=connections)
        self.server = Server(smpp, config.client, self.flow)
        self.supervisors = build_supervisors(config, self.state, self.flow)
        self.admin = AdminServer(Path(config.admin.socket), self)
        self.metrics = MetricsServer(config.metrics.listen, self)

    async def run(self) -> None:
        """Runs until it is drained. A fault is raised; the store is closed in any case."""
        sys.setswitchinterval(self.config.limits.switch_interval_ms / 1000)
        try:
            await self._recover()
            async with trio.open_nursery() as root:
                await root.start(self.admin.serve)
                await root.start(self.metrics.serve)
                self.listening = self.server.listen()
                root.start_soon(self.flow.turns)
                root.start_soon(self.flow.ticks)
                root.start_soon(self.flow.watch_room)
                root.start_soon(self._watch_readers)
                async with trio.open_nursery() as carriers:
                    for supervisor in self.supervisors:
                        carriers.start_soon(supervisor.run)
                    async with trio.open_nursery() as ingress:
                        ingress.start_soon(self.server.serve)
                        self._say_ready()
                        await self.draining.wait()
                        systemd.notify("STOPPING=1")
                        patience = drain.Patience(
                            self.state.flying, self.config.drain.timeout_s, self.hurry
                        )
                        await drain.drain(self.flow, self.server, self.supervisors, patience)
                    carriers.cancel_scope.cancel()
                await drain.finish(self.flow)
                root.cancel_scope.cancel()
        finally:
            self.snapshot.close()
            self.environment.close()
        log.info("stopped")

    async def _recover(self) -> None:
        """The state from the disk; what recovery writes is committed before anything else."""
        self.warnings += self.core.start(now(), _boot())
        self.core.close_turn()
        turn = self.machine.take()
        if turn is not None:
            await self.committer.commit(turn.writes)
            self.machine.committed(turn)
        self.core.room_changed(self.committer.room)
        for warning in self.warnings:
            log.warning("%s", warning)
        in_doubt = self.state.counters.in_doubt
        if in_doubt:
            log.warning("%d messages were in flight when the daemon stopped: in doubt", in_doubt)
        gc.collect()
        gc.freeze()

    async def _watch_readers(self) -> None:
        """Now and then, in a thread: places of the dead are cleared, old readers noted."""
        while True:
            await trio.to_thread.run_sync(self.readers.look, trio.current_time())
            await trio.sleep(READERS_POLL_S)

    def _say_ready(self) -> None:
        self.ready.set()
        metrics = [str(address) for address in self.metrics.addresses]
        fields = {"listening": self.listening, "metrics": metrics, "start": self.state.starts}
        log.info("ready", extra=fields)
        systemd.notify(f"READY=1\nSTATUS=ready, listening on {', '.join(self.listening)}")


def build_state(config: Config, machine: TurnMachine, view: Overlay) -> State:
    """The core's state, as the configuration describes it."""
    retention = config.retention
    policy = Policy(
        status_style=config.status_style,
        in_doubt=config.in_doubt,
        in_doubt_resends=config.in_doubt_resends,
        guard_s=config.limits.guard_ms / 1000,
        text_keep_s=retention.text_days * DAY_S,
        record_keep_s=retention.record_days * DAY_S,
        undelivered_keep_s=retention.undelivered_s,
    )
    state = State(view=view, machine=machine, policy=policy, working_set=config.limits.working_set)
    for client in config.client:
        state.clients[client.name] = Client(
            name=client.name,
            company=client.company,
            queue_limit=client.queue_limit,
            deliver_window=client.deliver_window,
        )
    for settings in config.carrier:
        state.carriers[settings.name] = _carrier(settings, policy)
    for route in config.route:
        state.add_route(_route(route, state))
    return state


def _boot() -> Boot:
    """The machine's clock; where nothing tells its boots apart, each start counts as one."""
    try:
        boot_id = BOOT_ID_FILE.read_bytes().strip()
    except OSError:
        boot_id = uuid.uuid4().bytes
    return Boot(boot_id, time.monotonic() - trio.current_time())


def build_supervisors(config: Config, state: State, flow: Flow) -> list[Supervisor]:
    """One for each bind of each carrier; two for each of a pair."""
    supervisors = []
    for settings in config.carrier:
        carrier = state.carriers[settings.name]
        kinds = KINDS[settings.bind] * settings.binds
        connector, pacer = Connector(settings), Pacer(settings.backoff_min_s)
        for index, kind in enumerate(kinds):
            bind = carrier.binds[index] = Bind(carrier, index)
            supervisors.append(
                Supervisor(settings, kind, bind, flow, connector=connector, pacer=pacer)
            )
    return supervisors


def _carrier(settings: CarrierSettings, policy: Policy) -> Carrier:
    rate = None
    if settings.tps is not None:
        key = b"carrier\0" + settings.name.encode()
        rate = Limit(key=key, per="second", segments=settings.tps, guard_s=policy.guard_s)
    return Carrier(
        settings.name,
        rate=rate,
        always_receipts=settings.receipts == "always",
        receipt_timeout_s=settings.receipt_timeout_s,
        throttle_pause_s=settings.throttle_pause_s,
        receipt_id_mode=settings.receipt_id_mode,
    )


def _route(settings: RouteSettings, state: State) -> Route:
    match = Match(
        to=settings.to,
        source=settings.from_,
        campaign=settings.campaign or "",
        client=settings.client or "",
    )
    primary = [(state.carriers[share.name], float(share.weight)) for share in settings.carriers]
    backup = [state.carriers[share.name] for share in settings.backup]
    return Route(settings.name, match, primary, backup)
