"""The refresh cycle on each topology of Redis: two gateways renew six hundred URLs, and a gateway is killed."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from pydantic import SecretStr

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.shards import Shards
from gateway.redis_queue.leased_queue import LeasedQueue, QueueLimits
from gateway.settings import Live, RedisSettings
from gateway_dev.database import ImageRow, ImagesTable
from tests.limits import LIMIT
from tests.processes import GatewayProcess, gateway_process
from tests.tier import CLUSTER, SENTINEL, empty_redis
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("forked_commands")

IDS = [f"id-{number}" for number in range(600)]
LIFE = 300  # of a URL, in seconds: longer than the test


@pytest.fixture(params=["server", SENTINEL, CLUSTER])
async def shards(request: pytest.FixtureRequest, raw_settings: dict[str, dict[str, Any]]) -> AsyncIterator[Shards]:
    """An empty Redis of each topology, which the configuration names."""
    url = raw_settings["redis"]["url"] = empty_redis(request, request.param)
    async with open_redis(RedisSettings(url=SecretStr(url), timeout=LIMIT)) as shards:
        yield shards


@pytest.fixture
def configuration(raw_settings: dict[str, dict[str, Any]], shards: Shards, tmp_path: Path) -> Path:
    """A lease of three seconds, and URLs that are fresh for the first two seconds of their life."""
    del shards  # it has named the Redis
    raw_settings["url_cache"] = {"default_ttl": LIFE, "sign_window": 1, "max_size": len(IDS) * 2}
    raw_settings["url_prerefresh"] = {"threshold": LIFE * 8 // 10 - 2, "lease": 3, "interval": 1, "batch_size": 100}
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    return file


async def ends(shards: Shards) -> dict[str, int]:
    """Return the end of each cached URL, by image id. None is missing, and none has ended."""
    values = await shards.values(map(ImageVariant, IDS), lambda shard, own: [("MGET", *map(shard.entry, own))])
    found: dict[str, int] = {}
    for variant, (value,) in values.items():
        assert value is not None, f"{variant.image_id} has expired"
        found[variant.image_id] = int(value.partition(b" ")[0])
    assert len(found) == len(IDS)
    assert min(found.values()) > time.time(), "a URL in the cache is dead"
    return found


async def warm(running: GatewayProcess) -> None:
    """Ask for every URL, two hundred at a time."""
    async with aiohttp.ClientSession() as session:
        for start in range(0, len(IDS), 200):
            body = {"image_ids": IDS[start : start + 200]}
            async with session.post(running.public + "/api/v1/images/urls", json=body) as answer:
                assert len((await answer.json())["data"]["urls"]) == 200


async def test_a_killed_gateway_leaves_not_one_url_unrenewed(
    configuration: Path, images_table: ImagesTable, shards: Shards
) -> None:
    """A ``kill -9`` in the middle of a batch: the other gateway finishes it, and no id is lost."""
    rows = [ImageRow(image_id, None, f"objects/{image_id}.png", public=True) for image_id in IDS]
    await asyncio.to_thread(images_table.put, rows)
    serve = ("serve", "--config", str(configuration))
    async with gateway_process(*serve) as killed, gateway_process(*serve) as running:
        await warm(running)
        first = await ends(shards)
        due = max(first.values()) - LIFE + 3  # when none is fresh any more
        queue = LeasedQueue(shards, "refresh", limits=Live(QueueLimits(lambda: 3, 5, 1000)))
        await queue.schedule(dict.fromkeys(map(ImageVariant, IDS), due))
        await until(lambda: renewed(shards, first), what="the first renewals")
        killed.process.kill()
        await until(lambda: all_renewed(shards, first), seconds=2 * LIMIT, what="the renewals")
        await until(lambda: is_settled(running), what="a queue with all images and no dead one")


async def renewed(shards: Shards, first: dict[str, int]) -> int:
    """Return how many URLs end later than at first."""
    return sum(end > first[image_id] for image_id, end in (await ends(shards)).items())


async def all_renewed(shards: Shards, first: dict[str, int]) -> bool:
    """Return whether each URL ends later than at first."""
    return await renewed(shards, first) == len(IDS)


async def is_settled(running: GatewayProcess) -> bool:
    """Return whether the gateway knows that each image is queued, and that no renewal failed."""
    async with aiohttp.ClientSession() as session, session.get(running.admin + "/api/v1/monitoring/stats") as answer:
        stats: dict[str, Any] = (await answer.json())["data"]
    assert stats["refresh_dead"] == 0
    assert stats["refresh"]["error_count"] == 0
    return bool(stats["refresh_queue_length"] == len(IDS))
