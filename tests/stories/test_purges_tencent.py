"""Changes reach Tencent CDN and EdgeOne: with the gateway's credentials or others, and through outages."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.purge_services import PurgeServices
from gateway_dev.redis_server import RedisServer
from tests.conftest import SECRET_ID, SECRET_KEY, Images, StartGateway
from tests.waiting import until, until_listening_to_changes

pytestmark = pytest.mark.usefixtures("forked_commands")

BASE = "https://img.example.com"
CHANGE = "UPDATE images SET mime_type = 'image/webp' WHERE id = %s"


@pytest.fixture
async def services() -> AsyncIterator[PurgeServices]:
    """Tencent CDN and EdgeOne, which know the gateway's key and another."""
    known = {SECRET_ID: Credential(SECRET_KEY), "AKIDpurge": Credential("key", "token", time.time() + 3600)}
    async with PurgeServices(known) as services:
        yield services


def cdn(services: PurgeServices, **changes: Any) -> dict[str, Any]:
    """Return the section that purges there by address."""
    return {"target": "tencent_cdn", "base_urls": [BASE], "api_url": services.url, "per_second": 15, **changes}


def addresses(*image_ids: str) -> list[str]:
    """Return the addresses of the images."""
    return [BASE + path.format(image_id) for image_id in image_ids for path in ("/i/{}", "/api/v1/images/{}/proxy")]


async def test_a_changed_row_is_purged_with_the_credentials_of_cos(
    start_gateway: StartGateway, images: Images, services: PurgeServices
) -> None:
    gateway = await start_gateway(purge=cdn(services))
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a")
    await images.execute(CHANGE, "a")
    await until(lambda: services.purged == addresses("a"), what="the purge")
    await until(lambda: gateway.sample("purges_total", result="sent") == 1, what="its count")


async def test_edgeone_is_purged_by_tag_with_credentials_of_its_own(
    start_gateway: StartGateway, images: Images, services: PurgeServices, tmp_path: Path
) -> None:
    file, ends_at = tmp_path / "purge.json", int(time.time()) + 3600
    file.write_text(
        json.dumps({"secret_id": "AKIDpurge", "secret_key": "key", "token": "token", "expires_at": ends_at})
    )
    section = {
        "target": "edgeone",
        "zone_id": services.zone,
        "by": "cache_tag",
        "api_url": services.url,
        "credentials": {"source": "file", "path": str(file)},
    }
    del services.credentials[SECRET_ID]  # type: ignore[attr-defined]  # the mapping is a dict
    gateway = await start_gateway(purge=section)
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a")
    assert (await gateway.get("/i/a")).headers["Cache-Tag"] == "image-a"
    await images.execute(CHANGE, "a")
    await until(lambda: services.purged == ["image-a"], what="the purge")
    assert gateway.sample("credentials_expire_timestamp_seconds", bucket="purge") == ends_at


async def test_a_change_while_redis_is_down_is_purged_when_it_is_back(
    start_gateway: StartGateway, images: Images, services: PurgeServices, own_redis: RedisServer
) -> None:
    gateway = await start_gateway(purge=cdn(services), redis={"url": own_redis.url})
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a")
    assert (await gateway.get("/i/a")).status == 200
    await asyncio.to_thread(own_redis.kill)
    await images.execute(CHANGE, "a")

    queries = gateway.sample("catalog_queries_total", result="found")

    async def is_heard() -> bool:
        await gateway.get("/i/a")
        return gateway.sample("catalog_queries_total", result="found") > queries

    await until(is_heard, what="the change")
    assert services.purged == []
    await asyncio.to_thread(own_redis.start)
    await until(lambda: services.purged == addresses("a"), what="the purge")
