"""Tries each dependency the way the gateway uses it, and reports failures with advice."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from gateway.catalog.record import ImageRecord
from gateway.checks.cos import CosCheck, check_cos
from gateway.checks.database import DatabaseCheck
from gateway.checks.finding import Finding
from gateway.errors import DependencyDown


class Cache(Protocol):
    """The part of the Redis client that a diagnosis uses."""

    async def try_write(self) -> None:
        """Write and remove a key; raises ``DependencyDown``."""
        ...


async def diagnose(
    cache: Cache | None, address: str, database: DatabaseCheck, cos: CosCheck, *, buckets: Mapping[str, str]
) -> AsyncIterator[Finding]:
    """Yield findings on Redis (at ``address``), Postgres and COS, in this order.

    COS is asked for images of each bucket of the table, and for a made-up key of each of ``buckets`` (with their
    regions) that no row names; of the first, the default bucket, only if the table has no image. ``cache`` is None when
    the cache is turned off.
    """
    if cache is None:
        yield Finding("redis", True, "turned off by url_cache.enabled")
    else:
        yield await _diagnose_redis(cache, address)
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


async def _diagnose_redis(cache: Cache, address: str) -> Finding:
    try:
        await cache.try_write()
    except DependencyDown as error:
        advice = "check redis.url; the gateway must be allowed to write there, and needs Redis 6.2 or newer"
        return Finding("redis", False, f"{error}, at {address}", advice)
    return Finding("redis", True, f"a key was written at {address}")
