"""The files that [smpp.tls] and [carrier.tls] name: each fault with its key and what to do."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from gateway.config.load import load
from gateway.config.schema import Config
from gateway.link import tls

ROOT = Path(__file__).parents[2]

CONFIG = """
[smpp]
listen = []
[smpp.tls]
listen = ["127.0.0.1:0"]
certificate_file = "server.pem"
key_file = "server.key"
client_ca_file = "ca.pem"
[[client]]
name = "shop"
company = "acme"
system_id = "shop"
password = "secret"
[[carrier]]
name = "a"
address = "127.0.0.1:1"
system_id = "us"
password = "secret"
[carrier.tls]
ca_file = "ca.pem"
certificate_file = "server.pem"
key_file = "server.key"
[[route]]
name = "us"
carriers = ["a"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("server", "another"):
        issued = ca.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    (tmp_path / "gateway.toml").write_text(CONFIG)
    (tmp_path / "gateway.toml").chmod(0o600)
    return tmp_path


def config_of(folder: Path) -> Config:
    loaded = load(
        (folder / "gateway.toml").read_text(),
        base=folder,
        environment={},
        read_file=lambda name: Path(name).read_bytes(),
    )
    assert loaded.config is not None, loaded.faults
    return loaded.config


def found(folder: Path) -> list[str]:
    return [str(fault).replace(f"{folder}/", "") for fault in tls.faults(config_of(folder))]


def test_files_that_belong_together_are_right(folder: Path) -> None:
    assert found(folder) == []


def test_a_key_may_be_in_the_file_of_its_certificate(folder: Path) -> None:
    both = (folder / "server.pem").read_text() + (folder / "server.key").read_text()
    (folder / "server.pem").write_text(both)
    text = CONFIG.replace('key_file = "server.key"\n', "")
    (folder / "gateway.toml").write_text(text)

    assert found(folder) == []


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).write_text(text)

    return act


def copy(source: str, name: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        shutil.copy(folder / source, folder / name)

    return act


MISSING = "the user that the daemon runs as must be able to read it"
UNLOCK = "write the key without one (openssl pkey), readable by the daemon alone"
BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
LOCKED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("harm", "at", "expected"),
    [
        (
            remove("server.pem"),
            "certificate_file",
            f"server.pem cannot be read: No such file or directory; {MISSING}",
        ),
        (
            remove("server.key"),
            "key_file",
            f"server.key cannot be read: No such file or directory; {MISSING}",
        ),
        (
            write("server.pem", "hello"),
            "certificate_file",
            "server.pem has no PEM block of a certificate; name a file with a certificate",
        ),
        (
            copy("server.pem", "server.key"),
            "key_file",
            "server.key has no PEM block of a private key; name a file with a private key",
        ),
        (
            copy("another.key", "server.key"),
            "key_file",
            "server.key does not belong to the certificate in server.pem; name the two that do",
        ),
        (
            write("server.key", LOCKED),
            "key_file",
            f"server.key has a passphrase; {UNLOCK}",
        ),
    ],
)
def test_what_is_wrong_with_our_own_is_said_with_the_key_of_each_table(
    folder: Path, harm: Callable[[Path], None], at: str, expected: str
) -> None:
    harm(folder)

    assert found(folder) == [
        f"smpp.tls.{at}: {expected}",
        f'carrier "a".tls.{at}: {expected}',
    ]


def test_a_certificate_that_is_no_certificate_is_a_fault(folder: Path) -> None:
    write("server.pem", BROKEN)(folder)

    faults = found(folder)

    assert len(faults) == 2
    assert faults[0].startswith("smpp.tls.certificate_file: server.pem and its key cannot be used")


@pytest.mark.parametrize("text", ["", BROKEN])
def test_an_authority_that_is_none_is_a_fault(folder: Path, text: str) -> None:
    write("ca.pem", text)(folder)

    faults = found(folder)

    assert [fault.partition(":")[0] for fault in faults] == [
        "smpp.tls.client_ca_file",
        'carrier "a".tls.ca_file',
    ]


def test_check_and_run_refuse_them_with_2_and_one_line_each(folder: Path) -> None:
    remove("server.key")(folder)

    for command in ("check", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", command, "--config", str(folder / "gateway.toml")],
            capture_output=True,
            check=False,
            timeout=30,
            cwd=ROOT,
        )
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 2, said
        assert "smpp.tls.key_file: " in said
        assert 'carrier "a".tls.key_file: ' in said
        assert "Traceback" not in said
