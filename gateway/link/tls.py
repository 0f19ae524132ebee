"""TLS: a transport with an `ssl.MemoryBIO` on either side of OpenSSL, and the contexts it needs.

OpenSSL only ever sees memory here; the socket is ours, as in `transport.Plain`, so a link waits,
writes and counts the same way over both (docs/decisions/0003, 0006).

**What was sent.** Octets handed to OpenSSL come out as a record, and whether the peer gets it is
not known octet by octet: they count as sent. So one record (RECORD_BYTES) is handed over at a time,
and the next only when the socket took the last one whole. What a broken link leaves in doubt is
then what the socket took, as without TLS, and one record at most.

**Errors.** A handshake that fails raises HandshakeError with one sentence; never more, whatever the
peer sent. Later faults (a record that was tampered with) are OSErrors, like a reset. Files that
cannot be used raise `TlsFileError` with the key of the configuration, before anything is opened.

Not here: renegotiation (refused), session tickets of clients, revocation lists.
"""

import contextlib
import errno
import socket
import ssl
from pathlib import Path, PurePath
from typing import Final

import trio

from gateway.config.schema import CarrierTls, Config, SmppTls
from gateway.config.table import Finding
from gateway.link.transport import close_socket, received, send_now

RECORD_BYTES: Final = 16 * 1024
"""The most that one record holds (RFC 8446 section 5.1)."""

HANDSHAKE_BYTES_MAX: Final = 256 * 1024
"""What a peer may send before it has shaken hands. A chain of certificates is a tenth of it."""

CLOSED: Final = (ssl.SSLZeroReturnError, ssl.SSLEOFError)
"""The peer has ended: with a close_notify, or (many do) without."""


class HandshakeError(Exception):
    """No TLS with this peer; the text says why, for the log.

    `is_final`: nor the next time. `was_silent`: it came and went without an octet, as those do who
    look whether the port is open.
    """

    def __init__(self, why: str, *, is_final: bool = False, was_silent: bool = False) -> None:
        super().__init__(why)
        self.is_final, self.was_silent = is_final, was_silent


class TlsFileError(Exception):
    """A file of the configuration cannot be used."""

    def __init__(self, key: str, problem: str, instead: str) -> None:
        super().__init__(f"{key}: {problem}; {instead}")
        self.key, self.problem, self.instead = key, problem, instead


