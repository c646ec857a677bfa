"""The background components, each as a context: started, stored under its key, stopped."""

import logging
import time
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from gateway.api import app_keys
from gateway.api.access_log import LOGGER, AccessLog, stream_of_log
from gateway.catalog.change_feed import ChangeFeed
from gateway.catalog.inspection import inspect_database
from gateway.concurrency.background import background
from gateway.metrics.history import History
from gateway.metrics.image_requests import ImageRequests
from gateway.monitoring.buckets_probe import BucketsProbe
from gateway.monitoring.health import Health
from gateway.monitoring.history_recorder import HistoryRecorder
from gateway.monitoring.loop_lag import LoopLag
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.origin.answer_clock import AnswerClock
from gateway.process.debug_log import DebugLog
from gateway.process.logs import dropped_lines, log_handler
from gateway.redis_store.daily_statistics import DailyStatistics
from gateway.service.image_components import correct_clock
from gateway.urls.maintenance import Job, Maintenance
from gateway.urls.refresh_batch import RefreshBatch
from gateway.urls.refresh_worker import RefreshWorker
from gateway.urls.warm_up import warm_up_hottest


async def access_log(app: web.Application) -> AsyncIterator[None]:
    """Writes a line for each request, unless the access log is off or the level excludes it."""
    settings, handler = app[app_keys.SETTINGS].logging, log_handler()
    app[app_keys.METRICS].dropped_lines.count = dropped_lines
    app[app_keys.ACCESS_LOG] = lines = AccessLog(
        stream_of_log(),
        format=settings.format,
        sample=settings.access_sample,
        is_on=settings.access and logging.getLogger(LOGGER).isEnabledFor(logging.INFO),
        worker=handler.worker if handler is not None else None,
    )
    yield
    lines.flush()


async def loop_lag(app: web.Application) -> AsyncIterator[None]:
    """Measures how late the event loop is."""
    async with background("loop-lag", LoopLag(app[app_keys.METRICS]).run()):
        yield


async def health(app: web.Application) -> AsyncIterator[None]:
    """Probes the dependencies for ``/readyz`` and the metrics."""
    origin, signer, clock = app[app_keys.ORIGIN], app[app_keys.SIGNER], app[app_keys.CLOCK]
    buckets = BucketsProbe(
        origin,
        app[app_keys.SETTINGS].cos.regions,
        app[app_keys.METRICS],
        sign=lambda image: signer.sign(image).url,
        sample=partial(app[app_keys.CATALOG].random_images, 20),
        correct_clock=lambda cos_time: correct_clock(app, cos_time),
        observe=clock.observe,
    )
    probes = {"postgres": app[app_keys.CATALOG].try_query, "cos": buckets.probe}
    if app_keys.REDIS in app:
        probes["redis"] = app[app_keys.REDIS].ping
    if app[app_keys.CREDENTIALS].can_end:
        probes["credentials"] = app[app_keys.CREDENTIALS].check_life
    app[app_keys.HEALTH] = health = Health(probes, app[app_keys.METRICS], may_serve=lambda: buckets.may_serve)
    async with background("health", health.watch()):
        yield


async def refresh_worker(app: web.Application) -> AsyncIterator[None]:
    """Renews URLs before they expire; absent without a shared tier, or when ``url_prerefresh.enabled`` is off."""
    settings = app[app_keys.SETTINGS].url_prerefresh
    if not settings.enabled or app_keys.SHARED_TIER not in app:
        yield
        return
    batch = RefreshBatch(
        app[app_keys.CATALOG],
        app[app_keys.SIGNER],
        app[app_keys.SHARED_TIER],
        app[app_keys.REFRESH_QUEUE],
        app[app_keys.USAGE_STORE],
        app[app_keys.LIFETIME],
        app[app_keys.METRICS],
        idle_after=settings.idle_after,
        invalidate=app[app_keys.INVALIDATION].invalidate_everywhere,
        now=app[app_keys.CLOCK].now,
    )
    app[app_keys.REFRESH_WORKER] = refresh_worker = RefreshWorker(
        app[app_keys.REFRESH_QUEUE],
        batch,
        app[app_keys.METRICS],
        interval=settings.interval,
        batch_size=settings.batch_size,
        now=app[app_keys.CLOCK].now,
    )
    async with background("refresh-worker", refresh_worker.run()):
        yield


