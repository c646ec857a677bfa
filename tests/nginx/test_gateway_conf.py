"""``gateway.conf`` with its optional cache: it caches public images and affects no other request."""

import asyncio

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway, token_for
from tests.limits import LIMIT
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.scripted import answer, scripted
from tests.nginx.test_accel import SMALL


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with ``delivery: stream``."""
    return await start_gateway()


@pytest.fixture
async def nginx(start_nginx: StartNginx, gateway: RunningGateway) -> Nginx:
    """nginx with ``gateway.conf`` and its cache in front of that gateway."""
    return await start_nginx(in_front_of(gateway.address, "gateway.conf"))


@pytest.fixture
def alice() -> str:
    """The value of Authorization with a token of alice."""
    return f"Bearer {token_for('alice')}"


async def test_public_images_are_cached(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL)
    for address in ("/i/a", "/api/v1/images/a/proxy", "/i/a?download=a.png"):
        for seen in ("nginx; fwd=uri-miss", "nginx; hit"):
            answered = await nginx.get(address)
            assert (answered.status, answered.body) == (200, SMALL)
            assert [value for name, value in answered.headers.items() if name == "Cache-Status"][-1] == seen
    assert len(cos.request_log.requests) == 1


async def test_concurrent_requests_are_one_request_to_cos(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL)
    answers = await asyncio.gather(*(nginx.get("/i/a") for _ in range(20)))
    assert {answered.body for answered in answers} == {SMALL}
    assert len(cos.request_log.requests) == 1


async def test_concurrent_requests_for_uncached_responses_do_not_wait_for_each_other(
    nginx: Nginx, images: Images, alice: str
) -> None:
    """``proxy_cache_lock`` would pass one request each half second, whether its response is stored or not."""
    await images.add("a", SMALL)
    await images.add("mine", SMALL, owner="alice", public=False)
    for path in ("/i/not-there", "/i/mine", "/i/a?redirect=true", "/healthz", "/openapi.json"):
        async with asyncio.timeout(LIMIT):  # with it, a hundred and fifty requests take 75 seconds
            answers = await asyncio.gather(*(nginx.get(path, Authorization=alice) for _ in range(150)))
        assert len({answered.status for answered in answers}) == 1, path
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*(nginx.get("/i/mine") for _ in range(150)))


async def test_ranges_and_conditions_that_nginx_evaluates_otherwise_bypass_the_cache(
    nginx: Nginx, images: Images
) -> None:
    await images.add("a", SMALL)
    etag = (await nginx.get("/i/a")).headers["ETag"]
    for name, value in (("Range", "bytes=5-2"), ("If_Unmodified_Since", "nonsense"), ("If_Match", etag)):
        answered = await nginx.get("/i/a", **{name: value})
        assert (answered.status, answered.body) == (200, SMALL)
    assert (await nginx.get("/i/a", If_None_Match=etag)).status == 304


async def test_a_hit_has_its_own_request_id_and_no_timing(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL)
    miss = await nginx.get("/i/a", X_Request_Id="the-first-request")
    assert miss.headers["X-Request-Id"] == "the-first-request"
    assert "Server-Timing" in miss.headers
    hit = await nginx.get("/i/a", X_Request_Id="the-second-request")
    assert hit.headers["X-Request-Id"] == "the-second-request"
    assert "Server-Timing" not in hit.headers
    for answered in (miss, hit):
        assert [name.lower() for name in answered.headers].count("x-request-id") == 1


async def test_a_stale_image_is_served_instead_of_an_error_of_cos_and_no_other(start_nginx: StartNginx) -> None:
    """The gateway answers 502 and 504 if the caller may see the image. 503: it may not know whether it has changed."""
    status = 0  # none: the image is sent
    errors = 0

    def gateway(head: str) -> str:
        nonlocal errors
        if not status:
            return answer(200, "an image", Cache_Control="public, max-age=1, stale-if-error=86400")
        errors += 1
        return answer(status, "an error", Cache_Control="no-store")

    async with scripted(gateway) as port:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{port}", "gateway.conf"))
        await nginx.get("/i/a")
        for status, sent in ((500, 500), (502, 200), (503, 503), (504, 200)):
            errors = 0
            while not errors:
                answered = await nginx.get("/i/a")
                await asyncio.sleep(0.05)
            assert (answered.status, answered.body == b"an image") == (sent, sent == 200)
            assert (await nginx.get("/i/b")).status == status
