"""Processed objects over HTTP: headers, signed and appended rules, facts about pictures, the cache, threads."""

import asyncio
import hashlib
import json
import threading

import pytest
from PIL import Image

from gateway_dev.cos_emulator.content import MemoryContent
from gateway_dev.cos_emulator.image_rules import Rule, parse_rule
from gateway_dev.cos_emulator.imaging import ImageProcessor
from gateway_dev.cos_emulator.store import ObjectStore, StoredObject
from tests.waiting import until

from .conftest import BUCKET, Client
from .pictures import encoded, exif, gradient, opened, quarters


@pytest.mark.parametrize("kind", ["AVIF", "GIF", "JPEG", "PNG", "WEBP"])
async def test_a_thumbnail_has_its_own_bytes_type_and_etag(client: Client, store: ObjectStore, kind: str) -> None:
    key = f"a.{kind.lower()}"
    store.put(BUCKET, key, gradient(400, 200, kind), headers={"x-cos-meta-a": "1"}, etag="abc-2")
    original = await client.get(key)
    thumbnail = await client.fetch(client.presign(key, params={"imageMogr2/thumbnail/100x100": ""}))
    image = opened(thumbnail.body)
    assert (thumbnail.status, image.size, image.format) == (200, (100, 50), kind)
    assert thumbnail.headers["ETag"] != original.headers["ETag"]
    assert thumbnail.headers["Last-Modified"] == original.headers["Last-Modified"]
    assert thumbnail.headers["Content-Length"] == str(len(thumbnail.body))
    assert thumbnail.headers["Content-Type"] == original.headers["Content-Type"]
    assert thumbnail.headers["x-cos-meta-a"] == "1"
    assert "x-cos-hash-crc64ecma" in original.headers
    assert "x-cos-hash-crc64ecma" not in thumbnail.headers


async def test_a_rule_may_be_appended_unsigned(client: Client, store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", gradient(400, 200))
    answer = await client.fetch(client.presign("a.png") + "&imageMogr2/thumbnail/100x%3E/format/avif")
    image = opened(answer.body)
    assert (image.size, image.format, answer.headers["Content-Type"]) == ((100, 50), "AVIF", "image/avif")


@pytest.mark.parametrize("rule", ["watermark/2/text/5Zu+", "imageMogr2/interlace/1", "imageView2/0", "imageMogr2"])
async def test_documented_rules_that_are_not_emulated_change_nothing(
    client: Client, store: ObjectStore, rule: str
) -> None:
    store.put(BUCKET, "a.jpg", b"no picture")
    answer = await client.fetch(client.presign("a.jpg", params={rule: ""}))
    assert answer.body == b"no picture"
    assert "x-cos-hash-crc64ecma" in answer.headers


async def test_ranges_and_conditions_apply_to_the_result(client: Client, store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", gradient(400, 200))
    url = client.presign("a.png", params={"imageMogr2/thumbnail/40x": ""})
    whole = await client.fetch(url)
    part = await client.fetch(url, headers={"Range": "bytes=8-15", "If-Match": whole.headers["ETag"]})
    assert (part.status, part.body) == (206, whole.body[8:16])
    assert (await client.fetch(url, headers={"If-None-Match": whole.headers["ETag"]})).status == 304


@pytest.mark.parametrize("kind", ["AVIF", "BMP", "GIF", "JPEG", "PNG", "WEBP"])
async def test_image_info_is_the_documented_json_of_strings(client: Client, store: ObjectStore, kind: str) -> None:
    data = encoded(Image.new("RGB", (96, 54), (0x73, 0x62, 0x46)), kind)
    store.put(BUCKET, "a", data)
    answer = await client.fetch(client.presign("a", params={"imageInfo": ""}))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    facts = json.loads(answer.body)
    colour = bytes.fromhex(facts.pop("photo_rgb").removeprefix("0x"))
    assert all(abs(found - wanted) <= 2 for found, wanted in zip(colour, (0x73, 0x62, 0x46), strict=True))
    assert facts == {
        "format": kind.lower(),
        "width": "96",
        "height": "54",
        "size": str(len(data)),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "frame_count": "1",
    }


async def test_facts_are_those_of_the_file_or_of_the_result_of_a_rule(client: Client, store: ObjectStore) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "green")]
    store.put(BUCKET, "a.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    store.put(BUCKET, "a.jpg", encoded(quarters(80, 40), "JPEG", exif=exif(6)))
    store.put(BUCKET, "a.png", encoded(quarters(80, 40)))
    for key, rule, wanted in (
        ("a.gif", "imageInfo", {"frame_count": "2"}),
        ("a.jpg", "imageInfo", {"width": "80", "height": "40"}),
        ("a.png", "imageMogr2/thumbnail/!50p/format/webp|imageInfo", {"format": "webp", "width": "40"}),
        ("a.png", "imageAve", {"RGB": "0x606060"}),
    ):
        found = json.loads((await client.fetch(client.presign(key, params={rule: ""}))).body)
        assert found | wanted == found


@pytest.fixture
async def processor() -> ImageProcessor:
    return ImageProcessor(cache_bytes=10_000)


def stored(data: bytes) -> StoredObject:
    return StoredObject(MemoryContent(data), "image/png", 0.0)


def rule(text: str) -> Rule:
    parsed = parse_rule(f"imageMogr2/{text}")
    assert parsed is not None
    return parsed


async def test_a_result_is_kept_until_the_object_or_the_rule_changes(processor: ImageProcessor) -> None:
    first = await processor.process(stored(gradient(400, 200)), rule("thumbnail/40x"))
    again = await processor.process(stored(gradient(400, 200)), rule("thumbnail/40x"))
    assert (processor.processed, await first.quoted_etag()) == (1, await again.quoted_etag())
    await processor.process(stored(gradient(400, 200)), rule("thumbnail/50x"))
    await processor.process(stored(gradient(400, 100)), rule("thumbnail/40x"))
    assert processor.processed == 3
    noise = stored(encoded(Image.effect_noise((100, 100), 80)))
    for width in range(50, 60):
        await processor.process(noise, rule(f"thumbnail/{width}x"))
        assert processor.cached_bytes <= 10_000
    await processor.close()


async def test_requests_for_the_same_result_share_one_processing(processor: ImageProcessor) -> None:
    """Also if the first of them is cancelled."""
    large = stored(gradient(1500, 1000))
    waiting = [
        asyncio.create_task(processor.process(large, rule("format/webp")), name=f"waiter {number}")
        for number in range(5)
    ]
    await until(lambda: processor.processed)
    waiting[0].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, StoredObject) for result in results[1:])
    assert processor.processed == 1
    await processor.close()


async def test_no_thread_is_left_when_the_emulator_stops(client: Client, store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", gradient(4, 2))
    await client.fetch(client.presign("a.png", params={"imageMogr2/format/webp": ""}))
    assert [thread for thread in threading.enumerate() if thread.name.startswith("cos-emulator-images")]
    await client.cos.__aexit__(None, None, None)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cos-emulator-images")]


async def test_the_loop_goes_on_while_pixels_are_processed(client: Client, store: ObjectStore) -> None:
    store.put(BUCKET, "large.png", gradient(2500, 2000))
    store.put(BUCKET, "small.png", b"data")
    slow = asyncio.create_task(
        client.fetch(client.presign("large.png", params={"imageMogr2/format/webp": ""})), name="slow"
    )
    await client.cos.request_log.arrived()
    answered = 0
    while not slow.done():
        assert (await client.get("small.png")).status == 200
        answered += 1
    assert (await slow).status == 200
    assert answered > 3
