"""imageInfo and imageAve, over HTTP."""

import hashlib
import json

import pytest
from PIL import Image

from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client
from .pictures import encoded, exif, gradient, quarters


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


async def test_image_info_counts_frames_and_ignores_the_orientation(client: Client, store: ObjectStore) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "green")]
    store.put(BUCKET, "a.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    store.put(BUCKET, "a.jpg", encoded(quarters(80, 40), "JPEG", exif=exif(6)))
    animation = json.loads((await client.fetch(client.presign("a.gif") + "&imageInfo")).body)
    photo = json.loads((await client.fetch(client.presign("a.jpg") + "&imageInfo")).body)
    assert (animation["frame_count"], photo["width"], photo["height"]) == ("2", "80", "40")


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("RGB", (9, 9), (0x73, 0x62, 0x46)), "0x736246"),
        (Image.new("L", (9, 9), 0), "0x000000"),
        (Image.new("RGBA", (9, 9), (1, 2, 3, 255)), "0x010203"),
        (quarters(80, 40), "0x606060"),
    ],
)
async def test_image_ave_is_the_average_colour(
    client: Client, store: ObjectStore, image: Image.Image, colour: str
) -> None:
    store.put(BUCKET, "a.png", encoded(image))
    answer = await client.fetch(client.presign("a.png", params={"imageAve": ""}))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == f'{{"RGB": "{colour}"}}'.encode()


async def test_a_rule_before_it_decides_what_the_report_is_about(client: Client, store: ObjectStore) -> None:
    store.put(BUCKET, "a.png", gradient(400, 200))
    answer = await client.fetch(client.presign("a.png", params={"imageMogr2/thumbnail/!50p/format/webp|imageInfo": ""}))
    facts = json.loads(answer.body)
    assert (facts["format"], facts["width"], facts["height"]) == ("webp", "200", "100")
