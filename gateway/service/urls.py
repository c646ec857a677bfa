"""The part of presigned URLs: their cache tiers, the resolver, the count of uses, and invalidation."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.changes.entry_trust import EntryTrust
from gateway.concurrency.clocks import boot_time
from gateway.presign.signer import UsableUrls
from gateway.purge.intake import PurgeIntake
from gateway.redis_entries.url_entries import EntryMac, EntryRules, UrlEntries
from gateway.service.changes import Changes
from gateway.service.signing import Signing
from gateway.service.stores import RedisStores, Stores
from gateway.settings import CosSettings, Live, RedisSettings, Settings
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.maintenance import SharedMaintenance
from gateway.urls.metrics import UrlMetrics
from gateway.urls.new_variants import NewVariants
from gateway.urls.resolver import UrlResolver
from gateway.urls.usage_counter import UsageCounter

UNKNOWN_TTL = 3.0  # seconds that an id is remembered as missing; a new image is served within 5 s


@dataclass(frozen=True, slots=True)
class SharedUrls:
    """The entries in Redis, their maintenance, and their MAC."""

    entries: UrlEntries
    maintenance: SharedMaintenance
    mac: EntryMac


@dataclass(frozen=True, slots=True)
class Urls:
    """``shared`` is None without ``url_cache.enabled``."""

    local: LocalTier
    shared: SharedUrls | None
    resolver: UrlResolver
    invalidation: Invalidation
    usage: UsageCounter
    changes: Changes


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
    redis, now = stores.redis, signing.clock.now
    shared = _shared_urls(live, signing, redis) if redis is not None else None
    local = LocalTier(
        live.map(lambda settings: settings.url_cache), signing.renditions, changes.log, unknown_ttl=UNKNOWN_TTL
    )
    trust = EntryTrust(changes.log)
    new_variants = NewVariants(
        signing.renditions, live.map(lambda settings: settings.image_variants.max_new_per_minute)
    )
    resolver = UrlResolver(
        stores.catalog,
        UsableUrls(signing.signer, signing.lifetime, now),
        shared.entries if shared is not None else None,
        local,
        trust,
        metrics,
        new_variants,
    )
    invalidation = Invalidation(
        changes.log,
        boot_time,
        trust,
        shared.entries if shared is not None else None,
        redis.channel if redis is not None else None,
        purges,
    )
    signing.renditions.watch(resolver.forget_renditions)
    changes.log.add_cache(resolver)
    usage = UsageCounter(
        redis.usage if redis is not None else None,
        report_images=redis.daily.add_images if redis is not None and redis.daily is not None else None,
        now=now,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(resolver.close)
        stack.push_async_callback(usage.close)
        yield Urls(local, shared, resolver, invalidation, usage, changes)


def entry_secrets(redis: RedisSettings, cos: CosSettings) -> tuple[str, str | None]:
    """Return the secret of the entries' MAC and the previous secret. The default is the secret that signs URLs."""
    secret, previous = redis.entry_key or cos.secret_key, redis.entry_key_previous
    if secret is None:
        raise ValueError("neither redis.entry_key nor cos.secret_key is set")  # the settings model refuses that
    return secret.get_secret_value(), previous.get_secret_value() if previous is not None else None


def _shared_urls(live: Live[Settings], signing: Signing, redis: RedisStores) -> SharedUrls:
    settings = live.value
    mac = EntryMac(live.map(lambda settings: entry_secrets(settings.redis, settings.cos)))
    rules = EntryRules(
        renews=settings.url_prerefresh.enabled,
        with_links=settings.access.signed_links is not None,
        tombstone_ttl=2 * settings.postgres.timeout + 20,
    )
    entries = UrlEntries(
        redis.shards, mac, signing.signer, signing.renditions, signing.lifetime, rules, signing.clock.now
    )
    maintenance = SharedMaintenance(
        redis.shards,
        entries,
        redis.usage,
        redis.queue,
        signing.renditions,
        live.map(lambda settings: settings.url_cache),
    )
    return SharedUrls(entries, maintenance, mac)
