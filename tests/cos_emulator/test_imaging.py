"""Facts about pictures over HTTP."""

import hashlib
import json

import pytest
from PIL import Image

from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client
from .pictures import encoded, exif, quarters


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
