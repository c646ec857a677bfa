"""The part of the two stores: the application's table in Postgres, and Redis."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gateway.catalog.metrics import CatalogMetrics
from gateway.catalog.postgres import CatalogQueryRefused, PostgresCatalog, open_catalog
from gateway.errors import CatalogUnavailable
from gateway.monitoring.metrics import MonitoringMetrics
from gateway.monitoring.redis_probe import RedisProbe
from gateway.redis_connection.client import WrongRedis, open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shards
from gateway.redis_entries.daily_statistics import DailyStatistics
from gateway.redis_entries.metadata_store import MetadataStore
from gateway.redis_entries.url_entries import EntryCodec, EntryMac, UrlEntries
from gateway.redis_entries.usage_store import UsageStore
from gateway.redis_queue.leased_queue import LeasedQueue, QueueLimits
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.redis_replicas.replica_questions import ReplicaQuestions
from gateway.redis_replicas.replica_store import ReplicaStore
from gateway.service.signing import Signing
from gateway.settings import CosSettings, Live, RedisSettings, Settings
from gateway.urls.maintenance import SharedMaintenance

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans

logger = logging.getLogger(__name__)

_FIRST_QUERY_TIMEOUT = 2.0  # seconds that a start waits for Postgres


class RedisStores:
    """The objects that use Redis. ``daily`` is None without ``url_stats.enabled``. ``mac`` protects ``entries``."""

    def __init__(self, live: Live[Settings], probed: MonitoringMetrics, signing: Signing, shards: Shards) -> None:
        settings, renditions, url_cache = live.value, signing.renditions, live.map(lambda settings: settings.url_cache)
        secrets_of_entries = live.map(lambda settings: entry_secrets(settings.redis, settings.cos))
        self.shards = shards
        self.mac = EntryMac(secrets_of_entries, settings.sources, signing.hosts.named)
        codec = EntryCodec(self.mac, signing.signer)
        self.entries = UrlEntries(
            shards,
            codec,
            signing.lifetime,
            signing.clock.now,
            renews=settings.url_prerefresh.enabled,
            with_links=settings.access.signed_links is not None,
            tombstone_ttl=2 * settings.postgres.timeout + 20,
        )
        self.usage = UsageStore(shards)
        self.queue = LeasedQueue(shards, "refresh", limits=live.map(partial(_queue_limits, signing)))
        self.maintenance = SharedMaintenance(shards, self.entries, self.usage, self.queue, renditions, url_cache)
        self.replicas = ReplicaStore(shards)
        self.metadata = MetadataStore(shards)
        url_stats = live.map(lambda settings: settings.url_stats)
        self.daily = DailyStatistics(shards, url_stats) if url_stats.value.enabled else None
        self.channel = InvalidationChannel(shards)
        self.questions = ReplicaQuestions(shards, self.channel)
        self.probe = RedisProbe(shards, self.channel, settings.redis, probed)


@dataclass(frozen=True, slots=True)
class Stores:
    """The two stores, Postgres and Redis. ``redis`` is None without ``url_cache.enabled``."""

    catalog: PostgresCatalog
    redis: RedisStores | None

    async def check(self) -> None:
        """Try the query that requests use, and compare Redis with what ``redis.url`` and ``redis.shards`` say.

        Raises ``CatalogQueryRefused`` and ``WrongRedis``. A store that is down stops no start: the probes report it.
        """
        try:
            async with asyncio.timeout(_FIRST_QUERY_TIMEOUT):
                await self.catalog.try_query()
        except CatalogQueryRefused:
            raise
        except (CatalogUnavailable, TimeoutError) as error:
            logger.warning("postgres does not answer, starting without it: %s", error)
        try:
            if self.redis is not None:
                await self.redis.probe.check_settings()
        except WrongRedis:
            raise
        except CacheUnavailable as error:
            logger.debug("it is not known yet whether redis is as the settings say: %s", error)


@asynccontextmanager
async def open_stores(
    live: Live[Settings],
    metrics: CatalogMetrics,
    probed: MonitoringMetrics,
    signing: Signing,
    tracing: "Spans | None" = None,
) -> AsyncIterator[Stores]:
    """Open pools of connections to Redis and Postgres. Neither has to answer."""
    settings = live.value
    opening = open_catalog(
        settings.postgres,
        default_bucket=settings.cos.bucket,
        regions=settings.cos.regions,
        metrics=metrics,
        with_links=settings.access.signed_links is not None,
        observe=tracing.postgres if tracing is not None else None,
    )
    async with opening as catalog:
        if not settings.url_cache.enabled:
            yield Stores(catalog, None)
            return
        async with open_redis(settings.redis, tracing.redis if tracing is not None else None) as shards:
            yield Stores(catalog, RedisStores(live, probed, signing, shards))


def entry_secrets(redis: RedisSettings, cos: CosSettings) -> tuple[str, str | None]:
    """Return the secret of the entries' MAC and the previous secret. The default is the secret that signs URLs."""
    secret, previous = redis.entry_key or cos.secret_key, redis.entry_key_previous
    if secret is None:
        raise ValueError("neither redis.entry_key nor cos.secret_key is set")  # the settings model refuses that
    return secret.get_secret_value(), previous.get_secret_value() if previous is not None else None


def shared_secret(settings: Settings) -> str:
    """Return the secret that all gateways share. Without one, other gateways count the canary of this one as a user."""
    try:
        return entry_secrets(settings.redis, settings.cos)[0]
    except ValueError:
        return secrets.token_hex()


def _queue_limits(signing: Signing, settings: Settings) -> QueueLimits:
    prerefresh, credentials, lease = settings.url_prerefresh, signing.credentials, signing.lifetime.lease
    most = settings.url_cache.max_size
    return QueueLimits(lambda: lease(prerefresh.lease, credentials.shortest_life), prerefresh.max_attempts, most)
