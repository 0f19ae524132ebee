"""Gate: what readers pass before they read on. Closed while the open turn is full."""

import trio


class Gate:
    """Open or closed; whoever waits goes on when it opens."""

    __slots__ = ("_opened", "is_open")

    def __init__(self) -> None:
        self.is_open = True
        self._opened = trio.Event()

    def close(self) -> None:
        """Readers stop before their next read."""
        if self.is_open:
            self.is_open = False
            self._opened = trio.Event()

    def open(self) -> None:
        """Readers go on."""
        if not self.is_open:
            self.is_open = True
            self._opened.set()

    async def wait_open(self) -> None:
        """Returns once it is open."""
        while not self.is_open:
            await self._opened.wait()
