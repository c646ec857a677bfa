"""Each way that COS may answer for processed images, and the control address of the options."""

import gzip
from typing import Any

import pytest

from gateway_dev.cos_emulator.content import Digests
from gateway_dev.cos_emulator.faults import Fault, Gzip
from gateway_dev.cos_emulator.processed_answers import ProcessingOptions
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Answer, Client, RawExchange
from .pictures import gradient, opened

ORIGINAL = gradient(400, 200)
MODIFIED = "Fri, 10 Apr 2020 09:35:04 GMT"
RULE = "imageMogr2/thumbnail/100x/format/webp"


def checksum(data: bytes) -> str:
    return str(Digests.of([data]).crc64)


def etag(data: bytes) -> str:
    return f'"{Digests.of([data]).md5}"'


@pytest.fixture(autouse=True)
def original(store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", ORIGINAL, last_modified=1_586_511_304.0)
    store.put(BUCKET, "old.png", ORIGINAL, has_crc=False, etag="abc-2")
    store.put(BUCKET, "text.png", b"text")


async def get(client: Client, key: str = "a.png", rule: str = RULE, headers: dict[str, str] | None = None) -> Answer:
    return await client.fetch(client.presign(key, params={rule: ""}), headers=headers)


async def head(client: Client, key: str = "a.png") -> Answer:
    return await client.fetch(client.presign(key, method="HEAD", params={RULE: ""}), method="HEAD")


@pytest.mark.parametrize("crc", ["absent", "original", "result"])
async def test_the_crc_is_of_the_original_of_the_result_or_absent(client: Client, cos: CosEmulator, crc: str) -> None:
    cos.processing.options = ProcessingOptions.model_validate({"crc": crc})
    for answer in (await get(client), await get(client, headers={"Range": "bytes=0-9"})):
        sent = answer.headers.get("x-cos-hash-crc64ecma")
        whole = (await get(client)).body
        assert sent == {"absent": None, "original": checksum(ORIGINAL), "result": checksum(whole)}[crc]
    assert (await client.get("a.png")).headers["x-cos-hash-crc64ecma"] == checksum(ORIGINAL)
    assert ("x-cos-hash-crc64ecma" in (await get(client, "old.png")).headers) == (crc == "result")


@pytest.mark.parametrize("sent", ["result", "original", "absent"])
async def test_the_etag_is_of_the_original_of_the_result_or_absent(client: Client, cos: CosEmulator, sent: str) -> None:
    cos.processing.options = ProcessingOptions.model_validate({"etag": sent})
    answer = await get(client)
    own = etag(answer.body)
    expected = {"result": own, "original": etag(ORIGINAL), "absent": None}[sent]
    assert answer.headers.get("ETag") == expected
    assert (await head(client)).headers.get("ETag") == expected
    assert (await get(client, "old.png")).headers.get("ETag") == ('"abc-2"' if sent == "original" else expected)
    for tag in (own, etag(ORIGINAL)):
        assert (await get(client, headers={"If-None-Match": tag})).status == (304 if tag == expected else 200)
        assert (await get(client, headers={"If-Match": tag})).status == (200 if tag == expected else 412)
    unchanged = await get(client, headers={"If-Modified-Since": MODIFIED})
    assert (unchanged.status, unchanged.headers.get("ETag")) == (304, expected)


async def test_head_describes_the_result_or_the_original(client: Client, cos: CosEmulator) -> None:
    whole = await get(client)
    described = await head(client)
    for name in ("Content-Type", "Content-Length", "ETag", "Last-Modified"):
        assert described.headers[name] == whole.headers[name]
    cos.processing.options = ProcessingOptions(head="original")
    described, plain = await head(client), await client.head("a.png")
    for name in ("Content-Type", "Content-Length", "ETag", "x-cos-hash-crc64ecma"):
        assert described.headers[name] == plain.headers[name]
    assert (await head(client, "text.png")).status == 200
    assert (await get(client, "text.png")).status == 400
    assert (await get(client)).body == whole.body


async def test_conditions_are_obeyed_or_ignored(client: Client, cos: CosEmulator) -> None:
    own = (await get(client)).headers["ETag"]
    conditions = {
        "If-None-Match": (own, 304),
        "If-Match": ('"other"', 412),
        "If-Modified-Since": (MODIFIED, 304),
        "If-Unmodified-Since": ("Thu, 09 Apr 2020 00:00:00 GMT", 412),
    }
    for name, (value, status) in conditions.items():
        assert (await get(client, headers={name: value})).status == status
    cos.processing.options = ProcessingOptions(conditions="ignored")
    for name, (value, status) in conditions.items():
        assert (await get(client, headers={name: value})).status == 200
        plain = etag(ORIGINAL) if name == "If-None-Match" else value
        assert (await client.get("a.png", headers={name: plain})).status == status
    assert (await get(client, headers={"Range": "bytes=0-9"})).status == 206


async def test_ranges_are_obeyed_or_ignored(client: Client, cos: CosEmulator) -> None:
    whole = await get(client)
    part = await get(client, headers={"Range": "bytes=0-9"})
    assert (part.status, part.body) == (206, whole.body[:10])
    cos.processing.options = ProcessingOptions(range="ignored")
    for requested in ("bytes=0-9", "bytes=999999-"):
        answer = await get(client, headers={"Range": requested})
        assert (answer.status, answer.body) == (200, whole.body)
    assert (await client.get("a.png", headers={"Range": "bytes=0-9"})).status == 206
    assert (await get(client, headers={"Range": "bytes=0-9", "If-Match": '"other"'})).status == 412


async def test_the_length_is_known_or_the_answer_has_chunks(
    client: Client, cos: CosEmulator, exchange: RawExchange
) -> None:
    whole = await get(client)
    assert whole.headers["Content-Length"] == str(len(whole.body))
    cos.processing.options = ProcessingOptions(length="chunked")
    chunked = await get(client)
    assert chunked.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in chunked.headers
    assert (chunked.body, chunked.headers["ETag"]) == (whole.body, whole.headers["ETag"])
    part = await get(client, headers={"Range": "bytes=0-9"})
    assert (part.status, part.body, "Content-Length" in part.headers) == (206, whole.body[:10], False)
    unchanged = await get(client, headers={"If-None-Match": whole.headers["ETag"]})
    assert (unchanged.status, unchanged.headers["Content-Length"]) == (304, "0")
    raw = await exchange(client.presign("a.png", method="HEAD", params={RULE: ""}).removeprefix(cos.url), method="HEAD")
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"\r\n\r\n")
    assert b"content-length" not in raw.lower()
    assert (await client.get("a.png")).headers["Content-Length"] == str(len(ORIGINAL))
    cos.faults.add(Fault(action=Gzip()))
    assert gzip.decompress((await get(client)).body) == whole.body


