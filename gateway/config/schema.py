"""The configuration file as frozen structs: a struct is a table, a field is a key of the file.

Defaults, units and limits stand here and nowhere else; `conf/smppgate.toml` repeats them for
people, and a test holds the two together. Units are in the names: `_s` and `_ms` are durations,
`_bytes` sizes, `_days` days. Every number has a range, so that milliseconds written as seconds are
found by `smppgate check` and not by the carrier.

Nothing here parses: `load` does, and reports every fault at once. What `load` has resolved is
absolute (paths) and present (passwords), so nobody who reads a `Config` looks at files or at the
environment again.
"""

import ipaddress
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from gateway.config.address import Address
from gateway.config.secret import Secret

NAME_BYTES_MAX: Final = 64
"""Names become parts of keys on disk (LMDB allows 511 octets a key) and labels of metrics."""

CREDENTIAL_BYTES_MAX: Final = 64
"""The longest system_id and password that our own codec reads (`smpp.codec`)."""

SYSTEM_ID_BYTES_STANDARD: Final = 15
PASSWORD_BYTES_STANDARD: Final = 8
"""SMPP 3.4 section 4.1.1, without the closing NUL. Longer ones are in use: a warning."""

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S

Name = Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
SystemId = Annotated[str, Meta(min_length=1, max_length=CREDENTIAL_BYTES_MAX)]
Password = Annotated[Secret, Meta(max_length=CREDENTIAL_BYTES_MAX)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

InDoubt = Literal["resend", "hold", "fail"]
StatusStyle = Literal["specific", "standard"]
BindType = Literal["transceiver", "transmitter", "receiver", "pair"]
Receipts = Literal["always", "asked"]
ClientCertificates = Literal["require", "ask"]
ReceiptIdMode = Literal["same", "resp_hex_receipt_dec", "resp_dec_receipt_hex"]
Operator = Literal["att", "tmobile", "verizon", "uscellular", "other"]

Resends = Annotated[int, Meta(ge=0, le=10)]
TimeoutS = Annotated[float, Meta(ge=0.1, le=HOUR_S)]
EnquireLinkS = Annotated[float, Meta(ge=0.1, le=HOUR_S)]
Window = Annotated[int, Meta(ge=1, le=10_000)]


class SmppTls(msgspec.Struct, frozen=True):
    """[smpp.tls]: where clients bind over TLS, 1.2 or later."""

    listen: tuple[Address, ...] = ()
    """Beside `smpp.listen`. Empty: no TLS for clients."""
    certificate_file: PurePath | None = None
    """PEM: ours, then those between it and its CA."""
    key_file: PurePath | None = None
    """PEM, without a passphrase. Not given: it is in certificate_file."""
    client_ca_file: PurePath | None = None
    """PEM: who signs the certificates of clients. Not given: they need none."""
    client_certificates: ClientCertificates = "require"
    """`ask`: a client may come without one, but not with a wrong one."""


class CarrierTls(msgspec.Struct, frozen=True):
    """[carrier.tls]: the sessions with this carrier go over TLS, 1.2 or later."""

    ca_file: PurePath | None = None
    """PEM: who signs the carrier's certificate. Not given: whom the system trusts."""
    server_name: Annotated[str, Meta(max_length=253)] = ""
    """Whose certificate it must be. Not given: the host of `address`."""
    certificate_file: PurePath | None = None
    """PEM: ours, where the carrier wants one."""
    key_file: PurePath | None = None
    """PEM, without a passphrase. Not given: it is in certificate_file."""
    verify: bool = True
    """False: any certificate will do, so whoever sits between can read and change everything."""


class Smpp(msgspec.Struct, frozen=True):
    """[smpp]: where clients bind."""

    listen: tuple[Address, ...] = (Address("127.0.0.1", 2775),)
    """Empty: no SMPP for clients."""
    bind_timeout_s: TimeoutS = 10
    """From the connection to the bind; a stranger keeps a place no longer."""
    pdu_timeout_s: TimeoutS = 10
    """From the first octet of a PDU to its last: 64 KiB take as long at 52 kbit/s."""
    enquire_link_s: EnquireLinkS = 30
    """Silence of a client after which it is asked whether it is still there."""
    response_timeout_s: TimeoutS = 30
    """How long a client may take to answer deliver_sm and enquire_link."""
    max_pdu_bytes: Annotated[int, Meta(ge=KIB, le=16 * MIB)] = 64 * KIB
    """Above it command_length is nonsense and the link ends; 64 KiB holds any message_payload
    that can be sent in 255 segments."""
    max_connections: Annotated[int, Meta(ge=1, le=100_000)] = 2000
    """All clients together; each costs a descriptor."""
    tls: SmppTls = SmppTls()


class Http(msgspec.Struct, frozen=True):
    """[http]: where applications post."""

    listen: tuple[Address, ...] = ()
    """Empty: no HTTP for clients."""


class Metrics(msgspec.Struct, frozen=True):
    """[metrics]: /metrics, /livez and /readyz."""

    listen: tuple[Address, ...] = (Address("127.0.0.1", 9464),)
    """Empty: none. Has no password: keep it on an inner network."""


class Admin(msgspec.Struct, frozen=True):
    """[admin]: where `smppgate ctl` asks."""

    socket: PurePath = PurePath("admin.sock")
    """A unix socket; who may open it may do anything. Not given: in data_dir."""


class Store(msgspec.Struct, frozen=True):
    """[store]: the database in data_dir."""

    map_size_bytes: Annotated[int, Meta(ge=16 * MIB, le=64 * 1024 * GIB, multiple_of=4 * KIB)] = (
        64 * GIB
    )
    """What the database can grow to. Takes address space, not disk, so it is large from the
    start: to grow it later needs a pause."""
    reserve_bytes: Annotated[int, Meta(ge=MIB, le=64 * GIB)] = 64 * MIB
    """Kept free in the map and on the volume, so that what is under way can be finished when
    either is full."""


class Limits(msgspec.Struct, frozen=True):
    """[limits]: the sizes of queues and batches."""

    working_set: Annotated[int, Meta(ge=100, le=10_000_000)] = 20_000
    """Queued messages kept in memory, all lanes together; the rest is on disk only. One of 100
    characters takes about 700 octets there, the longest short_message 900: 14 to 18 MiB."""
    turn_events: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Events in one commit; above it clients are not read until the next turn."""
    turn_bytes: Annotated[int, Meta(ge=64 * KIB, le=GIB)] = 16 * MIB
    """The same, in octets written."""
    guard_ms: Annotated[float, Meta(ge=0, le=1000)] = 10
    """Added to every rate window: what the path to the carrier may bunch together."""
    switch_interval_ms: Annotated[float, Meta(ge=0.01, le=5)] = 0.5
    """After how long a busy thread gives way to the committer; CPython's own 5 ms would make a
    commit wait for the loop."""
    client_queue: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    """Messages waiting for one client before its submits get ESME_RMSGQFUL; `queue_limit` of a
    client overrides it."""


class Retention(msgspec.Struct, frozen=True):
    """[retention]: how long what is done with is kept."""

    text_days: Annotated[float, Meta(ge=0, le=3650)] = 7
    """The text of a message, after its final state."""
    record_days: Annotated[float, Meta(ge=0, le=3650)] = 90
    """The rest of its record; at least as long as the text."""
    undelivered_s: Annotated[float, Meta(ge=60, le=90 * DAY_S)] = 72 * HOUR_S
    """Receipts and inbound messages that no client fetches."""


class Drain(msgspec.Struct, frozen=True):
    """[drain]: SIGTERM and `ctl drain`."""

    timeout_s: Annotated[float, Meta(ge=0, le=HOUR_S)] = 30
    """How long the windows may take to empty. TimeoutStopSec of the unit must be greater."""


class ApiKey(msgspec.Struct, frozen=True):
    """One key of `api_keys`: a string, or a hash with the name and the roles of who holds it."""

    id: Annotated[str, Meta(max_length=NAME_BYTES_MAX)] = ""
    """Who it is, for moderation and logs."""
    key: Secret | None = None
    """The key itself."""
    hash: (
        Annotated[
            Secret,
            Meta(pattern="sha256:[0-9a-f]{64}", description="sha256: and 64 hexadecimal digits"),
        ]
        | None
    ) = None
    """Instead of the key: `sha256:` and 64 hexadecimal digits."""
    roles: tuple[Name, ...] = ()
    """What it may do beyond sending."""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """[[client]]: an application that sends through us."""

    name: Name
    company: Name
    """The company in the registry whose numbers it may use; may be unknown yet."""
    system_id: SystemId
    password: Annotated[Secret, Meta(min_length=1, max_length=CREDENTIAL_BYTES_MAX)]
    """What it binds with. Given literally, or in a file, or in the environment: one of three."""
    password_file: PurePath | None = None
    password_env: str | None = None
    allowed_networks: tuple[Network, ...] = ()
    """Where it may come from; empty: from anywhere."""
    max_binds: Annotated[int, Meta(ge=1, le=10_000)] = 10
    window: Window = 1000
    """submit_sm of one bind that are not answered yet, before we stop reading it."""
    deliver_window: Window = 100
    """deliver_sm on one bind that it has not answered yet."""
    queue_limit: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1_000_000
    """Messages waiting before its submits get ESME_RMSGQFUL. Not given: `limits.client_queue`."""
    api_keys: tuple[ApiKey, ...] = ()
    api_keys_file: PurePath | None = None
    """More of them, a line each: a key, or `id hash role ...`."""
    webhook_url: (
        Annotated[str, Meta(pattern="https?://[^ ]+", description="an http or https address")]
        | None
    ) = None
    webhook_secret: Secret | None = None
    may_opt_in: bool = False
    """May lift opt-outs over HTTP, with evidence of consent."""


class Carrier(msgspec.Struct, frozen=True, kw_only=True):
    """[[carrier]]: a downstream SMSC."""

    name: Name
    address: Address
    system_id: SystemId
    password: Password
    password_file: PurePath | None = None
    password_env: str | None = None
    system_type: Annotated[str, Meta(max_length=12)] = ""
    """SMPP 3.4 section 4.1.1: 13 octets with the closing NUL."""
    bind: BindType = "transceiver"
    """`pair`: a transmitter and a receiver, counted as one bind."""
    binds: Annotated[int, Meta(ge=1, le=1000)] = 1
    window: Window = 10
    """submit_sm of one bind that the carrier has not answered yet."""
    tps: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    """Segments per second over all binds; not given: no limit of ours."""
    enquire_link_s: EnquireLinkS = 30
    response_timeout_s: TimeoutS = 60
    """After it a submit_sm is in doubt and its bind is given up."""
    pdu_timeout_s: TimeoutS = 10
    """From the first octet of a PDU to its last."""
    receipts: Receipts = "always"
    """`asked`: ask the carrier for a receipt only when the client does."""
    receipt_id_mode: ReceiptIdMode = "same"
    """How a receipt names its message: by the id of the submit_sm_resp, leading zeros and case
    forgiven, or by the same number in decimal or in hexadecimal."""
    receipt_timeout_s: Annotated[float, Meta(ge=1, le=30 * DAY_S)] = 72 * HOUR_S
    """Without a receipt by then the message ends as `unknown`."""
    connect_timeout_s: TimeoutS = 10
    """For the connection and the bind together."""
    backoff_min_s: Annotated[float, Meta(ge=0.01, le=HOUR_S)] = 1
    backoff_max_s: Annotated[float, Meta(ge=0.01, le=DAY_S)] = 60
    """Between attempts to bind, doubled each time; while the carrier is down, its binds together try
    no more often than each backoff_min_s."""
    throttle_pause_s: Annotated[float, Meta(ge=0.01, le=HOUR_S)] = 1
    """How long a campaign pauses at this carrier after ESME_RTHROTTLED or ESME_RMSGQFUL."""
    tls: CarrierTls | None = None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One carrier of a route: its name, or a table with its weight."""

    name: Name
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """[[route]]: which carriers a message may take.

    The first that matches in file order wins; a condition that is not given matches everything.
    """

    name: Name
    to: Annotated[bytes, Meta(pattern=r"\+?[0-9]{0,20}", description='digits, as in "+1"')] = b""
    """How the recipient begins: E.164 digits, kept without `+`."""
    from_: Annotated[bytes, Meta(max_length=21)] = msgspec.field(default=b"", name="from")
    """How the source address begins."""
    campaign: Name | None = None
    client: Name | None = None
    network: Operator | None = None
    """The recipient's operator."""
    carriers: tuple[Share, ...]
    backup: tuple[Share, ...] = ()
    """Used only while none of `carriers` is bound."""


class Config(msgspec.Struct, frozen=True):
    """The whole file."""

    data_dir: PurePath = PurePath("var")
    """The database; one daemon at a time."""
    strict_secrets: bool = False
    """A literal secret in a file that others can read is a fault, not a warning."""
    status_style: StatusStyle = "specific"
    """How refusals are answered over SMPP: with a status of our own for each reason, or with the
    specification's."""
    in_doubt: InDoubt = "resend"
    """A message that may have been sent and was never answered; a campaign may say otherwise."""
    in_doubt_resends: Resends = 1
    """How often `resend` does; then it is held."""
    smpp: Smpp = Smpp()
    http: Http = Http()
    metrics: Metrics = Metrics()
    admin: Admin = Admin()
    store: Store = Store()
    limits: Limits = Limits()
    retention: Retention = Retention()
    drain: Drain = Drain()
    client: tuple[Client, ...] = ()
    carrier: tuple[Carrier, ...] = ()
    route: tuple[Route, ...] = ()


SHORTHAND: Final[dict[type[Any], str]] = {Share: "name", ApiKey: "key"}
"""Tables that may be written as a string alone, and the key that the string then is."""
