"""Load: the text of a configuration file becomes a `Config`, or the list of all its faults.

Pure: it opens nothing. Who calls it has read the file, says in which folder it lies, whether others
can read it, and hands in the environment and a way to read a file of secrets. It never raises:
whatever the text, the answer is a config, or at least one fault. Faults are found in three passes
that all run: each value by itself (`table`), where secrets come from (here), what tables say about
each other (`check`). Only TOML's own syntax stops everything, at its first fault, with the line.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Final, TypeVar

import msgspec

from gateway.config.check import check
from gateway.config.schema import (
    CREDENTIAL_BYTES_MAX,
    SHORTHAND,
    Admin,
    ApiKey,
    Carrier,
    Client,
    Config,
)
from gateway.config.secret import Secret
from gateway.config.table import Finding, Reader, labels

T = TypeVar("T")

SECRET_FILE_BYTES_MAX: Final = 64 * 1024
"""A file of secrets that is larger is some other file."""


class Loaded(msgspec.Struct, frozen=True):
    """What a text says. `config` is None if and only if there are faults."""

    config: Config | None
    faults: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def load(
    text: str,
    *,
    base: str | PurePath,
    environment: Mapping[str, str],
    read_file: Callable[[str], bytes],
    world_readable: bool = False,
) -> Loaded:
    """Reads a configuration.

    `base` is the folder of the file: relative paths start there. `read_file` gets an absolute path
    if `base` is absolute, and may raise OSError. `world_readable`: users other than the owner and
    the group can read the file.
    """
    try:
        text.encode()
        raw = tomllib.loads(text)
    except UnicodeEncodeError:
        return Loaded(None, (Finding("", "the file is not UTF-8"),), ())
    except RecursionError:
        return Loaded(None, (Finding("", "lists or tables are nested too deep"),), ())
    except ValueError as error:  # TOMLDecodeError is one; a number of 5,000 digits is a plain one
        return Loaded(None, (Finding("", f"this is not TOML: {error}"),), ())
    folder = PurePath(base)
    reader = Reader(folder, SHORTHAND)
    config = reader.table(Config, raw, "")
    sources = _Sources(reader, environment, read_file)
    config = _resolved(config, folder, sources, raw)
    faults, warnings = check(config)
    literal = [_literal(path) for path in sources.literal] if world_readable else []
    if config.strict_secrets:
        faults += literal
    else:
        warnings += literal
    faults = reader.faults + faults
    return Loaded(None if faults else config, tuple(faults), tuple(warnings))


def _resolved(
    config: Config, folder: PurePath, sources: "_Sources", raw: Mapping[str, Any]
) -> Config:
    """The config with what its defaults take from other keys, and with its secrets."""
    data_dir = folder / config.data_dir
    admin = config.admin
    if admin.socket == Admin().socket:
        admin = Admin(socket=data_dir / admin.socket)
    clients = []
    for at, table, client in _with_labels(Client, raw, "client", config.client):
        clients.append(
            msgspec.structs.replace(
                client,
                password=sources.password(at, client, table),
                api_keys=sources.api_keys(at, client),
                queue_limit=client.queue_limit
                if "queue_limit" in table
                else config.limits.client_queue,
            )
        )
        if client.webhook_secret is not None:
            sources.literal.append(f"{at}.webhook_secret")
    carriers = [
        msgspec.structs.replace(carrier, password=sources.password(at, carrier, table))
        for at, table, carrier in _with_labels(Carrier, raw, "carrier", config.carrier)
    ]
    return msgspec.structs.replace(
        config, data_dir=data_dir, admin=admin, client=tuple(clients), carrier=tuple(carriers)
    )


def _with_labels(
    shape: type[Any], raw: Mapping[str, Any], key: str, structs: tuple[T, ...]
) -> list[tuple[str, Mapping[str, Any], T]]:
    """Each struct with its path and the table it was read from."""
    tables = raw.get(key)
    if not isinstance(tables, list):
        return []
    pairs = zip(labels(shape, tables, key), tables, strict=True)
    read = [(at, table) for at, table in pairs if isinstance(table, dict)]
    return [(at, table, struct) for (at, table), struct in zip(read, structs, strict=True)]


def _literal(path: str) -> Finding:
    problem = "is a secret in a file that every user of this machine can read"
    return Finding(path, problem, "chmod o-r the file, or give the secret in a file of its own")


class _Sources:
    """Where secrets come from; notes which stand in the file itself."""

    def __init__(
        self, reader: Reader, environment: Mapping[str, str], read_file: Callable[[str], bytes]
    ) -> None:
        self.literal: list[str] = []
        self.reader = reader
        self._environment = environment
        self._read_file = read_file

    def password(self, at: str, table: Client | Carrier, raw: Mapping[str, Any]) -> Secret:
        """The password of a table, from the one key that gives it."""
        keys = ("password", "password_file", "password_env")
        given = [key for key in keys if key in raw]
        if len(given) > 1:
            self.reader.fault(at, f"has {' and '.join(given)}", "keep one of them")
        elif not given:
            instead = f'write {keys[0]} = "...", or {keys[1]}, or {keys[2]}'
            self.reader.fault(f"{at}.password", "is missing", instead)
        elif table.password_env is not None:
            value = self._environment.get(table.password_env)
            if value:
                return self._checked(f"{at}.password_env", value.encode(errors="surrogateescape"))
            problem = f"names {table.password_env}, which is not set in the environment"
            self.reader.fault(f"{at}.password_env", problem, "set it, or name another")
        elif table.password_file is not None:
            octets = self.file(f"{at}.password_file", table.password_file)
            if octets is not None:
                return self._checked(f"{at}.password_file", octets.rstrip(b"\r\n"))
        elif isinstance(raw.get("password"), str):
            self.literal.append(f"{at}.password")
        return table.password

    def _checked(self, at: str, octets: bytes) -> Secret:
        """A password from outside the file keeps to the rule of those within."""
        if any(octet < 0x20 or octet == 0x7F for octet in octets):
            self.reader.fault(at, "leads to a password with a control character")
        elif len(octets) > CREDENTIAL_BYTES_MAX:
            problem = f"leads to a password of {len(octets)} octets"
            self.reader.fault(at, problem, f"at most {CREDENTIAL_BYTES_MAX} are allowed")
        return Secret(octets)

    def api_keys(self, at: str, client: Client) -> tuple[ApiKey, ...]:
        """The keys of a client, those in its file included."""
        for place, key in enumerate(client.api_keys):
            spot = f'{at}.api_keys "{key.id}"' if key.id else f"{at}.api_keys[{place}]"
            if key.key is not None:
                self.literal.append(spot)
            known = any(fault.path.startswith(spot) for fault in self.reader.faults)
            if (key.key is None) == (key.hash is None) and not known:
                self.reader.fault(spot, "needs either a key or a hash")
        if client.api_keys_file is None:
            return client.api_keys
        spot = f"{at}.api_keys_file"
        octets = self.file(spot, client.api_keys_file) or b""
        if not octets.isascii():
            self.reader.fault(spot, f"{client.api_keys_file} holds more than ASCII")
            return client.api_keys
        found = []
        for number, line in enumerate(octets.decode().splitlines(), 1):
            words = line.split()
            if not words or line.startswith("#"):
                continue
            table: dict[str, Any] = {"key": words[0]}
            if len(words) > 1:
                table = {"id": words[0], "hash": words[1], "roles": words[2:]}
            found.append(self.reader.table(ApiKey, table, f"{spot} line {number}"))
        return (*client.api_keys, *found)

    def file(self, at: str, path: PurePath) -> bytes | None:
        """The octets of a file of secrets, or a fault."""
        try:
            octets = self._read_file(str(path))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.reader.fault(at, f"{path} cannot be read: {reason}")
            return None
        if not octets.strip():
            self.reader.fault(at, f"{path} is empty")
        elif len(octets) > SECRET_FILE_BYTES_MAX:
            self.reader.fault(at, f"{path} is larger than {SECRET_FILE_BYTES_MAX} octets")
        else:
            return octets
        return None
