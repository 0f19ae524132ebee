"""The simulator's side of a session: binds, requests it knows and does not know, its end."""

import socket

import pytest

from bench import wire
from tests.bench.client import Client, message_id
from tests.bench.conftest import Simulators


def test_every_kind_of_bind_is_accepted_and_counted(simulators: Simulators) -> None:
    simulator = simulators()

    with (
        Client(simulator, bind_type="transmitter"),
        Client(simulator, bind_type="receiver"),
        Client(simulator),
    ):
        stats = simulator.stats()
    simulator.wait_stats(lambda stats: stats["connections"] == {"now": 0, "ever": 3})

    assert stats["binds"] == {"now": 3, "ever": 3, "refused": 0, "by_system_id": {"gw": 3}}


def test_a_bind_resp_names_the_system_and_its_version(simulators: Simulators) -> None:
    with Client(simulators(), bind=False) as client:
        resp = client.bind("transceiver", "gw", "any")

    assert resp.command_id == wire.BIND_TRANSCEIVER | wire.RESPONSE
    assert resp.body == b"gw\0" + bytes.fromhex("0210 0001 34")


def test_a_wrong_name_or_password_is_refused(simulators: Simulators) -> None:
    simulator = simulators("--system-id=gw", "--password=right")

    with Client(simulator, bind=False) as client:
        assert client.bind("receiver", "other", "right").command_status == wire.ESME_RINVPASWD
        assert client.bind("receiver", "gw", "wrong").command_status == wire.ESME_RINVPASWD
        assert client.bind("receiver", "gw", "right").command_status == wire.ESME_ROK


def test_a_second_bind_on_one_link_and_one_too_many_are_refused(simulators: Simulators) -> None:
    simulator = simulators("--max-binds=1")

    with Client(simulator) as client, Client(simulator, bind=False) as other:
        second = client.bind("transceiver", "gw", "secret")
        beyond = other.bind("transceiver", "gw", "secret")

    assert second.command_status == wire.ESME_RALYBND
    assert beyond.command_status == wire.ESME_RBINDFAIL


def test_a_submit_on_the_wrong_session_is_refused(simulators: Simulators) -> None:
    simulator = simulators()

    for bind in (False, True):
        with Client(simulator, bind_type="receiver", bind=bind) as client:
            client.submit()
            resp = client.receive()
            assert (resp.command_id, resp.body) == (wire.SUBMIT_SM_RESP, b"")
            assert resp.command_status == wire.ESME_RINVBNDSTS


def test_submits_in_the_read_of_their_bind_and_unbind_are_answered(simulators: Simulators) -> None:
    text = wire.sm_body(wire.address_block("1"), wire.address_block("2"), b"#000000000001")
    with Client(simulators(), bind=False) as client:
        client.socket.sendall(
            wire.pdu(wire.BIND_TRANSMITTER, 1, wire.bind_body("gw", ""))
            + wire.pdu(wire.SUBMIT_SM, 2, text)
            + wire.pdu(wire.UNBIND, 3)
            + wire.pdu(wire.SUBMIT_SM, 4, text)
        )
        resps = [client.receive() for _ in range(3)]
        with pytest.raises(EOFError):
            client.receive()

    assert [resp.sequence_number for resp in resps] == [1, 2, 3]
    assert [resp.command_status for resp in resps] == [0, 0, 0]


def test_an_enquire_link_is_answered_and_asked(simulators: Simulators) -> None:
    with Client(simulators("--enquire-link-s=0.05")) as client:
        assert client.receive().command_id == wire.ENQUIRE_LINK
        client.settle()


def test_an_unknown_request_gets_a_generic_nack(simulators: Simulators) -> None:
    with Client(simulators()) as client:
        number = client.request(0x103)  # data_sm
        nack = client.receive()

    assert nack == (wire.GENERIC_NACK, wire.ESME_RINVCMDID, number, b"")


