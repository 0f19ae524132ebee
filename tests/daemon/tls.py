"""TLS for the whole-process tests: certificates made on the spot, and a proxy for peers without it.

The bench's simulator and load generator speak plain SMPP; `Proxy` stands before them, or before the
daemon, and puts TLS on one side. It is asyncio's, so that the daemon's own TLS meets another one.
"""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import trustme

from bench.gateway import GatewayProcess
from tests.daemon.peers import WAIT_S

CHUNK_BYTES = 1 << 16


class Authority:
    """A CA with its file, and what it signs: a PEM file with certificate and key each."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}-ca.pem"
        self._folder, self._name = folder, name
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.file))

    def sign(self, *names: str) -> Path:
        """A certificate for these names."""
        path = self._folder / f"{self._name}-{names[0]}.pem"
        if not path.exists():
            self._ca.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def server(self, *, clients: "Authority | None" = None) -> ssl.SSLContext:
        """For a peer that is connected to as `localhost`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.sign("localhost"))
        if clients is not None:
            context.load_verify_locations(clients.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, certificate: Path | None = None) -> ssl.SSLContext:
        """For a peer that connects, and trusts this CA."""
        context = ssl.create_default_context(cafile=str(self.file))
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


class Pki:
    """Two authorities: the one that is trusted here, and another."""

    def __init__(self, folder: Path) -> None:
        self.ours = Authority(folder, "ours")
        self.other = Authority(folder, "other")

    def smpp(self, more: str = "", port: int = 0) -> str:
        """[smpp.tls] of a daemon, with more keys."""
        return (
            f'[smpp.tls]\nlisten = ["127.0.0.1:{port}"]\n'
            f'certificate_file = "{self.ours.sign("localhost")}"\n{more}\n'
        )

    def carrier(self, more: str = 'server_name = "localhost"') -> str:
        """[carrier.tls] of a daemon, with more keys."""
        return f'[carrier.tls]\nca_file = "{self.ours.file}"\n{more}\n'


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def tls_address(gateway: GatewayProcess) -> str:
    """Where the daemon listens for TLS."""
    line = next(line for line in gateway.log if line["message"] == "ready")
    return str(line["listening"][-1])


class Proxy:
    """Passes octets on, in both directions, between a side with TLS and a side without."""

    def __init__(
        self,
        upstream: str,
        *,
        accepts: ssl.SSLContext | None = None,
        connects: ssl.SSLContext | None = None,
    ) -> None:
        self.address = ""
        self._upstream = upstream
        self._accepts, self._connects = accepts, connects
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._accepts)
        self.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
        self._ready.set()
        await self._stop.wait()
        server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.ensure_future(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._upstream.rpartition(":")
        name = "localhost" if self._connects else None
        writers = [writer]
        pumps: list[asyncio.Task[None]] = []
        try:
            there, back = await asyncio.open_connection(
                host, int(port), ssl=self._connects, server_hostname=name
            )
            writers.append(back)
            pumps = [
                asyncio.ensure_future(_pump(reader, back)),
                asyncio.ensure_future(_pump(there, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # nobody is there now
        finally:
            for pump in pumps:
                pump.cancel()
            for one in writers:
                one.transport.abort()
            await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        await writer.drain()
