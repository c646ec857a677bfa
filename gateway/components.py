"""Each part of the service as a context: opened, put where handlers find it, closed."""

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from gateway.api import app_keys
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.image_handler import ImageHandler
from gateway.catalog.change_feed import ChangeFeed
from gateway.catalog.postgres import CatalogQueryRefused, open_catalog
from gateway.concurrency.background import background
from gateway.delivery.accel import ImageAccel
from gateway.delivery.headers import CachePolicy
from gateway.delivery.redirect import ImageRedirect
from gateway.delivery.relay import Relay
from gateway.delivery.responder import Responder
from gateway.errors import CatalogUnavailable
from gateway.metrics.image_requests import ImageRequests
from gateway.ops.health import Health
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.object_source import ObjectSource
from gateway.origin.session import open_origin
from gateway.presign.presigned_url import SignedImage
from gateway.redis_store.client import open_redis
from gateway.redis_store.daily_statistics import DailyStatistics
from gateway.redis_store.entry_mac import EntryMac
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.redis_store.url_entries import UrlEntries
from gateway.redis_store.usage_store import UsageStore
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.maintenance import Job, Maintenance
from gateway.urls.refresh_batch import RefreshBatch
from gateway.urls.refresh_worker import RefreshWorker
from gateway.urls.resolver import UrlResolver
from gateway.urls.shared_tier import SharedTier
from gateway.urls.usage_counter import UsageCounter
from gateway.urls.warm_up import warm_up_hottest

logger = logging.getLogger(__name__)

_FIRST_QUERY_TIMEOUT = 2.0  # seconds that a start waits for a Postgres that does not answer
_UNKNOWN_TTL = 3.0  # so that an image that appears is served within 5 s


async def catalog(app: web.Application) -> AsyncIterator[None]:
    """The application's table in Postgres."""
    cos = app[app_keys.SETTINGS].cos
    opening = open_catalog(
        app[app_keys.SETTINGS].postgres,
        default_bucket=cos.bucket,
        default_region=cos.region,
        metrics=app[app_keys.METRICS],
        with_links=app_keys.LINKS in app,
    )
    async with opening as app[app_keys.CATALOG]:
        yield


async def catalog_query(app: web.Application) -> AsyncIterator[None]:
    """The first try of the query that requests use; raises ``CatalogQueryRefused`` when it cannot work.

    Postgres that does not answer is no reason not to start: what is cached is served.
    """
    try:
        async with asyncio.timeout(_FIRST_QUERY_TIMEOUT):
            await app[app_keys.CATALOG].try_query()
    except CatalogQueryRefused:
        raise
    except (CatalogUnavailable, TimeoutError) as error:
        logger.warning("postgres does not answer, starting without it: %s", error)
    yield


async def shared_tier(app: web.Application) -> AsyncIterator[None]:
    """The URL cache and the refresh queue in Redis; nothing of it when ``url_cache.enabled`` is off."""
    settings = app[app_keys.SETTINGS]
    if not settings.url_cache.enabled:
        yield
        return
    async with open_redis(settings.redis) as client:
        app[app_keys.REDIS] = guard = GuardedRedis(client, settings.redis.prefix, settings.redis.timeout)
        app[app_keys.USAGE_STORE] = UsageStore(guard)
        if settings.url_stats.enabled:
            app[app_keys.DAILY_STATISTICS] = DailyStatistics(guard, retention_days=settings.url_stats.retention_days)
        app[app_keys.REFRESH_QUEUE] = RefreshQueue(
            guard,
            lease=settings.url_prerefresh.lease,
            max_attempts=settings.url_prerefresh.max_attempts,
            max_dead=settings.url_cache.max_size,
        )
        app[app_keys.SHARED_TIER] = SharedTier(
            guard,
            UrlEntries(
                guard,
                EntryMac(settings.cos.secret_key.get_secret_value()),
                app[app_keys.SIGNER].is_ours,
                with_links=app_keys.LINKS in app,
                tombstone_ttl=2 * settings.postgres.timeout + 20,
            ),
            app[app_keys.USAGE_STORE],
            app[app_keys.REFRESH_QUEUE],
            app[app_keys.LIFETIME],
            styles=list(settings.image_styles),
            max_size=settings.url_cache.max_size,
            renews=settings.url_prerefresh.enabled,
            now=app[app_keys.CLOCK].now,
        )
        app[app_keys.INVALIDATION_CHANNEL] = InvalidationChannel(guard)
        yield


