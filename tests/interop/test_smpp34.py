"""smpp34, a stack in Rust: as an application of the daemon, and as its carrier."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import smpp34

from bench import wire
from bench.gateway import Carrier, GatewayProcess, free_port
from bench.process import SimulatorProcess
from tests.daemon.peers import FAST, HANDSET, message_id
from tests.daemon.stage import Stage, audit, bound

WAIT_S = 10.0
VENDOR = smpp34.Tlv(0x1401, b"a vendor's own")
REFERENCE = smpp34.Tlv(smpp34.TLV_USER_MESSAGE_REFERENCE, b"\x12\x34")


@pytest.fixture(scope="module")
def simulator(module_stage: Stage) -> SimulatorProcess:
    return module_stage.simulator("--receipt-on=any")


@pytest.fixture(scope="module")
def gateway(module_stage: Stage, simulator: SimulatorProcess) -> GatewayProcess:
    gateway = module_stage.gateway([Carrier("a", simulator.address)])
    bound(simulator, 2)
    return gateway


@contextlib.asynccontextmanager
async def bound_client(
    gateway: GatewayProcess,
    bind_type: str = "TRX",
    password: str = "secret",
    patience_ms: int = 10_000,
) -> AsyncIterator[smpp34.Smsc]:
    host, _, port = gateway.smpp.rpartition(":")
    client = smpp34.Client(
        host, int(port), "shop", password, bind_type=bind_type, connect_timeout_ms=patience_ms
    )
    smsc = await asyncio.wait_for(client.connect(), WAIT_S)
    try:
        yield smsc
    finally:
        await asyncio.wait_for(smsc.unbind(), WAIT_S)
        await asyncio.wait_for(client.stop(), WAIT_S)


def test_it_binds_sends_reads_its_receipts_and_unbinds(gateway: GatewayProcess) -> None:
    async def act() -> None:
        async with bound_client(gateway) as smsc:
            answers = await asyncio.gather(
                *(
                    smsc.submit_sm(
                        HANDSET,
                        b"#%012d hello" % token,
                        source_addr=FAST,
                        source_addr_ton=1,
                        dest_addr_ton=1,
                        registered_delivery=1,
                        tlvs=[VENDOR, REFERENCE],
                    )
                    for token in range(50)
                )
            )
            assert all(answer.is_success for answer in answers)
            ids = {answer.message_id for answer in answers}
            assert 50 == len(ids)

            receipts = [await asyncio.wait_for(smsc.next(), WAIT_S) for _ in ids]

            named = set()
            for receipt in receipts:
                assert isinstance(receipt, smpp34.DeliverSmEvent)
                assert 0x04 == receipt.esm_class
                values = {tlv.tag: tlv for tlv in receipt.tlvs}
                named.add(values[smpp34.TLV_RECEIPTED_MESSAGE_ID].as_string())
                assert 2 == values[smpp34.TLV_MESSAGE_STATE].as_int()
                assert b"stat:DELIVRD" in receipt.short_message
            assert ids == named

    asyncio.run(act())


def test_a_refused_message_has_the_status_of_its_reason(gateway: GatewayProcess) -> None:
    async def act() -> None:
        async with bound_client(gateway, "TX") as smsc:
            answer = await smsc.submit_sm("12345", b"hello", source_addr=FAST)
            assert (False, 0x0411) == (answer.is_success, answer.command_status)

    asyncio.run(act())


def test_a_wrong_password_is_refused(gateway: GatewayProcess) -> None:
    async def act() -> None:
        # It does not look at the status, and waits for a bind_resp that says yes.
        with pytest.raises(smpp34.SmppError):
            async with bound_client(gateway, password="wrong", patience_ms=300):
                pass

    asyncio.run(act())


def test_a_message_from_a_handset_reaches_it(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    async def act() -> None:
        async with bound_client(gateway, "RX") as smsc:
            number = simulator.send("mo", {"from": HANDSET, "to": FAST, "text": "hello"})

            event = await asyncio.wait_for(smsc.next(), WAIT_S)

            assert isinstance(event, smpp34.DeliverSmEvent)
            assert (HANDSET, b"hello") == (event.source_addr, event.short_message)
            answer = await asyncio.to_thread(simulator.answer, number)
            assert 0 == answer["command_status"]

    asyncio.run(act())


def test_as_a_carrier_it_gets_every_message_and_its_receipts_find_them(stage: Stage) -> None:
    count = 50

    async def act() -> None:
        port = free_port()
        server = smpp34.Server("127.0.0.1", port, system_id="smsc")
        await server.start()
        try:
            gateway = await asyncio.to_thread(
                stage.gateway, [Carrier("a", f"127.0.0.1:{port}", binds=1)]
            )
            carrier = asyncio.create_task(be_the_carrier(server, count))
            seen = await asyncio.to_thread(be_the_application, stage, gateway, count)
            # It hands over what it received in an order of its own.
            assert sorted(seen) == sorted(await asyncio.wait_for(carrier, WAIT_S))
            await asyncio.to_thread(audit, gateway)
            assert 0 == await asyncio.to_thread(gateway.stop)
        finally:
            await server.stop()

    asyncio.run(act())


async def be_the_carrier(server: smpp34.Server, count: int) -> list[bytes]:
    """Takes and delivers so many; their texts."""
    sessions = {}
    texts: list[bytes] = []
    while len(texts) < count:
        event = await asyncio.wait_for(server.next(), WAIT_S)
        if isinstance(event, smpp34.Esme):
            sessions[event.session_id] = event
        elif isinstance(event, smpp34.SubmitSmEvent):
            assert [(0x1401, VENDOR.value)] == [(tlv.tag, tlv.value) for tlv in event.tlvs]
            assert 1 == event.registered_delivery
            texts.append(event.short_message)
            event.accept(message_id=f"{len(texts):08X}")
            text = f"id:{len(texts):08X} sub:001 dlvrd:001 stat:DELIVRD err:000 text:"
            answer = await sessions[event.session_id].deliver_sm(
                event.source_addr,
                text.encode(),
                source_addr=event.destination_addr,
                esm_class=0x04,
            )
            assert answer.is_success
    return texts


def be_the_application(stage: Stage, gateway: GatewayProcess, count: int) -> list[bytes]:
    """Sends so many and waits for their receipts; their texts."""
    esme = stage.esme(gateway)
    texts = [b"hello %d" % number for number in range(count)]
    tlvs = wire.tlv(VENDOR.tag, VENDOR.value)
    ids = [message_id(esme.submit(text=text, tlvs=tlvs)) for text in texts]
    receipts = {esme.receive_receipt()[0] for _ in ids}
    assert set(ids) == receipts
    return texts
