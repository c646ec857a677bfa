"""The components that requests and commands use, each as a context: opened, stored under its key, closed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from gateway.api import app_keys
from gateway.catalog.postgres import CatalogQueryRefused, open_catalog
from gateway.concurrency.in_flight import InFlight
from gateway.concurrency.replaceable import replaceable
from gateway.delivery.public_url import PublicUrls
from gateway.errors import CatalogUnavailable
from gateway.origin.session import open_origin
from gateway.presign.cos_clock import CosClock
from gateway.presign.credentials.by_bucket import BucketCredentials, open_credentials
from gateway.presign.hosts import Hosts
from gateway.presign.lifetime import Lifetime
from gateway.presign.renditions import Renditions
from gateway.presign.signer import Signer
from gateway.redis_store.client import open_redis
from gateway.redis_store.daily_statistics import DailyStatistics
from gateway.redis_store.description_store import DescriptionStore
from gateway.redis_store.entry_codec import EntryMac
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.redis_store.replica_store import ReplicaStore
from gateway.redis_store.url_entries import UrlEntries
from gateway.redis_store.usage_store import UsageStore
from gateway.settings import CosSettings, RedisSettings
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.new_variants import NewVariants
from gateway.urls.resolver import UrlResolver
from gateway.urls.shared_tier import SharedTier
from gateway.urls.usage_counter import UsageCounter

logger = logging.getLogger(__name__)

UNKNOWN_TTL = 3.0  # seconds that an id is remembered as unknown; a new image is served within 5 s
_FIRST_QUERY_TIMEOUT = 2.0  # seconds that a start waits for Postgres


async def in_flight(app: web.Application) -> AsyncIterator[None]:
    """The requests in flight."""
    app[app_keys.IN_FLIGHT] = InFlight(app[app_keys.METRICS])
    yield


async def credentials(app: web.Application) -> AsyncIterator[None]:
    """COS's clock, and the newest credentials of each bucket by that clock, refreshed in the background."""
    app[app_keys.CLOCK] = clock = CosClock()
    metrics = app[app_keys.METRICS]
    metrics.cos_clock_difference.set_function(lambda: clock.observed_offset)
    metrics.cos_clock_offset.set_function(lambda: clock.offset)
    async with replaceable(opened_credentials(app, app[app_keys.SETTINGS].cos)) as held:
        app[app_keys.OPEN_CREDENTIALS] = held
        # Other components hold this object, so a reload replaces its content.
        app[app_keys.CREDENTIALS] = held.value
        yield


def opened_credentials(app: web.Application, cos: CosSettings) -> AbstractAsyncContextManager[BucketCredentials]:
    """Open the credentials of each bucket, by COS's clock."""
    return open_credentials(cos, app[app_keys.METRICS], now=app[app_keys.CLOCK].now)


async def signer(app: web.Application) -> AsyncIterator[None]:
    """Presigns URLs by COS's clock; judges how long one is usable."""
    settings, metrics = app[app_keys.SETTINGS], app[app_keys.METRICS]
    app[app_keys.LIFETIME] = Lifetime(
        settings.url_cache.default_ttl, settings.url_cache.min_remaining, settings.url_prerefresh.threshold
    )
    app[app_keys.HOSTS] = Hosts(settings.cos)
    app[app_keys.RENDITIONS] = renditions = Renditions(settings.image_styles, settings.image_variants)
    app[app_keys.SIGNER] = Signer(
        app[app_keys.CREDENTIALS],
        app[app_keys.HOSTS],
        ttl=settings.url_cache.default_ttl,
        window=settings.url_cache.sign_window,
        renditions=renditions,
        metrics=metrics,
        now=app[app_keys.CLOCK].now,
    )
    app[app_keys.PUBLIC_URLS] = PublicUrls(
        app[app_keys.SIGNER],
        renditions,
        lambda presigned: app[app_keys.LIFETIME].is_usable(presigned, app[app_keys.CLOCK].now()),
    )
    yield


async def catalog(app: web.Application) -> AsyncIterator[None]:
    """The application's table in Postgres."""
    cos = app[app_keys.SETTINGS].cos
    opening = open_catalog(
        app[app_keys.SETTINGS].postgres,
        default_bucket=cos.bucket,
        regions=cos.regions,
        metrics=app[app_keys.METRICS],
        with_links=app_keys.SIGNED_LINKS in app,
        observe=app[app_keys.TRACING].postgres if app_keys.TRACING in app else None,
    )
    async with opening as app[app_keys.CATALOG]:
        yield


