"""Access to a server of Redis: commands packed in C, behind a time-out and a circuit breaker."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import hiredis
from redis.asyncio import Redis
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
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeout

from gateway.concurrency.circuit_breaker import CircuitBreaker
from gateway.concurrency.shared_timeout import loop_timeout
from gateway.errors import DependencyDown
from gateway.redis_connection.availability_log import AvailabilityLog

logger = logging.getLogger(__name__)

# All that redis-py raises.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

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
    TryAgainError: "TRYAGAIN",
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
    """The client of a server, to be used within ``bounded``. Its connections pack commands in C.

    Calls within ``bounded`` may take ``timeout`` seconds together and raise ``CacheUnavailable`` when they fail. After
    a time-out, or a few calls in a row without an answer, the breaker opens. Then calls fail at once, until
    ``answered`` is called: a background task tries whether the server answers again, so that no request waits for it.
    Outages are logged.

    client: the client of a server, or of the master behind Sentinel.
    timeout: seconds that calls within ``bounded`` may take together.
    address: ``host:port`` of a node of a Cluster, else empty.
    on_failure: called when the server did not answer, or answered that it is a replica or that its Cluster is down.

    ``is_read_only``: whether the server refused a write as a replica since the last ``reconnect``.
    """

    def __init__(
        self,
        client: Redis,
        timeout: float,
        *,
        address: str = "",
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        # redis-py types one answer for all its modes (str or bytes, lists or dicts); ours is bytes.
        self.client: Any = client
        pool = client.connection_pool
        if not issubclass(pool.connection_class, _PackedInC):
            pool.connection_class = type("PackedInC", (_PackedInC, pool.connection_class), {})
        self.timeout = timeout
        self.address = address
        self._breaker = CircuitBreaker()
        self._on_failure = on_failure
        self._availability_log = AvailabilityLog(address)
        self._wrong_type = False
        self._last_failure = ""
        self.is_read_only = False

    @property
    def is_away(self) -> bool:
        """Return whether calls fail at once."""
        return self._breaker.is_open

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Bound the time of the calls within, translate their errors, and count their failures."""
        breaker = self._breaker
        if self.is_away:
            raise CacheUnavailable(f"not asked again yet: {self._last_failure}")
        try:
            async with loop_timeout(self.timeout):
                yield
        except ResponseError as error:
            raise self.refusal(error) from error
        except REDIS_ERRORS as error:
            # A time-out opens the breaker at once, so that one request waits only once for a Redis that hangs.
            breaker.failed(at_once=isinstance(error, TimeoutError | RedisTimeout))
            self._last_failure = reason = message_of(error) or f"no answer within {self.timeout:g} s"
            if breaker.is_open:
                self._availability_log.away(reason)
            self._on_failure()
            raise CacheUnavailable(reason) from error
        if breaker.has_failures:
            self.answered()

    def refusal(self, error: ResponseError) -> CacheUnavailable:
        """Return what an answer that is an error is raised as."""
        # It answers: a Redis that is full or read-only still serves reads, so the breaker stays closed.
        self.answered()
        message = message_of(error)
        if is_wrong_type(error):
            self._wrong_type = True
            return WrongType(message)
        self._availability_log.refused(message)
        if "READONLY" in message:  # also within the error of a script of Redis 6
            self.is_read_only = True
            self._on_failure()
        elif isinstance(error, ClusterDownError):
            self._on_failure()
        return CacheUnavailable(message)

    async def ping(self) -> None:
        """Return when Redis answers."""
        async with self.bounded():
            await self.client.execute_command("PING")

    async def try_again(self) -> None:
        """Let calls be made again if the server answers, also by an error."""
        try:
            async with loop_timeout(self.timeout):
                await self.client.execute_command("PING")
        except ResponseError:
            pass
        except REDIS_ERRORS:
            return
        self.answered()

    async def reconnect(self) -> None:
        """Close the connections that are not in use: a new connection may lead to the server that is the master now."""
        self.is_read_only = False
        with suppress(*REDIS_ERRORS):
            await self.client.connection_pool.disconnect(inuse_connections=False)

    def met_wrong_type(self) -> bool:
        """Return whether any command met a value of the wrong type since the last call of this method."""
        met, self._wrong_type = self._wrong_type, False
        return met

    def answered(self) -> None:
        """Close the breaker: the server answers."""
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
