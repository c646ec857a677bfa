"""Changes reach Tencent CDN and EdgeOne: with the gateway's credentials or others, and through outages."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from pydantic import SecretStr

from gateway.net.bounded_http import BoundedHttp
from gateway.net.tencent_api import TencentApi
from gateway.presign.credentials import Credentials
from gateway.presign.style_variants import Renditions
from gateway.purge.intake import PurgeIntake
from gateway.purge.target import Addresses
from gateway.purge.tencent import TencentCdn
from gateway.purge.worker import PurgeWorker
from gateway.redis_connection.client import open_redis
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.redis_replicas.replica_store import ReplicaStore
from gateway.service.metrics import Metrics
from gateway.settings import Live, RedisSettings
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.purge_services import PurgeFault, PurgeLimits, PurgeServices
from gateway_dev.database import ImageRow
from gateway_dev.redis_server import RedisServer
from tests.conftest import SECRET_ID, SECRET_KEY, Images, StartGateway
from tests.limits import LIMIT
from tests.processes import gateway_process
from tests.purge.tencent import Keys
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


async def test_a_reload_of_the_keys_of_cos_reaches_purges_whose_source_takes_these_keys(
    start_gateway: StartGateway, images: Images, services: PurgeServices
) -> None:
    gateway = await start_gateway(purge=cdn(services, credentials={"source": "static"}))
    await until_listening_to_changes(gateway.ports.admin)
    for known in (images.cos.credentials, services.credentials):
        known["AKIDnew"] = Credential("new-key")  # type: ignore[index]  # the mappings are dicts
    assert (await gateway.reload(cos={"secret_id": "AKIDnew", "secret_key": "new-key"})).need_restart == ()
    del services.credentials[SECRET_ID]  # type: ignore[attr-defined]
    await images.add("a")
    await images.execute(CHANGE, "a")
    await until(lambda: services.purged == addresses("a"), what="the purge")


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


async def test_nothing_is_lost_when_the_gateway_is_killed_in_the_middle_of_a_burst(
    raw_settings: dict[str, dict[str, Any]],
    images: Images,
    services: PurgeServices,
    redis_url: str,
    redis_client: "redis.Redis",
    tmp_path: Path,
) -> None:
    services.limits = PurgeLimits(per_day=100_000)
    styles = {f"s{number}": "imageMogr2/strip" for number in range(49)}  # 100 addresses: 10 images a request
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump({**raw_settings, "purge": cdn(services), "image_styles": styles}))
    ids = [f"id-{number:03}" for number in range(60)]
    await asyncio.to_thread(images.table.put, [ImageRow(image_id, None, f"{image_id}.png") for image_id in ids])
    services.faults.add(PurgeFault(kind="hang", target="id-035"))
    async with gateway_process("serve", "--config", str(config)) as gateway:
        await until_listening_to_changes(gateway.admin)
        await images.execute("UPDATE images SET mime_type = 'image/webp'")
        await until(lambda: len(services.calls) > len(services.purges) >= 1, what="a request without an answer")
        gateway.process.kill()
        await gateway.exit_code()
    assert redis_client.zcard("image:purge:queue") > 0
    target_addresses = Addresses((BASE,), Live(Renditions(styles)))
    async with open_redis(RedisSettings(url=SecretStr(redis_url), timeout=10)) as shards, BoundedHttp(5) as http:
        queue, metrics = PurgeQueue(shards, per_second=15), Metrics()
        api = TencentApi(http, services.url, service=TencentCdn.SERVICE, version=TencentCdn.VERSION)
        target = TencentCdn(api, Keys(Credentials(SECRET_ID, SECRET_KEY)), "purge", target_addresses)

        async def in_a_minute() -> float:
            """When the lease of the killed one has ended."""
            return await queue.now() + 61

        intake = PurgeIntake(queue, metrics.purge, now=in_a_minute)
        worker = PurgeWorker(intake, target, metrics.purge, ReplicaStore(shards))
        async with asyncio.timeout(LIMIT):
            while redis_client.zcard("image:purge:queue"):
                await worker.send_batch()
    every = [address for image_id in ids for address in target_addresses.of(image_id)]
    assert set(services.purged) == set(every)
    # Twice at most: the batch that was being sent when the process was killed.
    assert len(services.purged) - len(every) in {0, 1000}
