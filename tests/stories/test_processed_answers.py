"""The gateway handles each way in which COS may answer for processed images: its documents are silent or differ."""

from itertools import product
from typing import Any, get_args

from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.processed_answers import ProcessingOptions
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, StartGateway
from tests.stories.content import ALWAYS_REVALIDATE
from tests.stories.test_variants import STYLES, photo, picture
from tests.waiting import running, until

ADDRESS = "/i/cat?style=card&w=320&format=webp"
VARYING = ("crc", "etag", "head", "conditions", "range", "length")


def every_way() -> list[dict[str, Any]]:
    """Return every combination of the options that do not make COS refuse."""
    values = [get_args(ProcessingOptions.model_fields[name].annotation) for name in VARYING]
    return [dict(zip(VARYING, combination, strict=True)) for combination in product(*values)]


async def test_get_head_ranges_and_conditions_are_right_in_every_way(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat", photo(), content_type="image/jpeg")
    gateway = await start_gateway(image_styles=STYLES)
    expected = await gateway.get(ADDRESS)
    assert picture(expected.body).size == (320, 200)
    ways = every_way()
    assert len(ways) == 144
    for way in ways:
        cos.processing.options = ProcessingOptions(**way)
        for method in ("HEAD", "GET"):  # each of them cold
            gateway.forget("cat")
            answer = await gateway.request(method, ADDRESS)
            assert answer.status == 200, way
            assert answer.body == (expected.body if method == "GET" else b""), way
            for name in ("Content-Length", "ETag", "Content-Type"):
                assert answer.headers[name] == expected.headers[name], way
        gateway.forget("cat")
        part = await gateway.get(ADDRESS, headers={"Range": "bytes=10-19", "If-Range": expected.headers["ETag"]})
        assert (part.status, part.body) == (206, expected.body[10:20]), way
        gateway.forget("cat")
        kept = await gateway.get(ADDRESS, headers={"If-None-Match": expected.headers["ETag"]})
        assert kept.status == 304, way


async def test_a_variant_is_current_in_every_way(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    """Memory asks COS at every request; a replaced original is noticed, an unchanged one stays the same."""
    gateway = await start_gateway(image_styles=STYLES, image_proxy={"memory_cache": ALWAYS_REVALIDATE})
    pictures = [photo(), photo(640, 640)]
    await images.add("cat", pictures[0], content_type="image/jpeg")
    for number, way in enumerate(every_way()):
        cos.processing.options = ProcessingOptions(**way)
        cos.store.put(BUCKET, "objects/cat.png", pictures[number % 2], content_type="image/jpeg")
        first = await gateway.get(ADDRESS)
        again = await gateway.get(ADDRESS)
        assert picture(first.body).size == ((320, 200), (320, 320))[number % 2], way
        assert (again.body, again.headers["ETag"]) == (first.body, first.headers["ETag"]), way
    assert any(seen.status == 304 for seen in cos.request_log.requests), "COS confirms a rendition by its own tag"


async def test_renditions_are_kept_however_large_the_largest_kept_image_is(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(
        image_styles=STYLES, image_proxy={"memory_cache": {"max_object_bytes": 200_000_000, "max_bytes": 300_000_000}}
    )
    await images.add("cat", photo(), content_type="image/jpeg")
    first, again = await gateway.get(ADDRESS), await gateway.get(ADDRESS)
    assert first.headers["ETag"] == again.headers["ETag"]
    assert again.headers["Cache-Status"].startswith("image-gateway; hit")


async def test_renditions_without_room_are_sent_beside_those_that_are_kept(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """As many renditions are read as there is room for: each of them might have eight megabytes."""
    kept = {"max_object_bytes": 8 * 1024 * 1024, "ttl": 0}
    gateway = await start_gateway(image_styles=STYLES, image_proxy={"memory_cache": kept})
    for name in ("cat", *(f"held-{number}" for number in range(16))):
        await images.add(name, photo(), content_type="image/jpeg")
    first = await gateway.get(ADDRESS)
    cos.faults.add(Fault(action=Hang(), key="objects/held-*", times=None))

    async def ask(number: int) -> None:
        await gateway.get(f"/i/held-{number}?style=card&w=320&format=webp")

    async with running(*map(ask, range(16))):
        await until(lambda: len(cos.request_log.requests) == 17)
        async with running(ask(0)):
            await until(lambda: gateway.sample("inflight_requests") == 17)
            beside = await gateway.get(ADDRESS)
            assert (beside.status, beside.body) == (200, first.body)
            assert len(cos.request_log.requests) == 18, "a rendition that is being read is not asked for twice"
    await until(lambda: gateway.sample("inflight_requests") == 0)
    again = await gateway.get(ADDRESS)
    assert again.headers["Cache-Status"] == "image-gateway; fwd=stale; fwd-status=304"
    assert again.headers["ETag"] == first.headers["ETag"]


async def test_a_cos_that_sends_the_original_instead_of_an_error(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_styles=STYLES)
    await images.add("broken", b"no picture", content_type="image/jpeg")
    images.cos.processing.options = ProcessingOptions(errors="original")
    answer = await gateway.get("/i/broken?style=card&w=320&format=webp")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"no picture", "image/jpeg")
