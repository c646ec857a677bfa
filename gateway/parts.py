"""Each part of the service as a context: opened, put where handlers find it, closed."""

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from gateway.api import keys
from gateway.api.proxy import ImageProxy
from gateway.api.viewing import ImageViewing
from gateway.catalog.changes import ChangeFeed
from gateway.catalog.postgres import CatalogQueryRefused, open_catalog
from gateway.delivery.accel import ImageAccel
from gateway.delivery.headers import CachePolicy
from gateway.delivery.redirect import ImageRedirect
from gateway.delivery.relay import Relay
from gateway.delivery.stream import ImageStream
from gateway.errors import CatalogUnavailable
from gateway.ops.background import background
from gateway.ops.daily_stats import DailyStats
from gateway.ops.health import Health
from gateway.origin.client import open_origin
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.source import ObjectSource
from gateway.urls.forgetting import Forgetting
from gateway.urls.local_tier import LocalTier
from gateway.urls.presigned import SignedImage
from gateway.urls.redis_cache import RedisUrlCache
from gateway.urls.redis_client import open_redis
from gateway.urls.redis_guard import RedisGuard
from gateway.urls.redis_usage import RedisUsage
from gateway.urls.refresh_queue import RefreshQueue
from gateway.urls.refresher import Refresher
from gateway.urls.renewal import Renewal
from gateway.urls.replicas import Replicas
from gateway.urls.resolver import UrlResolver
from gateway.urls.seal import Seal
from gateway.urls.shared_tier import SharedTier
from gateway.urls.upkeep import Upkeep
from gateway.urls.usage import UsageCounter
from gateway.urls.warm_up import warm_up_hottest

logger = logging.getLogger(__name__)

_FIRST_QUERY_TIMEOUT = 2.0  # seconds that a start waits for a Postgres that does not answer
_UNKNOWN_TTL = 3.0  # so that an image that appears is served within 5 s


async def catalog(app: web.Application) -> AsyncIterator[None]:
    """The application's table in Postgres."""
    cos = app[keys.SETTINGS].cos
    opening = open_catalog(
        app[keys.SETTINGS].postgres,
        default_bucket=cos.bucket,
        default_region=cos.region,
        metrics=app[keys.METRICS],
        with_links=keys.LINKS in app,
    )
    async with opening as app[keys.CATALOG]:
        yield


async def catalog_query(app: web.Application) -> AsyncIterator[None]:
    """The first try of the query that requests use; raises ``CatalogQueryRefused`` when it cannot work.

    Postgres that does not answer is no reason not to start: what is cached is served.
    """
    try:
        async with asyncio.timeout(_FIRST_QUERY_TIMEOUT):
            await app[keys.CATALOG].try_query()
    except CatalogQueryRefused:
        raise
    except (CatalogUnavailable, TimeoutError) as error:
        logger.warning("postgres does not answer, starting without it: %s", error)
    yield


async def shared_tier(app: web.Application) -> AsyncIterator[None]:
    """The URL cache and the refresh queue in Redis; nothing of it when ``url_cache.enabled`` is off."""
    settings = app[keys.SETTINGS]
    if not settings.url_cache.enabled:
        yield
        return
    async with open_redis(settings.redis) as client:
        app[keys.REDIS] = guard = RedisGuard(client, settings.redis.prefix, settings.redis.timeout)
        app[keys.REDIS_USAGE] = RedisUsage(guard)
        app[keys.REFRESH_QUEUE] = RefreshQueue(
            guard,
            lease=settings.url_prerefresh.lease,
            max_attempts=settings.url_prerefresh.max_attempts,
            max_dead=settings.url_cache.max_size,
        )
        app[keys.SHARED_TIER] = SharedTier(
            guard,
            RedisUrlCache(
                guard,
                Seal(settings.cos.secret_key.get_secret_value()),
                app[keys.SIGNER].is_ours,
                with_links=keys.LINKS in app,
                tombstone_ttl=2 * settings.postgres.timeout + 20,
            ),
            app[keys.REDIS_USAGE],
            app[keys.REFRESH_QUEUE],
            app[keys.LIFETIME],
            styles=list(settings.image_styles),
            max_size=settings.url_cache.max_size,
            renews=settings.url_prerefresh.enabled,
            now=app[keys.CLOCK].now,
        )
        app[keys.REPLICAS] = Replicas(guard)
        yield