class Tls:
    """A socket with TLS on it, after its handshake."""

    __slots__ = ("_incoming", "_outgoing", "_socket", "_ssl", "_unseen", "_unsent")

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, *, server_name: str | None
    ) -> None:
        """`server_name`: whom we want to reach; None on the side that is reached."""
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )
        self._unsent = b""
        self._unseen = True
        """There may be more in `_incoming` than the handshake: the peer need not wait for us."""

    async def shake_hands(self) -> None:
        """Does the handshake. Raises HandshakeError; the caller sets the time."""
        seen = 0
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                with contextlib.suppress(OSError):
                    self._send_on()  # the alert that tells the peer why
                raise HandshakeError(_why(error), is_final=True) from None
            else:
                await self._send_all()
                return
            await self._send_all()
            came = await self._receive_some()
            if not came:
                raise HandshakeError("closed by the peer", was_silent=not seen)
            seen += came
            if seen > HANDSHAKE_BYTES_MAX:
                raise HandshakeError(f"no end of the handshake in {seen} octets")

    @property
    def has_backlog(self) -> bool:
        """See `Transport`."""
        return bool(self._unsent)

    async def wait_readable(self) -> None:
        """See `Transport`."""
        if self._unseen:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        """See `Transport`."""
        await trio.lowlevel.wait_writable(self._socket)

    def receive(self) -> bytes:
        """See `Transport`."""
        if self._unseen:
            self._unseen = False
        elif length := self._socket.recv_into(received):
            self._incoming.write(received[:length])
        else:
            self._incoming.write_eof()
        parts = []
        try:
            while part := self._ssl.read(RECORD_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            if not parts:
                raise BlockingIOError from None
        except CLOSED:
            pass
        except ssl.SSLError as error:
            raise ConnectionAbortedError(errno.EPROTO, _why(error)) from None
        finally:
            if self._outgoing.pending:  # a key update, an alert
                with contextlib.suppress(OSError):  # whoever sends next is told
                    self._send_on()
        return b"".join(parts)

    def send(self, data: bytes) -> int:
        """See `Transport`."""
        taken = 0
        try:
            self._send_on()
            while taken < len(data) and not self._unsent:
                taken += self._ssl.write(data[taken : taken + RECORD_BYTES])
                self._send_on()
        except ssl.SSLError as error:
            if not taken:
                raise ConnectionAbortedError(errno.EPROTO, _why(error)) from None
        except OSError:
            if not taken:  # else what was taken counts as sent, and the next call is told
                raise
        return taken

    def say_goodbye(self) -> None:
        """See `Transport`."""
        with contextlib.suppress(ssl.SSLError):  # it wants the peer's answer, which we do not
            self._ssl.unwrap()
        self._send_on()
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `Transport`."""
        close_socket(self._socket)

    def _send_on(self) -> None:
        """Gives the socket what it takes of what OpenSSL has made."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        if self._unsent:
            self._unsent = self._unsent[send_now(self._socket, self._unsent) :]

    async def _send_all(self) -> None:
        try:
            self._send_on()
            while self._unsent:
                await trio.lowlevel.wait_writable(self._socket)
                self._send_on()
        except OSError as error:
            raise HandshakeError(f"lost: {error.strerror or error}") from None

    async def _receive_some(self) -> int:
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                length = self._socket.recv_into(received)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise HandshakeError(f"lost: {error.strerror or error}") from None
            self._incoming.write(received[:length])
            return length


# -------------------------------------------------------------------------------------- contexts


def server_context(settings: SmppTls) -> ssl.SSLContext:
    """For links of clients, as [smpp.tls] wants them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _harden(context)
    if settings.certificate_file is None:
        raise TlsFileError("smpp.tls.certificate_file", "is missing", "name a PEM file")
    _load_own(context, "smpp.tls", settings.certificate_file, settings.key_file)
    if settings.client_ca_file is not None:
        _load_authority(context, "smpp.tls.client_ca_file", settings.client_ca_file)
        wanted = settings.client_certificates == "require"
        context.verify_mode = ssl.CERT_REQUIRED if wanted else ssl.CERT_OPTIONAL
    return context


def client_context(settings: CarrierTls, at: str) -> ssl.SSLContext:
    """For links to a carrier, as its [carrier.tls] wants them; `at` is that table's key."""
    if settings.ca_file is None:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts this one and no other
        _load_authority(context, f"{at}.ca_file", settings.ca_file)
    _harden(context)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate_file is not None:
        _load_own(context, at, settings.certificate_file, settings.key_file)
    return context


def faults(config: Config) -> list[Finding]:
    """What is wrong with the files that the configuration names, each with its key."""
    found = []
    try:
        if config.smpp.tls.listen:
            server_context(config.smpp.tls)
    except TlsFileError as error:
        found.append(Finding(error.key, error.problem, error.instead))
    for carrier in config.carrier:
        try:
            if carrier.tls is not None:
                client_context(carrier.tls, f'carrier "{carrier.name}".tls')
        except TlsFileError as error:
            found.append(Finding(error.key, error.problem, error.instead))
    return found


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _load_own(
    context: ssl.SSLContext, at: str, certificate: PurePath, key: PurePath | None
) -> None:
    key_at, key_path = f"{at}.key_file", key
    if key is None:
        key_at, key_path = f"{at}.certificate_file", certificate
    _must_hold(f"{at}.certificate_file", certificate, b"CERTIFICATE-----", "a certificate")
    assert key_path is not None
    octets = _must_hold(key_at, key_path, b"PRIVATE KEY-----", "a private key")
    if b"ENCRYPTED" in octets:
        instead = "write the key without one (openssl pkey), readable by the daemon alone"
        raise TlsFileError(key_at, f"{key_path} has a passphrase", instead)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in (error.reason or ""):
            problem = f"{key_path} does not belong to the certificate in {certificate}"
            raise TlsFileError(key_at, problem, "name the two that do") from None
        problem = f"{certificate} and its key cannot be used: {_why(error)}"
        raise TlsFileError(f"{at}.certificate_file", problem, "look into the files") from None


def _load_authority(context: ssl.SSLContext, at: str, path: PurePath) -> None:
    _must_hold(at, path, b"CERTIFICATE-----", "a certificate")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        problem = f"{path} cannot be used: {_why(error)}"
        raise TlsFileError(at, problem, "look into the file") from None


def _must_hold(at: str, path: PurePath, mark: bytes, what: str) -> bytes:
    """The octets of a PEM file that has one of these in it."""
    try:
        octets = Path(path).read_bytes()
    except OSError as error:
        instead = "the user that the daemon runs as must be able to read it"
        raise TlsFileError(at, f"{path} cannot be read: {error.strerror}", instead) from None
    if mark not in octets:
        raise TlsFileError(at, f"{path} has no PEM block of {what}", f"name a file with {what}")
    return octets


def _why(error: ssl.SSLError) -> str:
    """What OpenSSL says, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    reason = (error.reason or error.strerror or "no reason given").replace("_", " ").lower()
    return f"the handshake failed: {reason}"
