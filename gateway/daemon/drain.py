"""Drain: how the daemon ends without leaving anybody in doubt. Upstream first.

    1. no new connections; bound clients are not read any more, their answers still leave
    2. nothing new goes to the carriers; what is in flight is waited for, up to `drain.timeout_s`
    3. unbind on every link, carriers and clients
    4. the last turn is committed, the store closed, exit 0

What is queued stays queued, what a client is owed stays owed: it is all on disk. A second signal
(`hurry`) cuts 1 to 3 short, never 4. What was still in flight then is in doubt at the next start.
"""

import logging
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from gateway.daemon.app import App

log = logging.getLogger(__name__)

GOODBYE_S: Final = 2.0
"""How long carriers may take to answer our unbind."""


async def drain(app: "App") -> None:
    """Steps 1 to 3."""
    log.info("draining")
    app.server.stop_listening()
    app.flow.stop()
    with trio.move_on_after(app.config.drain.timeout_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hurry, app, nursery.cancel_scope)
            while app.state.flying():
                await app.flow.settled()
            nursery.cancel_scope.cancel()
    if app.state.flying():
        log.warning("%d messages were still unanswered by their carriers", app.state.flying())
    for supervisor in app.supervisors:
        supervisor.stop()
    with trio.move_on_after(GOODBYE_S):
        for supervisor in app.supervisors:
            await supervisor.stopped.wait()
    await finish(app)  # who was accepted hears of it before its link ends
    app.server.end_links("the daemon stops")


async def finish(app: "App") -> None:
    """Step 4: what the last links left behind is committed; the loops may then be cancelled."""
    while app.flow.has_work():
        await app.flow.settled()


async def _hurry(app: "App", patience: trio.CancelScope) -> None:
    await app.hurry.wait()
    patience.cancel()
