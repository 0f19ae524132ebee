"""The real App in this process, in a thread, with its commits in the test's hand.

What kill -9 cannot show (the page cache survives it) this does: while a commit is held, whatever
is seen on a socket has left before its cause was on disk.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import trio

from bench.gateway import Carrier, admin_socket, ask, configuration
from gateway.daemon import command
from gateway.daemon.app import App
from gateway.model import tables
from tests.daemon.peers import WAIT_S, Esme, Peer, Smsc
from tests.daemon.stage import REGISTRY, STORE


class HeldApp:
    """One run of the daemon. `fault` is what ended it, if it was not told to."""

    def __init__(self, config: Path) -> None:
        loaded = command.read(config)
        assert not isinstance(loaded, str)
        assert loaded.config is not None, loaded.faults
        self.config = loaded.config
        self.admin = admin_socket(config)
        self.app: App | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._ready = threading.Event()
        self._is_held = False
        self._failure: Exception | None = None
        self._arrived = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)
        self._switch_interval_s = sys.getswitchinterval()
        self._executor = ThreadPoolExecutor(1)
        self._run: Future[None] | None = None

    def __enter__(self) -> Self:
        self._run = self._executor.submit(trio.run, self._main)
        self._run.add_done_callback(lambda _: self._ready.set())
        assert self._ready.wait(WAIT_S)
        if self._run.done():
            self._run.result()
        self.ask("registry import", file=REGISTRY)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self._run is not None
        self.release()
        if not self._run.done() and self._token is not None and self.app is not None:
            self.drain()
            self._token.run_sync_soon(self.app.hurry.set)
        self._executor.shutdown()
        sys.setswitchinterval(self._switch_interval_s)

    @property
    def smpp(self) -> str:
        """Where applications bind."""
        assert self.app is not None
        return self.app.listening[0]

    def ask(self, verb: str, **arguments: object) -> Any:
        """What `ctl` would be answered."""
        return ask(self.admin, verb, **arguments)

    def tasks(self) -> int:
        """How many tasks it has."""
        assert self._token is not None
        statistics = trio.from_thread.run_sync(
            trio.lowlevel.current_statistics, trio_token=self._token
        )
        return statistics.tasks_living

    def drain(self) -> None:
        """As on SIGTERM."""
        assert self._token is not None
        assert self.app is not None
        self._token.run_sync_soon(self.app.draining.set)

    def fault(self) -> BaseException | None:
        """Waits for its end; what ended it."""
        assert self._run is not None
        return self._run.exception(WAIT_S)

    # The commits

    def hold(self) -> None:
        """From now on a commit waits until it is let go."""
        self._is_held = True

    def wait_held(self) -> None:
        """Returns when a commit waits."""
        assert self._arrived.acquire(timeout=WAIT_S), "nothing is committed"

    def release_one(self) -> None:
        """Lets one go."""
        self._permits.release()

    def release(self) -> None:
        """Lets it go, and holds none from now on."""
        self._is_held = False
        self._permits.release()

    def fail(self, failure: Exception) -> None:
        """Lets the one that waits fail, and every one behind it."""
        self._failure = failure
        self.release()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        app = self.app = App(self.config)
        original = app.committer._commit

        def commit(writes: tables.Rows) -> None:
            self._commit(original, writes)

        app.committer._commit = commit  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announce, app)
            await app.run()
            nursery.cancel_scope.cancel()

    async def _announce(self, app: App) -> None:
        await app.ready.wait()
        self._ready.set()

    def _commit(self, original: Callable[[tables.Rows], None], writes: tables.Rows) -> None:
        if self._is_held:
            self._arrived.release()
            assert self._permits.acquire(timeout=2 * WAIT_S), "nobody let it go"
        if self._failure is not None:
            raise self._failure
        original(writes)


class Scene:
    """A daemon in this process, one carrier link, one application."""

    def __init__(self, config: Path, smsc: Smsc, stack: contextlib.ExitStack) -> None:
        self.config = config
        self.smsc = smsc
        self.stack = stack
        self.daemon = stack.enter_context(HeldApp(config))
        self.carrier: Peer = stack.enter_context(smsc.accept())
        self.esme = self.bind()

    @classmethod
    def configured(
        cls, config: Path, smsc: Smsc, stack: contextlib.ExitStack, **options: Any
    ) -> "Scene":
        """The same, with more of a configuration (`bench.gateway.configuration`)."""
        carrier = Carrier("a", smsc.address, binds=1)
        config.write_text(configuration([carrier], sections=STORE, **options))
        config.chmod(0o600)
        return cls(config, smsc, stack)

    def bind(self) -> Esme:
        return self.stack.enter_context(Esme(self.daemon.smpp))

    def loop_turns(self) -> None:
        """It answers on both links, and says nothing else."""
        for _ in range(10):
            self.esme.settle()
            self.carrier.settle()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        smsc = stack.enter_context(Smsc())
        yield Scene.configured(tmp_path / "gateway.toml", smsc, stack)
