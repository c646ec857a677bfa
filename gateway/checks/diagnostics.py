"""Tries each dependency the way the gateway uses it, and reports failures with advice."""

from collections.abc import AsyncIterator, Mapping

from gateway.catalog.record import ImageRecord
from gateway.checks.cos import CosCheck, check_cos
from gateway.checks.database import DatabaseCheck
from gateway.checks.finding import Finding
from gateway.checks.redis import RedisCheck


async def diagnose(
    redis: RedisCheck | None, database: DatabaseCheck, cos: CosCheck, *, buckets: Mapping[str, str]
) -> AsyncIterator[Finding]:
    """Yield findings on Redis, Postgres and COS, in this order.

    COS is asked for images of each bucket of the table. COS is also asked for a made-up key of each of ``buckets``
    (with their regions) that no row names. The first of ``buckets`` is the default bucket. COS is asked for a made-up
    key of it only if the table has no image. ``redis`` is None when the cache is turned off.
    """
    if redis is None:
        yield Finding("redis", True, "turned off by url_cache.enabled")
    else:
        async for finding in redis.findings():
            yield finding
    async for finding in database.findings():
        yield finding
    found = {image.bucket for image in database.images}
    made_up = [
        ImageRecord("check", None, False, bucket, region, key="check", content_type=None)
        for bucket, region in buckets.items()
        if bucket not in found and not (found and bucket == next(iter(buckets)))
    ]
    async for finding in check_cos(cos, database.images, made_up, database.no_image_reason):
        yield finding
