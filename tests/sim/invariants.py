"""Invariants: what must hold whatever happens, one class each, asked at every step.

Each is told what it needs (a commit, a submit_sm on the wire, a receipt that a client read) and
answers at a constant cost; none looks into the core but `BoundedMemory` and `Fair`, which are about
it. The first that does not hold raises `BrokenError`, which names it and says what happened: the
run ends there, and its seed replays it.

    durable-before-effect    nothing reaches anybody before its cause is on disk
    nothing-lost             every message is in exactly one state, and ends when all is well
    counts                   every count on disk is that of its rows
    rate, use, day-cap       in `pace`
    sent-twice               only in doubt, flagged, never beyond the policy
    expiry                   nothing is sent past its validity, or before its time
    active                   nothing is sent while its campaign is suspended
    receipts                 a client hears how its message ended, if it asked, and nothing else
    mo-delivered             what a handset sent and we answered reaches its client
    bounded-memory           every table in memory keeps its limit
    fair                     in `pace`
"""

import math
from collections import Counter, defaultdict
from typing import Final

from gateway.model import records, states
from gateway.model.records import Message
from gateway.relay import lanes, outbox, receipt_map, receipts, runs
from gateway.relay.notice import MESSAGE_STATE
from gateway.relay.receipts import ENDS
from gateway.relay.state import State
from gateway.relay.turn import Owed
from gateway.smpp.time import parse_time
from tests.relay.links import receipt_of, resends_in, sm_of
from tests.sim.mirror import NOWHERE, ONE_PLACE, Changes, Mirror


