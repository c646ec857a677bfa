"""The part that keeps the URL cache in order: renewals, the maintenance of each second, the warm-up at the start."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from gateway.api.routes import IMAGE_ROUTES
from gateway.concurrency.background import background
from gateway.metrics.loop_counters import RequestMetrics
from gateway.origin.client import OriginClient
from gateway.service.stores import RedisStores
from gateway.service.urls import Urls
from gateway.settings import Live, Settings
from gateway.urls.maintenance import Job, run_each_second, run_once, warm_up_hottest
from gateway.urls.refresh_batch import RefreshBatch
from gateway.urls.refresh_worker import RefreshReport, RefreshWorker


@asynccontextmanager
async def open_refresh(
    live: Live[Settings], requests: RequestMetrics, urls: Urls, origin: OriginClient
) -> AsyncIterator[RefreshReport]:
    """Renew URLs before they expire; write counters, trim the cache and compare clocks each second.

    At the start, the ``url_cache.warm_top`` most used images are looked up before a request does. Yield the report of
    the renewals. It stays empty without ``url_prerefresh.enabled``, and without Redis.
    """
    report, redis, clock = RefreshReport(), urls.stores.redis, urls.signing.clock

    async def compare_clocks() -> None:
        clock.observe(origin.observed.cos_time())

    jobs: list[Job] = [compare_clocks, urls.usage.flush]
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        if redis is not None:
            if live.value.url_prerefresh.enabled:
                worker = _refresh_worker(live, urls, redis)
                report = worker.report
                await opened(background("refresh-worker", worker.run()))
            jobs = [redis.maintenance.repair_if_needed, *jobs, redis.maintenance.trim]
            if redis.daily is not None:
                lookups, images = urls.metrics.lookups, partial(requests.of_images, IMAGE_ROUTES)
                redis.daily.watch("requests", lambda: images().requests)
                redis.daily.watch("errors", lambda: images().errors)
                redis.daily.watch("response_ms", lambda: images().milliseconds)
                redis.daily.watch("hits_local", lambda: lookups("local", "hit"))
                redis.daily.watch("hits_redis", lambda: lookups("redis", "hit"))
                redis.daily.watch("misses", lambda: urls.metrics.misses("redis"))
                redis.daily.watch("refreshes", lambda: report.results["renewed"])
                jobs.append(redis.daily.flush)
        stack.push_async_callback(run_once, jobs)
        await opened(background("maintenance", run_each_second(jobs)))
        if redis is not None and (most := live.value.url_cache.warm_top):
            await opened(background("warm-up", warm_up_hottest(redis.usage, redis.maintenance, urls.resolver, most)))
        yield report


def _refresh_worker(live: Live[Settings], urls: Urls, redis: RedisStores) -> RefreshWorker:
    refresh = live.map(lambda settings: settings.url_prerefresh)

    async def forget(image_ids: Sequence[str]) -> None:
        await urls.invalidation.drop(image_ids)
        await redis.maintenance.remove_usage(image_ids)

    batch = RefreshBatch(
        redis.entries, redis.usage, redis.queue, urls.stores.catalog, urls.resolver.urls, refresh, forget
    )
    return RefreshWorker(redis.shards, redis.queue, batch, urls.metrics, refresh, now=urls.signing.clock.now)
