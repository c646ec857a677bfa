"""The task that drains the queue of renewals."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from gateway.concurrency.background import background
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.settings import RedisSettings
from gateway.urls.refresh_worker import RefreshWorker
from gateway_dev.redis_server import RedisServer
from tests.cluster import Cluster
from tests.limits import LIMIT
from tests.tier import IN_CLUSTER, Clock, Tier, make_tier
from tests.urls.test_refresh_batch import drained, keep, refresh_batch_of, refresh_worker_of
from tests.waiting import until


@pytest.mark.parametrize(("batch_size", "batches"), [(1000, [100, 100, 50]), (90, [90, 90, 70])])
async def test_a_cycle_drains_everything_that_is_due_in_one_query_a_batch(
    tier: Tier, batch_size: int, batches: list[int]
) -> None:
    """Packing and parsing more than a hundred would hold up requests."""
    ids = [f"id-{number}" for number in range(250)]
    await keep(tier, *ids)
    tier.table.queries.clear()
    tier.clock.now += 3000
    worker = refresh_worker_of(tier, batch_size=batch_size)
    await worker.drain(tier.shards.all)
    assert worker.report.results == Counter(renewed=250)
    assert [len(query) for query in tier.table.queries] == batches
    assert tier.metrics.registry.get_sample_value("image_gateway_refresh_total", {"result": "renewed"}) == 250
    assert tier.metrics.registry.get_sample_value("image_gateway_refresh_queue_length") == 250
    assert tier.metrics.registry.get_sample_value("image_gateway_refresh_due") == 0


@asynccontextmanager
async def running(refresh_worker: RefreshWorker) -> AsyncIterator[RefreshWorker]:
    async with background("refresh-worker", refresh_worker.run()):
        yield refresh_worker


async def test_shards_with_a_backlog_are_drained_in_turn(
    redis_url: str, redis_client: "redis.Redis", clock: Clock
) -> None:
    """Else the oldest renewals of a shard would wait for all of the others."""
    async with open_redis(RedisSettings(url=SecretStr(redis_url), timeout=LIMIT, shards=2)) as shards:
        tier = make_tier(shards, clock, max_size=2000)
        await keep(tier, *(f"id-{number}" for number in range(1400)))
        clock.now += 3000
        await drained(tier)
        turns = [shard for shard, _ in groupby(tier.shards.of(ids[0]) for ids in tier.table.queries)]
        assert len(turns) > 2
    redis_client.flushdb()  # the queues live on


async def test_the_task_wakes_when_something_is_due_and_survives_failures(
    tier: Tier, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    await keep(tier, "a")
    async with running(refresh_worker_of(tier)) as refresh_worker:
        await until(lambda: refresh_worker.report.last_run is not None)
        assert refresh_worker.report.running
        tier.clock.now += 3000
        await until(lambda: refresh_worker.report.success_count == 1)
        redis_client.set("image:refresh:queue", "garbage")
        async with asyncio.timeout(LIMIT):
            while "redis key removed: key=image:refresh:queue type=string expected=zset" not in caplog.text:
                await tier.maintenance.repair_if_needed()
                await asyncio.sleep(0.01)
        await keep(tier, "b")
        tier.clock.now += 3000
        await until(lambda: refresh_worker.report.success_count >= 2)
    assert not refresh_worker.report.running


async def test_an_idle_task_with_a_long_interval_is_not_late(tier: Tier) -> None:
    idle = refresh_worker_of(tier, interval=86_400)

    def last_success() -> float | None:
        return tier.metrics.registry.get_sample_value("image_gateway_refresh_last_success_timestamp_seconds")

    async with running(idle):
        await until(lambda: idle.report.last_run is not None)  # the first cycle has read the clock
        tier.clock.now += 3600
        await until(lambda: last_success() == tier.clock.now)
        assert idle.report.last_run == tier.clock.now - 3600  # no other cycle


async def test_overdue_renewals_are_shown_while_redis_takes_no_writes_and_nothing_while_it_cannot_be_read(
    tmp_path: Path, clock: Clock
) -> None:
    with RedisServer(tmp_path / "redis", ephemeral=True) as server, redis.Redis.from_url(server.url) as admin:
        settings = RedisSettings(url=SecretStr(server.url), timeout=LIMIT)
        async with open_redis(settings, try_every=0.01) as shards:
            tier = make_tier(shards, clock)
            sample = tier.metrics.registry.get_sample_value
            names = [f"image_gateway_refresh_{name}" for name in ("queue_length", "due", "dead", "lag_seconds")]
            assert [sample(name) for name in names] == [None] * 4
            await keep(tier, *(f"id-{number}" for number in range(58)))
            clock.now += 3000
            async with running(refresh_worker_of(tier)) as refresh_worker:
                await until(lambda: refresh_worker.report.results["renewed"] == 58)
                await asyncio.to_thread(admin.config_set, "maxmemory", "1")
                clock.now += 3000
                count = "image_gateway_refresh_cycle_duration_seconds_count"
                before = sample(count) or 0
                # The third cycle from now has begun after the change, and has failed.
                await until(lambda: (sample(count) or 0) >= before + 3)
                assert sample("image_gateway_refresh_due") == 58
                assert (sample("image_gateway_refresh_lag_seconds") or 0) > 0
                await asyncio.to_thread(server.kill)
                await until(lambda: [sample(name) for name in names] == [None] * 4)
                await asyncio.to_thread(server.start)
                await until(lambda: [sample(name) for name in names] == [0] * 4)


async def test_an_outage_of_redis_is_not_a_failed_renewal(tier: Tier) -> None:
    await keep(tier, "a")
    tier.clock.now += 3000
    claims = await tier.queue.claim(tier.clock(), 10)
    async with open_redis(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))) as unreachable:
        with pytest.raises(CacheUnavailable):
            await refresh_batch_of(make_tier(unreachable, tier.clock)).refresh(claims)
    tier.clock.now += 61  # the lease gives the claim back
    assert await drained(tier) == Counter(renewed=1)


@IN_CLUSTER
async def test_while_nothing_is_due_each_node_gets_one_command_a_second(six_nodes: Cluster, clock: Clock) -> None:
    six_nodes.flush()
    async with open_redis(RedisSettings(url=SecretStr(six_nodes.url), timeout=LIMIT)) as shards:
        tier = make_tier(shards, clock)
        await keep(tier, *(f"id-{number}" for number in range(100)))
        refresh_worker = refresh_worker_of(tier, interval=LIMIT)
        sample = tier.metrics.registry.get_sample_value
        async with running(refresh_worker):
            await until(lambda: sample("image_gateway_refresh_queue_length") == 100)
            clients = [six_nodes.clients[node] for node in six_nodes.masters()]
            before = [evals(client) for client in clients]
            looked = time.monotonic()
            await until(lambda: all(evals(client) - was >= 2 for client, was in zip(clients, before, strict=True)))
            seconds = time.monotonic() - looked
            counts = [evals(client) - was for client, was in zip(clients, before, strict=True)]
            assert max(counts) <= seconds + 2


def evals(client: "redis.Redis") -> int:
    """Return how many scripts a server has run."""
    return int(client.info("commandstats").get("cmdstat_eval", {"calls": 0})["calls"])
