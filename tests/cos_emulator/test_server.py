"""Start, stop and restart of the emulator."""

import asyncio

import pytest
from aiohttp import ClientConnectionError, ClientError, ClientSession
from yarl import URL

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Action, Drip, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from tests.limits import LIMIT

from .conftest import BUCKET, KEY, SECRET_ID, SECRET_KEY, Client, add


async def test_the_emulator_restarts_on_its_port(store: ObjectStore, cos: CosEmulator, client: Client) -> None:
    store.put(BUCKET, "a.png", b"data")
    again = CosEmulator(store, cos.credentials, port=cos.port, default_bucket=BUCKET)
    assert (await client.get("a.png")).status == 200
    url = client.presign("a.png")
    await cos.__aexit__(None, None, None)
    for _ in range(2):
        with pytest.raises(ClientConnectionError):
            await client.fetch(url)
        async with again:
            assert (await client.fetch(url)).status == 200


async def test_a_port_in_use_raises_oserror_and_starts_nothing(store: ObjectStore, cos: CosEmulator) -> None:
    other = CosEmulator(store, {}, port=cos.port)
    with pytest.raises(OSError, match="address already in use"):
        await other.__aenter__()
    with pytest.raises(RuntimeError, match="not running"):
        _ = other.port
    await other.__aexit__(None, None, None)


async def test_stopping_does_not_wait_for_a_client_that_does_not_read(store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", b"x" * 60_000_000)
    emulator = CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}, default_bucket=BUCKET)
    emulator.shutdown_timeout = 0.05
    async with asyncio.timeout(30):
        async with emulator as cos, ClientSession() as session:
            client = Client(session, cos)
            response = await session.get(URL(client.presign("a.png"), encoded=True))
            await cos.__aexit__(None, None, None)
            response.close()
    assert not emulator.request_log.requests[0].client_left


@pytest.mark.usefixtures("large_object")
@pytest.mark.parametrize("action", [Hang(), Hang(at=10), Drip(size=10, every=1000)], ids=lambda action: repr(action))
async def test_stopping_ends_hanging_answers(client: Client, cos: CosEmulator, action: Action) -> None:
    add(cos, action)
    request = asyncio.create_task(client.get(KEY), name="request")
    async with asyncio.timeout(LIMIT):
        await cos.request_log.arrived()
        await cos.__aexit__(None, None, None)
        with pytest.raises(ClientError):
            await request
    assert not cos.request_log.requests[0].client_left
    assert cos.request_log.requests[0].finished
