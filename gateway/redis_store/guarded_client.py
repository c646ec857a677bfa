"""Access to Redis: commands packed in C, behind a time-out and a circuit breaker."""

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import hiredis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    DataError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeout

from gateway.concurrency.circuit_breaker import CircuitBreaker
from gateway.concurrency.shared_timeout import loop_timeout
from gateway.errors import DependencyDown
from gateway.redis_store.availability_log import AvailabilityLog
from gateway.redis_store.client import REDIS_ERRORS, Client

logger = logging.getLogger(__name__)

T = TypeVar("T")

# redis-py puts the command before the error of a pipeline, and writes that error as a tuple or plainly.
_OF_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: (?:\(['\"])?|['\"],\)$", re.DOTALL)
# The arguments of a command that the server does not know, and where a script failed.
_NOISE = re.compile(r",? with args beginning with: .*|,? script: [0-9a-f]{40}, on @user_script:\d+", re.DOTALL)

_WRONG = ("WRONGTYPE", "INVALIDOBJ")
# The words that operators search for, which redis-py removes from the messages.
_CODES: Final[Mapping[type[Exception], str]] = {
    AskError: "ASK",
    BusyLoadingError: "LOADING",
    ClusterCrossSlotError: "CROSSSLOT",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
    MovedError: "MOVED",
    NoPermissionError: "NOPERM",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
}


class CacheUnavailable(DependencyDown):
    """Redis did not answer in time, or answered with an error. Clients do not see it."""


class WrongType(CacheUnavailable):
    """A key holds a value of the wrong type. Redis itself works."""


class _PackedInC:
    """Packs commands with hiredis, as redis-py's synchronous client does.

    redis-py's asynchronous client loops over the arguments instead, which took a tenth of the time of a look-up of an
    image that is not cached.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0] if isinstance(args[0], bytes) else args[0].encode()
        if b" " in name:  # "CLIENT SETNAME" is two words for the server
            args = (*name.split(), *args[1:])
        try:
            return [hiredis.pack_command(args)]
        except TypeError as error:
            raise DataError(str(error)) from None


class GuardedRedis:
    """The Redis client, to be used within ``bounded``. Outside of a Cluster, its connections pack commands in C.

    Calls within ``bounded`` may take ``timeout`` seconds together and raise ``CacheUnavailable`` when they fail. After
    a time-out, or a few calls in a row without an answer, the breaker opens. Then calls fail at once, except a call a
    second that tries whether Redis answers again. Outages are logged.
    """

    def __init__(self, client: Client, prefix: str, timeout: float, breaker: CircuitBreaker | None = None) -> None:
        # redis-py types one answer for all its modes (str or bytes, lists or dicts); ours is bytes.
        self.client: Any = client
        self.is_cluster = isinstance(client, RedisCluster)
        if not isinstance(client, RedisCluster):
            pool = client.connection_pool
            if not issubclass(pool.connection_class, _PackedInC):
                pool.connection_class = type("PackedInC", (_PackedInC, pool.connection_class), {})
        self._prefix = prefix
        self._timeout = timeout
        self._breaker = breaker or CircuitBreaker()
        self._availability_log = AvailabilityLog()
        self._wrong_type = False
        self._last_failure = ""

    @property
    def timeout(self) -> float:
        """Seconds that calls within ``bounded`` may take together."""
        return self._timeout

    def key(self, *parts: str) -> str:
        """``image:url:a`` for ``key("url", "a")``."""
        return self._prefix + ":".join(parts)

    def marker(self, key: str, name: str) -> str:
        """Return a key that a script may use together with ``key``, also in a Cluster.

        Its hash tag is the whole of ``key``, so that both keys are in the same slot (Redis Cluster specification, hash
        tags). Where the prefix has a hash tag, the tag of the prefix counts for both.
        """
        return self.key("marker", f"{{{key}}}", name)

    def together(self, items: Sequence[T]) -> Sequence[Sequence[T]]:
        """Return the items in groups whose keys one command may name: all of them, or in a Cluster one by one."""
        if self.is_cluster:
            return [[item] for item in items]
        return [items] if items else []

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Bound the time of the calls within, translate their errors, and count their failures."""
        breaker = self._breaker
        if breaker.is_open and not breaker.allows_call():
            raise CacheUnavailable(f"not asked again yet: {self._last_failure}")
        try:
            async with loop_timeout(self._timeout):
                yield
        except ResponseError as error:
            # It answers: a Redis that is full or read-only still serves reads, so the breaker stays closed.
            self._answered()
            if is_wrong_type(error):
                self._wrong_type = True
                raise WrongType(message_of(error)) from error
            self._availability_log.refused(message_of(error))
            raise CacheUnavailable(message_of(error)) from error
        except REDIS_ERRORS as error:
            # A time-out opens the breaker at once, so that one request waits only once for a Redis that hangs.
            breaker.failed(at_once=isinstance(error, TimeoutError | RedisTimeout))
            self._last_failure = reason = message_of(error) or f"no answer within {self._timeout:g} s"
            if breaker.is_open:
                self._availability_log.away(reason)
            raise CacheUnavailable(reason) from error
        if breaker.has_failures:
            self._answered()

    async def ping(self) -> None:
        """Return when Redis answers."""
        async with self.bounded():
            await self.client.ping()

    def met_wrong_type(self) -> bool:
        """Return whether any command met a value of the wrong type since the last call of this method."""
        met, self._wrong_type = self._wrong_type, False
        return met

    async def remove_unless(self, kind: bytes, keys: Sequence[str]) -> None:
        """Delete each of ``keys`` whose type is not ``kind``: it would block the value that belongs there."""
        async with self.bounded():
            for key in keys:
                found = await self.client.type(key)
                if found not in (kind, b"none"):
                    logger.warning("redis key removed: key=%s type=%s expected=%s", key, found.decode(), kind.decode())
                    await self.client.delete(key)

    def _answered(self) -> None:
        self._breaker.succeeded()
        self._availability_log.answered()


def is_wrong_type(error: Exception) -> bool:
    """Return whether a command met a value of the wrong type, by itself, in a script or in a pipeline.

    Redis calls a string that only begins like a HyperLogLog corrupted (PFADD). That counts as the wrong type, too.
    """
    return isinstance(error, ResponseError) and _OF_PIPELINE.sub("", str(error)).startswith(_WRONG)


def message_of(error: Exception) -> str:
    """Return Redis' code and the error on a line, without the command. Empty for a time-out of asyncio."""
    code = _CODES.get(type(error), "")
    text = _NOISE.sub("", _OF_PIPELINE.sub("", str(error)).removeprefix(code))
    message = " ".join((code, *text.split())).strip()
    return message or ("" if isinstance(error, TimeoutError) else type(error).__name__)
