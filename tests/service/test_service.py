"""A service that fails after its start closes the parts that are open, as a stop does."""

import asyncio
import json
import logging
import time
from typing import Any

import pytest
import redis

from gateway.service.metrics import Metrics
from gateway.service.service import open_service
from gateway.settings import Settings
from gateway_dev.cos_emulator.faults import Fault, Hang
from tests.answering import answering
from tests.conftest import Images
from tests.waiting import until


class PortInUse(Exception):
    """What fails after the parts have opened."""


async def test_a_service_that_fails_after_its_start_gives_its_purges_back_and_ends_its_work(
    raw_settings: dict[str, dict[str, Any]], images: Images, redis_client: "redis.Redis"
) -> None:
    """A second gateway on the port of the first, started by mistake, must not keep purges until their lease ends."""
    level, describing = logging.getLogger().level, list[asyncio.Task[object]]()
    await images.add("a")
    async with answering() as edge:
        edge.hangs = True
        purge = {"target": "webhook", "url": edge.url, "base_urls": ["https://img.example.com"]}

        async def fail_at_work() -> None:
            async with open_service(Settings.model_validate({**raw_settings, "purge": purge}), Metrics()) as service:
                service.requests.debug_log.start()
                await service.urls.invalidation.drop(["a"])
                await until(lambda: edge.seen, what="the purge")
                record = (await service.urls.resolver.look_up("a")).image.record
                images.cos.faults.add(Fault(action=Hang(), times=None))
                describing.append(asyncio.create_task(service.images.metadata.of_many([record], "a client")))
                await until(lambda: images.cos.request_log.of(record.key), what="the request to COS")
                raise PortInUse

        with pytest.raises(PortInUse):
            await fail_at_work()
        assert json.loads(edge.seen[0][1])["image_ids"] == ["a"]
    due_at = redis_client.zscore("image:purge:queue", "a")
    assert due_at is not None
    assert due_at <= time.time()
    with pytest.raises(asyncio.CancelledError):
        await describing[0]
    assert logging.getLogger().level == level
