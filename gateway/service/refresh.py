"""The part that keeps the URL cache in order: renewals, the maintenance of each second, the warm-up at the start."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.api.routes import IMAGE_ROUTES
from gateway.concurrency.background import background
from gateway.metrics.loop_counters import ImageRequests
from gateway.origin.client import OriginClient
from gateway.redis_entries.daily_statistics import DailyStatistics
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing
from gateway.service.stores import RedisStores, Stores
from gateway.service.urls import Urls
from gateway.settings import Live, Settings
from gateway.urls.maintenance import Job, run_each_second, run_once, warm_up_hottest
from gateway.urls.metrics import UrlMetrics
from gateway.urls.refresh_batch import RefreshBatch
from gateway.urls.refresh_worker import RefreshReport, RefreshWorker


@asynccontextmanager
async def open_refresh(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, urls: Urls, origin: OriginClient
) -> AsyncIterator[RefreshReport]:
    """Renew URLs before they expire, and write counters, trim the cache and compare clocks each second.

    Yield the report of the renewals. It stays empty without ``url_prerefresh.enabled``, and without Redis.
    """
    async with AsyncExitStack() as stack:
        worker, report = _refresh_worker(live, metrics.urls, signing, stores, urls), RefreshReport()
        if worker is not None:
            report = worker.report
            await stack.enter_async_context(background("refresh-worker", worker.run()))
        jobs = _maintenance(metrics, signing, stores, urls, origin, report)
        stack.push_async_callback(run_once, jobs)
        await stack.enter_async_context(background("maintenance", run_each_second(jobs)))
        yield report


@asynccontextmanager
async def warming_up(settings: Settings, redis: RedisStores | None, urls: Urls) -> AsyncIterator[None]:
    """Look up the ``url_cache.warm_top`` most used images before a request does. 0 turns the warm-up off."""
    most = settings.url_cache.warm_top
    if not most or redis is None or urls.shared is None:
        yield
        return
    async with background("warm-up", warm_up_hottest(redis.usage, urls.shared.maintenance, urls.resolver, most)):
        yield


def _refresh_worker(
    live: Live[Settings], metrics: UrlMetrics, signing: Signing, stores: Stores, urls: Urls
) -> RefreshWorker | None:
    refresh = live.map(lambda settings: settings.url_prerefresh)
    redis, shared = stores.redis, urls.shared
    if not refresh.value.enabled or redis is None or shared is None:
        return None
    maintenance = shared.maintenance

    async def forget(image_ids: Sequence[str]) -> None:
        await urls.invalidation.drop(image_ids)
        await maintenance.remove_usage(image_ids)

    batch = RefreshBatch(shared.entries, redis.usage, redis.queue, stores.catalog, urls.resolver.urls, refresh, forget)
    return RefreshWorker(redis.shards, redis.queue, batch, metrics, refresh, now=signing.clock.now)


def _maintenance(
    metrics: Metrics, signing: Signing, stores: Stores, urls: Urls, origin: OriginClient, report: RefreshReport
) -> list[Job]:
    async def compare_clocks() -> None:
        signing.clock.observe(origin.observed.cos_time())

    jobs: list[Job] = [compare_clocks, urls.usage.flush]
    if urls.shared is not None:
        jobs = [urls.shared.maintenance.repair_if_needed, *jobs, urls.shared.maintenance.trim]
    daily = stores.redis.daily if stores.redis is not None else None
    if daily is not None:
        _watch_totals(daily, metrics, report)
        jobs.append(daily.flush)
    return jobs


def _watch_totals(daily: DailyStatistics, metrics: Metrics, report: RefreshReport) -> None:
    lookups, requests = metrics.urls.lookups, ImageRequests(metrics.server.requests, IMAGE_ROUTES)
    daily.watch("requests", requests.count)
    daily.watch("errors", requests.errors)
    daily.watch("response_ms", requests.milliseconds)
    daily.watch("hits_local", lambda: lookups.total("local", "hit"))
    daily.watch("hits_redis", lambda: lookups.total("redis", "hit"))
    daily.watch("misses", lambda: lookups.misses("redis"))
    daily.watch("refreshes", lambda: report.results["renewed"])
