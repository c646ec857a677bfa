"""Filling the URL cache ahead of requests."""

import logging
from collections.abc import AsyncIterator, Sequence

from gateway.concurrency.time_slices import in_groups
from gateway.errors import CatalogUnavailable, GatewayError, ImageNotFound
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.usage_store import UsageStore
from gateway.urls.resolver import UrlResolver
from gateway.urls.shared_maintenance import SharedMaintenance

logger = logging.getLogger(__name__)

BATCH = 100


async def warm_up(resolver: UrlResolver, image_ids: Sequence[str]) -> AsyncIterator[dict[str, GatewayError | None]]:
    """Look the images up in batches. Yield for each batch the error of each image, None when it is cached now."""
    for some in in_groups(image_ids, BATCH):
        found = await resolver.resolve_many(some)
        yield {image_id: result if isinstance(result, GatewayError) else None for image_id, result in found.items()}


async def warm_up_hottest(usage: UsageStore, maintenance: SharedMaintenance, resolver: UrlResolver, most: int) -> None:
    """Look up the ``most`` most used images. An image whose look-up fails is looked up by its first request.

    The usage of images that no longer exist is removed.
    """
    try:
        hottest = await usage.hottest(most)
        found = {image_id: error async for batch in warm_up(resolver, hottest) for image_id, error in batch.items()}
        gone = [image_id for image_id, error in found.items() if isinstance(error, ImageNotFound)]
        await maintenance.remove_usage(gone)
    except CacheUnavailable as error:
        logger.warning("no warm-up: %s", error)
        return
    errors = [error for error in found.values() if error is not None]
    unexpected = [error for error in errors if not isinstance(error, ImageNotFound | CatalogUnavailable)]
    logger.info("warmed up: images=%s failed=%s unexpected=%s", len(hottest), len(errors), len(unexpected))