async def test_avif_can_be_off_for_a_bucket(client: Client, cos: CosEmulator) -> None:
    cos.store.put("other-125", "a.png", ORIGINAL)
    rules = (
        "imageMogr2/thumbnail/10x/format/avif",
        "imageView2/2/w/10/format/avif",
        "imageMogr2/format/avif|imageInfo",
    )
    for rule in rules:
        assert (await get(client, rule=rule)).status == 200
    cos.processing.options = ProcessingOptions(avif_off=frozenset({BUCKET}))
    for rule in rules:
        answer = await get(client, rule=rule)
        assert (answer.status, b"<Code>InvalidRequest</Code>" in answer.body) == (400, True)
    assert opened((await get(client)).body).format == "WEBP"
    kept = await get(client, rule="imageMogr2/format/avif/ignore-error/1")
    assert (kept.status, kept.body) == (200, ORIGINAL)
    url = client.presign("a.png", params={rules[0]: ""}, sign_host=False)
    other = await client.fetch(url, headers={"Host": f"other-125.localhost:{cos.port}"})
    assert opened(other.body).format == "AVIF"


@pytest.mark.parametrize("rule", [RULE, "imageInfo", "imageAve", "imageMogr2/thumbnail/10000x"])
async def test_an_error_can_be_answered_with_the_original(client: Client, cos: CosEmulator, rule: str) -> None:
    key = "a.png" if "10000" in rule else "text.png"
    assert (await get(client, key, rule)).status == 400
    cos.processing.options = ProcessingOptions(errors="original", length="chunked", etag="absent")
    answer, plain = await get(client, key, rule), await client.get(key)
    varying = {"Date", "x-cos-request-id"}
    assert {n: v for n, v in answer.headers.items() if n not in varying} == {
        n: v for n, v in plain.headers.items() if n not in varying
    }
    assert (answer.status, answer.body) == (200, plain.body)
    assert (await get(client, rule="imageMogr2/explode/1")).status == 400


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


async def test_the_options_are_shown_replaced_and_reset(client: Client, cos: CosEmulator) -> None:
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
