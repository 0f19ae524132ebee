"""The bare relay: what the gateway would be without its promises to anyone but the disk.

The yardstick of `make bench`. Same codec, sessions, links, turn machine, committer and loops as the
gateway; its core does the least that still carries a message and its receipt safely: one row before
the answer, one at the carrier's answer (over the first), one delete at the receipt. It has no
limits, registry, routes, states, history, queue on disk, outbox or recovery. The gateway's rate
divided by this one's says what all of those cost, whatever the machine.

`python -m bench.bare --config FILE` takes the gateway's own configuration; it stops on SIGTERM.
Never for real traffic: what it holds in memory is lost with it.
"""

import argparse
import json
import os
import signal
import sys
from collections import deque
from pathlib import Path

import trio

from gateway.carriers.connect import Connector
from gateway.carriers.pacer import Pacer
from gateway.carriers.supervisor import Supervisor
from gateway.config.load import load
from gateway.config.schema import Config
from gateway.daemon.flow import Flow
from gateway.ingress.smpp_server import Server
from gateway.model import ids, tables
from gateway.model.now import Now
from gateway.model.room import Room
from gateway.relay.admit import answer_ok
from gateway.relay.inbound import answer_deliver
from gateway.relay.parties import Bind, Carrier
from gateway.relay.turn import Owed, Released, TurnMachine
from gateway.smpp.codec import decode_message_id, with_registered_delivery
from gateway.smpp.events import Answer, Deliver, Submit
from gateway.smpp.receipt import decode_receipt, encode_receipt
from gateway.store.committer import Committer
from gateway.store.environment import Environment
from gateway.store.snapshot import Snapshot


class Relayed:
    """A message on its way: what `Link.submit` and the receipt need of it."""

    __slots__ = ("at", "body", "destination", "id", "key", "link_id", "source")

    def __init__(self, message_id: int, link_id: int, event: Submit, at: float) -> None:
        sm = event.sm
        self.id = message_id
        self.key = ids.to_key(message_id)
        self.link_id = link_id
        self.source = sm.source_addr
        self.destination = sm.destination_addr
        self.body = with_registered_delivery(sm.body, sm.sm_at, 1)
        self.at = at