async def statistics(app: web.Application) -> AsyncIterator[None]:
    """Writes counters to Redis once a second and once at the end, trims the URL cache, and compares clocks with COS."""
    answer_clock = AnswerClock(app[app_keys.ORIGIN].first_answers, app[app_keys.CLOCK].observe)
    jobs: list[Job] = [answer_clock.read, app[app_keys.USAGE].flush]
    if app_keys.SHARED_TIER in app:
        shared_tier = app[app_keys.SHARED_TIER]
        jobs = [shared_tier.repair_if_needed, *jobs, shared_tier.trim]
    if app_keys.DAILY_STATISTICS in app:
        daily = app[app_keys.DAILY_STATISTICS]
        _watch_totals(daily, app)
        jobs.append(daily.flush)
    maintenance = Maintenance(jobs)
    async with background("maintenance", maintenance.run()):
        yield
    await maintenance.once()


def _watch_totals(daily: DailyStatistics, app: web.Application) -> None:
    lookup_counts = app[app_keys.RESOLVER].lookup_counts
    routes = {one.name for one in app.router.resources() if one.name and "{image_id}" in one.canonical}
    requests = ImageRequests(app[app_keys.METRICS].requests, routes)
    daily.watch("requests", requests.count)
    daily.watch("errors", requests.errors)
    daily.watch("response_ms", requests.milliseconds)
    daily.watch("hits_local", lambda: lookup_counts.total("local", "hit"))
    daily.watch("hits_redis", lambda: lookup_counts.total("redis", "hit"))
    daily.watch("misses", lambda: lookup_counts.total("redis", "miss") + lookup_counts.total("redis", "error"))
    if app_keys.REFRESH_WORKER in app:
        daily.watch("refreshes", lambda: app[app_keys.REFRESH_WORKER].report.results["renewed"])


async def change_feeds(app: web.Application) -> AsyncIterator[None]:
    """Listens for changed rows in Postgres and for the invalidations of other replicas."""
    settings, invalidation = app[app_keys.SETTINGS], app[app_keys.INVALIDATION]
    feed = ChangeFeed(settings.postgres.dsn.get_secret_value(), settings.postgres.timeout, app[app_keys.METRICS])

    def started() -> None:
        invalidation.invalidate_here(None)
        app[app_keys.RESOLVER].trust_redis_from(app[app_keys.CLOCK].now())

    def too_many(dropped: int) -> None:
        started()  # as after a gap: until their turn comes, and for those dropped, every row is read again
        if app_keys.PURGE_INTAKE in app:
            app[app_keys.PURGE_INTAKE].count_dropped(dropped)

    if settings.postgres.listen:
        app[app_keys.RESOLVER].stop_trusting_redis()  # changes made while this replica was down were missed

    async def listen_to_postgres() -> None:
        if settings.postgres.listen:
            changed = invalidation.invalidate_here_and_in_redis
            await feed.listen(started=started, changed=changed, too_many=too_many)

    async def listen_to_replicas() -> None:
        if app_keys.INVALIDATION_CHANNEL in app:
            await app[app_keys.INVALIDATION_CHANNEL].listen(invalidation.invalidate_here)

    async with (
        background("change-feed", listen_to_postgres()),
        background("invalidation-channel", listen_to_replicas()),
    ):
        yield


async def trigger_watch(app: web.Application) -> AsyncIterator[None]:
    """Checks that changes of rows are notified; absent when the gateway does not listen."""
    settings = app[app_keys.SETTINGS].postgres
    if not settings.listen:
        yield
        return
    watch = TriggerWatch(partial(inspect_database, settings, with_links=False), app[app_keys.METRICS])
    async with background("trigger-watch", watch.run()):
        yield


async def warm_up(app: web.Application) -> AsyncIterator[None]:
    """Looks up the ``url_cache.warm_top`` most used images before a request does; 0 turns it off."""
    most = app[app_keys.SETTINGS].url_cache.warm_top
    if not most or app_keys.USAGE_STORE not in app:
        yield
        return
    warming = warm_up_hottest(app[app_keys.USAGE_STORE], app[app_keys.SHARED_TIER], app[app_keys.RESOLVER], most)
    async with background("warm-up", warming):
        yield


async def debug_log(app: web.Application) -> AsyncIterator[None]:
    """Raises the level of the log for a while; the level is back when the gateway stops."""
    app[app_keys.DEBUG_LOG] = switch = DebugLog()
    yield
    switch.stop()


async def history(app: web.Application) -> AsyncIterator[None]:
    """Records the points of the console, and shows the last one to the consoles of other replicas."""
    metrics = app[app_keys.METRICS]
    app[app_keys.HISTORY] = history = History(metrics, time.time())
    app[app_keys.HISTORY_RECORDER] = recorder = HistoryRecorder(history, app.get(app_keys.REPLICA_STORE), metrics)
    async with background("history", recorder.run()):
        yield
