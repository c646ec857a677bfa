"""Control addresses: faults and request log for other processes."""

import base64
import logging
from typing import Any

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client


@pytest.fixture(autouse=True)
def sample(store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", b"data")


async def call(client: Client, method: str, path: str, json: object = None) -> tuple[int, Any]:
    async with client.session.request(method, f"{client.cos.url}/.emulator/{path}", json=json) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


async def test_faults_are_added_listed_and_cleared(client: Client) -> None:
    fault = {"action": {"kind": "refuse", "status": 500, "code": "InternalError"}, "key": "*.png", "times": 2}
    status, added = await call(client, "POST", "faults", fault)
    assert status == 201
    assert (added["action"]["message"], added["skip"], added["fired"]) == ("Please reduce your request rate.", 0, 0)
    assert (await client.get("a.png")).status == 500
    status, listed = await call(client, "GET", "faults")
    assert (status, listed) == (200, [{**added, "matched": 1, "fired": 1}])
    assert (await call(client, "DELETE", "faults"))[0] == 204
    assert (await client.get("a.png")).status == 200


async def test_bytes_in_json_are_base64(client: Client) -> None:
    data = base64.b64encode(b"\x89PNG\xff").decode()
    status, added = await call(client, "POST", "faults", {"action": {"kind": "change", "data": data}})
    assert status == 201
    assert base64.urlsafe_b64decode(added["action"]["data"]) == b"\x89PNG\xff"
    assert (await client.get("a.png")).body == b"\x89PNG\xff"


@pytest.mark.parametrize(
    ("fault", "says"),
    [({"action": {"kind": "cut", "at": "x"}}, "action.cut.at"), ([], "Fault"), ({"action": {"kind": "?"}}, "kind")],
)
async def test_an_invalid_fault_is_answered_with_the_validation_error(client: Client, fault: object, says: str) -> None:
    status, text = await call(client, "POST", "faults", fault)
    assert status == 400
    assert says in text


async def test_the_request_log_holds_no_credentials(client: Client, cos: CosEmulator) -> None:
    url = client.presign("a.png")
    await client.fetch(url, headers={"Authorization": "", "x-cos-security-token": "token-value"})
    await client.get("😀 emoji.png")
    await cos.request_log.settled()
    status, request_log = await call(client, "GET", "journal")
    assert status == 200
    assert request_log["connections"] == 1
    assert [seen["key"] for seen in request_log["requests"]] == ["a.png", "😀 emoji.png"]
    assert (request_log["requests"][0]["status"], request_log["requests"][0]["bytes_sent"]) == (200, 4)
    assert "token-value" not in str(request_log)
    assert url.partition("q-signature=")[2] not in str(request_log)
    assert (await call(client, "DELETE", "journal"))[0] == 204
    assert not cos.request_log.requests


async def test_logs_name_the_object_and_never_its_url(
    client: Client, cos: CosEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("gateway_dev", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    await client.get("a.png")
    await cos.request_log.settled()
    assert f"GET {BUCKET} 'a.png': 200, 4 bytes" in caplog.text
    assert "q-signature" not in caplog.text
