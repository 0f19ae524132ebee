"""What a submit_sm is refused for, and with which octets; and that the session outlives it.

No carrier is ever bound here, so what is accepted waits.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from bench import wire
from bench.gateway import Carrier, GatewayProcess
from tests.daemon import peers
from tests.daemon.peers import FAST, HANDSET, SLOW, Esme, Pdu, message_id, submit_body
from tests.daemon.stage import REGISTRY, Stage, audit, quiet

MORE_REGISTRY = """
[[number]]
number = "+12025550190"
company = "acme"

[[campaign]]
id = "CPENDING"
brand = "BACME01"
use_case = "MARKETING"
status = "PENDING"
numbers = ["+12025550120"]

[[campaign]]
id = "CCAPPED"
brand = "BACME01"
use_case = "MARKETING"
status = "ACTIVE"
numbers = ["+12025550121"]

[[campaign.limits]]
per = "day"
segments = 0
at_cap = "refuse"

[[company]]
id = "rival"

[[brand]]
id = "BRIVAL"
company = "rival"
identity_status = "VERIFIED"

[[campaign]]
id = "CRIVAL"
brand = "BRIVAL"
use_case = "MARKETING"
status = "ACTIVE"
numbers = ["+12025550170"]
limits = []

[[brand]]
id = "BNEW"
company = "acme"
identity_status = "UNVERIFIED"