async def resolver(app: web.Application) -> AsyncIterator[None]:
    """Image id -> signed image, and every memory's way to forget."""
    settings = app[keys.SETTINGS].url_cache
    local = LocalTier(
        settings.max_size if settings.enabled else 0,
        list(app[keys.SETTINGS].image_styles),
        local_ttl=settings.local_ttl,
        unknown_ttl=_UNKNOWN_TTL,
    )
    app[keys.RESOLVER] = resolver = UrlResolver(
        app[keys.CATALOG],
        app[keys.SIGNER],
        app.get(keys.SHARED_TIER),
        local,
        app[keys.LIFETIME],
        app[keys.METRICS],
        app[keys.CLOCK].now,
    )
    app[keys.VIEWING] = ImageViewing(resolver)
    app[keys.FORGETTING] = Forgetting(app.get(keys.SHARED_TIER), app.get(keys.REPLICAS))
    app[keys.FORGETTING].add(resolver.forget)
    app[keys.USAGE] = UsageCounter(app.get(keys.REDIS_USAGE), now=app[keys.CLOCK].now)
    yield
    await resolver.close()


async def origin(app: web.Application) -> AsyncIterator[None]:
    """The client session to COS."""
    settings, metrics = app[keys.SETTINGS], app[keys.METRICS]
    opening = open_origin(
        settings.image_proxy,
        max_connections=settings.server.max_streams,
        metrics=metrics,
        buckets=[settings.cos.bucket],
    )
    async with opening as app[keys.ORIGIN]:
        yield


async def delivery(app: web.Application) -> AsyncIterator[None]:
    """How bytes reach clients: shared transfers, memory, and the ways of delivery."""
    settings, metrics, resolver = app[keys.SETTINGS].image_proxy, app[keys.METRICS], app[keys.RESOLVER]

    async def renew(refused: SignedImage, told_at: float | None) -> SignedImage:
        if app[keys.CLOCK].refused_at(told_at):
            # When rows were read, and since when changes are heard of, was told by another clock.
            resolver.distrust_before(app[keys.CLOCK].now())
        return await resolver.renew(refused.record.image_id, refused.style, refused=refused)

    source = ObjectSource(
        app[keys.ORIGIN],
        ObjectCache(settings.memory_cache, metrics),
        settings,
        renew=renew,
        sign_for_head=resolver.sign_for_head,
        metrics=metrics,
    )
    app[keys.OBJECT_SOURCE] = source

    def forget(image_id: str | None) -> None:
        # "Everything" is said of rows: the bytes under a key are COS's, and are asked for again by their age.
        if image_id is not None:
            source.drop(image_id)

    app[keys.FORGETTING].add(forget)
    policy = CachePolicy(settings.max_age, private_vary=app[keys.AUTHENTICATOR].varies_by)
    stream = ImageStream(source, Relay(metrics), policy)
    app[keys.IMAGE_PROXY] = ImageProxy(
        settings,
        limit=app[keys.STREAM_LIMIT],
        callers=app[keys.CALLERS],
        viewing=app[keys.VIEWING],
        usage=app[keys.USAGE],
        stream=stream,
        accel=ImageAccel(source, stream, policy, prefix=settings.accel_prefix),
        redirect=ImageRedirect(app[keys.LIFETIME], app[keys.HAND_OUT], policy, now=app[keys.CLOCK].latest),
    )
    yield
    await source.close()


