"""nginx with plain ``proxy_pass`` and ``proxy_cache`` in front of a streaming gateway never caches half an image."""

from typing import Any

import aiohttp
import pytest

from gateway_dev.cos_emulator.faults import Chunked, Cut, Fault, NoLength, WrongLength
from gateway_dev.cos_emulator.faults import Headers as AddedHeaders
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, StartNginx
from tests.nginx.test_accel import LARGE
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