def test_a_stream_out_of_step_is_nacked_and_closed(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        client.submit()
        client.socket.sendall(bytes(16))
        assert message_id(client.receive())
        nack = client.receive()
        with pytest.raises(EOFError):
            client.receive()

    assert nack == (wire.GENERIC_NACK, wire.ESME_RINVCMDLEN, 0, b"")
    assert simulator.stats()["malformed"] == 1


def test_wrong_bodies_are_answered_with_the_status_for_them(simulators: Simulators) -> None:
    simulator = simulators()
    good = wire.sm_body(wire.address_block("1"), wire.address_block("2"), b"#000000000001")

    with Client(simulator) as client:
        statuses = []
        for body in (b"", good[:-1], good + b"\0\x1e\0\x05a", good + wire.tlv(0x1401, b"x")):
            client.request(wire.SUBMIT_SM, body)
            statuses.append(client.receive().command_status)
        client.request(wire.BIND_RECEIVER, b"no NUL")
        statuses.append(client.receive().command_status)
    simulator.stop()

    assert statuses == [
        wire.ESME_RINVCMDLEN,
        wire.ESME_RINVCMDLEN,
        wire.ESME_RINVOPTPARSTREAM,
        wire.ESME_ROK,
        wire.ESME_RINVCMDLEN,
    ]
    assert [entry.command_status for entry in simulator.entries()] == statuses[:4]
    assert simulator.entries()[3].tlvs == wire.tlv(0x1401, b"x")


def test_unbind_sends_the_answers_owed_before_it(simulators: Simulators) -> None:
    with Client(simulators("--answer-delay-ms=60000")) as client:
        client.submit_many(3)
        client.request(wire.UNBIND)
        client.receive_many(3, wire.SUBMIT_SM_RESP)
        assert client.receive().command_id == wire.UNBIND_RESP
        with pytest.raises(EOFError):
            client.receive()


def test_drop_resets_or_closes_every_link(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as client:
        assert simulator.ask("drop")["dropped"] == 1
        with pytest.raises(ConnectionResetError):
            client.receive()
    with Client(simulator) as client:
        simulator.ask("drop", {"how": "fin"})
        with pytest.raises(EOFError):
            client.receive()


def test_refused_connections_are_accepted_again(simulators: Simulators) -> None:
    simulator = simulators()

    with Client(simulator) as before:
        simulator.ask("refuse")
        with pytest.raises(ConnectionRefusedError):
            Client(simulator)
        before.settle()
        simulator.ask("refuse", {"on": False})
        with Client(simulator) as after:
            after.settle()


def test_refused_binds_are_accepted_again(simulators: Simulators) -> None:
    simulator = simulators()

    simulator.ask("refuse", {"what": "binds"})
    with Client(simulator, bind=False) as client:
        refused = client.bind("transceiver", "gw", "").command_status
        simulator.ask("refuse", {"what": "binds", "on": False})
        accepted = client.bind("transceiver", "gw", "").command_status

    assert (refused, accepted) == (wire.ESME_RBINDFAIL, wire.ESME_ROK)


def test_a_silent_simulator_keeps_the_connection_and_says_nothing(simulators: Simulators) -> None:
    simulator = simulators("--receipts=always", "--receipt-delay-ms=20")

    with Client(simulator) as client:
        client.submit()
        assert message_id(client.receive())
        simulator.ask("silence")
        client.submit()
        client.receive_nothing(0.1)
        with socket.create_connection((simulator.host, simulator.port)) as other:
            other.sendall(wire.pdu(wire.BIND_TRANSMITTER, 1, wire.bind_body("gw", "")))
            client.receive_nothing(0.05)
            simulator.ask("silence", {"on": False})
            other.settimeout(5)
            assert other.recv(100)
        heard = {client.receive().command_id for _ in range(3)}

    assert heard == {wire.DELIVER_SM, wire.SUBMIT_SM_RESP}
