"""Redis as the gateway uses it: never waited for long, and never trusted to be there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from gateway.breaker import Breaker
from gateway.errors import DependencyDown
from gateway.urls.redis_client import REDIS_ERRORS, Client
from gateway.urls.tidings import Tidings

T = TypeVar("T")


class CacheUnavailable(DependencyDown):
    """Redis did not answer in time, or answered with an error that says "not now"; never the client's business."""


class WrongType(CacheUnavailable):
    """Something else lies under one of our keys; Redis itself is well."""


class RedisGuard:
    """The client, for those who keep to its rules.

    What is done within ``bounded`` may take ``timeout`` seconds and raises ``CacheUnavailable`` when it fails; after
    a time-out, or a few calls in a row without an answer, it does so at once, but for the odd call that is let through
    to see whether Redis is back. The log hears of it.
    """

    def __init__(self, client: Client, prefix: str, timeout: float, breaker: Breaker | None = None) -> None:
        # redis-py types one answer for all its modes (str or bytes, lists or dicts); ours is bytes.
        self.client: Any = client
        self._prefix = prefix
        self._timeout = timeout
        self._breaker = breaker or Breaker()
        self._tidings = Tidings()

    def key(self, *parts: str) -> str:
        """``image:url:a`` for ``key("url", "a")``."""
        return self._prefix + ":".join(parts)

    def together(self, items: Sequence[T]) -> Sequence[Sequence[T]]:
        """The items in groups whose keys one command may name: all of them, or in a Cluster each by itself."""
        if isinstance(self.client, RedisCluster):
            return [[item] for item in items]
        return [items] if items else []

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Bound what is done within, translate its errors, and keep the breaker's count."""
        if not self._breaker.allows_call():
            raise CacheUnavailable("Redis has not answered lately")
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except ResponseError as error:
            # An answer all the same: full, or read-only, it still serves what it has, so the breaker stays closed.
            self._answered()
            if str(error).startswith("WRONGTYPE"):
                raise WrongType(_words(error)) from error
            self._tidings.refused(_words(error))
            raise CacheUnavailable(_words(error)) from error
        except REDIS_ERRORS as error:
            # One wait is enough: whatever else the same request wants of a Redis that hangs fails without waiting.
            self._breaker.failed(at_once=isinstance(error, TimeoutError | RedisTimeout))
            reason = _words(error) or f"no answer within {self._timeout:g} s"
            if self._breaker.is_open:
                self._tidings.away(reason)
            raise CacheUnavailable(reason) from error
        self._answered()

    async def ping(self) -> None:
        """Return when Redis answers."""
        async with self.bounded():
            await self.client.ping()

    async def try_write(self) -> None:
        """Write and remove a key: a Redis that answers may still be full, or a replica that takes no writes."""
        async with self.bounded():
            await self.client.set(self.key("check"), b"", ex=1)
            await self.client.delete(self.key("check"))

    async def remove_unless(self, kind: bytes, keys: Sequence[str]) -> None:
        """Delete those of ``keys`` whose type is another than ``kind``: garbage would block what belongs there."""
        async with self.bounded():
            for key in keys:
                if await self.client.type(key) not in (kind, b"none"):
                    await self.client.delete(key)

    def _answered(self) -> None:
        self._breaker.succeeded()
        self._tidings.answered()


def _words(error: Exception) -> str:
    """On one line; empty for a time-out of asyncio's."""
    return " ".join(str(error).split()) or ("" if isinstance(error, TimeoutError) else type(error).__name__)
