"""Filling the URL cache before anybody asks."""

import logging
from collections.abc import AsyncIterator, Sequence

from gateway.errors import CatalogUnavailable, GatewayError, ImageNotFound
from gateway.urls.redis_guard import CacheUnavailable
from gateway.urls.redis_usage import RedisUsage
from gateway.urls.resolver import UrlResolver

logger = logging.getLogger(__name__)

BATCH = 100


async def warm_up(resolver: UrlResolver, image_ids: Sequence[str]) -> AsyncIterator[dict[str, GatewayError | None]]:
    """Look the images up, a batch at a time; for each of the batch its error, None when it is cached now."""
    for start in range(0, len(image_ids), BATCH):
        found = await resolver.resolve_many(image_ids[start : start + BATCH])
        yield {image_id: result if isinstance(result, GatewayError) else None for image_id, result in found.items()}


async def warm_up_hottest(usage: RedisUsage, resolver: UrlResolver, most: int) -> None:
    """Look up the ``most`` used images; whatever fails is left to the first request for it."""
    try:
        hottest = [member.image_id for member in await usage.hottest(most) if member.style is None]
    except CacheUnavailable as error:
        logger.warning("no warm-up: %s", error)
        return
    errors = [error async for batch in warm_up(resolver, hottest) for error in batch.values() if error is not None]
    unexpected = [error for error in errors if not isinstance(error, ImageNotFound | CatalogUnavailable)]
    logger.info("warmed up: images=%s failed=%s unexpected=%s", len(hottest), len(errors), len(unexpected))
