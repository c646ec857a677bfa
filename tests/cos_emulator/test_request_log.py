"""Requests in the log."""

import asyncio

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.request import CosRequest
from gateway_dev.cos_emulator.request_log import RequestLog
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from tests.limits import LIMIT

from .conftest import BUCKET, Client


async def test_a_request_is_recorded_without_credentials(client: Client, cos: CosEmulator, store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", b"0123456789")
    url = client.presign("a.png", params={"imageView2/0": ""})
    headers = {"Range": "bytes=2-4", "X-Cos-Security-Token": "secret", "Accept-Encoding": "identity"}
    await client.fetch(url + "&x-cos-security-token=secret&sign=", headers=headers)
    await cos.request_log.settled()
    (seen,) = cos.request_log.of("a.png")
    assert (seen.method, seen.bucket, seen.key, seen.host) == ("GET", BUCKET, "a.png", "127.0.0.1")
    assert (seen.range, seen.status, seen.bytes_sent) == ("bytes=2-4", 206, 3)
    assert (seen.client_left, seen.finished) == (False, True)
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["x-cos-security-token"] == "***"
    assert seen.query == {"imageView2/0": ""}
    assert seen.peer[0] == "127.0.0.1"


async def test_a_disconnected_client_is_recorded_and_receives_no_more_bytes(
    client: Client, cos: CosEmulator, store: ObjectStore
) -> None:
    store.put(BUCKET, "a.png", SyntheticContent(60_000_000))
    async with await client.open(client.presign("a.png")) as response:
        await response.content.readexactly(1000)
        response.close()
    async with asyncio.timeout(LIMIT):
        await cos.request_log.settled()
    (seen,) = cos.request_log.requests
    assert (seen.status, seen.client_left) == (200, True)
    assert seen.bytes_sent < 60_000_000


def test_the_request_log_is_bounded() -> None:
    request_log = RequestLog(capacity=2)
    for key in ("/a", "/b", "/c"):
        request_log.open(CosRequest("GET", "h", key), None, ("::1", 1))
    assert [seen.key for seen in request_log.requests] == ["b", "c"]
