"""Links of clients: how they bind, what they get, and that one at fault harms no other."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess
from bench.process import SimulatorProcess
from tests.daemon import peers
from tests.daemon.peers import (
    DEAF,
    HANDSET,
    PDU,
    Esme,
    flood,
    message_id,
    own_address,
    submit_body,
    wait_until,
)
from tests.daemon.stage import Stage, audit, bound, quiet, wait_settled

CLIENTS = """
[[client]]
name = "elsewhere"
company = "acme"
system_id = "elsewhere"
password = "secret"
allowed_networks = ["10.0.0.0/8", "fd00::/8"]

[[client]]
name = "local"
company = "acme"
system_id = "local"
password = "secret"
allowed_networks = ["10.0.0.0/8", "127.0.0.0/8"]

[[client]]
name = "two"
company = "acme"
system_id = "two"
password = "secret"
max_binds = 2

[[client]]
name = "narrow"
company = "acme"
system_id = "narrow"
password = "secret"
window = 10
deliver_window = 3
"""

BIND_TYPES = ("transceiver", "transmitter", "receiver")

MEMORY_GROWTH_MAX = 48 * 1024 * 1024
"""What the daemon may hold for it: kernel buffers are not its own; the rest is queue and receipts
of tens of thousands of messages that the client was sent in vain."""


@pytest.fixture(scope="module")
def simulator(module_stage: Stage) -> SimulatorProcess:
    return module_stage.simulator("--receipt-on=any")


@pytest.fixture(scope="module")
def gateway(module_stage: Stage, simulator: SimulatorProcess) -> Iterator[GatewayProcess]:
    gateway = module_stage.gateway([Carrier("a", simulator.address)], client=CLIENTS)
    bound(simulator, 2)
    yield gateway
    assert 0 == gateway.stop()
    quiet(gateway)


@pytest.mark.parametrize("bind_type", BIND_TYPES)
@pytest.mark.parametrize(
    ("system_id", "password", "status"),
    [
        ("nobody", "secret", 0x0F),
        ("", "", 0x0F),
        ("shop", "wrong", 0x0E),
        ("shop", "", 0x0E),
        ("shop", "secretly", 0x0E),
        ("elsewhere", "secret", 0x0D),
        ("elsewhere", "wrong", 0x0E),
    ],
)
def test_a_bind_that_may_not_be_is_refused_and_the_link_ends(
    gateway: GatewayProcess, bind_type: str, system_id: str, password: str, status: int
) -> None:
    with Esme(gateway.smpp, is_bound=False, source=own_address()) as esme:
        answer = esme.bind(bind_type, system_id, password)

        assert (status, b"") == (answer.command_status, answer.body)
        esme.receive_end()


def test_a_bind_from_an_allowed_network_is_taken(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp, system_id="local") as esme:
        message_id(esme.submit(registered_delivery=0))


def test_passwords_are_never_logged(gateway: GatewayProcess) -> None:
    source = own_address()
    with Esme(gateway.smpp, is_bound=False, source=source) as esme:
        esme.bind("transceiver", "shop", "hunter22")
    gateway.wait_log(lambda line: f"refused at {source}" in str(line["message"]), 5.0, "refusal")

    assert "hunter22" not in str(gateway.log)
    assert "secret'" not in str(gateway.log)


def test_a_bind_too_many_is_refused_until_another_ends(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp, system_id="two") as first:
        with Esme(gateway.smpp, system_id="two", bind_type="receiver"):
            with Esme(gateway.smpp, is_bound=False, source=own_address()) as third:
                assert wire.ESME_RALYBND == third.bind(system_id="two").command_status
                third.receive_end()
            message_id(first.submit(registered_delivery=0))
        wait_until(lambda: gateway.ask("client", name="two")[0]["bound"] == 1, "one bind is left")
        with Esme(gateway.smpp, system_id="two") as fourth:
            message_id(fourth.submit(registered_delivery=0))


def test_a_bind_response_says_who_we_are_and_that_we_speak_3_4(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp, is_bound=False) as esme:
        answer = esme.bind()

    assert (0, wire.bind_resp_body("smppgate")) == (answer.command_status, answer.body)


def test_receipts_of_a_transmitter_come_to_the_receiver_of_the_same_client(
    gateway: GatewayProcess,
) -> None:
    with (
        Esme(gateway.smpp, bind_type="transmitter") as transmitter,
        Esme(gateway.smpp, bind_type="receiver") as receiver,
        Esme(gateway.smpp, system_id="local") as other,
    ):
        ids = [message_id(transmitter.submit(token)) for token in range(1, 11)]

        receipts = [receiver.receive_receipt()[0] for _ in ids]

        assert sorted(ids) == sorted(receipts)
        transmitter.settle()
        other.settle()


def test_a_receiver_may_not_submit(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp, bind_type="receiver") as receiver:
        answer = receiver.submit()

        assert (wire.ESME_RINVBNDSTS, b"") == (answer.command_status, answer.body)
        receiver.settle()


def test_receipts_are_spread_over_the_receiving_binds_of_a_client(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp) as first, Esme(gateway.smpp) as second:
        count = 60
        ids = {message_id(first.submit(token)) for token in range(count)}

        wait_until(lambda: both_have(count, first, second), "every receipt has come")
        pdus = [held(first), held(second)]
        assert ids == {peers.receipt_of(pdu)[0] for some in pdus for pdu in some}
        assert all(len(some) >= count // 4 for some in pdus)
        for esme, some in zip((first, second), pdus, strict=True):
            for pdu in some:
                esme.respond(pdu, b"\0")
            esme.settle()


def both_have(count: int, *esmes: Esme) -> bool:
    """They have so many PDUs between them that nobody asked for yet."""
    for esme in esmes:
        number = esme.request(wire.ENQUIRE_LINK)
        assert number == esme.receive_a(wire.ENQUIRE_LINK_RESP).sequence_number
    return sum(len(esme.pdus) for esme in esmes) == count


def held(esme: Esme) -> list[peers.Pdu]:
    """The deliver_sm that have come."""
    taken, esme.pdus = esme.pdus, []
    assert {wire.DELIVER_SM} == {pdu.command_id for pdu in taken}
    return taken


def test_no_more_deliver_sm_are_unanswered_than_the_clients_window_holds(
    gateway: GatewayProcess,
) -> None:
    with Esme(gateway.smpp, system_id="narrow") as esme:
        for token in range(8):
            esme.submit(token)
        wait_settled(gateway)
        first = esme.receive_many(wire.DELIVER_SM, 3)
        esme.settle()

        esme.respond(first[0], b"\0")

        fourth = esme.receive()
        assert wire.DELIVER_SM == fourth.command_id
        esme.settle()
        for pdu in (*first[1:], fourth):
            esme.respond(pdu, b"\0")
        for _ in range(4):
            esme.receive_receipt()
        esme.settle()


def test_a_client_beyond_its_window_waits_and_every_message_is_answered_in_order(
    gateway: GatewayProcess,
) -> None:
    count = 2000
    with Esme(gateway.smpp, system_id="narrow", bind_type="transmitter") as esme:
        pdus = [
            wire.pdu(wire.SUBMIT_SM, number, submit_body(number, registered_delivery=0))
            for number in range(1, count + 1)
        ]
        esme.send(b"".join(pdus))

        answers = esme.receive_many(wire.SUBMIT_SM_RESP, count)

        assert list(range(1, count + 1)) == [answer.sequence_number for answer in answers]
        assert count == len({message_id(answer) for answer in answers})


def test_an_unbind_is_answered_behind_everything_that_was_submitted_before_it(
    gateway: GatewayProcess,
) -> None:
    with Esme(gateway.smpp, bind_type="transmitter") as esme:
        pdus = [
            wire.pdu(wire.SUBMIT_SM, number, submit_body(number, registered_delivery=0))
            for number in range(1, 201)
        ]
        esme.send(b"".join(pdus) + wire.pdu(wire.UNBIND, 201))

        answers = [esme.receive() for _ in range(201)]

        assert [wire.SUBMIT_SM_RESP] * 200 + [wire.UNBIND_RESP] == [a.command_id for a in answers]
        esme.receive_end()


def test_a_client_that_does_not_read_is_paused_and_costs_bounded_memory(stage: Stage) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address)])
    bound(simulator, 2)
    message_id(stage.esme(gateway).submit(registered_delivery=0))
    before = gateway.anonymous_bytes()
    esme = stage.esme(gateway, **DEAF)

    sent = flood(esme)

    assert gateway.anonymous_bytes() - before < MEMORY_GROWTH_MAX
    with Esme(gateway.smpp, bind_type="transmitter") as other:
        message_id(other.submit(registered_delivery=0))
    whole, cut_off = divmod(sent, len(PDU))
    for _ in range(whole):  # it reads again, and everything is answered
        assert wire.ESME_ROK == esme.receive_a(wire.SUBMIT_SM_RESP).command_status
    esme.send(PDU[cut_off:])
    message_id(esme.receive_a(wire.SUBMIT_SM_RESP))
    assert gateway.anonymous_bytes() - before < MEMORY_GROWTH_MAX
    audit(gateway)


def test_a_client_that_answers_no_deliver_sm_is_left_with_its_window_and_harms_no_other(
    stage: Stage,
) -> None:
    simulator = stage.simulator()
    gateway = stage.gateway([Carrier("a", simulator.address)], client=CLIENTS)
    bound(simulator, 2)
    mute = stage.esme(gateway)
    before = gateway.anonymous_bytes()
    count = 5000
    for start in range(0, count, 500):
        numbers = range(start + 1, start + 501)
        mute.send(b"".join(wire.pdu(wire.SUBMIT_SM, n, submit_body(n)) for n in numbers))
        mute.receive_many(wire.SUBMIT_SM_RESP, 500)
    gateway.wait_status(lambda status: status["messages"]["delivered"] == count)

    mute.settle_with(wire.DELIVER_SM, 100)

    assert gateway.anonymous_bytes() - before < MEMORY_GROWTH_MAX
    with Esme(gateway.smpp, system_id="local") as other:
        expected = message_id(other.submit(registered_delivery=1))
        assert expected == other.receive_receipt()[0]
    for pdu in held(mute):
        mute.respond(pdu, b"\0")
    seen = 100
    while seen < count:
        mute.respond(mute.receive_a(wire.DELIVER_SM), b"\0")
        seen += 1
    mute.settle()


def test_a_link_that_is_reset_harms_no_other(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp) as other:
        for number in range(20):
            esme = Esme(gateway.smpp)
            esme.send(b"".join(PDU for _ in range(number)) + PDU[: number * 3])
            esme.reset()
            message_id(other.submit(registered_delivery=0))


def test_a_link_that_is_reset_before_it_is_accepted_harms_nobody(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp) as other:
        gateway.signal(signal.SIGSTOP)
        try:
            for system_id in ("shop", "local", "elsewhere", "nobody"):
                esme = Esme(gateway.smpp, is_bound=False)
                esme.request(wire.BIND_COMMANDS["transceiver"], wire.bind_body(system_id, "secret"))
                esme.submit_nowait(registered_delivery=0)
                esme.reset()
        finally:
            gateway.signal(signal.SIGCONT)

        message_id(other.submit(registered_delivery=0))


def test_a_link_that_is_cut_inside_a_pdu_loses_only_that(gateway: GatewayProcess) -> None:
    before = wait_settled(gateway)["accepted"]
    for cut in (1, 15, 16, 17, len(PDU) - 1):
        with Esme(gateway.smpp) as esme:
            esme.send(PDU + PDU[:cut])
            message_id(esme.receive_a(wire.SUBMIT_SM_RESP))

    assert before + 5 == wait_settled(gateway)["accepted"]


def test_a_pdu_may_come_octet_by_octet(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp) as esme:
        for octet in PDU:
            esme.send(bytes((octet,)))

        message_id(esme.receive_a(wire.SUBMIT_SM_RESP))


def test_binding_and_unbinding_again_and_again_leaves_nothing_behind(
    gateway: GatewayProcess,
) -> None:
    Esme(gateway.smpp).unbind()
    wait_until(lambda: gateway.ask("status")["client_binds"] == 0, "nobody is bound")
    before = descriptors(gateway)

    for _ in range(100):
        Esme(gateway.smpp).unbind()

    wait_until(lambda: gateway.ask("status")["client_binds"] == 0, "nobody is bound")
    wait_until(lambda: descriptors(gateway) <= before, "every descriptor is closed")


def descriptors(gateway: GatewayProcess) -> int:
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


def test_an_operator_ends_the_links_of_one_client_and_no_other(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp, system_id="local") as kicked, Esme(gateway.smpp) as other:
        assert {"client": "local", "kicked": 1} == gateway.ask("client kick", name="local")

        kicked.receive_end()
        message_id(other.submit(registered_delivery=0))


def test_a_stranger_has_bind_timeout_s_and_a_silent_client_is_asked_and_given_up(
    stage: Stage,
) -> None:
    gateway = stage.gateway(
        [Carrier("a", "127.0.0.1:1")], smpp="bind_timeout_s = 0.5\nenquire_link_s = 0.4"
    )
    stranger = stage.esme(gateway, is_bound=False)
    slow = stage.esme(gateway, is_bound=False)
    slow.send(wire.pdu(wire.BIND_COMMANDS["receiver"], 1, wire.bind_body("shop", "secret"))[:20])
    living, silent = stage.esme(gateway), stage.esme(gateway)

    stranger.receive_end()
    slow.receive_end()
    assert wire.ENQUIRE_LINK == silent.receive().command_id
    for _ in range(3):
        living.respond(living.receive_a(wire.ENQUIRE_LINK))
    silent.receive_end()

    message_id(living.submit(dest=HANDSET))
