"""Details of HTTP over real connections: HEAD and GET, Age, conditions, ends of bodies."""

import io
import time
from random import Random
from typing import Any

import pytest
from PIL import Image

from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.nginx_files import ACCEL_CONF
from gateway_dev.cos_emulator.faults import Chunked, Fault, Headers
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.origin.scripted import head, scripted
from tests.raw_client import connect
from tests.stories.content import LARGE, SMALL, add_large
from tests.waiting import until


class TestAge:
    """RFC 9111 section 5.1: the age of a 304 or a HEAD counts from COS's answer."""

    async def test_head_has_the_fields_of_get_cold_and_warm(self, gateway: RunningGateway, images: Images) -> None:
        for image_id in "ab":
            await images.add(image_id, SMALL)
        began = time.monotonic()
        cold_get, cold_head = await gateway.get("/i/a"), await gateway.request("HEAD", "/i/b")
        warm_get, warm_head = await gateway.get("/i/a"), await gateway.request("HEAD", "/i/b")
        assert set(cold_get.headers) == set(cold_head.headers)
        assert set(warm_get.headers) == set(warm_head.headers)
        assert "Age" not in cold_head.headers
        assert 0 <= int(warm_head.headers["Age"]) <= time.monotonic() - began

    @pytest.mark.parametrize("delivery", ["stream", "accel"])
    async def test_a_304_has_an_age(self, start_gateway: StartGateway, images: Images, delivery: str) -> None:
        gateway = await start_gateway(image_proxy={"delivery": delivery})
        await images.add("a", SMALL)
        began = time.monotonic()
        etag = (await gateway.request("HEAD", "/i/a")).headers["ETag"]
        answer = await gateway.get("/i/a", headers={"If-None-Match": etag})
        assert answer.status == 304
        assert 0 <= int(answer.headers["Age"]) <= time.monotonic() - began


async def test_cache_status_of_a_new_version_reports_a_stale_entry(start_gateway: StartGateway, images: Images) -> None:
    """RFC 9211 section 2.2."""
    gateway = await start_gateway(image_proxy={"memory_cache": {"ttl": 0}})
    await images.add("a", SMALL)
    await gateway.get("/i/a")
    await images.add("a", b"another version")
    answer = await gateway.get("/i/a")
    assert answer.headers["Cache-Status"] == "image-gateway; fwd=stale; fwd-status=200; stored"


@pytest.mark.parametrize("delivery", ["stream", "accel"])
async def test_conditions_are_ignored_for_an_object_that_is_not_an_image(
    start_gateway: StartGateway, images: Images, delivery: str
) -> None:
    """RFC 9110 section 13.2.1: where the answer without them would not be a 2xx, they are ignored."""
    gateway = await start_gateway(image_proxy={"delivery": delivery})
    for number, headers in enumerate(({"If-None-Match": "*"}, {"If-Match": '"x"'}, {"Range": "bytes=99999-"})):
        await images.add(f"a-{number}", b"<html>", content_type="text/html")
        for _ in range(2):  # cold and warm
            assert (await gateway.get(f"/i/a-{number}", headers=headers)).status == 502, headers


AS_NGINX = {CONFIG_VERSION: ACCEL_CONF}
REQUESTS: tuple[tuple[str, dict[str, str]], ...] = (
    *(("GET", headers) for headers in ({}, {"Range": "bytes=0-5"}, {"If-None-Match": '"x"'})),
    ("HEAD", {}),
)


@pytest.mark.parametrize("delivery", ["stream", "accel"])
@pytest.mark.parametrize("size", [100_000, 1], ids=["large", "small"])
async def test_what_is_known_to_be_no_image_is_not_asked_for_until_its_type_may_be_corrected(
    start_gateway: StartGateway, images: Images, size: int, delivery: str
) -> None:
    """Memory trusts metadata for a minute."""
    gateway = await start_gateway(image_proxy={"delivery": delivery})
    data = b"<html>" * size
    for number in range(len(REQUESTS)):
        await images.add(f"{number}", data, content_type="text/html")
        assert [(await gateway.get(f"/i/{number}", headers=AS_NGINX)).status for _ in range(3)] == [502] * 3
        assert len(images.cos.request_log.of(f"objects/{number}.png")) == 1
        images.cos.store.put(BUCKET, f"objects/{number}.png", data, content_type="image/png")

    async def are_sent() -> bool:
        answers = [
            await gateway.request(method, f"/i/{number}", headers=AS_NGINX | headers)
            for number, (method, headers) in enumerate(REQUESTS)
        ]
        return all(answer.status in (200, 206) for answer in answers)

    await until(are_sent, seconds=20)


