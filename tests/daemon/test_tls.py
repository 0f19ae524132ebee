"""TLS on both sides: who gets in, who does not and what is said of it, and that nothing is lost.

The other end is OpenSSL as Python's own sockets and asyncio use it.
"""

import contextlib
import os
import signal
import socket
import ssl
import time
import warnings
from pathlib import Path

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess, free_port
from bench.ledger import Tally, read_acked
from tests.daemon import peers
from tests.daemon.peers import WAIT_S, Esme, Smsc, message_id, submit_body, wait_until
from tests.daemon.stage import (
    Stage,
    audit,
    bound,
    marked,
    quiet,
    unmarked_repeats,
    wait_settled,
)
from tests.daemon.tls import Pki, Proxy, tls_address
from tests.faults.figures import sized

NOBODY = Carrier("a", "127.0.0.1:1")
MESSAGES = 10_000
KILLS = sized(1, 10)
LIVES_S = 0.5


def said(gateway: GatewayProcess, text: str) -> str:
    """The line of the log with this in it."""
    line = gateway.wait_log(lambda line: text in str(line["message"]), WAIT_S, text)
    return str(line["message"])


def no_traceback(gateway: GatewayProcess) -> None:
    assert [] == [line for line in gateway.log if "traceback" in line or "Trace" in str(line)]


def test_messages_and_receipts_go_through_tls_on_both_sides(
    stage: Stage, pki: Pki, tmp_path: Path
) -> None:
    simulator = stage.simulator()
    with Proxy(simulator.address, accepts=pki.ours.server()) as carrier:
        gateway = stage.gateway(
            [Carrier("a", carrier.address, more=pki.carrier())], smpp=pki.smpp()
        )
        bound(simulator, 2)
        with Proxy(tls_address(gateway), connects=pki.ours.client()) as client:
            gateway.smpp = client.address
            acked = tmp_path / "acked"
            load = stage.load(
                gateway,
                *("--count", str(MESSAGES), "--binds", "2", "--acked", str(acked)),
                *("--wait-receipts", "30"),
            )
            summary = load.summary(60.0)

        assert (MESSAGES, MESSAGES) == (summary["ok"], summary["receipts_distinct"])
        wait_settled(gateway)
        audit(gateway)
        assert 0 == gateway.stop()
        quiet(gateway)
    simulator.stop()
    tally = Tally(simulator.entries())
    assert [] == tally.missing(read_acked(acked))
    assert {} == tally.duplicates()


@pytest.mark.timeout(600)
def test_nothing_acknowledged_over_tls_is_lost_through_kill_9(
    stage: Stage, pki: Pki, tmp_path: Path
) -> None:
    simulator = stage.simulator("--answer-delay-ms=5")
    port = free_port()
    with (
        Proxy(simulator.address, accepts=pki.ours.server()) as carrier,
        Proxy(f"127.0.0.1:{port}", connects=pki.ours.client()) as client,
    ):
        gateway = stage.gateway(
            [Carrier("a", carrier.address, more=pki.carrier())],
            smpp=pki.smpp(port=port),
            top=f"in_doubt_resends = {min(KILLS + 1, 10)}",
        )
        bound(simulator, 2)
        gateway.smpp, acked = client.address, tmp_path / "acked"
        load = stage.load(
            gateway,
            *("--seconds", str(60 + 5 * KILLS), "--rate", "1000", "--reconnect"),
            *("--acked", str(acked), "--wait-receipts", "30"),
        )
        for _ in range(KILLS):
            wait_growth(acked)
            time.sleep(LIVES_S)
            gateway.kill()
            gateway = stage.start(gateway.config)
        wait_growth(acked)
        load.signal(signal.SIGINT)
        summary = load.summary(60.0)
        wait_settled(gateway)
        audit(gateway)
        assert 0 == gateway.stop()
    simulator.stop()
    entries = simulator.entries()
    assert summary["ok"] == summary["receipts_distinct"], summary
    assert [] == Tally(entries).missing(read_acked(acked))
    assert [] == unmarked_repeats(entries)


def wait_growth(acked: Path) -> None:
    """More messages are acknowledged."""
    size = acked.stat().st_size if acked.exists() else 0
    wait_until(lambda: acked.exists() and acked.stat().st_size > size, "it carries")


