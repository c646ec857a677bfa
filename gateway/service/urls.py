"""The part of presigned URLs: the local tier, the resolver, the count of uses, invalidation, and what hears changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Final

from gateway.catalog.change_feed import ChangeFeed
from gateway.catalog.metrics import CatalogMetrics
from gateway.catalog.postgres import PostgresCatalog
from gateway.catalog.server_addresses import ServerAddresses
from gateway.changes.entry_trust import EntryTrust
from gateway.concurrency.background import background
from gateway.concurrency.clocks import boot_time
from gateway.errors import CatalogUnavailable
from gateway.presign.url_lifetime import CheckedSigner
from gateway.purge.intake import PurgeIntake
from gateway.service.changes import Changes
from gateway.service.signing import Signing
from gateway.service.stores import Stores
from gateway.settings import Live, Settings
from gateway.urls.aliases import Aliases
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.metrics import UrlMetrics
from gateway.urls.new_variants import NewVariants
from gateway.urls.resolver import UrlResolver
from gateway.urls.usage_counter import UsageCounter

UNKNOWN_TTL: Final = 3.0  # seconds that an id is remembered as missing; a new image is served within 5 s
# Seconds that a start waits to hear of changes. An image served before may be old, and remain in caches in front.
_LISTENING_TIMEOUT: Final = 3.0


class Urls:
    """The objects that find presigned URLs of images, count their uses, and drop cached URLs when an image changes.

    ``aliases`` is None without ``postgres.columns.alias``.
    """

    def __init__(
        self,
        live: Live[Settings],
        metrics: UrlMetrics,
        signing: Signing,
        stores: Stores,
        purges: PurgeIntake | None,
        changes: Changes,
    ) -> None:
        self.metrics, self.signing, self.stores, self.changes = metrics, signing, stores, changes
        catalog, redis, log = stores.catalog, stores.redis, changes.log
        now, renditions = signing.clock.now, signing.renditions
        entries, channel, uses, daily = (
            (redis.entries, redis.channel, redis.usage, redis.daily) if redis is not None else (None, None, None, None)
        )
        url_cache = live.map(lambda settings: settings.url_cache)
        self.local = LocalTier(url_cache, renditions, log, unknown_ttl=UNKNOWN_TTL)
        trust = EntryTrust(log)
        new_variants = NewVariants(renditions, live.map(lambda settings: settings.image_variants.max_new_per_minute))
        urls = CheckedSigner(signing.signer, signing.lifetime, now)
        self.resolver = resolver = UrlResolver(catalog, urls, entries, self.local, trust, metrics, new_variants)
        signing.clock.moved = resolver.reread_all  # the times of earlier reads and invalidations are of the old clock
        self.invalidation = Invalidation(log, boot_time, trust, entries, channel, purges)
        renditions.watch(lambda old, new: resolver.forget_renditions(new.differing_from(old)))
        log.add_cache(resolver)
        self.usage = UsageCounter(uses, report_images=daily.add_images if daily is not None else None, now=now)
        self.aliases: Aliases | None = None
        if live.value.postgres.columns.alias is not None:
            self.aliases = Aliases(
                catalog.find_aliases, catalog.aliases_of, resolver, url_cache, UNKNOWN_TTL, self.local.now
            )

    async def aclose(self) -> None:
        """Cancel running look-ups and reads."""
        await asyncio.gather(*(part.close() for part in (self.resolver, self.usage, self.aliases) if part is not None))


async def rows_missed(catalog: PostgresCatalog, invalidation: Invalidation) -> None:
    """Read every row again, from a server that has all changes until now: some were not notified."""
    with suppress(CatalogUnavailable):  # then rows are read from the primary
        await catalog.any_row_may_have_changed()
    invalidation.gap_ended()


@asynccontextmanager
async def hearing(
    settings: Settings,
    metrics: CatalogMetrics,
    urls: Urls,
    look_at_trigger: Callable[[], None],
    looked_at_trigger: asyncio.Event,
) -> AsyncIterator[None]:
    """Listen for changed rows and for tests of the trigger in Postgres, and for what other replicas say.

    looked_at_trigger: is set by the first look, which tells nginx to forget copies only of a process that serves.
    """
    postgres, redis, log = settings.postgres, urls.stores.redis, urls.changes.log
    name = "postgres.listen_dsn" if postgres.listen_dsn is not None else "postgres.dsn"
    async with AsyncExitStack() as stack:
        opened = stack.enter_async_context
        if postgres.listen:
            addresses = await opened(aclosing(ServerAddresses(postgres.primary_dsn(), postgres.timeout, name=name)))
            feed = ChangeFeed(addresses, metrics, urls.stores.catalog.positions)
            await opened(background("change-feed", feed.listen(urls.invalidation, look_at_trigger)))
        if redis is not None:
            await opened(background("invalidation-channel", redis.channel.listen(log, urls.resolver.drop)))
            await opened(background("publish-changes", redis.channel.publish_sweeps(log)))
        tried = asyncio.Event()
        log.add_observer(tried.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LISTENING_TIMEOUT):
                while not log.has_tried():
                    tried.clear()
                    await tried.wait()
                if postgres.listen:
                    await looked_at_trigger.wait()
        log.serves = True
        yield