class BareCore:
    """The core's face towards `Flow`, with next to nothing behind it."""

    def __init__(self, machine: TurnMachine) -> None:
        self.machine = machine
        self.draining = False
        self._ids = ids.IdSource(1)
        self._binds: dict[int, Bind] = {}
        self._rooms: dict[int, int] = {}
        self._waiting: deque[Relayed] = deque()
        self._awaiting: dict[bytes, Relayed] = {}
        self._early: set[bytes] = set()
        self._owed: dict[int, deque[Owed]] = {}

    def client_up(self, link_id: int, client_name: str, *, receives: bool, now: Now) -> None:
        """Receipts go to the link that submitted."""
        del client_name, receives, now
        self._rooms[link_id] = 100
        self._owed[link_id] = deque()

    def client_down(self, link_id: int, owed: list[Owed], now: Now) -> None:
        """What it was owed is lost."""
        del owed, now
        self._rooms.pop(link_id, None)
        self._owed.pop(link_id, None)

    def submits(self, link_id: int, events: list[Submit], now: Now) -> list[bytes]:
        """Everything is accepted: one row, and on to the carrier."""
        turn = self.machine.open
        rows = turn.writes[tables.MESSAGE]
        answers = turn.answers.setdefault(link_id, [])
        for event in events:
            message = Relayed(self._ids.take(), link_id, event, now.wall)
            rows[message.key] = message.body
            answers.append(answer_ok(event.sequence_number, message.id))
            self._waiting.append(message)
        turn.events += len(events)
        self._pump()
        return []

    def deliver_answers(self, link_id: int, events: list[Answer], now: Now) -> None:
        """The client has its receipts."""
        del now
        self._rooms[link_id] += len(events)
        self._deliver(link_id)

    def bind_up(self, bind: Bind, link_id: int, *, window: int, sends: bool, now: Now) -> None:
        """A carrier is bound."""
        del sends, now
        bind.link_id, bind.room = link_id, window
        self._binds[link_id] = bind
        self._pump()

    def bind_down(self, link_id: int, now: Now) -> None:
        """What it had not answered is lost."""
        del now
        self._binds.pop(link_id, None)

    def bind_writable(self, link_id: int, now: Now) -> None:
        """It never clogs in a benchmark; if it does, the rate shows it."""

    def answers(self, link_id: int, events: list[Answer], now: Now) -> None:
        """One row a message, over its first."""
        del now
        rows = self.machine.open.writes[tables.MESSAGE]
        for event in events:
            message = event.ref
            assert isinstance(message, Relayed)
            carrier_id = decode_message_id(event.body)
            rows[message.key] = carrier_id
            if carrier_id in self._early:
                self._early.discard(carrier_id)
                self._receipt(message)
            else:
                self._awaiting[carrier_id] = message
        self._binds[link_id].room += len(events)
        self._pump()

    def delivers(self, link_id: int, events: list[Deliver], now: Now) -> list[bytes]:
        """One delete a receipt; it goes to the link that submitted."""
        del now
        answers = self.machine.open.answers.setdefault(link_id, [])
        for event in events:
            receipt = decode_receipt(event.sm)
            if receipt is not None:
                message = self._awaiting.pop(receipt.message_id, None)
                if message is None:
                    self._early.add(receipt.message_id)
                else:
                    self._receipt(message)
            answers.append(answer_deliver(event.sequence_number))
        return []

    def close_turn(self) -> None:
        """Nothing is counted."""

    def released(self, back: Released, now: Now) -> None:
        """What did not leave waits."""
        del now
        for link_id, messages in back.unsent:
            self._waiting.extendleft(reversed(messages))  # type: ignore[arg-type]
            if link_id in self._binds:
                self._binds[link_id].room += len(messages)
        self._pump()

    def tick(self, now: Now) -> None:
        """Nothing is due."""

    def next_wake(self) -> float:
        """Never."""
        return float("inf")

    def room_changed(self, room: Room) -> None:
        """The disk is large enough for a benchmark."""

    def stop(self) -> None:
        """Takes nothing more."""
        self.draining = True

    def _pump(self) -> None:
        waiting, submits = self._waiting, self.machine.open.submits
        while waiting:
            bind = max(self._binds.values(), key=lambda bind: bind.room, default=None)
            if bind is None or not bind.room:
                return
            bind.room -= 1
            submits.setdefault(bind.link_id, []).append(waiting.popleft())  # type: ignore[arg-type]

    def _receipt(self, message: Relayed) -> None:
        self.machine.open.writes[tables.MESSAGE][message.key] = None
        body = encode_receipt(
            message_id=ids.to_text(message.id),
            message_state=2,
            submitted_at=message.at,
            done_at=message.at,
            source_ton_npi=b"\1\1",
            source_addr=message.destination,
            dest_ton_npi=b"\1\1",
            destination_addr=message.source,
        )
        owed = self._owed.get(message.link_id)
        if owed is not None:
            owed.append(Owed(None, message.id, body))
            self._deliver(message.link_id)

    def _deliver(self, link_id: int) -> None:
        owed = self._owed[link_id]
        if owed and self._rooms[link_id]:
            delivers = self.machine.open.delivers.setdefault(link_id, [])
            while owed and self._rooms[link_id]:
                self._rooms[link_id] -= 1
                delivers.append(owed.popleft())


async def serve(config: Config) -> None:
    """Runs until SIGTERM or SIGINT."""
    environment = Environment(
        Path(config.data_dir),
        map_size_bytes=config.store.map_size_bytes,
        reserve_bytes=config.store.reserve_bytes,
    )
    machine = TurnMachine()
    committer = Committer(environment, Snapshot(environment))
    limits = config.limits
    flow = Flow(
        BareCore(machine),
        machine,
        committer,
        turn_events_max=limits.turn_events,
        turn_octets_max=limits.turn_bytes,
    )
    sys.setswitchinterval(limits.switch_interval_ms / 1000)
    server = Server(config.smpp, config.client, flow)
    async with trio.open_nursery() as nursery:
        for settings in config.carrier:
            carrier = Carrier(
                settings.name,
                rate=None,
                always_receipts=True,
                receipt_timeout_s=0,
                throttle_pause_s=0,
            )
            connector, pacer = Connector(settings), Pacer(settings.backoff_min_s)
            for index in range(settings.binds):
                bind = Bind(carrier, index)
                supervisor = Supervisor(
                    settings, "transceiver", bind, flow, connector=connector, pacer=pacer
                )
                nursery.start_soon(supervisor.run)
        nursery.start_soon(flow.turns)
        nursery.start_soon(flow.ticks)
        listening = server.listen()
        nursery.start_soon(server.serve)
        ready = json.dumps({"message": "ready", "listening": listening})
        print(ready, file=sys.stderr, flush=True)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.bare", description=__doc__)
    parser.add_argument("--config", required=True, type=Path)
    path = parser.parse_args(argv).config.resolve()
    loaded = load(
        path.read_text(),
        base=path.parent,
        environment=os.environ,
        read_file=lambda name: Path(name).read_bytes(),
    )
    if loaded.config is None:
        for fault in loaded.faults:
            print(fault, file=sys.stderr)
        return 2
    trio.run(serve, loaded.config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