async def catalog_query(app: web.Application) -> AsyncIterator[None]:
    """Tries the query that requests use; raises ``CatalogQueryRefused`` if it cannot work.

    The gateway also starts while Postgres is down, and serves cached images.
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
    """The URL cache and the refresh queue in Redis; absent when ``url_cache.enabled`` is off."""
    settings = app[app_keys.SETTINGS]
    if not settings.url_cache.enabled:
        yield
        return
    observe = app[app_keys.TRACING].redis if app_keys.TRACING in app else None
    async with open_redis(settings.redis, observe) as client:
        app[app_keys.REDIS] = guard = GuardedRedis(client, settings.redis.prefix, settings.redis.timeout)
        app[app_keys.USAGE_STORE] = UsageStore(guard)
        app[app_keys.REPLICA_STORE] = ReplicaStore(guard)
        app[app_keys.DESCRIPTION_STORE] = descriptions = DescriptionStore(guard)
        if settings.url_stats.enabled:
            app[app_keys.DAILY_STATISTICS] = DailyStatistics(guard, retention_days=settings.url_stats.retention_days)
        app[app_keys.REFRESH_QUEUE] = RefreshQueue(
            guard,
            lease=lease(app, settings.url_prerefresh.lease),
            max_attempts=settings.url_prerefresh.max_attempts,
            max_dead=settings.url_cache.max_size,
        )
        app[app_keys.ENTRY_MAC] = EntryMac(*entry_secrets(settings.redis, settings.cos))
        app[app_keys.SHARED_TIER] = SharedTier(
            guard,
            UrlEntries(
                guard,
                app[app_keys.ENTRY_MAC],
                app[app_keys.SIGNER],
                app[app_keys.RENDITIONS],
                with_links=app_keys.SIGNED_LINKS in app,
                tombstone_ttl=2 * settings.postgres.timeout + 20,
            ),
            app[app_keys.USAGE_STORE],
            app[app_keys.REFRESH_QUEUE],
            app[app_keys.LIFETIME],
            descriptions=descriptions,
            renditions=app[app_keys.RENDITIONS].names,
            max_size=settings.url_cache.max_size,
            renews=settings.url_prerefresh.enabled,
            now=app[app_keys.CLOCK].now,
        )
        app[app_keys.INVALIDATION_CHANNEL] = InvalidationChannel(guard)
        yield


def lease(app: web.Application, seconds: float) -> Callable[[], float]:
    """Return the function that gives the lease of renewals: ``seconds``, or less for short-lived credentials."""
    return lambda: app[app_keys.LIFETIME].lease(seconds, app[app_keys.CREDENTIALS].shortest_life)


def entry_secrets(redis: RedisSettings, cos: CosSettings) -> tuple[str, str | None]:
    """Return the secret of the entries' MAC and the previous one; by default the secret that signs URLs."""
    secret, previous = redis.entry_key or cos.secret_key, redis.entry_key_previous
    if secret is None:
        raise ValueError("neither redis.entry_key nor cos.secret_key is set")  # the settings model refuses that
    return secret.get_secret_value(), previous.get_secret_value() if previous is not None else None


async def origin(app: web.Application) -> AsyncIterator[None]:
    """The client session to COS."""
    settings, metrics = app[app_keys.SETTINGS], app[app_keys.METRICS]
    opening = open_origin(
        settings.image_proxy,
        max_connections=settings.server.max_streams,
        metrics=metrics,
        buckets=list(settings.cos.regions),
        credentials_refused=app[app_keys.CREDENTIALS].refused,
        observe=app[app_keys.TRACING].cos if app_keys.TRACING in app else None,
    )
    async with opening as app[app_keys.ORIGIN]:
        yield


async def resolver(app: web.Application) -> AsyncIterator[None]:
    """Finds the signed image of an id, counts its use, and invalidates cached entries."""
    settings, variants = app[app_keys.SETTINGS].url_cache, app[app_keys.SETTINGS].image_variants
    app[app_keys.LOCAL_TIER] = local = LocalTier(
        settings.max_size if settings.enabled else 0,
        app[app_keys.RENDITIONS].names,
        local_ttl=settings.local_ttl,
        unknown_ttl=UNKNOWN_TTL,
    )
    app[app_keys.NEW_VARIANTS] = new_variants = NewVariants(app[app_keys.RENDITIONS], variants.max_new_per_minute)
    app[app_keys.RESOLVER] = resolver = UrlResolver(
        app[app_keys.CATALOG],
        app[app_keys.SIGNER],
        app.get(app_keys.SHARED_TIER),
        local,
        app[app_keys.LIFETIME],
        app[app_keys.METRICS],
        app[app_keys.CLOCK].now,
        admits_new=new_variants.admit,
    )
    intake = app.get(app_keys.PURGE_INTAKE)
    app[app_keys.INVALIDATION] = Invalidation(
        app.get(app_keys.SHARED_TIER),
        app.get(app_keys.INVALIDATION_CHANNEL),
        intake.add if intake is not None else None,
    )
    app[app_keys.INVALIDATION].add(resolver.invalidate)
    daily = app.get(app_keys.DAILY_STATISTICS)
    app[app_keys.USAGE] = UsageCounter(
        app.get(app_keys.USAGE_STORE),
        report_images=daily.add_images if daily is not None else None,
        now=app[app_keys.CLOCK].now,
    )
    yield
    await app[app_keys.USAGE].close()
    await resolver.close()
