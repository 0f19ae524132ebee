"""The text of a configuration becomes a Config, or the whole list of what is wrong with it."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.load import Loaded, load
from gateway.config.schema import Config
from gateway.config.secret import Secret

CONTRACT = (Path(__file__).parent.parent / "contract" / "gateway.toml").read_text()

MINIMAL = """
[[client]]
name = "shop"
company = "acme"
system_id = "shop"
password = "secret"

[[carrier]]
name = "carrier-a"
address = "127.0.0.1:2776"
system_id = "smppgate"
password = "hush"

[[route]]
name = "us"
carriers = ["carrier-a"]
"""


def no_file(path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", path)


def read(
    text: str,
    *,
    files: Mapping[str, bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    world_readable: bool = False,
) -> Loaded:
    def read_file(path: str) -> bytes:
        return files[path] if files and path in files else no_file(path)

    return load(
        text,
        base="/etc/smppgate",
        environment=environment or {},
        read_file=read_file,
        world_readable=world_readable,
    )


def config_of(text: str, files: Mapping[str, bytes] | None = None) -> Config:
    loaded = read(text, files=files)
    assert loaded.faults == ()
    assert loaded.config is not None
    return loaded.config


def faults(text: str) -> list[str]:
    loaded = read(text)
    assert loaded.config is None
    return [str(fault) for fault in loaded.faults]


def with_key(table: str, line: str) -> str:
    """The minimal configuration with one more line in a table, or at the top."""
    if not table:
        return f"{line}\n{MINIMAL}"
    if f"[[{table}]]" in MINIMAL:
        return MINIMAL.replace(f"[[{table}]]\n", f"[[{table}]]\n{line}\n")
    return f"{MINIMAL}\n[{table}]\n{line}\n"


def instead_of(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new, 1)


# What is right


def test_the_contract_file_loads_as_it_stands_with_the_documented_defaults() -> None:
    loaded = read(CONTRACT)

    assert loaded.faults == ()
    assert [warning.path for warning in loaded.warnings] == ["http.listen"]
    assert loaded.config is not None
    config = loaded.config
    assert str(config.data_dir) == "/etc/smppgate/var"
    assert str(config.admin.socket) == "/etc/smppgate/var/admin.sock"
    assert list(map(str, config.smpp.listen)) == ["127.0.0.1:2775"]
    assert (config.in_doubt, config.in_doubt_resends) == ("resend", 1)
    assert config.store.map_size_bytes == 64 * 1024**3
    assert (config.retention.text_days, config.retention.record_days) == (7, 90)
    (carrier,) = config.carrier
    assert (carrier.binds, carrier.window) == (2, 100)
    assert (carrier.bind, carrier.enquire_link_s) == ("transceiver", 30)
    assert (carrier.tps, carrier.receipts) == (None, "always")
    assert carrier.receipt_timeout_s == 72 * 3600
    (client,) = config.client
    assert client.password == Secret(b"secret")
    assert client.api_keys[0].key == Secret(b"test-key-0123456789abcdef")
    assert client.queue_limit == config.limits.client_queue == 1_000_000
    assert (config.route[0].to, config.route[0].carriers[0].weight) == (b"1", 1)


def test_an_empty_file_is_a_configuration_that_warns_it_sends_nothing() -> None:
    loaded = read("")

    assert loaded.config is not None
    assert str(loaded.config.admin.socket) == "/etc/smppgate/var/admin.sock"
    assert [warning.path for warning in loaded.warnings] == ["client", "carrier", "route"]


def test_the_admin_socket_lies_in_data_dir_if_not_given() -> None:
    config = config_of(f'data_dir = "/srv/x"\n{MINIMAL}')

    assert str(config.admin.socket) == "/srv/x/admin.sock"


def test_a_clients_queue_limit_is_the_common_one_if_not_given() -> None:
    text = with_key("limits", "client_queue = 7")

    assert config_of(text).client[0].queue_limit == 7
    assert (
        config_of(text.replace("[[client]]", "[[client]]\nqueue_limit = 3")).client[0].queue_limit
        == 3
    )


def test_a_route_names_carriers_with_and_without_a_weight() -> None:
    second = '[[carrier]]\nname = "b"\naddress = "[::1]:1"\nsystem_id = "x"\npassword = ""\n'
    shares = '[{ name = "carrier-a", weight = 3 }, "b"]'

    config = config_of(instead_of('["carrier-a"]', shares) + second)

    assert [(s.name, s.weight) for s in config.route[0].carriers] == [("carrier-a", 3), ("b", 1)]
    assert config.carrier[1].address.host == "::1"


def test_a_password_comes_from_a_file_or_from_the_environment() -> None:
    text = instead_of('password = "secret"', 'password_file = "shop.password"').replace(
        'password = "hush"', 'password_env = "CARRIER_PASSWORD"'
    )

    loaded = read(
        text,
        files={"/etc/smppgate/shop.password": b"from file\n"},
        environment={"CARRIER_PASSWORD": "from env"},
    )

    assert loaded.config is not None
    assert loaded.config.client[0].password.reveal() == b"from file"
    assert loaded.config.carrier[0].password.reveal() == b"from env"


def test_api_keys_come_from_the_file_and_from_a_file_of_their_own() -> None:
    digest = "sha256:" + "0" * 64
    text = with_key("client", 'api_keys = ["one"]\napi_keys_file = "keys"')
    keys = f"# comment\n\ntwo\nalice {digest} author moderator\n".encode()

    client = config_of(text, files={"/etc/smppgate/keys": keys}).client[0]

    assert [key.key for key in client.api_keys] == [Secret(b"one"), Secret(b"two"), None]
    assert client.api_keys[2].id == "alice"
    assert client.api_keys[2].hash == Secret(digest.encode())
    assert client.api_keys[2].roles == ("author", "moderator")


# Secrets stay secret


def test_no_secret_shows_in_the_config_or_in_any_finding() -> None:
    text = MINIMAL.replace("hush", "s3cr3t-carrier").replace("secret", "s3cr3t-client")
    text = text.replace("[[client]]", '[[client]]\napi_keys = ["s3cr3t-key"]')
    loaded = read(text, world_readable=True)
    wrong = read(text.replace('password = "s3cr3t-client"', 'password = ["s3cr3t"]'))

    assert "s3cr3t" not in repr(loaded)
    assert "s3cr3t" not in repr(wrong)
    assert wrong.faults


@pytest.mark.parametrize("strict", [False, True])
def test_a_literal_secret_that_others_can_read_is_a_warning_or_a_fault(strict: bool) -> None:
    text = f"strict_secrets = {str(strict).lower()}\n" + with_key(
        "client", 'api_keys = ["k"]\nwebhook_secret = "w"'
    )

    loaded = read(text, world_readable=True)

    found = loaded.faults if strict else loaded.warnings
    assert {finding.path for finding in found} == {
        'client "shop".password',
        'client "shop".api_keys[0]',
        'client "shop".webhook_secret',
        'carrier "carrier-a".password',
    }
    assert (loaded.config is None) == strict
    assert read(text).config is not None


# What is wrong

WRONG = [
    # one value
    ("smpp", "bind_timeout_s = 0", "smpp.bind_timeout_s: must be at least 0.1 and at most 3,600"),
    ("smpp", 'bind_timeout_s = "9"', 'must be a number, is "9"; write bind_timeout_s = 10'),
    ("smpp", "bind_timeout_s = nan", "at most 3,600, is nan"),
    ("smpp", "bind_timeout_s = inf", "at most 3,600, is inf"),
    ("smpp", "max_connections = 1.5", "must be a whole number, is 1.5"),
    ("smpp", "max_connections = true", "must be a whole number, is true"),
    ("smpp", f"max_connections = {'0x' + 'f' * 5000}", "is a number of more than 64 bits"),
    ("smpp", 'listen = "127.0.0.1:2775"', "must be a list"),
    ("smpp", 'listen = ["127.0.0.1"]', 'smpp.listen[0]: "127.0.0.1" has no port'),
    ("smpp", "listen = [2775]", "must be text in quotes, is 2775"),
    ("store", "map_size_bytes = 68719476737", "must be a multiple of 4096"),
    ("", 'strict_secrets = "yes"', 'strict_secrets: must be true or false, is "yes"'),
    ("", 'status_style = "spezific"', "did you mean specific?"),
    ("", 'data_dir = ""', "data_dir: is an empty path"),
    ("", "data_dir = 1979-05-27", "is a date or time"),
    ("", "smpp = 5", "smpp: must be a table, is 5; write [smpp]"),
    ("client", 'allowed_networks = ["10.0.0.1/8"]', 'has host bits set; write "10.0.0.0/8"'),
    ("client", 'allowed_networks = ["here"]', "is not a network"),
    ("client", 'webhook_url = "ftp://x"', "must be an http or https address"),
    ("client", 'api_keys = [{ id = "a", hash = "md5:x" }]', 'api_keys "a".hash: must be sha256:'),
    ("client", 'api_keys = [{ id = "a" }]', 'api_keys "a": needs either a key or a hash'),
    ("client", "api_keys = [5]", 'client "shop".api_keys[0]: must be a table, is 5'),
    ("carrier", "tps = 0", "must be more than 0"),
    ("carrier", "backoff_min_s = 100", "is above backoff_max_s (60)"),
    ("carrier", f'system_type = "{"x" * 13}"', "is 13 octets long, at most 12 are allowed"),
    ("route", 'to = "all"', 'must be digits, as in "+1", is "all"'),
    ("route", 'network = "sprint"', "must be one of"),
    ("retention", "text_days = 91", "is above record_days (90)"),
    ("store", "map_size_bytes = 67108864", "must be at least 4 times reserve_bytes"),
    ("admin", f'socket = "{"x" * 200}"', "a unix socket can have 107"),
    # keys
    ("carrier", "windwo = 5", 'carrier "carrier-a".windwo: is not a key of this table; did you'),
    ("carrier", '"odd key" = 5', 'carrier "carrier-a"."odd key": is not a key'),
    ("", "zzzzzz = 1", "known: data_dir, strict_secrets"),
    # secrets
    ("client", 'password_file = "x"', "has password and password_file; keep one of them"),
    ("client", 'api_keys_file = "nope"', "/etc/smppgate/nope cannot be read: No such file"),
    # tables about each other
    ("http", 'listen = ["127.0.0.1:2775"]', "smpp.listen and http.listen: 127.0.0.1:2775 is"),
    ("route", 'client = "shopp"', '"shopp" is no client; known: shop'),
    ("route", 'backup = ["b"]', 'route "us".backup[0]: "b" is no carrier; known: carrier-a'),
    ("route", 'backup = ["carrier-a"]', 'names carrier "carrier-a" more than once'),
    ("carrier", 'bind = "receiver"', "binds as receiver and cannot send"),
    # TLS; the files themselves are `link.tls`'s
    (
        "smpp.tls",
        'listen = ["127.0.0.1:3550"]',
        "smpp.tls.certificate_file: is missing, so nobody could bind over TLS",
    ),
    (
        "smpp.tls",
        'listen = ["127.0.0.1:2775"]\ncertificate_file = "x.pem"',
        "smpp.listen and smpp.tls.listen: 127.0.0.1:2775 is there more than once",
    ),
    ("smpp.tls", 'client_certificates = "want"', 'must be one of "require", "ask"'),
    (
        "carrier",
        'tls = { key_file = "x.key" }',
        'carrier "carrier-a".tls.certificate_file: is missing, but there is a key_file',
    ),
    ("carrier", "tls = true", 'carrier "carrier-a".tls: must be a table, is true'),
    ("carrier", "tls = { verfy = false }", "did you mean verify?"),
]


@pytest.mark.parametrize(("table", "line", "fault"), WRONG, ids=[line[:40] for _, line, _ in WRONG])
def test_a_mistake_is_named_with_its_key_and_what_to_write(
    table: str, line: str, fault: str
) -> None:
    found = faults(with_key(table, line))

    assert len(found) == 1, found
    assert fault in found[0]


REPLACED = [
    ('name = "shop"\n', "", 'client[0].name: is missing; write name = "..."'),
    ('name = "shop"', 'name = ""', "client[0].name: is empty"),
    ('name = "shop"', 'name = "a\\u0000b"', "holds a control character"),
    ('name = "shop"', f'name = "{"é" * 33}"', "is 66 octets long, at most 64 are allowed"),
    ('password = "secret"\n', "", 'client "shop".password: is missing; write password = "..."'),
    ('password = "secret"', 'password = ""', 'client "shop".password: is empty'),
    ('password = "secret"', "password = 5", "must be text in quotes, is a number"),
    ('password = "secret"', 'password_env = "NOPE"', "names NOPE, which is not set"),
    ('password = "secret"', 'password_file = "nope"', "/etc/smppgate/nope cannot be read"),
    ('"127.0.0.1:2776"', '"127.0.0.1:0"', 'carrier "carrier-a".address: has port 0'),
    ('"127.0.0.1:2776"', '"127.0.0.1:99999"', "has a port above 65535"),
    ('["carrier-a"]', '["carrier-b"]', '"carrier-b" is no carrier; known: carrier-a'),
    ('["carrier-a"]', "[]", 'route "us".carriers: is empty'),
    ('["carrier-a"]', '[{ name = "carrier-a", weight = 0 }]', '"carrier-a".weight: must be at'),
    ("[[route]]", "[route]", "route: must be a list of tables, is a table; write [[route]]"),
]


@pytest.mark.parametrize(
    ("old", "new", "fault"), REPLACED, ids=[f"{o}->{n}" for o, n, _ in REPLACED]
)
def test_what_is_missing_or_wrong_in_a_table_is_named(old: str, new: str, fault: str) -> None:
    found = faults(instead_of(old, new))

    assert len(found) == 1, found
    assert fault in found[0]


def test_names_and_system_ids_are_told_apart() -> None:
    found = faults(MINIMAL + MINIMAL.replace("[[", "\n[["))

    assert [fault.split(":")[0] for fault in found] == [
        'client "shop"',
        'carrier "carrier-a"',
        'route "us"',
        "client.system_id",
    ]


def test_a_key_of_two_clients_is_a_fault() -> None:
    other = MINIMAL.partition("[[carrier]]")[0].replace('"shop"', '"other"')
    text = (MINIMAL + other).replace("[[client]]", '[[client]]\napi_keys = ["k"]')

    assert faults(text) == [
        'client "other".api_keys: has a key that client shop has too; give each its own'
    ]


def test_a_carrier_called_star_would_mean_every_carrier_in_the_registry() -> None:
    found = faults(MINIMAL.replace('"carrier-a"', '"*"'))

    assert found == [
        'carrier "*".name: stands for every carrier in the registry; give it another name'
    ]


def test_every_fault_is_reported_at_once_and_in_one_way() -> None:
    text = with_key("smpp", "window = 1\nlisten = [1]").replace('name = "shop"', "name = 1")
    text = text.replace('["carrier-a"]', '["carrier-b"]').replace('"secret"', "1")

    assert [fault.split(": ")[0] for fault in faults(text)] == [
        "smpp.listen[0]",
        "smpp.window",
        "client[0].name",
        "client[0].password",
        'route "us".carriers[0]',
    ]


def test_a_fault_of_syntax_names_its_line() -> None:
    assert "line 2" in faults("[smpp]\nlisten =\n")[0]
    assert "nested too deep" in faults("a = " + "[" * 100_000)[0]
    assert "not UTF-8" in faults("a = '\udc80'")[0]


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"\n", "is empty"),
        (b"a\0b", "a control character"),
        (b"x" * 65, "a password of 65 octets; at most 64"),
        (b"x" * 70_000, "is larger than 65536 octets"),
    ],
)
def test_a_password_file_holds_a_password(octets: bytes, fault: str) -> None:
    text = instead_of('password = "secret"', 'password_file = "/p"')

    (found,) = read(text, files={"/p": octets}).faults

    assert found.path == 'client "shop".password_file'
    assert fault in str(found)


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"alice nohash\n", "api_keys_file line 1.hash: must be sha256:"),
        (b"\xff", "more than ASCII"),
    ],
)
def test_a_file_of_api_keys_is_checked_line_by_line(octets: bytes, fault: str) -> None:
    (found,) = read(with_key("client", 'api_keys_file = "/k"'), files={"/k": octets}).faults

    assert fault in str(found)


# Warnings

WARNED = [
    (
        "http",
        'listen = ["127.0.0.1:8080"]',
        "the HTTP API comes in a later release; nothing listens",
    ),
    ("client", 'webhook_url = "http://x/"', "webhooks come in a later release"),
    ("carrier", 'bind = "transmitter"', "receipts and inbound messages do not arrive"),
    ("smpp", "listen = []", "is empty, so no client can bind"),
    (
        "carrier",
        "tls = { verify = false }",
        "is false: whoever sits between can read and change everything",
    ),
    (
        "smpp.tls",
        'listen = ["127.0.0.1:3550"]\ncertificate_file = "x.pem"\nclient_certificates = "ask"',
        "smpp.tls.client_certificates: has no effect without client_ca_file",
    ),
]


@pytest.mark.parametrize(("table", "line", "warning"), WARNED, ids=[line for _, line, _ in WARNED])
def test_what_is_allowed_but_surprising_is_a_warning(table: str, line: str, warning: str) -> None:
    loaded = read(with_key(table, line))

    assert loaded.config is not None
    (found,) = loaded.warnings
    assert warning in str(found)


def test_clients_may_bind_over_tls_alone() -> None:
    tls = '[smpp.tls]\nlisten = ["127.0.0.1:3550"]\ncertificate_file = "x.pem"\n'
    loaded = read(f"{MINIMAL}\n[smpp]\nlisten = []\n{tls}")

    assert loaded.config is not None
    assert loaded.warnings == ()
    assert str(loaded.config.smpp.tls.certificate_file) == "/etc/smppgate/x.pem"


def test_a_password_longer_than_the_specification_allows_is_a_warning() -> None:
    loaded = read(
        MINIMAL.replace("hush", "123456789").replace('id = "shop"', 'id = "sixteen-octets-x"')
    )

    assert [str(warning).split(";")[0] for warning in loaded.warnings] == [
        'client "shop".system_id: is 16 octets long',
        'carrier "carrier-a".password: is 9 octets long',
    ]


# Whatever the text


def never_raises(text: str) -> None:
    loaded = read(text, world_readable=True)
    assert (loaded.config is None) == bool(loaded.faults)
    assert all(str(finding) for finding in loaded.faults + loaded.warnings)


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    never_raises(text)


@given(st.data())
def test_no_mutilated_configuration_makes_it_raise(data: st.DataObject) -> None:
    lines = CONTRACT.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        lines[place] = data.draw(st.sampled_from(["", lines[place] * 2, lines[-place]]))
    never_raises("\n".join(lines))


VALUES = (
    '-1 0 1 1e400 nan "" "x" "\\u0001" true [] [[]] [{}] {} {a=1} ["x","y"] [1] 07:32:00'
    ' 1979-05-27 0xffffffffffffffffffff "1:1" ["1:1"] "+1" "*" [{name="*"}] [{id="a"}]'
)


@given(st.data())
def test_no_value_of_any_key_makes_it_raise(data: st.DataObject) -> None:
    example = (Path(__file__).parents[2] / "conf" / "smppgate.toml").read_text()
    lines = example.splitlines()
    keys = [place for place, line in enumerate(lines) if re.match(r"#?\w+ = ", line)]
    for place in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=5, unique=True)):
        key = lines[place].removeprefix("#").split(" ")[0]
        lines[place] = f"{key} = {data.draw(st.sampled_from(VALUES.split()))}"
    never_raises("\n".join(lines))