[[campaign]]
id = "CUNVERIFIED"
brand = "BNEW"
use_case = "MARKETING"
status = "ACTIVE"
numbers = ["+12025550122"]
limits = []
"""

CLIENTS = """
[[client]]
name = "small"
company = "acme"
system_id = "small"
password = "secret"
queue_limit = 5
"""

PAYLOAD = wire.tlv(wire.MESSAGE_PAYLOAD, b"x" * 153 * 51)


class Case(NamedTuple):
    """A submit_sm, and its command_status in both styles."""

    body: bytes
    specific: int
    standard: int


# The statuses of our own are 0x0400 and the place in the contract's list of outcomes.
CASES = {
    "an unknown source": Case(submit_body(source="12025559999"), 0x0401, 0x0A),
    "another company's source": Case(submit_body(source="12025550170"), 0x0401, 0x0A),
    "an empty source": Case(submit_body(source=""), 0x0401, 0x0A),
    "a source that is a name": Case(submit_body(source="ACME"), 0x0401, 0x0A),
    "a number without a campaign": Case(submit_body(source="12025550190"), 0x0405, 0x0A),
    "a campaign that is not active": Case(submit_body(source="12025550120"), 0x0402, 0x45),
    "a brand that is not verified": Case(submit_body(source="12025550122"), 0x0403, 0x45),
    "a daily cap that refuses": Case(submit_body(source="12025550121"), 0x0409, 0x45),
    "a recipient that is too short": Case(submit_body(dest="12345"), 0x0411, 0x0B),
    "a recipient that is empty": Case(submit_body(dest=""), 0x0411, 0x0B),
    "a recipient that is a word": Case(submit_body(dest="mother"), 0x0411, 0x0B),
    "no such number in North America": Case(submit_body(dest="11111111111"), 0x0411, 0x0B),
    "a recipient that no route leads to": Case(submit_body(dest="447700900123"), 0x040E, 0x45),
    "more segments than its limit lets pass": Case(
        submit_body(source=SLOW, text=b"", tlvs=PAYLOAD), 0x0410, 0x01
    ),
    "a validity that is over": Case(
        submit_body().replace(bytes(5) + b"\x01", bytes(4) + b"200101000000000+\0\x01", 1),
        0x040D,
        0x62,
    ),
}

MALFORMED = {
    "no body": (b"", 0x02),
    "a body that ends in an address": (submit_body()[:8], 0x02),
    "a source of 21 octets": (
        b"\0\1\1" + b"1" * 21 + b"\0\1\1123\0" + bytes(10),
        0x0A,
    ),
    "a service_type of 6 octets": (b"SERVICE" + submit_body(), 0x15),
    "a text longer than the PDU": (submit_body(text=b"hello")[:-1], 0x01),
    "TLVs that are cut off": (submit_body(tlvs=wire.tlv(0x1401, b"vendor")[:-1]), 0xC0),
    "text in both places": (submit_body(tlvs=wire.tlv(wire.MESSAGE_PAYLOAD, b"again")), 0xC1),
}


def start(stage: Stage, style: str) -> GatewayProcess:
    return stage.gateway(
        [Carrier("nobody", "127.0.0.1:1")],
        registry=REGISTRY + MORE_REGISTRY,
        top=f'status_style = "{style}"',
        client=CLIENTS,
    )


@pytest.fixture(scope="module")
def gateway(module_stage: Stage) -> GatewayProcess:
    return start(module_stage, "specific")


@pytest.fixture(scope="module")
def standard_gateway(module_stage: Stage) -> GatewayProcess:
    return start(module_stage, "standard")


@pytest.fixture
def esme(gateway: GatewayProcess) -> Iterator[Esme]:
    with Esme(gateway.smpp) as esme:
        yield esme


@pytest.mark.parametrize("case", CASES)
def test_a_message_is_refused_for(gateway: GatewayProcess, case: str) -> None:
    check_refused(gateway, CASES[case].body, CASES[case].specific)


@pytest.mark.parametrize("case", CASES)
def test_with_the_specifications_statuses_a_message_is_refused_for(
    standard_gateway: GatewayProcess, case: str
) -> None:
    check_refused(standard_gateway, CASES[case].body, CASES[case].standard)


def check_refused(gateway: GatewayProcess, body: bytes, status: int) -> None:
    accepted = gateway.ask("status")["accepted"]
    with Esme(gateway.smpp) as esme:
        number = esme.request(wire.SUBMIT_SM, body)

        assert Pdu(wire.SUBMIT_SM_RESP, status, number, b"") == esme.receive()
        message_id(esme.submit())
        assert accepted + 1 == gateway.ask("status")["accepted"]


def test_another_companys_number_is_answered_like_an_unknown_one_octet_by_octet(
    gateway: GatewayProcess,
) -> None:
    answers = []
    for source in ("12025550170", "12025559999"):
        with Esme(gateway.smpp) as esme:
            esme.request(wire.SUBMIT_SM, submit_body(source=source))
            answers.append(esme.receive().raw)

    assert answers[0] == answers[1]


def test_refusals_are_counted_by_outcome_and_store_nothing(gateway: GatewayProcess) -> None:
    before = refused(gateway)
    with Esme(gateway.smpp) as esme:
        for body in (submit_body(source="12025559999"), submit_body(dest="12345")):
            esme.request(wire.SUBMIT_SM, body)
            assert wire.ESME_ROK != esme.receive().command_status

    after = refused(gateway)
    assert before.get("unknown_sender", 0) + 1 == after["unknown_sender"]
    assert before.get("bad_address", 0) + 1 == after["bad_address"]
    audit(gateway)


def refused(gateway: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = gateway.ask("client", name="shop")[0]["refused"]
    return found


@pytest.mark.parametrize("style", ["specific", "standard"])
def test_a_full_queue_says_so_in_either_style_and_keeps_what_it_has(
    request: pytest.FixtureRequest, style: str
) -> None:
    # The specification's status: every library knows how to wait for it.
    name = "gateway" if style == "specific" else "standard_gateway"
    gateway: GatewayProcess = request.getfixturevalue(name)
    with Esme(gateway.smpp, system_id="small") as esme:
        for token in range(gateway.ask("client", name="small")[0]["queued"], 5):
            message_id(esme.submit(token))

        for token in range(3):
            number = esme.submit_nowait(token)
            assert Pdu(wire.SUBMIT_SM_RESP, wire.ESME_RMSGQFUL, number, b"") == esme.receive()

        assert 5 == gateway.ask("client", name="small")[0]["queued"]
        with Esme(gateway.smpp) as other:
            message_id(other.submit())


def test_a_burst_beyond_a_full_queue_is_answered_one_by_one(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp, system_id="small") as esme:
        room = 5 - gateway.ask("client", name="small")[0]["queued"]
        numbers = [esme.submit_nowait(token) for token in range(100)]

        answers = {
            pdu.sequence_number: pdu.command_status
            for pdu in esme.receive_many(wire.SUBMIT_SM_RESP, 100)
        }

        assert sorted(numbers) == sorted(answers)
        assert room == list(answers.values()).count(wire.ESME_ROK)
        assert 100 - room == list(answers.values()).count(wire.ESME_RMSGQFUL)


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_body_is_refused_and_the_session_lives(esme: Esme, case: str) -> None:
    body, status = MALFORMED[case]

    number = esme.request(wire.SUBMIT_SM, body)

    assert Pdu(wire.SUBMIT_SM_RESP, status, number, b"") == esme.receive()
    esme.settle()
    message_id(esme.submit())


def test_what_is_refused_between_two_that_are_accepted_costs_neither(esme: Esme) -> None:
    bodies = [submit_body(1), submit_body(2, source="12025559999"), b"", submit_body(3)]
    pdus = [wire.pdu(wire.SUBMIT_SM, number, body) for number, body in enumerate(bodies, 101)]

    esme.send(b"".join(pdus))

    answers = {pdu.sequence_number: pdu for pdu in esme.receive_many(wire.SUBMIT_SM_RESP, 4)}
    assert message_id(answers[101]) < message_id(answers[104])
    assert wire.ESME_ROK not in (answers[102].command_status, answers[103].command_status)


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_command_length_that_is_too_small_ends_the_link(
    gateway: GatewayProcess, length: int
) -> None:
    with Esme(gateway.smpp) as esme:
        message_id(esme.submit())

        esme.send(wire.HEADER.pack(length, wire.SUBMIT_SM, 0, 77) + bytes(64))

        assert Pdu(wire.GENERIC_NACK, wire.ESME_RINVCMDLEN, 0, b"") == esme.receive()
        esme.receive_end()


@pytest.mark.parametrize("length", [64 * 1024 + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_command_length_that_is_too_large_ends_the_link(
    gateway: GatewayProcess, length: int
) -> None:
    with Esme(gateway.smpp) as esme:
        esme.send(wire.HEADER.pack(length, wire.SUBMIT_SM, 0, 77))

        assert Pdu(wire.GENERIC_NACK, wire.ESME_RINVCMDLEN, 77, b"") == esme.receive()
        esme.receive_end()


def test_what_came_before_a_broken_pdu_stands_though_its_answer_has_no_link_to_leave_by(
    gateway: GatewayProcess,
) -> None:
    before = gateway.ask("status")
    with Esme(gateway.smpp) as esme:
        broken = wire.HEADER.pack(3, wire.SUBMIT_SM, 0, 9)

        esme.send(wire.pdu(wire.SUBMIT_SM, 8, submit_body()) + broken)

        assert Pdu(wire.GENERIC_NACK, wire.ESME_RINVCMDLEN, 0, b"") == esme.receive()
        esme.receive_end()
    undelivered = before["counters"]["acks_undelivered"] + 1
    status = gateway.wait_status(lambda now: now["counters"]["acks_undelivered"] == undelivered)
    assert before["accepted"] + 1 == status["accepted"]


def test_an_unknown_command_is_nacked_and_a_known_one_is_refused_by_its_own_response(
    esme: Esme,
) -> None:
    number = esme.request(0x0000BEEF, b"what?")
    assert Pdu(wire.GENERIC_NACK, wire.ESME_RINVCMDID, number, b"") == esme.receive()

    number = esme.request(0x00000003, b"query_sm")
    assert Pdu(0x80000003, wire.ESME_RINVCMDID, number, b"") == esme.receive()
    message_id(esme.submit())


def test_a_submit_before_the_bind_is_refused(gateway: GatewayProcess) -> None:
    with Esme(gateway.smpp, is_bound=False) as esme:
        number = esme.submit_nowait()

        assert Pdu(wire.SUBMIT_SM_RESP, wire.ESME_RINVBNDSTS, number, b"") == esme.receive()
        assert wire.ESME_ROK == esme.bind().command_status
        message_id(esme.submit())


def test_a_second_bind_on_a_bound_link_is_refused_and_the_first_stays(esme: Esme) -> None:
    assert wire.ESME_RALYBND == esme.bind().command_status
    message_id(esme.submit())


def test_a_recipient_is_taken_in_every_way_that_people_write_one(esme: Esme) -> None:
    for dest in (HANDSET, f"+{HANDSET}"):
        message_id(esme.submit(dest=dest))
    national = peers.submit_body().replace(
        b"\x01\x01" + HANDSET.encode(), b"\x02\x01" + HANDSET[1:].encode(), 1
    )
    assert FAST.encode() in national
    esme.request(wire.SUBMIT_SM, national)
    message_id(esme.receive_a(wire.SUBMIT_SM_RESP))


def test_nothing_of_all_this_is_a_fault_in_the_log(gateway: GatewayProcess) -> None:
    quiet(gateway)
    audit(gateway)
