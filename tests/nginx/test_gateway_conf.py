"""``gateway.conf`` with its optional cache: it keeps public images, and gets into the way of nothing else."""

import asyncio
import re

import pytest

from gateway.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway, token_for
from tests.nginx.conftest import CONFIG, Nginx, StartNginx
from tests.nginx.scripted import answer, scripted
from tests.nginx.test_accel import SMALL

# "#directive" and "#    what is in its block" are commented out; "# text" is prose. TLS stays as it is.
CACHE_LINE = re.compile(r"^( *)#(?=\S|    )(?!listen|http2|ssl_)", re.MULTILINE)


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """One that streams."""
    return await start_gateway()


@pytest.fixture
async def nginx(start_nginx: StartNginx, gateway: RunningGateway) -> Nginx:
    """The ready file in front of it, with its cache."""
    return await start_nginx(with_cache(upstream(gateway.ports.public.removeprefix("http://"))))


def upstream(gateway: str) -> str:
    """An upstream of the gateway at that host and port."""
    return f"upstream image_gateway {{ server {gateway}; keepalive 8; }}\n"


def with_cache(upstream: str) -> str:
    """``gateway.conf`` with the lines of the cache uncommented, after the upstream of the gateway."""
    return upstream + CACHE_LINE.sub(r"\1", (CONFIG / "gateway.conf").read_text())


@pytest.fixture
def alice() -> str:
    """Her Authorization."""
    return f"Bearer {token_for('alice')}"


async def test_public_images_are_kept(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL)
    for address in ("/i/a", "/api/v1/images/a/proxy", "/i/a?download=a.png"):
        for seen in ("nginx; fwd=uri-miss", "nginx; hit"):
            answered = await nginx.get(address)
            assert (answered.status, answered.body) == (200, SMALL)
            assert [value for name, value in answered.headers.items() if name == "Cache-Status"][-1] == seen
    assert len(cos.request_log.requests) == 1


async def test_many_at_once_cost_cos_one_request(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL)
    answers = await asyncio.gather(*(nginx.get("/i/a") for _ in range(20)))
    assert {answered.body for answered in answers} == {SMALL}
    assert len(cos.request_log.requests) == 1


async def test_private_images_keep_their_parts_conditions_and_head(nginx: Nginx, images: Images, alice: str) -> None:
    await images.add("mine", SMALL, owner="alice", public=False)
    whole = await nginx.get("/i/mine", Authorization=alice)
    part = await nginx.get("/i/mine", Authorization=alice, Range="bytes=0-9")
    assert (part.status, part.body) == (206, SMALL[:10])
    same = await nginx.get("/i/mine", Authorization=alice, If_None_Match=whole.headers["ETag"])
    assert same.status == 304
    assert (await nginx.request("HEAD", "/i/mine", Authorization=alice)).status == 200
    assert (await nginx.get("/i/mine")).status == 404


async def test_a_redirect_of_head_leads_to_where_head_is_answered(
    nginx: Nginx, images: Images, gateway: RunningGateway
) -> None:
    await images.add("a", SMALL)
    redirect = await nginx.request("HEAD", "/i/a?redirect=true")
    async with gateway.session.head(redirect.headers["Location"]) as found:
        assert found.status == 200


@pytest.mark.parametrize("path", ["/i/not-there", "/i/mine", "/i/a?redirect=true", "/healthz", "/openapi.json"])
async def test_nobody_waits_in_line_for_what_is_not_kept(nginx: Nginx, images: Images, path: str, alice: str) -> None:
    """nginx's lock lets one request through each half a second, whether anything comes to be kept or not."""
    await images.add("a", SMALL)
    await images.add("mine", SMALL, owner="alice", public=False)
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*(nginx.get(path, Authorization=alice) for _ in range(20)))
    assert len({answered.status for answered in answers}) == 1
    async with asyncio.timeout(2):
        await asyncio.gather(*(nginx.get(path) for _ in range(20)))


async def test_what_nginx_reads_otherwise_goes_past_the_cache(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL)
    etag = (await nginx.get("/i/a")).headers["ETag"]
    for name, value in (("Range", "bytes=5-2"), ("If_Unmodified_Since", "nonsense"), ("If_Match", etag)):
        answered = await nginx.get("/i/a", **{name: value})
        assert (answered.status, answered.body) == (200, SMALL)
    assert (await nginx.get("/i/a", If_None_Match=etag)).status == 304


async def test_a_hit_has_the_id_of_its_own_request_and_no_timing_of_another(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL)
    miss = await nginx.get("/i/a", X_Request_Id="the-first-request")
    assert miss.headers["X-Request-Id"] == "the-first-request"
    assert "Server-Timing" in miss.headers
    hit = await nginx.get("/i/a", X_Request_Id="the-second-request")
    assert hit.headers["X-Request-Id"] == "the-second-request"
    assert "Server-Timing" not in hit.headers
    for answered in (miss, hit):
        assert [name.lower() for name in answered.headers].count("x-request-id") == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_stale_image_stands_in_for_an_error_of_the_gateway(start_nginx: StartNginx, status: int) -> None:
    """As stale-if-error allows; of itself nginx does so only when it cannot reach the gateway."""
    errors = 0

    def gateway(head: str) -> str:
        nonlocal errors
        if head.startswith("GET /i/a") and not nginx_has_it:
            return answer(200, "an image", Cache_Control="public, max-age=1, stale-if-error=86400")
        errors += nginx_has_it
        return answer(status, "an error", Cache_Control="no-store")

    nginx_has_it = False
    async with scripted(gateway) as port:
        nginx = await start_nginx(with_cache(upstream(f"127.0.0.1:{port}")))
        await nginx.get("/i/a")
        nginx_has_it = True
        while not errors:
            answered = await nginx.get("/i/a")
            assert (answered.status, answered.body) == (200, b"an image")
            await asyncio.sleep(0.05)
        assert (await nginx.get("/i/b")).status == status
