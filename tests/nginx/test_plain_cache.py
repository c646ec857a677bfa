"""nginx with plain ``proxy_pass`` and ``proxy_cache`` in front of a streaming gateway never caches half an image."""

from typing import Any

import aiohttp
import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Chunked, Cut, Fault, NoLength, Refuse, WrongLength
from gateway_dev.cos_emulator.faults import Headers as AddedHeaders
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway, token_for
from tests.nginx.conftest import Nginx, StartNginx
from tests.nginx.test_accel import LARGE, SMALL
from tests.stories.content import add_large

_CONFIGURATION = """
proxy_cache_path /var/cache/nginx/plain keys_zone=plain:1m use_temp_path=off;
upstream image_gateway {{ server {gateway}; keepalive 8; }}
server {{
    listen 80;
    location / {{
        proxy_pass http://image_gateway;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_next_upstream off;
        proxy_cache plain;
        proxy_cache_key $request_uri;
        proxy_cache_lock on;
        proxy_cache_revalidate on;
        add_header X-Cache $upstream_cache_status;
    }}
}}
"""


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway without retries."""
    return await start_gateway(image_proxy={"retry_count": 0})


@pytest.fixture
async def nginx(start_nginx: StartNginx, gateway: RunningGateway) -> Nginx:
    """A caching reverse proxy without any rule for images."""
    return await start_nginx(_CONFIGURATION.format(gateway=gateway.address))


async def test_a_transfer_that_fails_half_way_is_not_cached(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    actions: tuple[Any, ...] = (
        Cut(at=1_000_000),
        Cut(at=1_000_000, reset=True),
        WrongLength(by=1000),
        WrongLength(by=-1000),
        Chunked(),
    )
    for number, action in enumerate(actions):
        await add_large(images, image_id=f"a{number}")
        cos.faults.add(Fault(action=AddedHeaders(remove=["ETag"])))  # without an ETag the gateway cannot resume
        if isinstance(action, Chunked):
            wrong = AddedHeaders(add=[("x-cos-hash-crc64ecma", "1")], remove=["x-cos-hash-crc64ecma"])
            cos.faults.add(Fault(action=wrong))
        cos.faults.add(Fault(action=action))
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
            await nginx.get(f"/i/a{number}")
        for expected in ("MISS", "HIT"):
            answer = await nginx.get(f"/i/a{number}")
            assert answer.body == LARGE.read(0, LARGE.size)
            assert answer.headers["X-Cache"] == expected


async def test_a_resumed_image_is_cached_as_a_whole(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway()
    nginx = await start_nginx(_CONFIGURATION.format(gateway=gateway.address))
    await add_large(images)
    cos.faults.add(Fault(action=Cut(at=1_000_000), times=3))
    cos.faults.add(Fault(action=NoLength(cut_at=1_000), times=1, skip=9))
    for expected in ("MISS", "HIT"):
        answer = await nginx.get("/i/a")
        assert (answer.body, answer.headers["X-Cache"]) == (LARGE.read(0, LARGE.size), expected)


async def test_private_images_and_errors_are_not_cached(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    """nginx reuses a response to a request with Authorization unless Cache-Control forbids it."""
    await images.add("mine", SMALL, owner="alice", public=False)
    for _ in range(2):
        answer = await nginx.get("/i/mine", Authorization=f"Bearer {token_for('alice')}")
        assert (answer.status, answer.headers["X-Cache"]) == (200, "MISS")
    assert (await nginx.get("/i/mine", Authorization=f"Bearer {token_for('bob')}")).status == 404
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError")))
    assert (await nginx.get("/i/a")).status == 502
    assert (await nginx.get("/i/a")).body == SMALL


async def test_a_redirect_is_not_cached_for_longer_than_its_url_is_valid(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images
) -> None:
    gateway = await start_gateway(url_cache={"default_ttl": 100, "min_remaining": 30})
    nginx = await start_nginx(_CONFIGURATION.format(gateway=gateway.address))
    await images.add("a", SMALL)
    answer = await nginx.get("/i/a?redirect=true")
    assert int(answer.headers["Cache-Control"].partition("max-age=")[2]) <= 70


async def test_ranges_and_conditions_are_served_from_the_cache_of_nginx(
    nginx: Nginx, images: Images, cos: CosEmulator
) -> None:
    content = SyntheticContent(100_000)
    await add_large(images, content)
    first = await nginx.get("/i/a")
    ranged = await nginx.get("/i/a", Range="bytes=5-9")
    assert (ranged.status, ranged.body, ranged.headers["X-Cache"]) == (206, content.read(5, 10), "HIT")
    assert (await nginx.get("/i/a", If_None_Match=first.headers["ETag"])).status == 304
    assert len(cos.request_log.requests) == 1
