"""Maintenance of the URL cache: its bound in Redis, its repair, and its warm-up; and the jobs of each second."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from gateway.concurrency.time_limits import in_groups
from gateway.errors import CatalogUnavailable, GatewayError, ImageNotFound
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shard, Shards
from gateway.redis_entries.url_entries import UrlEntries
from gateway.redis_entries.usage_store import UsageStore
from gateway.redis_queue.leased_queue import LeasedQueue
from gateway.settings import Live, UrlCacheSettings
from gateway.urls.resolver import UrlResolver

logger = logging.getLogger(__name__)

_INTERVAL: Final = 1.0  # seconds
_REMOVED_AT_ONCE: Final = 200
_TRIMMED_AT_ONCE: Final = 100
_MOST_TRIMMED: Final = 1000
_WARMED_AT_ONCE: Final = 100

Job = Callable[[], Awaitable[object]]


async def run_each_second(jobs: Sequence[Job]) -> None:
    """Run the jobs once a second, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL)
        await run_once(jobs)


async def run_once(jobs: Sequence[Job]) -> None:
    """Run the jobs one after another."""
    for job in jobs:
        try:
            await job()
        except CacheUnavailable as error:
            logger.debug("maintenance waits for redis: %s", error)
        except Exception:  # a defect of one job must not end the others, nor the task: the log has its traceback
            logger.exception("maintenance failed")


@dataclass(slots=True)
class SharedMaintenance:
    """Bounds the URLs in Redis to ``settings.max_size``, each shard (share of the ids) to its part of it."""

    shards: Shards
    entries: UrlEntries
    usage: UsageStore
    queue: LeasedQueue
    renditions: Live[Renditions]
    settings: Live[UrlCacheSettings]
    _turn: int = field(default=0, init=False)
    _too_large: set[Shard] = field(default_factory=set, init=False)

    async def trim(self) -> int:
        """Remove up to 1000 variants beyond the bound, the least recently used first. Return their number.

        Each call looks at a shard of each server, and at the shards that were too large at the last call.
        """
        self._turn += 1
        looked_at = list({*self.shards.in_turn(self._turn), *self._too_large})
        share = math.ceil(self.settings.value.max_size / len(self.shards.all))
        self._too_large, trimmed = set(), 0
        for shard, size in (await self.usage.sizes(looked_at)).items():
            excess = min(size - share, _MOST_TRIMMED - trimmed)
            if size > share + max(0, excess):
                self._too_large.add(shard)
            while excess > 0:
                count, variants = await self.usage.take_least_used(shard, min(_TRIMMED_AT_ONCE, excess))
                if not count:
                    break
                for part in (self.entries, self.queue, self.usage):
                    await part.remove(variants)
                excess -= count
                trimmed += count
        return trimmed

    async def remove_usage(self, image_ids: Sequence[str]) -> None:
        """Remove the usage of images that do not exist."""
        variants = [ImageVariant(*pair) for pair in product(image_ids, (None, *self.renditions.value.names))]
        for some in in_groups(variants, _REMOVED_AT_ONCE):
            await self.usage.remove(some)

    async def repair_if_needed(self) -> None:
        """Delete values of the wrong type under keys of sets, if a command met one. Entries are overwritten anyway."""
        if self.shards.met_wrong_type():
            await self.shards.repair()


async def warm_up(resolver: UrlResolver, image_ids: Sequence[str]) -> AsyncIterator[dict[str, GatewayError | None]]:
    """Look the images up in batches. Yield for each batch the error of each image, None when it is cached now."""
    for some in in_groups(image_ids, _WARMED_AT_ONCE):
        found = await resolver.resolve_many(some)
        yield {image_id: result if isinstance(result, GatewayError) else None for image_id, result in found.items()}


async def warm_up_hottest(usage: UsageStore, maintenance: SharedMaintenance, resolver: UrlResolver, most: int) -> None:
    """Look up the ``most`` most used images, and remove the usage of those that no longer exist."""
    try:
        hottest = await usage.hottest(most)
        failed = unexpected = 0
        async for batch in warm_up(resolver, hottest):
            errors = {image_id: error for image_id, error in batch.items() if error is not None}
            failed += len(errors)
            unexpected += sum(not isinstance(error, ImageNotFound | CatalogUnavailable) for error in errors.values())
            await maintenance.remove_usage([name for name, error in errors.items() if isinstance(error, ImageNotFound)])
    except CacheUnavailable as error:
        logger.warning("no warm-up: %s", error)
        return
    logger.info("warmed up: images=%s failed=%s unexpected=%s", len(hottest), failed, unexpected)