async def resolver(app: web.Application) -> AsyncIterator[None]:
    """Image id -> signed image, and every memory's way to forget."""
    settings = app[app_keys.SETTINGS].url_cache
    local = LocalTier(
        settings.max_size if settings.enabled else 0,
        list(app[app_keys.SETTINGS].image_styles),
        local_ttl=settings.local_ttl,
        unknown_ttl=_UNKNOWN_TTL,
    )
    app[app_keys.RESOLVER] = resolver = UrlResolver(
        app[app_keys.CATALOG],
        app[app_keys.SIGNER],
        app.get(app_keys.SHARED_TIER),
        local,
        app[app_keys.LIFETIME],
        app[app_keys.METRICS],
        app[app_keys.CLOCK].now,
    )
    app[app_keys.AUTHORIZED_LOOKUP] = AuthorizedLookup(resolver, app[app_keys.CALLERS])
    app[app_keys.INVALIDATION] = Invalidation(app.get(app_keys.SHARED_TIER), app.get(app_keys.INVALIDATION_CHANNEL))
    app[app_keys.INVALIDATION].add(resolver.forget)
    daily = app.get(app_keys.DAILY_STATISTICS)
    app[app_keys.USAGE] = UsageCounter(
        app.get(app_keys.USAGE_STORE),
        report_images=daily.add_images if daily is not None else None,
        now=app[app_keys.CLOCK].now,
    )
    yield
    await resolver.close()


async def origin(app: web.Application) -> AsyncIterator[None]:
    """The client session to COS."""
    settings, metrics = app[app_keys.SETTINGS], app[app_keys.METRICS]
    opening = open_origin(
        settings.image_proxy,
        max_connections=settings.server.max_streams,
        metrics=metrics,
        buckets=[settings.cos.bucket],
    )
    async with opening as app[app_keys.ORIGIN]:
        yield


async def delivery(app: web.Application) -> AsyncIterator[None]:
    """How bytes reach clients: shared transfers, memory, and the ways of delivery."""
    settings, metrics, resolver = app[app_keys.SETTINGS].image_proxy, app[app_keys.METRICS], app[app_keys.RESOLVER]

    async def renew(refused: SignedImage, told_at: float | None) -> SignedImage:
        if app[app_keys.CLOCK].refused_at(told_at):
            # When rows were read, and since when changes are heard of, was told by another clock.
            resolver.invalidate_before(app[app_keys.CLOCK].now())
        return await resolver.renew(refused.record.image_id, refused.style, refused=refused)

    source = ObjectSource(
        app[app_keys.ORIGIN],
        ObjectCache(settings.memory_cache, metrics),
        settings,
        renew=renew,
        sign_for_head=resolver.sign_for_head,
        metrics=metrics,
    )
    app[app_keys.OBJECT_SOURCE] = source

    def forget(image_id: str | None) -> None:
        # "Everything" is said of rows: the bytes under a key are COS's, and are asked for again by their age.
        if image_id is not None:
            source.drop(image_id)

    app[app_keys.INVALIDATION].add(forget)
    policy = CachePolicy(settings.max_age, private_vary=app[app_keys.AUTHENTICATOR].varies_by)
    responder = Responder(source, Relay(metrics), policy, metrics)
    app[app_keys.IMAGE_HANDLER] = ImageHandler(
        settings,
        max_streams=app[app_keys.SETTINGS].server.max_streams,
        lookup=app[app_keys.AUTHORIZED_LOOKUP],
        usage=app[app_keys.USAGE],
        responder=responder,
        accel=ImageAccel(source, responder, policy, prefix=settings.accel_prefix),
        redirect=ImageRedirect(
            app[app_keys.LIFETIME], app[app_keys.PUBLIC_URLS], policy, now=app[app_keys.CLOCK].latest
        ),
    )
    yield
    await source.close()