def test_a_carrier_over_tls_that_stops_reading_and_starts_again_gets_every_message_once(
    stage: Stage, pki: Pki
) -> None:
    count, size = 1500, 4000
    with Smsc(receive_bytes=4096, tls=pki.ours.server()) as smsc:
        carrier = Carrier("a", smsc.address, binds=1, window=10_000, more=pki.carrier())
        gateway = stage.gateway([carrier])
        with smsc.accept() as peer, Esme(gateway.smpp, bind_type="transmitter") as esme:
            for start in range(0, count, 100):
                esme.send(b"".join(long_submit(start + place, size) for place in range(100)))
                esme.receive_many(wire.SUBMIT_SM_RESP, 100)
            gateway.wait_status(lambda status: status["counters"]["unsent"] > 0)

            seen = []
            for number in range(count):
                request = peer.receive_a(wire.SUBMIT_SM)
                peer.respond(request, b"id%d\0" % number)
                seen.append(request.body)

            gateway.wait_status(lambda status: status["messages"]["submitted"] == count)
            assert count == len(set(seen))
            peer.settle()
            audit(gateway)
            gateway.kill()


def long_submit(number: int, size: int) -> bytes:
    # What does not compress: the text of one message says nothing of the next.
    payload = wire.tlv(wire.MESSAGE_PAYLOAD, b"#%012d" % number + os.urandom(size))
    return wire.pdu(wire.SUBMIT_SM, number + 1, submit_body(text=b"", tlvs=payload))


def test_what_a_reset_over_tls_leaves_unanswered_is_in_doubt_and_sent_again_marked(
    stage: Stage, pki: Pki
) -> None:
    simulator = stage.simulator("--answer-delay-ms=100")
    with Proxy(simulator.address, accepts=pki.ours.server()) as proxy:
        gateway = stage.gateway(
            [Carrier("a", proxy.address, window=50, more=pki.carrier())],
            top="in_doubt_resends = 10",
        )
        bound(simulator, 2)
        esme = stage.esme(gateway)
        ids = [message_id(esme.submit(token)) for token in range(150)]
        for _ in range(2):
            simulator.wait_stats(lambda stats: stats["binds"]["now"] == 2)
            simulator.ask("drop")

        assert set(ids) == {esme.receive_receipt()[0] for _ in ids}

        audit(gateway)
        simulator.stop()
    entries = simulator.entries()
    assert any(map(marked, entries))
    assert [] == unmarked_repeats(entries)


# -------------------------------------------------------------------------------------- clients


@pytest.fixture(scope="module")
def gateway(module_stage: Stage, pki: Pki) -> GatewayProcess:
    """Plain and TLS side by side; clients need no certificate."""
    return module_stage.gateway([NOBODY], smpp="bind_timeout_s = 1\n" + pki.smpp())


def test_a_client_binds_over_tls_and_another_without(gateway: GatewayProcess, pki: Pki) -> None:
    with (
        Esme(tls_address(gateway), tls=pki.ours.client()) as secure,
        Esme(gateway.smpp) as plain,
    ):
        message_id(secure.submit(1))
        message_id(plain.submit(2))
        secure.settle()
        secure.unbind()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_may_speak_tls_of_version(
    gateway: GatewayProcess, pki: Pki, version: ssl.TLSVersion
) -> None:
    context = pki.ours.client()
    context.minimum_version = context.maximum_version = version
    with Esme(tls_address(gateway), tls=context) as esme:
        assert isinstance(esme.socket, ssl.SSLSocket)
        assert version.name.replace("_", ".") == str(esme.socket.version())
        message_id(esme.submit())


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """It speaks TLS 1.1 at most, whatever anybody thinks of that."""
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_tls_1_1_is_refused_in_one_line(gateway: GatewayProcess, pki: Pki) -> None:
    source = peers.own_address()

    with pytest.raises(ssl.SSLError, match="VERSION"):
        Esme(tls_address(gateway), tls=old(pki.ours.client()), source=source)

    assert "unsupported protocol" in said(gateway, f"no TLS with a client at {source}")
    no_traceback(gateway)


@pytest.mark.parametrize(
    "octets", [bytes(64), b"GET / HTTP/1.1\r\n\r\n", wire.pdu(wire.ENQUIRE_LINK, 1), b"\x16" * 9000]
)
def test_what_is_no_tls_on_the_port_for_it_ends_that_connection_in_one_line(
    gateway: GatewayProcess, pki: Pki, octets: bytes
) -> None:
    source = peers.own_address()
    with raw(gateway, source) as sock:
        sock.sendall(octets)

        assert b"" == read_to_the_end(sock)[7:], "at most an alert"

    said(gateway, f"no TLS with a client at {source}: ")
    with Esme(tls_address(gateway), tls=pki.ours.client()) as esme:
        message_id(esme.submit())
    no_traceback(gateway)