class BrokenError(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Invariant:
    """The common part: a name, and how to say that it is broken."""

    name = ""

    def broken(self, what: str) -> BrokenError:
        return BrokenError(self.name, what)


class DurableBeforeEffect(Invariant):
    """P1, and the one rule of the design."""

    name = "durable-before-effect"

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.committed_turns = 0

    def accepted(self, message_id: int) -> None:
        if message_id not in self._mirror.messages:
            raise self.broken(f"{message_id} was acknowledged before it was on disk")

    def wrote(self, message: Message) -> None:
        stored = self._mirror.messages.get(message.id)
        if stored is None:
            raise self.broken(f"{message.id} was sent before it was on disk")
        resends = self._mirror.flying.get(message.id)
        if resends is None:
            raise self.broken(
                f"{message.id} was sent while it was {self._mirror.where(message.id)}"
            )
        if stored.body and not message.body.startswith(stored.body):
            raise self.broken(f"{message.id} was sent with another body than was accepted")

    def delivered(self, client: str, owed: Owed) -> None:
        if self._mirror.owed[client, owed.message_id] < 1:
            raise self.broken(f"{client} got {owed.message_id} before that was on disk")

    def took(self, turn: int, text: bytes) -> None:
        """A carrier's deliver_sm is answered ESME_ROK; it was handled in this turn."""
        if turn >= self.committed_turns:
            raise self.broken(f"deliver_sm {text!r} was answered before its turn was on disk")


class NothingLost(Invariant):
    """P2."""

    name = "nothing-lost"

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.acknowledged: dict[int, str] = {}

    def accepted(self, message_id: int, client: str) -> None:
        if message_id in self.acknowledged:
            raise self.broken(f"two messages were acknowledged as {message_id}")
        self.acknowledged[message_id] = client

    def committed(self, changes: Changes) -> None:
        place, messages = self._mirror.place, self._mirror.messages
        for message_id in changes.touched:
            packed = place.get(message_id, NOWHERE)
            if message_id not in messages and packed == NOWHERE:
                place.pop(message_id, None)
            elif packed not in ONE_PLACE or message_id not in messages:
                raise self.broken(f"{message_id} is {self._mirror.where(message_id)}")
        for message_id in changes.purged:
            self.acknowledged.pop(message_id, None)

    def settled(self) -> None:
        """All is well again: every message has ended."""
        for message_id in self._mirror.messages:
            if message_id not in self._mirror.final:
                where = self._mirror.where(message_id)
                raise self.broken(f"{message_id} has no final state, it is {where}")
        for message_id, client in self.acknowledged.items():
            if message_id not in self._mirror.messages:
                raise self.broken(f"{message_id} of {client} was acknowledged and is gone")


class Counts(Invariant):
    """`ctl audit`, at every commit, for what it has changed."""

    name = "counts"

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def committed(self, changes: Changes) -> None:
        mirror = self._mirror
        for name in changes.counted:
            said, found = mirror.said.get(name, 0), mirror.counts[name]
            if said != found:
                raise self.broken(f"{name!r} says {said}, there are {found} rows")
        totals = mirror.totals
        for state, title in enumerate(states.NAMES):
            found = mirror.in_state[state]
            if totals.in_state[state] != found:
                raise self.broken(f"{title}: the total says {totals.in_state[state]}, not {found}")
        if totals.accepted != len(mirror.messages) + totals.purged:
            raise self.broken(f"{totals.accepted} accepted, {len(mirror.messages)} rows")

    def audited(self, wrong: list[str]) -> None:
        """What an audit of all rows, or of the core's memory, has found."""
        if wrong:
            raise self.broken("; ".join(wrong[:3]))


class SentTwice(Invariant):
    """P6. `resends_max` is what each campaign's policy allows."""

    name = "sent-twice-only-in-doubt"

    def __init__(self, mirror: Mirror, resends_max: dict[str, int]) -> None:
        self._mirror = mirror
        self._resends_max = resends_max
        self._sent: Counter[int] = Counter()
        """Times that it left, but for those that the carrier refused."""
        self._released: Counter[int] = Counter()
        self._taken: set[int] = set()
        self._open: list[int] = []
        self._committing: list[int] = []

    def wrote(self, message: Message) -> None:
        message_id, marked = message.id, resends_in(message.body)
        allowed = self._resends_max[message.campaign] + self._released[message_id]
        before = self._sent[message_id]
        if message_id in self._taken:
            raise self.broken(f"{message_id} was sent after the carrier had taken it")
        if before > allowed:
            raise self.broken(f"{message_id} was sent {before + 1} times, {allowed} in doubt")
        if not before <= marked <= allowed:
            raise self.broken(f"{message_id} was sent {before} times before, its TLV says {marked}")
        if marked != self._mirror.flying[message_id]:
            raise self.broken(f"the TLV of {message_id} says {marked}, its row another count")
        self._sent[message_id] = before + 1

    def refused(self, message_id: int) -> None:
        self._sent[message_id] -= 1

    def taken(self, message_id: int) -> None:
        """The carrier's positive answer is in the open turn."""
        self._open.append(message_id)

    def released(self, message_id: int) -> None:
        """Somebody wants it sent again, in doubt or not."""
        self._released[message_id] += 1

    def turn_taken(self) -> None:
        self._committing, self._open = self._open, []

    def committed(self, changes: Changes) -> None:
        self._taken.update(self._committing)
        self._committing = []
        for message_id in changes.purged:
            self._sent.pop(message_id, None)
            self._taken.discard(message_id)

    def crashed(self) -> None:
        self._open, self._committing = [], []


class Expiry(Invariant):
    """Asked twice: at admission, and right before the submit."""

    name = "expiry"

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._not_before: dict[int, float] = {}
        """By the wall clock, for those that asked for a time."""
        self._released: set[int] = set()
        self._opened = self._open = (0.0, 0)
        """When the turn that commits, and the one that is open, were begun: by the gateway's clock,
        and how often that was set before."""
        self._latest_wall = 0.0
        """What the gateway's wall clock ever showed: one set ahead lets messages go too early."""

    def clock(self, wall: float) -> None:
        self._latest_wall = max(self._latest_wall, wall)

    def asked(self, message_id: int, schedule: bytes) -> None:
        """An accepted message was to go at this time and not before."""
        until = parse_time(schedule, self._mirror.messages[message_id].accepted_at)
        assert until is not None
        self._not_before[message_id] = until

    def released(self, message_ids: list[int]) -> None:
        """Somebody wants them sent whatever they asked for."""
        self._released.update(message_ids)

    def turn_taken(self, wall: float, sets: int) -> None:
        """What is decided from here on leaves with another turn."""
        self._opened, self._open = self._open, (wall, sets)

    def crashed(self) -> None:
        self._opened = self._open = (0.0, 0)

    def wrote(self, message: Message, sets: int) -> None:
        """It was put into its turn when that was open, or later."""
        decided_wall = message.submitted_at
        if sets == self._opened[1]:
            decided_wall = max(decided_wall, self._opened[0])
        stored = self._mirror.messages[message.id]
        if decided_wall >= stored.expires_at:
            late_s = decided_wall - stored.expires_at
            raise self.broken(f"{message.id} was sent {late_s:.3f} s after it had expired")
        self.clock(decided_wall)
        early_s = self._not_before.get(message.id, 0.0) - self._latest_wall
        if early_s > 0.0 and message.id not in self._released:
            raise self.broken(f"{message.id} was sent {early_s:.3f} s before it had asked for")


class Active(Invariant):
    """What waits while its campaign is suspended goes on waiting."""

    name = "active"

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        """The turn in which a campaign was suspended: what is in that one may have been decided."""

    def campaign(self, name: str, turn: int, *, is_active: bool) -> None:
        if is_active:
            self._since.pop(name, None)
        else:
            self._since.setdefault(name, turn)

    def wrote(self, message: Message, turn: int) -> None:
        since = self._since.get(message.campaign)
        if since is not None and turn > since:
            raise self.broken(f"{message.id} was sent, and {message.campaign} is suspended")

    def crashed(self) -> None:
        """Turns are counted anew; that it is suspended is on disk, or it never was."""
        self._since.clear()


CORRECT_S: Final = 30.0
"""A start has read all that waits for a receipt by then."""


class Receipts(Invariant):
    """At least once, to the client that asked, and what really happened."""

    name = "receipts"

    def __init__(self, mirror: Mirror, timeouts_s: dict[str, float]) -> None:
        self._mirror = mirror
        self._timeouts_s = timeouts_s
        """How long each carrier's receipts are waited for."""
        self._said: dict[tuple[str, bytes], set[int]] = defaultdict(set)
        """message_state by what the carrier really sent under its id."""
        self._answered: set[tuple[str, bytes]] = set()
        """Of those, the ids of which we have acknowledged a final one."""
        self.is_clock_right = True
        self._to_correct: dict[int, float] = {}
        """Unknown since, though we took a receipt: it came while a start still read what waits."""
        self._had: dict[int, set[int]] = defaultdict(set)
        """Every final state that a message ever had."""
        self._asked: dict[int, tuple[str, int]] = {}
        """Whose each ended message is, and what it asked for; it may be purged long before the
        client reads of it."""
        self._unheard: dict[tuple[int, int], str] = {}

    def said(self, carrier: str, carrier_id: bytes, message_state: int) -> None:
        self._said[carrier, carrier_id].add(message_state)

    def acknowledged(self, carrier: str, carrier_id: bytes, message_state: int) -> None:
        if (
            self.is_clock_right
            and message_state in ENDS
            and ENDS[message_state][0] != states.UNKNOWN
        ):
            self._answered.add((carrier, carrier_id))

    def clock_set(self, *, is_right: bool) -> None:
        """By a clock that is an hour off a receipt that waits for its message is too old."""
        self.is_clock_right = is_right
        self._answered.clear()
        self._to_correct.clear()

    def committed(self, changes: Changes, wall: float) -> None:
        for message_id in changes.purged:
            self._had.pop(message_id, None)
            self._asked.pop(message_id, None)
        for message_id, before, after in changes.ended:
            if before is not None and before.state not in (states.UNKNOWN, after.state):
                raise self.broken(
                    f"{message_id} was {states.NAMES[before.state]}, "
                    f"and ended again as {states.NAMES[after.state]}"
                )
            if before is not None and before.state == after.state and before.at != after.at:
                raise self.broken(f"{message_id} ended twice as {states.NAMES[after.state]}")
            self._to_correct.pop(message_id, None)
            self._ended(message_id, after)
        for message_id, since in self._to_correct.items():
            if wall - since > CORRECT_S:
                raise self.broken(f"{message_id} is unknown, but we took a receipt for it")
            break

    def _ended(self, message_id: int, final: records.Ending) -> None:
        stored = self._mirror.messages.get(message_id)
        if stored is None:
            raise self.broken(f"{message_id} ended and was never stored")
        key = (final.carrier, final.carrier_id)
        said = {ENDS[one][0] for one in self._said.get(key, ()) if one in ENDS}
        if final.state == states.UNKNOWN and states.UNKNOWN not in said:
            if key in self._answered:
                self._to_correct[message_id] = final.at
        elif final.carrier_id and final.state != states.SUBMITTED and final.state not in said:
            raise self.broken(
                f"{message_id} ended {states.NAMES[final.state]}, which {final.carrier} "
                f"never said of {final.carrier_id!r}"
            )
        waited_s = final.at - final.answered_at if final.answered_at else 0.0
        if states.UNKNOWN in said or waited_s >= self._timeouts_s.get(final.carrier, math.inf):
            # Corrected in the very turn in which it was unknown: no row says so any more.
            self._had[message_id].add(states.UNKNOWN)
        self._unheard.pop((message_id, MESSAGE_STATE[states.UNKNOWN]), None)  # corrected
        self._had[message_id].add(final.state)
        self._asked[message_id] = stored.client, stored.registered_delivery & 3
        asked = stored.registered_delivery & 3
        if final.state != states.SUBMITTED and (
            asked == 1 or (asked == 2 and final.state != states.DELIVERED)
        ):
            self._unheard[message_id, MESSAGE_STATE[final.state]] = stored.client

    def heard(self, client: str, owed: Owed) -> bool:
        """A client got a deliver_sm; whether it is a receipt."""
        receipt = receipt_of(owed)
        if receipt is None:
            return False
        message_id = owed.message_id
        owner, asked = self._asked.get(message_id, ("", 0))
        if owner != client:
            raise self.broken(f"{client} heard of {message_id}, which is not one of its messages")
        had = self._had[message_id]
        is_wanted = receipt.state != MESSAGE_STATE[states.DELIVERED] or states.UNKNOWN in had
        if asked == 0 or (asked == 2 and not is_wanted):
            raise self.broken(f"{client} heard of {message_id}, and had not asked")
        if receipt.state not in {MESSAGE_STATE[state] for state in had}:
            raise self.broken(f"{client} heard {receipt.state} of {message_id}, not how it ended")
        self._unheard.pop((message_id, receipt.state), None)
        return True

    def settled(self) -> None:
        for message_id, ending in self._mirror.final.items():
            key = (ending.carrier, ending.carrier_id)
            if ending.state == states.UNKNOWN and key in self._answered:
                raise self.broken(f"{message_id} stayed unknown, though we took a receipt for it")
        for (message_id, message_state), client in self._unheard.items():
            raise self.broken(f"{client} never heard {message_state} of {message_id}")


class MoDelivered(Invariant):
    """What a handset sends is stored, answered, and delivered to the client it belongs to."""

    name = "mo-delivered"

    def __init__(self, mirror: Mirror, durable: DurableBeforeEffect) -> None:
        self._mirror = mirror
        self._durable = durable
        self._owner: dict[bytes, str] = {}
        self._waiting: dict[bytes, None] = {}
        self._heard: set[bytes] = set()

    def sent(self, text: bytes, owner: str) -> None:
        """A handset sends this to a number of this client's ("" if it is nobody's)."""
        self._owner[text] = owner

    def took(self, text: bytes) -> None:
        """We answered ESME_ROK."""
        if self._owner[text] and text not in self._heard:
            self._waiting[text] = None

    def heard(self, client: str, owed: Owed) -> None:
        text = sm_of(owed.body).short_message
        owner = self._owner.get(text)
        if owner != client:
            raise self.broken(f"{client} heard {text!r}, which is {owner}'s")
        self._heard.add(text)
        self._waiting.pop(text, None)

    def settled(self) -> None:
        for text in self._waiting:
            raise self.broken(f"{text!r} was answered, and {self._owner[text]} never got it")


RELEASED_MAX: Final = 50
"""Messages that somebody releases by hand come into memory, whatever the working set: this many."""


REBUILT_MAX: Final = 20
"""Ids that one bite of the rebuild, or one batch of answers, brings before room is made."""


class BoundedMemory(Invariant):
    """Whatever is queued, owed or unknown: memory holds no more than its limits say."""

    name = "bounded-memory"

    def __init__(self) -> None:
        self._spared = lanes.SPARED
        self._refill = lanes.REFILL
        self._ready = outbox.READY_MAX + 2 * outbox.OUTBOX_ROW
        self._ids = receipt_map.RECENT_MAX + receipt_map.OLD_MAX + runs.RUN + REBUILT_MAX
        self._orphans = receipts.ORPHANS_MAX

    def look(self, state: State) -> None:
        window = sum(bind.room + len(bind.flights) for bind in state.binds.values())
        spared = sum(bool(level.head) for level in state.working.levels) * self._spared
        held = state.working.size + self._refill + spared + window + RELEASED_MAX
        if state.working.held > held:
            raise self.broken(f"{state.working.held} messages in memory, {held} at most")
        for client in state.clients.values():
            ready = len(client.outbox.ready) + len(client.outbox.put_off)
            most = self._ready + client.deliver_window * 8
            if ready > most:
                raise self.broken(f"{ready} deliver_sm of {client.name} in memory, {most} at most")
        for carrier in state.carriers.values():
            entries = len(carrier.receipts)
            if entries > self._ids:
                raise self.broken(f"{entries} ids of {carrier.name} in memory, {self._ids} at most")
            if len(carrier.orphans) > self._orphans:
                raise self.broken(f"{len(carrier.orphans)} orphans of {carrier.name} in memory")
