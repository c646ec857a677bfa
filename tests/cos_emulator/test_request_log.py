"""Requests in the log."""

from gateway_dev.cos_emulator.request import CosRequest
from gateway_dev.cos_emulator.request_log import RequestLog
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

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


def test_the_request_log_is_bounded() -> None:
    request_log = RequestLog(capacity=2)
    for key in ("/a", "/b", "/c"):
        request_log.open(CosRequest("GET", "h", key), None, ("::1", 1))
    assert [seen.key for seen in request_log.requests] == ["b", "c"]
