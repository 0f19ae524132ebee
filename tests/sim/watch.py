"""Watch: everything that happened, told once to all who must know: invariants, journal, counts.

The driver and the links report here; nobody else talks to an invariant. The journal keeps the last
moments for the report of a failing seed, and a digest of all of them: two runs of a seed that differ
in anything that the outside could see, or in one row, differ in it.
"""

import zlib
from collections import Counter, deque
from typing import Final

from gateway.model import tables
from gateway.model.records import Message
from gateway.relay.state import State
from gateway.relay.turn import Owed, Turn
from tests.sim import invariants, pace
from tests.sim.clock import Clock
from tests.sim.mirror import Mirror
from tests.sim.script import Script

JOURNAL_MAX: Final = 60
"""Moments that a failing seed tells."""


class Watch:
    """The invariants of one run."""

    def __init__(self, script: Script, clock: Clock) -> None:
        self.clock = clock
        self.mirror = mirror = Mirror()
        self.durable = invariants.DurableBeforeEffect(mirror)
        self.lost = invariants.NothingLost(mirror)
        self.counts = invariants.Counts(mirror)
        self.twice = invariants.SentTwice(mirror, script.resends_max)
        self.expiry = invariants.Expiry(mirror)
        self.active = invariants.Active()
        self.receipts = invariants.Receipts(
            mirror, {smsc.name: smsc.receipt_timeout_s for smsc in script.setup.carriers}
        )
        self.mo = invariants.MoDelivered(mirror, self.durable)
        self.memory = invariants.BoundedMemory()
        self.rate = pace.Rate(script.setup.policy.guard_s)
        self.use = pace.Use(script.calm_campaign, script.calm_per_second)
        self.days = pace.DayCap()
        self.fair = pace.Fair(self.rate, {"a": script.tps})
        self.journal: deque[tuple[object, ...]] = deque(maxlen=JOURNAL_MAX)
        self.digest = 0
        self.seen: Counter[str] = Counter()
        """How often each kind of thing happened."""
        self._calm = True
        self._opened = self._open = (0.0, 0)
        """When the turn that commits, and the one that is open, were begun, by true time, and how
        often the wall clock was set before."""
        script.tell_limits(self.rate, self.days)

    def note(self, what: str, *about: object) -> None:
        """Something happened."""
        entry = (round(self.clock.true_s, 6), what, *about)
        self.seen[what] += 1
        self.journal.append(entry)
        self.digest = zlib.crc32(repr(entry).encode(), self.digest)

    # What leaves the gateway

    def accepted(self, client: str, message_id: int, schedule: bytes) -> None:
        """A client is answered that its message was accepted."""
        self.note("accepted", client, message_id)
        self.durable.accepted(message_id)
        self.lost.accepted(message_id, client)
        if schedule:
            self.expiry.asked(message_id, schedule)

    def wrote(self, carrier: str, message: Message, turn: int) -> None:
        """A submit_sm is written to a carrier's link."""
        true_s = self.clock.true_s
        self.note("submit_sm", carrier, message.campaign, message.id, message.resends)
        self.durable.wrote(message)
        self.twice.wrote(message)
        self.expiry.wrote(message, self.clock.sets)
        self.active.wrote(message, turn)
        self.rate.wrote(message.campaign, message.segments, true_s, turn)
        self.rate.wrote(carrier, message.segments, true_s, turn)
        self.days.wrote(message, self.clock.true_wall, self._waited_s(message))
        self.fair.wrote(carrier, (message.route, message.campaign), message.segments)
        if self._calm and message.campaign == self.use.campaign:
            self.use.wrote(message.segments, true_s)

    def _waited_s(self, message: Message) -> float:
        """How long ago it was put into its turn, at the most."""
        opened_s, sets = self._opened
        if sets == self.clock.sets:
            return self.clock.wall - message.submitted_at
        return self.clock.true_s - opened_s

    def delivered(self, client: str, owed: Owed) -> None:
        """A deliver_sm is written to a client's link."""
        self.note("deliver_sm", client, owed.message_id)
        self.durable.delivered(client, owed)

    def took(self, carrier: str, turn: int, text: bytes, receipt: tuple[bytes, int] | None) -> None:
        """A carrier's deliver_sm is answered ESME_ROK."""
        self.note("took", carrier, text)
        self.durable.took(turn, text)
        if receipt is None:
            if text not in self.mirror.inbound_texts:
                raise self.durable.broken(f"the message {text!r} was answered and is not stored")
            self.mo.took(text)
        else:
            self.receipts.acknowledged(carrier, *receipt)

    # What reaches somebody

    def heard(self, client: str, owed: Owed) -> None:
        """A client has read a deliver_sm."""
        self.note("heard", client, owed.message_id)
        if not self.receipts.heard(client, owed):
            self.mo.heard(client, owed)

    def answered(self, message: Message, *, positive: bool) -> None:
        """The gateway has handled a carrier's answer; it is in the open turn."""
        self.note("answered", message.id, positive)
        if positive:
            self.twice.taken(message.id)
        else:
            self.twice.refused(message.id)
            self.days.refused(message.id)

    # The gateway's own steps

    def turn_taken(self) -> None:
        """The open turn goes to disk."""
        self._opened, self._open = self._open, (self.clock.true_s, self.clock.sets)
        self.twice.turn_taken()
        self.expiry.turn_taken(self.clock.wall, self.clock.sets)

    def committed(self, writes: tables.Rows) -> None:
        """It is there."""
        changes = self.mirror.apply(writes)
        self.lost.committed(changes)
        self.receipts.committed(changes, self.clock.wall)
        self.counts.committed(changes)
        self.twice.committed(changes)
        self.note("committed", *[len(rows) for rows in writes])

    def released(self, turn: Turn, state: State) -> None:
        """Its effects are out."""
        self.memory.look(state)
        if turn.slots:
            self.note("released", len(turn.slots))

    def looked(self, state: State) -> None:
        """Now and then."""
        now = self.clock.now
        self.fair.look(state, self.clock.true_s, now.monotonic)

    def crashed(self) -> None:
        """What was not on disk never was."""
        self.note("crash")
        self.twice.crashed()
        self.fair.crashed(self.clock.true_s)
        self.durable.committed_turns = 0
        self.active.crashed()
        self.expiry.crashed()
        self.days.crashed()

    def calm_ends(self) -> None:
        """From here on anything may happen."""
        self._calm = False
        self.use.calm_ended(self.clock.true_s)

    def settled(self) -> None:
        """All is well again, and was so for long enough."""
        self.lost.settled()
        self.receipts.settled()
        self.mo.settled()