@pytest.mark.parametrize("etag", [[], [("ETag", 'W/"weak"')]], ids=["no-etag", "weak-etag"])
async def test_a_range_applies_with_and_without_metadata_in_memory(
    gateway: RunningGateway, images: Images, cos: CosEmulator, etag: list[tuple[str, str]]
) -> None:
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Headers(remove=["ETag"], add=etag), times=None))
    answers = [await gateway.get("/i/a", headers={"Range": "bytes=0-9"}) for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(206, SMALL[:10])] * 3


@pytest.mark.parametrize("byte_range", ["bytes=2500000-", "bytes=-500"])
async def test_a_head_and_a_get_that_disagree_cause_no_endless_loop(
    start_gateway: StartGateway, images: Images, byte_range: str
) -> None:
    """COS's HEAD may ignore the processing: it is of the photo of 3 MB, and GET of its thumbnail."""
    await images.add("a")
    thumbnail = io.BytesIO()
    Image.frombytes("RGB", (10, 10), Random(1).randbytes(300)).save(thumbnail, "PNG")  # noqa: S311
    whole = thumbnail.getvalue()
    of_head = head("200 OK", "Content-Length: 3000000")
    of_part = head("416 Range Not Satisfiable", "Content-Length: 0")
    of_get = head("200 OK", f"Content-Length: {len(whole)}") + whole
    async with scripted(of_head, of_part, of_head, of_get) as port:
        gateway = await start_gateway(cos={"domain": f"127.0.0.1:{port}"})
        await gateway.request("HEAD", "/i/a")
        answer = await gateway.get("/i/a", headers={"Range": byte_range})
    # By the metadata of GET: the last 500 bytes are all there are, and nothing is beyond 2.5 MB.
    expected: tuple[int, Any] = (206, whole) if byte_range == "bytes=-500" else (416, answer.body)
    assert (answer.status, answer.body) == expected


async def test_a_body_without_length_ends_with_its_connection_in_http_1_0(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    """The end of the connection is the end of the body (RFC 9112 section 6.3)."""
    await add_large(images)
    cos.faults.add(Fault(action=Chunked(), times=None))
    async with connect(gateway.ports.public) as connection:
        for path in ("/i/a", "/healthz"):
            await connection.send(f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
        await connection.read_head()
        assert await connection.read_rest() == LARGE.read(0, LARGE.size)


async def test_a_malformed_request_is_answered_with_an_id_in_the_field_as_well(gateway: RunningGateway) -> None:
    async with connect(gateway.ports.public) as connection:
        await connection.send(b"GET /i/a HTTP/1.1\r\n\r\n")  # no Host
        answer = await connection.read_head()
        assert answer.status == 400
        assert answer.headers["x-request-id"].encode() in await connection.read_body(answer)


async def test_a_response_reset_at_the_end_of_the_grace_period_does_not_look_complete(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(server={"shutdown_grace": 0.1}, image_proxy={"timeout": 20})
    await add_large(images)
    images.cos.faults.add(Fault(action=Chunked(), times=None))
    async with connect(gateway.ports.public, receive_buffer=4096) as connection:
        await connection.send(b"GET /i/a HTTP/1.0\r\n\r\n")
        await connection.read_head()
        await gateway.close()
        with pytest.raises(ConnectionResetError):
            await connection.reader.readexactly(LARGE.size)


async def test_the_end_of_the_grace_period_does_not_abort_finished_responses(
    start_gateway: StartGateway, images: Images
) -> None:
    """A response that the kernel still holds for its client arrives whole."""
    gateway = await start_gateway(server={"shutdown_grace": 0.1}, image_proxy={"timeout": 20})
    await add_large(images)
    answered = SMALL * 6
    await images.add("b", answered)
    async with (
        connect(gateway.ports.public, receive_buffer=4096) as slow,
        connect(gateway.ports.public, receive_buffer=4096) as connection,
    ):
        await slow.get("/i/a")
        await slow.read_head()
        await connection.get("/i/b")
        await until(lambda: gateway.sample("requests_total", route="short", delivery="stream", status="200") == 1)
        await gateway.close()
        assert await connection.read_body(await connection.read_head()) == answered
        with pytest.raises(ConnectionResetError):
            await slow.reader.readexactly(LARGE.size)
