"""Options of processed answers: validation, and the control address."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway_dev.cos_emulator.processed_answers import ProcessingOptions
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client
from .pictures import gradient

DEFAULTS = {
    "errors": "refuse",
    "avif_off": [],
    "crc": "absent",
    "etag": "result",
    "head": "result",
    "conditions": "obeyed",
    "range": "obeyed",
    "length": "known",
}


async def call(client: Client, method: str, json: object = None) -> tuple[int, Any]:
    async with client.session.request(method, f"{client.cos.url}/.emulator/processing", json=json) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


async def test_the_options_are_shown_replaced_and_reset(client: Client, cos: CosEmulator, store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", gradient(4, 2))
    url = client.presign("a.png", params={"imageMogr2/format/webp": ""})
    assert await call(client, "GET") == (200, DEFAULTS)
    changed = {"crc": "result", "avif_off": [BUCKET]}
    assert await call(client, "PUT", changed) == (200, {**DEFAULTS, **changed})
    assert await call(client, "GET") == (200, {**DEFAULTS, **changed})
    assert "x-cos-hash-crc64ecma" in (await client.fetch(url)).headers
    assert await call(client, "PUT", {"length": "chunked"}) == (200, {**DEFAULTS, "length": "chunked"})
    assert "x-cos-hash-crc64ecma" not in (await client.fetch(url)).headers
    assert (await call(client, "DELETE"))[0] == 204
    assert cos.processing.options == ProcessingOptions()
    assert not cos.request_log.of("processing")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"crc": "none"}, "crc"), ({"unknown": 1}, "unknown"), ({"avif_off": "b"}, "avif_off"), ([], "")],
)
async def test_invalid_options_are_answered_with_the_validation_error(
    client: Client, cos: CosEmulator, wrong: object, says: str
) -> None:
    status, text = await call(client, "PUT", wrong)
    assert (status, says in text) == (400, True)
    assert cos.processing.options == ProcessingOptions()


def test_invalid_options_are_rejected_in_python_too() -> None:
    with pytest.raises(ValidationError):
        ProcessingOptions.model_validate({"head": "nothing"})