async def health(app: web.Application) -> AsyncIterator[None]:
    """What ``/readyz`` looks at."""
    cos = app[keys.SETTINGS].cos
    bucket = app[keys.HOSTS].origin_of(cos.bucket, cos.region).base + "/"

    async def probe_cos() -> None:
        app[keys.CLOCK].observe(await app[keys.ORIGIN].probe(bucket))

    probes = {"postgres": app[keys.CATALOG].try_query, "cos": probe_cos}
    if keys.REDIS in app:
        probes["redis"] = app[keys.REDIS].ping
    app[keys.HEALTH] = health = Health(probes, app[keys.METRICS])
    async with background("health", health.watch()):
        yield


async def refresher(app: web.Application) -> AsyncIterator[None]:
    """The task that renews URLs before they die."""
    settings = app[keys.SETTINGS].url_prerefresh
    if not settings.enabled or keys.SHARED_TIER not in app:
        yield
        return
    renewal = Renewal(
        app[keys.CATALOG],
        app[keys.SIGNER],
        app[keys.SHARED_TIER],
        app[keys.REFRESH_QUEUE],
        app[keys.REDIS_USAGE],
        app[keys.LIFETIME],
        app[keys.METRICS],
        idle_after=settings.idle_after,
        forget=app[keys.FORGETTING].everywhere,
        now=app[keys.CLOCK].now,
    )
    app[keys.REFRESHER] = refresher = Refresher(
        app[keys.REFRESH_QUEUE],
        renewal,
        app[keys.METRICS],
        interval=settings.interval,
        batch_size=settings.batch_size,
        now=app[keys.CLOCK].now,
    )
    async with background("refresher", refresher.run()):
        yield


async def statistics(app: web.Application) -> AsyncIterator[None]:
    """Counters that go to Redis once a second, and once more at the end; and the cache kept to its size."""
    if keys.SHARED_TIER not in app:
        yield
        return
    settings, shared, tally = app[keys.SETTINGS].url_stats, app[keys.SHARED_TIER], app[keys.RESOLVER].tally
    chores = [shared.mend_if_needed, app[keys.USAGE].flush, shared.trim]
    if settings.enabled:
        app[keys.DAILY_STATS] = daily = DailyStats(app[keys.REDIS], retention_days=settings.retention_days)
        daily.watch("hits_local", lambda: tally.total("local", "hit"))
        daily.watch("hits_redis", lambda: tally.total("redis", "hit"))
        daily.watch("misses", lambda: tally.total("redis", "miss") + tally.total("redis", "error"))
        if keys.REFRESHER in app:
            daily.watch("refreshes", lambda: app[keys.REFRESHER].report.results["renewed"])
        chores.append(daily.flush)

    upkeep = Upkeep(chores)
    async with background("upkeep", upkeep.run()):
        yield
    await upkeep.once()


async def change_feeds(app: web.Application) -> AsyncIterator[None]:
    """What Postgres and the other replicas tell of changes."""
    settings, forgetting = app[keys.SETTINGS], app[keys.FORGETTING]
    feed = ChangeFeed(settings.postgres.dsn.get_secret_value(), settings.postgres.timeout, app[keys.METRICS])

    def started() -> None:
        forgetting.here(None)
        app[keys.RESOLVER].end_gap(app[keys.CLOCK].now())

    if settings.postgres.listen:
        app[keys.RESOLVER].begin_gap()  # what changed while this replica was down was not heard

    async def listen() -> None:
        if settings.postgres.listen:
            await feed.listen(started=started, changed=forgetting.here_and_in_redis)

    async def listen_to_replicas() -> None:
        if keys.REPLICAS in app:
            await app[keys.REPLICAS].listen(forgetting.here)

    async with background("change-feed", listen()), background("replicas", listen_to_replicas()):
        yield


async def warm_up(app: web.Application) -> AsyncIterator[None]:
    """The hottest images looked up before they are asked for, if ``url_cache.warm_top`` says so."""
    most = app[keys.SETTINGS].url_cache.warm_top
    if not most or keys.REDIS_USAGE not in app:
        yield
        return
    warming = warm_up_hottest(app[keys.REDIS_USAGE], app[keys.SHARED_TIER], app[keys.RESOLVER], most)
    async with background("warm-up", warming):
        yield
