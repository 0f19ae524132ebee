"""Check: what the tables of a configuration say about each other.

Each rule here takes the whole `Config` and yields findings. A value that was missing or faulty by
itself is an empty placeholder, which every rule passes over: one mistake is reported once.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from gateway.config.schema import (
    PASSWORD_BYTES_STANDARD,
    SYSTEM_ID_BYTES_STANDARD,
    Config,
    Route,
    Share,
)
from gateway.config.secret import Secret
from gateway.config.table import Finding

T = TypeVar("T")

SOCKET_PATH_BYTES_MAX: Final = 107
"""sun_path of a unix socket on Linux is 108 octets with its NUL."""

MAP_PER_RESERVE: Final = 4
"""The map must be at least so many times the reserve, or the reserve is most of it."""


def check(config: Config) -> tuple[list[Finding], list[Finding]]:
    """The faults and the warnings, in the order of the rules."""
    faults = [finding for rule in _FAULTS for finding in rule(config)]
    warnings = [finding for rule in _WARNINGS for finding in rule(config)]
    return faults, warnings


def _names_are_unique(config: Config) -> Iterator[Finding]:
    for key, names in (
        ("client", [client.name for client in config.client]),
        ("carrier", [carrier.name for carrier in config.carrier]),
        ("route", [route.name for route in config.route]),
    ):
        for name in _repeated(names):
            yield Finding(f'{key} "{name}"', "is there more than once", "give each its own name")


def _system_ids_are_unique(config: Config) -> Iterator[Finding]:
    # A bind names nothing but its system_id, so two clients with one could not be told apart.
    for system_id in _repeated([client.system_id for client in config.client]):
        users = " and ".join(c.name or "?" for c in config.client if c.system_id == system_id)
        problem = f'"{system_id}" is the system_id of {users}'
        yield Finding("client.system_id", problem, "give each its own")


def _api_keys_are_unique(config: Config) -> Iterator[Finding]:
    seen: dict[Secret, str] = {}
    for client in config.client:
        for key in client.api_keys:
            what = key.hash if key.key is None else key.key
            if what is not None and seen.setdefault(what, client.name) != client.name:
                problem = f"has a key that client {seen[what]} has too"
                yield Finding(f'client "{client.name}".api_keys', problem, "give each its own")


def _addresses_are_unique(config: Config) -> Iterator[Finding]:
    listens = [
        (f"{key}.listen", address)
        for key, table in (
            ("smpp", config.smpp),
            ("smpp.tls", config.smpp.tls),
            ("http", config.http),
            ("metrics", config.metrics),
        )
        for address in table.listen
        if address.port
    ]
    for address in _repeated([address for _, address in listens]):
        where = " and ".join(dict.fromkeys(key for key, other in listens if other == address))
        yield Finding(where, f"{address} is there more than once", "take another port")


def _routes_lead_somewhere(config: Config) -> Iterator[Finding]:
    carriers = {carrier.name: carrier for carrier in config.carrier}
    clients = {client.name for client in config.client}
    for route in config.route:
        at = f'route "{route.name}"'
        if not route.carriers and not route.backup:
            yield Finding(f"{at}.carriers", "is empty", 'write carriers = ["name of a carrier"]')
        if route.client is not None and route.client not in clients:
            known = ", ".join(sorted(clients)) or "none"
            yield Finding(f"{at}.client", f'"{route.client}" is no client', f"known: {known}")
        for spot, share in _shares(at, route):
            carrier = carriers.get(share.name)
            if carrier is None:
                known = ", ".join(sorted(carriers)) or "none"
                yield Finding(spot, f'"{share.name}" is no carrier', f"known: {known}")
            elif carrier.bind == "receiver":
                problem = f'"{share.name}" binds as receiver and cannot send'
                yield Finding(spot, problem, 'write bind = "transceiver" or "pair" there')
        for name in _repeated([share.name for _, share in _shares(at, route)]):
            yield Finding(at, f'names carrier "{name}" more than once', "use weight to prefer it")


def _ports_can_be_dialled(config: Config) -> Iterator[Finding]:
    for carrier in config.carrier:
        if carrier.address.host and not carrier.address.port:
            at = f'carrier "{carrier.name}".address'
            yield Finding(at, "has port 0", f"write {carrier.address.host}:2775 or what it is")


def _numbers_agree(config: Config) -> Iterator[Finding]:
    for carrier in config.carrier:
        if carrier.backoff_min_s > carrier.backoff_max_s:
            at = f'carrier "{carrier.name}".backoff_min_s'
            yield Finding(
                at, f"is above backoff_max_s ({carrier.backoff_max_s:g})", "exchange them"
            )
    if config.retention.text_days > config.retention.record_days:
        problem = f"is above record_days ({config.retention.record_days:g})"
        yield Finding("retention.text_days", problem, "a text is not kept without its record")
    if config.store.map_size_bytes < MAP_PER_RESERVE * config.store.reserve_bytes:
        problem = f"must be at least {MAP_PER_RESERVE} times reserve_bytes"
        least = MAP_PER_RESERVE * config.store.reserve_bytes
        yield Finding("store.map_size_bytes", problem, f"write map_size_bytes = {least}")


def _keys_have_certificates(config: Config) -> Iterator[Finding]:
    if config.smpp.tls.listen and config.smpp.tls.certificate_file is None:
        problem = "is missing, so nobody could bind over TLS"
        yield Finding("smpp.tls.certificate_file", problem, 'write certificate_file = "..."')
    for carrier in config.carrier:
        tls = carrier.tls
        if tls is not None and tls.key_file is not None and tls.certificate_file is None:
            at = f'carrier "{carrier.name}".tls.certificate_file'
            yield Finding(at, "is missing, but there is a key_file", "name the certificate too")


def _socket_path_is_short(config: Config) -> Iterator[Finding]:
    size = len(str(config.admin.socket).encode(errors="surrogateescape"))
    if size > SOCKET_PATH_BYTES_MAX:
        problem = f"is {size} octets long; a unix socket can have {SOCKET_PATH_BYTES_MAX}"
        yield Finding("admin.socket", problem, "give it a shorter path")


def _names_mean_one_thing(config: Config) -> Iterator[Finding]:
    for carrier in config.carrier:
        if carrier.name == "*":
            problem = "stands for every carrier in the registry"
            yield Finding('carrier "*".name', problem, "give it another name")


def _what_comes_later(config: Config) -> Iterator[Finding]:
    if config.http.listen:
        where = ", ".join(map(str, config.http.listen))
        problem = f"the HTTP API comes in a later release; nothing listens on {where}"
        yield Finding("http.listen", problem)
    for client in config.client:
        if client.webhook_url is not None:
            problem = "webhooks come in a later release; nothing is posted there"
            yield Finding(f'client "{client.name}".webhook_url', problem)


def _nothing_can_be_sent(config: Config) -> Iterator[Finding]:
    for key in ("client", "carrier", "route"):
        if not getattr(config, key):
            yield Finding(key, "there is none, so nothing can be sent", f"add a [[{key}]]")
    if not config.smpp.listen and not config.smpp.tls.listen:
        yield Finding("smpp.listen", "is empty, so no client can bind")


def _receipts_can_arrive(config: Config) -> Iterator[Finding]:
    for carrier in config.carrier:
        if carrier.bind == "transmitter":
            problem = "binds as transmitter only: receipts and inbound messages do not arrive on it"
            instead = 'write bind = "transceiver" or "pair", unless another carrier receives them'
            yield Finding(f'carrier "{carrier.name}".bind', problem, instead)


def _credentials_are_long(config: Config) -> Iterator[Finding]:
    for key, tables in (("client", config.client), ("carrier", config.carrier)):
        for table in tables:
            for credential, octets, standard in (
                ("system_id", table.system_id.encode(), SYSTEM_ID_BYTES_STANDARD),
                ("password", table.password.reveal(), PASSWORD_BYTES_STANDARD),
            ):
                if len(octets) > standard:
                    at = f'{key} "{table.name}".{credential}'
                    problem = (
                        f"is {len(octets)} octets long; SMPP 3.4 allows {standard},"
                        " and many programs cut or refuse more"
                    )
                    yield Finding(at, problem)


def _carriers_are_verified(config: Config) -> Iterator[Finding]:
    for carrier in config.carrier:
        if carrier.tls is not None and not carrier.tls.verify:
            problem = "is false: whoever sits between can read and change everything"
            instead = "name the carrier's CA in ca_file, and its name in server_name"
            yield Finding(f'carrier "{carrier.name}".tls.verify', problem, instead)


def _certificates_are_looked_at(config: Config) -> Iterator[Finding]:
    tls = config.smpp.tls
    if tls.listen and tls.client_ca_file is None and tls.client_certificates == "ask":
        problem = "has no effect without client_ca_file"
        yield Finding("smpp.tls.client_certificates", problem, "name the CA of your clients")


def _shares(at: str, route: Route) -> list[tuple[str, Share]]:
    return [
        (f"{at}.{key}[{place}]", share)
        for key, shares in (("carriers", route.carriers), ("backup", route.backup))
        for place, share in enumerate(shares)
        if share.name
    ]


def _repeated(values: Iterable[T]) -> list[T]:
    seen: dict[T, int] = {}
    for value in values:
        seen[value] = seen.get(value, 0) + 1
    return [value for value, count in seen.items() if count > 1 and value]


_FAULTS: Final[tuple[Callable[[Config], Iterator[Finding]], ...]] = (
    _names_are_unique,
    _names_mean_one_thing,
    _system_ids_are_unique,
    _api_keys_are_unique,
    _addresses_are_unique,
    _routes_lead_somewhere,
    _ports_can_be_dialled,
    _numbers_agree,
    _keys_have_certificates,
    _socket_path_is_short,
)

_WARNINGS: Final[tuple[Callable[[Config], Iterator[Finding]], ...]] = (
    _what_comes_later,
    _nothing_can_be_sent,
    _receipts_can_arrive,
    _credentials_are_long,
    _carriers_are_verified,
    _certificates_are_looked_at,
)
