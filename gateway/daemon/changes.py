"""Changes: what an operator may change in the running core; each returns when it is on disk."""

from gateway.daemon.flow import Flow
from gateway.registry.catalog import Plan
from gateway.relay.core import Core


class Changes:
    """The door of the admin socket."""

    def __init__(self, core: Core, flow: Flow) -> None:
        self._core = core
        self._flow = flow

    async def registry_apply(self, plan: Plan) -> None:
        """Applies an import that was checked."""
        await self._flow.change(lambda ticket, now: self._core.registry_apply(plan, ticket, now))

    async def release_parked(self, message_ids: list[int]) -> int:
        """Puts held and in-doubt messages back into their lanes; how many of these were parked."""
        return await self._flow.change(
            lambda ticket, now: self._core.release_parked(message_ids, ticket, now)
        )

    async def expire_parked(self, message_ids: list[int]) -> int:
        """Ends held and in-doubt messages; how many of these were parked."""
        return await self._flow.change(
            lambda ticket, now: self._core.expire_parked(message_ids, ticket, now)
        )
