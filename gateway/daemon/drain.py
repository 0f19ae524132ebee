"""Drain: how the daemon ends without leaving anybody in doubt. Upstream first.

    1. no new connections; what bound clients submit is not taken and not answered any more, so they
       submit it again later; answers that are owed still leave, and enquire_link is answered
    2. nothing new goes to the carriers; what is in flight is waited for, up to `drain.timeout_s`
    3. unbind on every link, carriers and clients
    4. the last turn is committed, the store closed, exit 0

What is queued stays queued, what a client is owed stays owed: it is all on disk. A second signal
(`hurry`) cuts 1 to 3 short, never 4. What was still in flight then is in doubt at the next start.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

import trio

from gateway.carriers.supervisor import Supervisor
from gateway.daemon.flow import Flow
from gateway.ingress.smpp_server import Server

log = logging.getLogger(__name__)

GOODBYE_S: Final = 2.0
"""How long carriers may take to answer our unbind."""


async def drain(
    flow: Flow, server: Server, supervisors: Iterable[Supervisor], patience: "Patience"
) -> None:
    """Steps 1 to 3."""
    log.info("draining")
    server.stop_listening()
    flow.stop()
    with trio.move_on_after(patience.timeout_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hurry, patience.hurry, nursery.cancel_scope)
            while patience.flying():
                await flow.settled()
            nursery.cancel_scope.cancel()
    if patience.flying():
        log.warning("%d messages were still unanswered by their carriers", patience.flying())
    for supervisor in supervisors:
        supervisor.stop()
    with trio.move_on_after(GOODBYE_S):
        for supervisor in supervisors:
            await supervisor.stopped.wait()
    await finish(flow)  # who was accepted hears of it before its link ends
    server.end_links("the daemon stops")


class Patience:
    """For what step 2 waits, how long, and what cuts it short."""

    def __init__(self, flying: Callable[[], int], timeout_s: float, hurry: trio.Event) -> None:
        self.flying = flying
        self.timeout_s = timeout_s
        self.hurry = hurry


async def finish(flow: Flow) -> None:
    """Step 4: what the last links left behind is committed; the loops may then be cancelled."""
    while flow.has_work():
        await flow.settled()


async def _hurry(hurry: trio.Event, patience: trio.CancelScope) -> None:
    await hurry.wait()
    patience.cancel()
