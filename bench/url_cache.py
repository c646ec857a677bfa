"""The URL cache without ports and background tasks, for measurements that fill it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.redis_entries.url_entries import UrlEntries
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing, open_signing
from gateway.service.stores import RedisStores, open_stores
from gateway.settings import Live, Settings


@asynccontextmanager
async def open_cached_urls(settings: Settings) -> AsyncIterator[tuple[Signing, RedisStores, UrlEntries]]:
    """Open the signer and the entries of the cache in Redis."""
    metrics = Metrics()
    async with (
        open_signing(Live(settings), metrics.presign) as signing,
        open_stores(Live(settings), metrics.catalog, metrics.monitoring, signing) as stores,
    ):
        if stores.redis is None:
            raise ValueError("url_cache.enabled is off")
        yield signing, stores.redis, stores.redis.entries
