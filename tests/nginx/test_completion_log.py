"""The access log of nginx distinguishes complete from interrupted responses, also if the cache's disk is full."""

import aiohttp
import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, StartGateway
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.waiting import until

DISK = 256 * 1024  # bytes that nginx can write
LARGER = SyntheticContent(2_000_000)


async def logged(nginx: Nginx, request_id: str) -> str:
    """Wait for the request's line in the access log; return its last fields, completion and cache status."""
    await until(lambda: request_id in nginx.access_log, what="the line of the request")
    (line,) = (line for line in nginx.access_log.splitlines() if request_id in line)
    return line.partition(f'"{request_id}" ')[2]


@pytest.mark.parametrize(("delivery", "file"), [("stream", "gateway.conf"), ("accel", "accel.conf")])
async def test_a_full_disk_of_the_cache_is_visible_in_the_access_log(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, cos: CosEmulator, delivery: str, file: str
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": delivery})
    nginx = await start_nginx(in_front_of(gateway.address, file, cos.port), file_size=DISK)
    await images.add("small")
    cos.store.put(BUCKET, "larger.png", LARGER, content_type="image/png")
    await images.add_row(ImageRow("larger", None, "larger.png", public=True))

    assert (await nginx.get("/i/small", X_Request_Id="the-whole-answer")).status == 200
    assert await logged(nginx, "the-whole-answer") == '"OK" "MISS"'
    assert (await nginx.get("/i/small", X_Request_Id="the-second-answer")).status == 200
    assert await logged(nginx, "the-second-answer") == '"OK" "HIT"'
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
        await nginx.get("/i/larger", X_Request_Id="the-cut-answer")
    assert await logged(nginx, "the-cut-answer") == '"" "MISS"'


@pytest.mark.parametrize(("delivery", "file"), [("stream", "gateway.conf"), ("accel", "accel.conf")])
async def test_responses_without_a_body_are_logged_as_complete(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, cos: CosEmulator, delivery: str, file: str
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": delivery})
    nginx = await start_nginx(in_front_of(gateway.address, file, cos.port))
    await images.add("a")
    etag = (await nginx.get("/i/a")).headers["ETag"]
    await nginx.request("HEAD", "/i/a", X_Request_Id="the-head-answer")
    await nginx.get("/i/a", If_None_Match=etag, X_Request_Id="the-304-answer")
    await nginx.get("/i/never-there", X_Request_Id="the-404-answer")
    for request_id in ("the-head-answer", "the-304-answer", "the-404-answer"):
        assert (await logged(nginx, request_id)).startswith('"OK" ')
