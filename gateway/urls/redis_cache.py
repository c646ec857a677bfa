"""The adapter of the shared URL cache in Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from gateway.breaker import Breaker
from gateway.errors import DependencyDown
from gateway.settings import RedisSettings
from gateway.urls.codec import decode, encode
from gateway.urls.presigned import SignedImage

_CONNECTIONS = 32
_USAGE_LIFE = 30 * 24 * 3600

# KEYS[1] the entry; ARGV[1] its end, ARGV[2] the entry, ARGV[3] its TTL in seconds.
# A URL is never replaced by one that ends earlier, whoever signed it: two replicas may write in any order.
_PUT_IF_LATER = """
local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'string' then
    local kept_end = tonumber(string.match(kept, '^(%d+) '))
    if kept_end and kept_end > tonumber(ARGV[1]) then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

# KEYS[1] the entry; ARGV[1] what was read there. Drops garbage, but not what another replica put in its place.
_DROP_IF_SAME = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""


class CacheUnavailable(DependencyDown):
    """Redis did not answer in time, or answered with an error that says "not now"; never the client's business."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How often and when an image's URL was asked for; ``last_access`` in Unix seconds, None when never."""

    access_count: int = 0
    refresh_count: int = 0
    last_access: int | None = None


class RedisUrlCache:
    """Signed images in Redis, and what is counted about them.

    ``is_ours`` says whether this gateway would have made the entry: what is not ours is no hit. Every call is bounded
    by ``timeout`` seconds and raises ``CacheUnavailable``; after a few failures in a row it does so at once, but for
    the odd call that is let through to see whether Redis is back.
    """

    def __init__(
        self, client: "Redis", prefix: str, timeout: float, breaker: Breaker, is_ours: Callable[[SignedImage], bool]
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._timeout = timeout
        self._breaker = breaker
        self._is_ours = is_ours

    async def get_many(self, image_ids: Sequence[str], style: str | None) -> dict[str, SignedImage]:
        """Those of ``image_ids`` that are cached."""
        async with self._bounded():
            pipeline = self._client.pipeline(transaction=False)
            for image_id in image_ids:
                pipeline.get(self._url_key(image_id, style))
            # An entry of the wrong type is garbage like any other, so errors come back as answers.
            answers = await pipeline.execute(raise_on_error=False)
            found: dict[str, SignedImage] = {}
            for image_id, answer in zip(image_ids, answers, strict=True):
                if answer is None:
                    continue
                image = self._trusted(answer, image_id, style)
                if image is None:
                    await self._drop_garbage(self._url_key(image_id, style), answer)
                else:
                    found[image_id] = image
        return found

    async def put_many(self, images: Sequence[tuple[SignedImage, float]]) -> None:
        """Keep each image for so many seconds, unless what is kept ends later."""
        async with self._bounded():
            pipeline = self._client.pipeline(transaction=False)
            for image, ttl in images:
                key = self._url_key(image.record.image_id, image.style)
                # EVAL and not EVALSHA: a pipeline cannot answer NOSCRIPT, and the script is short.
                pipeline.eval(_PUT_IF_LATER, 1, key, image.presigned.expires_at, encode(image), max(1, int(ttl)))
            await pipeline.execute()

    async def usage(self, image_id: str) -> Usage:
        """What has been counted about the image; zeros when nothing has."""
        async with self._bounded():
            fields = ["access_count", "refresh_count", "last_access"]
            access, refresh, last = await self._client.hmget(self._usage_key(image_id), fields)
        return Usage(int(access or 0), int(refresh or 0), int(last) if last is not None else None)

    async def add_usage(self, counted: Mapping[str, Usage]) -> None:
        """Add what was counted by image id, in one pipeline."""
        async with self._bounded():
            pipeline = self._client.pipeline(transaction=False)
            for image_id, usage in counted.items():
                key = self._usage_key(image_id)
                if usage.access_count:
                    pipeline.hincrby(key, "access_count", usage.access_count)
                if usage.refresh_count:
                    pipeline.hincrby(key, "refresh_count", usage.refresh_count)
                if usage.last_access is not None:
                    pipeline.hset(key, "last_access", str(usage.last_access))
                pipeline.expire(key, _USAGE_LIFE)
            await pipeline.execute()

    async def try_write(self) -> None:
        """Write and remove a key: a Redis that answers may still be full, or a replica that takes no writes."""
        key = f"{self._prefix}check"
        async with self._bounded():
            await self._client.set(key, b"", ex=1)
            await self._client.delete(key)

    async def ping(self) -> None:
        """Return when Redis answers."""
        async with self._bounded():
            await self._client.ping()

    def _url_key(self, image_id: str, style: str | None) -> str:
        return f"{self._prefix}url:{image_id}" if style is None else f"{self._prefix}url:{image_id}:{style}"

    def _usage_key(self, image_id: str) -> str:
        return f"{self._prefix}usage:{image_id}"

    def _trusted(self, answer: Any, image_id: str, style: str | None) -> SignedImage | None:
        if not isinstance(answer, bytes):
            return None
        try:
            image = decode(answer, image_id, style)
        except ValueError:
            return None
        return image if self._is_ours(image) else None

    async def _drop_garbage(self, key: str, answer: Any) -> None:
        if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
            await self._client.delete(key)
        elif isinstance(answer, Exception):
            raise answer
        else:
            await self._client.eval(_DROP_IF_SAME, 1, key, answer)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Bound what is done within, translate its errors, and keep the breaker's count."""
        if not self._breaker.allows_call():
            raise CacheUnavailable("Redis has not answered lately")
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.failed()
            raise CacheUnavailable(" ".join(str(error).split()) or type(error).__name__) from error
        self._breaker.succeeded()


@asynccontextmanager
async def open_url_cache(
    settings: RedisSettings, is_ours: Callable[[SignedImage], bool]
) -> AsyncIterator[RedisUrlCache]:
    """The cache on a bounded connection pool of its own, which connects when it is first needed."""
    pool = BlockingConnectionPool.from_url(
        settings.url.get_secret_value(),
        max_connections=_CONNECTIONS,
        timeout=settings.timeout,
        socket_timeout=settings.timeout,
        socket_connect_timeout=settings.timeout,
        retry=Retry(NoBackoff(), 1),  # once: a connection kept open may have been closed by the server meanwhile
        protocol=2,
        client_name="image-gateway",
        driver_info=None,  # else every new connection looks up the library's version on the disk
    )
    client = Redis(connection_pool=pool)
    try:
        yield RedisUrlCache(client, settings.prefix, settings.timeout, Breaker(), is_ours)
    finally:
        await client.aclose()
        await pool.aclose()
