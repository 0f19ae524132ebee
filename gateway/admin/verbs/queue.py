"""Queue: `queue`, and `queue release|expire` for what is held or in doubt.

What is released is checked again as if it were new, and charged again. One in doubt may have been
sent before: who releases it accepts that the handset gets it twice.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from gateway.admin import waiting
from gateway.admin.grammar import LIMIT, LIMIT_MAX, USAGE
from gateway.admin.office import Answer, Args, Desk, no, now, yes
from gateway.admin.waiting import LaneReport, ParkedReport
from gateway.model import ids, states

BITE: Final = 500
"""Messages that one turn releases or expires at most: a few milliseconds, then traffic goes on."""

Act = Callable[[list[int]], Awaitable[int]]
"""One of the office's changes: what it does to these messages, and to how many it did it."""

OPEN_STATES: Final = ("queued", "held", "in_flight", "submitted", "in_doubt")


class StateReport(msgspec.Struct):
    """One state in which a message can wait: how many do, and since when the first."""

    state: str
    messages: int
    oldest_at: float | None


class QueueReport(msgspec.Struct):
    """Everything that waits. Lists are cut at `limit`; the counts are not."""

    states: list[StateReport]
    lanes_filled: int
    lanes: list[LaneReport]
    """The fullest first."""
    parked: list[ParkedReport]
    """Held and in doubt, in order of arrival."""
    in_memory: int
    working_set: int


async def queue(desk: Desk, args: Args) -> Answer:
    """Depth and oldest age, and the first of what is parked."""
    state, at = desk.office.state, now()
    limit = min(args.get("limit", LIMIT), LIMIT_MAX)
    lanes = waiting.lanes(state)
    oldest = waiting.oldest_in_states(state)
    return yes(
        QueueReport(
            states=[
                StateReport(name, state.totals.in_state[states.NAMES.index(name)], oldest.get(name))
                for name in OPEN_STATES
            ],
            lanes_filled=len(lanes),
            lanes=waiting.lane_reports(state, lanes[:limit], at),
            parked=[
                waiting.parked_report(key, row) for key, row in waiting.parked(state, b"", limit)
            ],
            in_memory=state.working.held,
            working_set=state.working.size,
        )
    )


async def release(desk: Desk, args: Args) -> Answer:
    """Puts parked messages back into their lanes."""
    return await _decide(desk, args, "released", desk.office.changes.release_parked)


async def expire(desk: Desk, args: Args) -> Answer:
    """Ends parked messages."""
    return await _decide(desk, args, "expired", desk.office.changes.expire_parked)


async def _decide(desk: Desk, args: Args, done: str, act: Act) -> Answer:
    named: list[str] = args.get("ids", [])
    is_all = args.get("all", False)
    if bool(named) == is_all:
        return Answer(USAGE, text="name messages, or say --all")
    if not is_all and ("state" in args or "campaign" in args):
        return Answer(USAGE, text="--state and --campaign go with --all")
    if is_all:
        return yes({done: await _all(desk, args, act)})
    numbers = [ids.from_text(text) for text in named]
    unread = [text for text, number in zip(named, numbers, strict=True) if number is None]
    if unread:
        return Answer(USAGE, text=f"no message can have the id {', '.join(unread)}")
    count = await _in_bites(desk, [number for number in numbers if number is not None], act)
    if count < len(set(numbers)):
        return no(
            f"{done} {count} of {len(set(numbers))}: only what is held or in doubt can be",
            {done: count},
        )
    return yes({done: count})


async def _all(desk: Desk, args: Args, act: Act) -> int:
    """Walks the parked once, from front to end: what is parked again meanwhile is left alone.

    What is held until a moment waits for no decision; by its id it can be named all the same.
    """
    wanted_state, wanted_campaign = args.get("state"), args.get("campaign")
    count, after = 0, b""
    while rows := waiting.parked(desk.office.state, after, BITE):
        after = rows[-1][0]
        chosen = [
            ids.from_key(key)
            for key, row in rows
            if not row.until
            and wanted_state in (None, states.NAMES[row.state])
            and wanted_campaign in (None, waiting.lane_of(row)[1])
        ]
        count += await _in_bites(desk, chosen, act)
    return count


async def _in_bites(desk: Desk, numbers: list[int], act: Act) -> int:
    count = 0
    for start in range(0, len(numbers), BITE):
        count += await desk.change(act(numbers[start : start + BITE]))
    return count
