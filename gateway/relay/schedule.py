"""Schedule: who sends next, at once or from a lane, over which bind.

STRATEGIES, in the order in which they decide:

    route       the first that matches, fixed at admission
    carrier     the same for a (number, handset) pair while it is bound (`Route.carrier_for`)
    pause       a carrier that throttled a campaign gets nothing of it for a while
    may it      the campaign and the number are asked again, by the same look-up as at admission:
                a lane whose campaign may not send waits until the registry changes, a message whose
                number has left the campaign is held
    limits      the carrier's rate and every limit of the campaign must have room for the whole
                message, then all are charged together
    line        who finds a rate full stands in line at it. The first waits for the time, the others
                for their turn, whatever they would need: so a message of many segments is not
                starved by short ones, and a thousand lanes at one carrier cost no more than one
    bind        the bound session with most room in its window
    fairness    routes take turns, and in each its ready lanes, QUANTUM messages each or what there
                is room for; a lane's own order is by priority, then arrival
    at once     a message whose lane is empty goes out in the turn that admits it

A lane that cannot go on waits where its reason is: for a time in the timer heap, for room on a
carrier in its route's `ready`, for a stamp in `unstamped`, for its turn in the line of a limit, for
a change of the registry nowhere. So the cost follows the activity: an idle campaign is looked at by
nobody.
"""

import heapq
import math
from typing import Final

from gateway.model import records, states, tables
from gateway.model.ids import to_key
from gateway.model.now import Now
from gateway.model.records import Message
from gateway.relay import finish, parked
from gateway.relay.lanes import Lane, LaneState, Level
from gateway.relay.parties import Carrier, Route
from gateway.relay.state import State, push_timer
from gateway.throttle.limit import Charge, Limit
from gateway.throttle.window import NEVER

QUANTUM: Final = 16
"""Messages a lane may send before the next ready lane has its turn."""

LOOKAHEAD: Final = 32
"""Lanes without room that are looked at before a route is left until something changes: with several
carriers one full window must not hide the room of another."""

PUMP_MAX: Final = 2_000
"""Messages that one call sends, and lanes that it looks at, at most: about 10 ms, then the loop turns
once (`State.pump_again`)."""

RECHECK_S: Final = 60.0
"""How often a lane whose limit is zero is looked at again."""

SENT: Final = 0.0
ROOM: Final = math.inf
"""No carrier has room: the next answer, bind or release tells."""
STAMP: Final = -1.0
"""A limit is full of segments that are not written yet: the next release tells."""
TOO_LONG: Final = -2.0
"""More segments than a limit, lowered since admission, lets pass at all."""
BLOCKED: Final = -3.0
"""The campaign may not send, or is not there any more."""
TURN: Final = -4.0
"""Others stand in line before it at a limit."""


def place(state: State, message: Message, now: Now) -> None:
    """An admitted message goes out in the open turn if it can, else to the end of its lane."""
    lane = state.lane(message.route, message.campaign, now)
    level = lane.levels[message.priority]
    if lane.state is LaneState.IDLE:
        route = state.route_by_name[lane.route]
        at = _offer(state, route, lane, message, now)
        if at == SENT:
            level.pass_through(message)
            return
        _enqueue(state, level, message)
        _wait(state, route, lane, at)
        return
    _enqueue(state, level, message)


def put_back(state: State, message: Message, now: Now) -> None:
    """A message returns to its old place in its lane; `pump` takes it from there."""
    lane = state.lane(message.route, message.campaign, now)
    lane.levels[message.priority].put_back(message, state.machine.open)
    state.count_queued(message.client, +1)
    if lane.state is LaneState.IDLE:
        ready(state, lane)


def ready(state: State, lane: Lane) -> None:
    """The lane waits for nothing but its turn."""
    lane.state = LaneState.READY
    state.route_by_name[lane.route].ready.append(lane)


def wake(state: State, now: Now) -> None:
    """Lanes whose time has come are ready."""
    timers = state.timers
    while timers and timers[0][0] <= now.monotonic:
        at, _, lane = heapq.heappop(timers)
        if lane.state is LaneState.TIMED and lane.wake_at == at:
            ready(state, lane)