async def health(app: web.Application) -> AsyncIterator[None]:
    """What ``/readyz`` looks at."""
    cos = app[app_keys.SETTINGS].cos
    bucket = app[app_keys.HOSTS].origin_of(cos.bucket, cos.region).base + "/"

    async def probe_cos() -> None:
        app[app_keys.CLOCK].observe(await app[app_keys.ORIGIN].probe(bucket))

    probes = {"postgres": app[app_keys.CATALOG].try_query, "cos": probe_cos}
    if app_keys.REDIS in app:
        probes["redis"] = app[app_keys.REDIS].ping
    app[app_keys.HEALTH] = health = Health(probes, app[app_keys.METRICS])
    async with background("health", health.watch()):
        yield


async def refresh_worker(app: web.Application) -> AsyncIterator[None]:
    """The task that renews URLs before they die."""
    settings = app[app_keys.SETTINGS].url_prerefresh
    if not settings.enabled or app_keys.SHARED_TIER not in app:
        yield
        return
    renewal = RefreshBatch(
        app[app_keys.CATALOG],
        app[app_keys.SIGNER],
        app[app_keys.SHARED_TIER],
        app[app_keys.REFRESH_QUEUE],
        app[app_keys.USAGE_STORE],
        app[app_keys.LIFETIME],
        app[app_keys.METRICS],
        idle_after=settings.idle_after,
        forget=app[app_keys.INVALIDATION].invalidate_everywhere,
        now=app[app_keys.CLOCK].now,
    )
    app[app_keys.REFRESH_WORKER] = refresh_worker = RefreshWorker(
        app[app_keys.REFRESH_QUEUE],
        renewal,
        app[app_keys.METRICS],
        interval=settings.interval,
        batch_size=settings.batch_size,
        now=app[app_keys.CLOCK].now,
    )
    async with background("refresher", refresh_worker.run()):
        yield


async def statistics(app: web.Application) -> AsyncIterator[None]:
    """Counters written to Redis once a second, and once more at the end; and the cache trimmed to its size."""
    jobs: list[Job] = [app[app_keys.USAGE].flush]
    if app_keys.SHARED_TIER in app:
        shared = app[app_keys.SHARED_TIER]
        jobs = [shared.mend_if_needed, *jobs, shared.trim]
    if app_keys.DAILY_STATISTICS in app:
        daily = app[app_keys.DAILY_STATISTICS]
        _watch_totals(daily, app)
        jobs.append(daily.flush)

    maintenance = Maintenance(jobs)
    async with background("upkeep", maintenance.run()):
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
    """What Postgres and the other replicas tell of changes."""
    settings, invalidation = app[app_keys.SETTINGS], app[app_keys.INVALIDATION]
    feed = ChangeFeed(settings.postgres.dsn.get_secret_value(), settings.postgres.timeout, app[app_keys.METRICS])

    def started() -> None:
        invalidation.invalidate_here(None)
        app[app_keys.RESOLVER].end_gap(app[app_keys.CLOCK].now())

    if settings.postgres.listen:
        app[app_keys.RESOLVER].begin_gap()  # what changed while this replica was down was not heard

    async def listen() -> None:
        if settings.postgres.listen:
            await feed.listen(started=started, changed=invalidation.invalidate_here_and_in_redis)

    async def listen_to_replicas() -> None:
        if app_keys.INVALIDATION_CHANNEL in app:
            await app[app_keys.INVALIDATION_CHANNEL].listen(invalidation.invalidate_here)

    async with background("change-feed", listen()), background("replicas", listen_to_replicas()):
        yield


async def warm_up(app: web.Application) -> AsyncIterator[None]:
    """The hottest images looked up before they are asked for, if ``url_cache.warm_top`` says so."""
    most = app[app_keys.SETTINGS].url_cache.warm_top
    if not most or app_keys.USAGE_STORE not in app:
        yield
        return
    warming = warm_up_hottest(app[app_keys.USAGE_STORE], app[app_keys.SHARED_TIER], app[app_keys.RESOLVER], most)
    async with background("warm-up", warming):
        yield