def test_who_only_looks_whether_the_port_is_open_is_no_line_in_the_log(
    gateway: GatewayProcess,
) -> None:
    quiet_one, loud_one = peers.own_address(), peers.own_address()
    raw(gateway, quiet_one).close()
    with raw(gateway, loud_one) as sock:
        sock.sendall(bytes(64))
        read_to_the_end(sock)

    said(gateway, f"no TLS with a client at {loud_one}")
    assert [] == [line for line in gateway.log if quiet_one in str(line)]


def test_a_handshake_that_is_half_done_has_bind_timeout_s_and_holds_up_nobody(
    gateway: GatewayProcess, pki: Pki
) -> None:
    hello = client_hello(pki)
    sources = [peers.own_address() for _ in range(20)]
    socks = [raw(gateway, source) for source in sources]
    try:
        for place, sock in enumerate(socks):
            sock.sendall(hello[: len(hello) * place // len(socks)])
        began = time.monotonic()
        with Esme(tls_address(gateway), tls=pki.ours.client()) as esme:
            message_id(esme.submit())
            assert time.monotonic() - began < 0.9

            for sock in socks:
                read_to_the_end(sock)

            assert time.monotonic() - began < 5.0
            message_id(esme.submit())
    finally:
        for sock in socks:
            sock.close()
    assert "no end of the handshake in time" in said(gateway, f"client at {sources[7]}")
    no_traceback(gateway)


def test_a_crowd_of_half_handshakes_keeps_out_nobody_who_finishes_one(
    stage: Stage, pki: Pki
) -> None:
    gateway = stage.gateway([NOBODY], smpp="max_connections = 10\n" + pki.smpp())
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(raw(gateway, "127.0.0.1")) for _ in range(30)]
        for sock in crowd:
            with contextlib.suppress(ConnectionError):
                sock.sendall(client_hello(pki)[:50])

        with Esme(tls_address(gateway), tls=pki.ours.client()) as esme:
            message_id(esme.submit())
    no_traceback(gateway)


def raw(gateway: GatewayProcess, source: str) -> socket.socket:
    host, _, port = tls_address(gateway).rpartition(":")
    return socket.create_connection((host, int(port)), WAIT_S, source_address=(source, 0))


def read_to_the_end(sock: socket.socket) -> bytes:
    octets = b""
    try:
        while data := sock.recv(4096):
            octets += data
    except ConnectionError:
        pass
    return octets


def client_hello(pki: Pki) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = pki.ours.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def test_a_bind_in_the_same_segment_as_the_end_of_the_handshake_is_seen(
    gateway: GatewayProcess, pki: Pki
) -> None:
    # TLS 1.3: the client's Finished and its first record may come in one read.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = pki.ours.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with raw(gateway, "127.0.0.1") as sock:
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        sock.sendall(outgoing.read())
        while True:
            incoming.write(sock.recv(65536))
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        body = wire.bind_body("shop", "secret")
        session.write(wire.pdu(wire.BIND_COMMANDS["transceiver"], 1, body))

        sock.sendall(outgoing.read())

        while True:
            incoming.write(sock.recv(65536))
            try:
                answer = session.read(65536)
                break
            except ssl.SSLWantReadError:
                continue
    assert wire.ESME_ROK == int.from_bytes(answer[8:12], "big")


@pytest.mark.parametrize("wanted", ["require", "ask"])
def test_certificates_of_clients_are_required_or_asked_for(
    stage: Stage, pki: Pki, wanted: str
) -> None:
    more = f'client_ca_file = "{pki.ours.file}"\nclient_certificates = "{wanted}"'
    gateway = stage.gateway([NOBODY], smpp=pki.smpp(more))
    address = tls_address(gateway)

    with Esme(address, tls=pki.ours.client(pki.ours.sign("shop.example"))) as esme:
        message_id(esme.submit())
    assert refused(address, pki.ours.client(pki.other.sign("shop.example")))
    assert (wanted == "require") == refused(address, pki.ours.client())

    said(gateway, "its certificate is not accepted")
    no_traceback(gateway)


def refused(address: str, context: ssl.SSLContext) -> bool:
    """Whether the daemon will not talk: in TLS 1.3 the client learns it behind its handshake."""
    try:
        with Esme(address, tls=context, source=peers.own_address()) as esme:
            message_id(esme.submit())
    except (ssl.SSLError, ConnectionError, EOFError):
        return True
    return False


# ------------------------------------------------------------------------------------- carriers


def test_a_carrier_gets_our_certificate_if_it_wants_one(stage: Stage, pki: Pki) -> None:
    more = (
        f'server_name = "localhost"\ncertificate_file = "{pki.ours.sign("gate.example")}"'
        f'\nkey_file = "{pki.ours.sign("gate.example")}"'
    )
    with Smsc(tls=pki.ours.server(clients=pki.ours)) as smsc:
        gateway = stage.gateway([Carrier("a", smsc.address, binds=1, more=pki.carrier(more))])
        with smsc.accept() as peer:
            assert isinstance(peer.socket, ssl.SSLSocket)
            certificate = peer.socket.getpeercert()
            assert certificate is not None
            assert (("DNS", "gate.example"),) == certificate["subjectAltName"]
            peer.settle()
        gateway.kill()


@pytest.mark.parametrize("case", ["another CA", "another name", "no TLS at all"])
def test_a_carrier_that_is_not_who_it_should_be_gets_no_bind_and_a_loud_line(
    stage: Stage, pki: Pki, case: str
) -> None:
    contexts = {
        "another CA": pki.other.server(),
        "another name": pki.ours.server(),
    }
    name = "elsewhere.example" if case == "another name" else "localhost"
    texts = {
        "another CA": "its certificate is not accepted: unable to get local issuer certificate",
        "another name": "its certificate is not accepted: Hostname mismatch",
        "no TLS at all": "the handshake failed: wrong version number",
    }
    simulator = stage.simulator()
    with Proxy(simulator.address, accepts=contexts.get(case)) as proxy:
        more = pki.carrier(f'server_name = "{name}"')
        gateway = stage.gateway([], routes=slow_carrier(proxy.address, more))
        if case == "no TLS at all":
            send_plain_nonsense(simulator.address)

        line = gateway.wait_log(lambda line: "no TLS with" in line["message"], WAIT_S, "refusal")

        assert ("error", True) == (line["level"], texts[case] in line["message"]), line
        seconds = float(line["message"].rpartition("again in ")[2].removesuffix(" s"))
        assert 30 <= seconds <= 60
        assert any("no TLS with" in text for text in gateway.ask("status")["warnings"])
        assert 0 == simulator.stats()["binds"]["now"]
        no_traceback(gateway)


def send_plain_nonsense(address: str) -> None:
    """The simulator answers what is no SMPP with a PDU, which is no TLS."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as sock:
        sock.sendall(bytes(16))


def slow_carrier(address: str, more: str) -> str:
    """A carrier whose backoff is the default, and a route to it."""
    return (
        f'[[carrier]]\nname = "a"\naddress = "{address}"\nsystem_id = "smppgate"\n'
        f'password = "secret"\n{more}\n[[route]]\nname = "us"\ncarriers = ["a"]\n'
    )


def test_a_carrier_that_speaks_tls_1_1_only_gets_no_bind(stage: Stage, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_S)
        address = "{}:{}".format(*listener.getsockname())
        gateway = stage.gateway([Carrier("a", address, binds=1, more=pki.carrier())])
        sock, _ = listener.accept()
        with sock, pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
            old(pki.ours.server()).wrap_socket(sock, server_side=True)

        assert "protocol version" in said(gateway, "no TLS with")
        no_traceback(gateway)
        gateway.kill()


def test_a_carrier_that_is_not_verified_is_bound_to_with_a_warning(stage: Stage, pki: Pki) -> None:
    with Smsc(tls=pki.other.server()) as smsc:
        carrier = Carrier("a", smsc.address, binds=1, more="[carrier.tls]\nverify = false")
        gateway = stage.gateway([carrier])
        with smsc.accept() as peer:
            peer.settle()
        assert 'carrier "a".tls.verify: is false' in said(gateway, "tls.verify")
        gateway.kill()


def test_a_carrier_that_is_silent_in_the_handshake_is_given_up_and_tried_again(
    stage: Stage, pki: Pki
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_S)
        address = "{}:{}".format(*listener.getsockname())
        more = "connect_timeout_s = 0.5\n" + pki.carrier()
        gateway = stage.gateway([Carrier("a", address, binds=1, more=more)])
        for _ in range(2):
            sock, _ = listener.accept()
            sock.settimeout(WAIT_S)
            read_to_the_end(sock)
            sock.close()
        assert "no end of the handshake in 0.5 s" in said(gateway, "no TLS with")
        quiet(gateway)
        gateway.kill()