def look_again(state: State) -> None:
    """The registry has changed: what waits for a campaign or the time of a limit is ready."""
    for lane in state.lanes.values():
        if lane.state in {LaneState.TIMED, LaneState.BLOCKED}:
            ready(state, lane)


def stamped(state: State) -> None:
    """A turn was released: what waited for its stamps is ready."""
    waiting, state.unstamped = state.unstamped, []
    for lane in waiting:
        ready(state, lane)


def pump(state: State, now: Now) -> None:
    """Sends what can be sent from the lanes that are ready; routes take turns, too."""
    state.pump_again = False
    routes, first = state.routes, state.first_route
    for place in range(first, first + len(routes)):
        route = routes[place % len(routes)]
        if route.ready and _pump_route(state, route, now):
            state.first_route = (place + 1) % len(routes)


def next_wake(state: State) -> float:
    """Monotonic time of the next timer, 0 for at once; NEVER if there is none."""
    if state.pump_again:
        return 0.0
    return state.timers[0][0] if state.timers else NEVER


def _pump_route(state: State, route: Route, now: Now) -> bool:
    """Serves the lanes of a route; whether any of them sent something."""
    work = fruitless = 0
    has_sent = False
    while route.ready and fruitless < LOOKAHEAD:
        if work >= PUMP_MAX:
            state.pump_again = True
            break
        lane = route.ready.popleft()
        line, lane.line = lane.line, None
        served, at = _serve(state, route, lane, now)
        if line is not None:
            _step_out(state, lane, line, served)
        work += served or 1
        has_sent = has_sent or served > 0
        fruitless = 0 if at != ROOM or served else fruitless + 1
        if at == SENT and not lane.rows:
            lane.state = LaneState.IDLE
        elif at == ROOM and _is_full(state, route):
            if served:  # its turn is over, however little of it there was room for
                route.ready.append(lane)
            else:
                route.ready.appendleft(lane)
            break
        elif lane.line is not None and served:  # its turn is over: who was behind it comes first
            lane.line = None
            ready(state, lane)
        else:
            _wait(state, route, lane, at)
    return has_sent


def _step_out(state: State, lane: Lane, limit: Limit, served: int) -> None:
    """The first in line had its turn: it stays only if it sent nothing and still waits for that."""
    if lane.line is limit and not served:
        return
    limit.line.popleft()
    if limit.line:
        ready(state, limit.line[0])


def _is_full(state: State, route: Route) -> bool:
    """Whether no carrier of this route has room in a window."""
    carriers = [carrier for carrier, _ in route.primary] + route.backup
    return state.draining or all(carrier.roomiest() is None for carrier in carriers)


def _serve(state: State, route: Route, lane: Lane, now: Now) -> tuple[int, float]:
    """Sends up to QUANTUM messages of a lane: how many, and why it stopped (SENT: turn over)."""
    numbers = state.catalog.numbers
    campaign = state.catalog.campaigns.get(lane.campaign)
    if (campaign is None or campaign.blocked) and lane.rows:
        return 0, BLOCKED
    for served in range(QUANTUM):
        level = lane.first()
        if level is None:
            return served, SENT
        if not level.head:
            _refill(state, level)
            if not level.head:
                return served, SENT
        message = level.head[0]
        reason = ""
        if message.expires_at <= now.wall:
            reason = "expired"
        else:
            number = numbers.get(message.source)
            if number is None or number.campaign is not campaign:
                _dequeue(state, level)
                _hold(state, message, now)
                continue
            at = _offer(state, route, lane, message, now)
            if at == TOO_LONG:
                reason = "too_long"
            elif at != SENT:
                return served, at
        _dequeue(state, level)
        if reason:
            finish.end(state, message, states.QUEUED, reason, now)
    return QUANTUM, SENT


def _hold(state: State, message: Message, now: Now) -> None:
    """Its number has left the campaign since: it waits until people decide, or it expires."""
    state.totals.move(states.QUEUED, states.HELD)
    parked.park(state, message, now, as_state=states.HELD, reason="number_not_assigned")


