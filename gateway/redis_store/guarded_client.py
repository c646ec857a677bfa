"""Redis as the gateway uses it: never waited for long, and never trusted to be there."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from gateway.concurrency.circuit_breaker import CircuitBreaker
from gateway.errors import DependencyDown
from gateway.redis_store.availability_log import AvailabilityLog
from gateway.redis_store.client import REDIS_ERRORS, Client

logger = logging.getLogger(__name__)

T = TypeVar("T")

# redis-py puts the command before the error of a pipeline, and writes that error as a tuple or plainly.
_OF_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: (?:\(['\"])?|['\"],\)$", re.DOTALL)


_WRONG = ("WRONGTYPE", "INVALIDOBJ")


class CacheUnavailable(DependencyDown):
    """Redis did not answer in time, or answered with an error that says "not now"; never the client's business."""


class WrongType(CacheUnavailable):
    """Something else lies under one of our keys; Redis itself is well."""


class GuardedRedis:
    """The client, for those who keep to its rules.

    What is done within ``bounded`` may take ``timeout`` seconds and raises ``CacheUnavailable`` when it fails; after
    a time-out, or a few calls in a row without an answer, it does so at once, but for the odd call that is let through
    to see whether Redis is back. The log hears of it.
    """

    def __init__(self, client: Client, prefix: str, timeout: float, breaker: CircuitBreaker | None = None) -> None:
        # redis-py types one answer for all its modes (str or bytes, lists or dicts); ours is bytes.
        self.client: Any = client
        self.is_cluster = isinstance(client, RedisCluster)
        self._prefix = prefix
        self._timeout = timeout
        self._breaker = breaker or CircuitBreaker()
        self._tidings = AvailabilityLog()
        self._wrong_type = False

    def key(self, *parts: str) -> str:
        """``image:url:a`` for ``key("url", "a")``."""
        return self._prefix + ":".join(parts)

    def marker(self, key: str, name: str) -> str:
        """Return a key that a script may use beside ``key``, also in a Cluster.

        Its hash tag is the whole of ``key``, so that both are in one slot (Redis Cluster specification, hash tags).
        Where the prefix has a hash tag, that one counts for both.
        """
        return self.key("marker", f"{{{key}}}", name)

    def together(self, items: Sequence[T]) -> Sequence[Sequence[T]]:
        """The items in groups whose keys one command may name: all of them, or in a Cluster each by itself."""
        if self.is_cluster:
            return [[item] for item in items]
        return [items] if items else []

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Bound what is done within, translate its errors, and keep the breaker's count."""
        breaker = self._breaker
        if breaker.is_open and not breaker.allows_call():
            raise CacheUnavailable("Redis has not answered lately")
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except ResponseError as error:
            # An answer all the same: full, or read-only, it still serves what it has, so the breaker stays closed.
            self._answered()
            if is_wrong_type(error):
                self._wrong_type = True
                raise WrongType(_words(error)) from error
            self._tidings.refused(_words(error))
            raise CacheUnavailable(_words(error)) from error
        except REDIS_ERRORS as error:
            # One wait is enough: whatever else the same request wants of a Redis that hangs fails without waiting.
            breaker.failed(at_once=isinstance(error, TimeoutError | RedisTimeout))
            reason = _words(error) or f"no answer within {self._timeout:g} s"
            if breaker.is_open:
                self._tidings.away(reason)
            raise CacheUnavailable(reason) from error
        if breaker.has_failures:
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

    def met_wrong_type(self) -> bool:
        """Whether any command met a value of the wrong type since this was last asked."""
        met, self._wrong_type = self._wrong_type, False
        return met

    async def remove_unless(self, kind: bytes, keys: Sequence[str]) -> None:
        """Delete those of ``keys`` whose type is another than ``kind``: garbage would block what belongs there."""
        async with self.bounded():
            for key in keys:
                found = await self.client.type(key)
                if found not in (kind, b"none"):
                    logger.warning("redis key removed: key=%s type=%s expected=%s", key, found.decode(), kind.decode())
                    await self.client.delete(key)

    def _answered(self) -> None:
        self._breaker.succeeded()
        self._tidings.answered()


def is_wrong_type(error: Exception) -> bool:
    """Whether a command met a value of another type under its key, alone, in a script or in a pipeline.

    A string that begins like a HyperLogLog and is none is called corrupted (PFADD, Redis): no better.
    """
    return isinstance(error, ResponseError) and _OF_PIPELINE.sub("", str(error)).startswith(_WRONG)


def _words(error: Exception) -> str:
    """On one line, without the command; empty for a time-out of asyncio's."""
    words = " ".join(_OF_PIPELINE.sub("", str(error)).split())
    return words or ("" if isinstance(error, TimeoutError) else type(error).__name__)
