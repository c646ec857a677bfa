"""The part of presigned URLs: the local tier, the resolver, the count of uses, and invalidation."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.changes.entry_trust import EntryTrust
from gateway.concurrency.clocks import boot_time
from gateway.presign.url_lifetime import UsableUrls
from gateway.purge.intake import PurgeIntake
from gateway.service.changes import Changes
from gateway.service.signing import Signing
from gateway.service.stores import Stores
from gateway.settings import Live, Settings
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.metrics import UrlMetrics
from gateway.urls.new_variants import NewVariants
from gateway.urls.resolver import UrlResolver
from gateway.urls.usage_counter import UsageCounter

UNKNOWN_TTL = 3.0  # seconds that an id is remembered as missing; a new image is served within 5 s


@dataclass(frozen=True, slots=True)
class Urls:
    """The signed image of an id, the count of its uses, and the invalidation of cached entries."""

    metrics: UrlMetrics
    signing: Signing
    stores: Stores
    changes: Changes
    local: LocalTier
    resolver: UrlResolver
    invalidation: Invalidation
    usage: UsageCounter


@asynccontextmanager
async def open_urls(
    live: Live[Settings],
    metrics: UrlMetrics,
    signing: Signing,
    stores: Stores,
    purges: PurgeIntake | None,
    changes: Changes,
) -> AsyncIterator[Urls]:
    """Find the signed image of an id, count its uses, and invalidate cached entries."""
    redis, now, renditions = stores.redis, signing.clock.now, signing.renditions
    entries = redis.entries if redis is not None else None
    local = LocalTier(live.map(lambda settings: settings.url_cache), renditions, changes.log, unknown_ttl=UNKNOWN_TTL)
    trust = EntryTrust(changes.log)
    new_variants = NewVariants(renditions, live.map(lambda settings: settings.image_variants.max_new_per_minute))
    urls = UsableUrls(signing.signer, signing.lifetime, now)
    resolver = UrlResolver(stores.catalog, urls, entries, local, trust, metrics, new_variants)
    channel = redis.channel if redis is not None else None
    invalidation = Invalidation(changes.log, boot_time, trust, entries, channel, purges)
    renditions.watch(resolver.forget_renditions)
    changes.log.add_cache(resolver)
    usage = UsageCounter(
        redis.usage if redis is not None else None,
        report_images=redis.daily.add_images if redis is not None and redis.daily is not None else None,
        now=now,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(resolver.close)
        stack.push_async_callback(usage.close)
        yield Urls(metrics, signing, stores, changes, local, resolver, invalidation, usage)