def _offer(state: State, route: Route, lane: Lane, message: Message, now: Now) -> float:
    """Sends a message in the open turn if carrier, limits and windows have room for it.

    SENT if they had; else the monotonic time to try again, or one of ROOM, STAMP, TURN, TOO_LONG.
    """
    carrier = None if state.draining else route.carrier_for(message)
    if carrier is None:
        return ROOM
    bind = carrier.roomiest()
    if bind is None:
        return ROOM
    if carrier.paused:
        until = _paused_until(carrier, lane.campaign, now)
        if until > now.monotonic:
            return until
    if lane.limits or carrier.rate is not None:
        at = _charge(state, carrier, lane, message, now)
        if at != SENT:
            return at
    bind.room -= 1
    bind.flights[message.id] = message
    message.submitted_at = now.wall
    state.touch(bind)
    in_state = state.totals.in_state
    in_state[states.QUEUED] -= 1
    in_state[states.IN_FLIGHT] += 1
    submits = state.machine.open.submits
    queued = submits.get(bind.link_id)
    if queued is None:
        submits[bind.link_id] = [message]
    else:
        queued.append(message)
    return SENT


def _charge(state: State, carrier: Carrier, lane: Lane, message: Message, now: Now) -> float:
    """Charges every limit over this message, all or none."""
    segments = message.segments
    limits = lane.limits if carrier.rate is None else (*lane.limits, carrier.rate)
    for limit in limits:
        if limit.line and limit.line[0] is not lane:
            lane.line = limit
            return TURN
        at = limit.free_at(now, segments)
        if limit.dirty:
            state.dirty_limits.add(limit)
        if at > now.monotonic:
            if segments > limit.capacity:
                return TOO_LONG if limit.capacity else now.monotonic + RECHECK_S
            if limit.window is not None:  # who comes too late for a day must not stop the shorter
                lane.line = limit
            return at if at < NEVER else STAMP
    slots = state.machine.open.slots
    charges: list[Charge] = []
    for limit in limits:
        charges.append(limit.charge(now, segments, slots))
        if limit.dirty:
            state.dirty_limits.add(limit)
    state.charges[message.id] = charges
    return SENT


def _paused_until(carrier: Carrier, campaign: str, now: Now) -> float:
    until = carrier.paused.get(campaign, 0.0)
    if until and until <= now.monotonic:
        del carrier.paused[campaign]
    return until


def _wait(state: State, route: Route, lane: Lane, at: float) -> None:
    """Puts a lane where its reason is."""
    limit = lane.line
    if limit is not None and (not limit.line or limit.line[0] is not lane):
        limit.line.append(lane)
        if limit.line[0] is not lane:
            at = TURN
    if at == TURN:
        lane.state = LaneState.LINE
    elif at == STAMP:
        lane.state = LaneState.STAMP
        state.unstamped.append(lane)
    elif at == BLOCKED:
        lane.state = LaneState.BLOCKED
    elif at in (SENT, ROOM):
        lane.state = LaneState.READY
        route.ready.append(lane)
    else:
        lane.state = LaneState.TIMED
        push_timer(state, at, lane)


def _enqueue(state: State, level: Level, message: Message) -> None:
    level.append(message, state.machine.open)
    state.count_queued(message.client, +1)


def _dequeue(state: State, level: Level) -> None:
    state.count_queued(level.take(state.machine.open).client, -1)


def _refill(state: State, level: Level) -> None:
    """Brings the next messages of a level into memory.

    With the turns that are not committed laid over it, the disk shows every row there is. So if
    there is none from the first on, the count is damaged, and is set right: it would be looked for
    as long as the daemon runs.
    """
    _bring(state, level)
    if level.rows and not level.head:
        level.rewind()
        _bring(state, level)
        if level.rows and not level.head:
            state.counters.damaged += 1
            level.rows = 0
            state.working.dirty.add(level)


def _bring(state: State, level: Level) -> None:
    """Refills it; a row whose message is missing is damage: it is set aside and counted."""
    for key in level.refill(state.view):
        level.rows -= 1
        state.working.dirty.add(level)
        state.counters.damaged += 1
        state.machine.open.writes[tables.QUEUE][key] = None
        step = records.Step(0.0, "damaged", detail="queue row without a message")
        state.machine.open.writes[tables.HISTORY][key[-8:] + to_key(0)] = records.encode(step)
