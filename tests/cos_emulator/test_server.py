"""A restart of the emulator."""

import pytest
from aiohttp import ClientConnectionError

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client


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
