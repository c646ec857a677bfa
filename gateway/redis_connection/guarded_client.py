"""Commands and scripts for a server of Redis, packed in C, behind a time-out and a circuit breaker."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from itertools import chain
from typing import Any, Final, TypeAlias

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError, DataError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout

from gateway.concurrency.time_limits import loop_timeout
from gateway.errors import DependencyDown, RedisUnavailable

logger = logging.getLogger(__name__)

# A command and its arguments, as redis-py's ``execute_command`` takes them.
Command: TypeAlias = tuple[Any, ...]
# Returns the context of commands, given the command and the number of commands that are sent at once.
ObserveCommand: TypeAlias = Callable[[str, int], AbstractContextManager[object]]

_NOT_OBSERVED: Final = nullcontext()
_REFUSALS_EVERY: Final = 60.0  # seconds between two log lines about them
_MOST_FAILURES: Final = 3  # in a row

# All that redis-py raises.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

# The arguments of a command that the server does not know, and where a script failed.
_NOISE = re.compile(r",? with args beginning with: .*|,? script: [0-9a-f]{40}, on @user_script:\d+", re.DOTALL)

_WRONG = ("WRONGTYPE", "INVALIDOBJ")  # the latter: a string that only begins like a HyperLogLog (PFADD)
# The words that operators search for, which redis-py removes from the messages.
_CODES: Final = frozenset(
    {"ASK", "CLUSTERDOWN", "CROSSSLOT", "LOADING", "MASTERDOWN", "MOVED", "NOPERM", "OOM", "READONLY", "TRYAGAIN"}
)


class CacheUnavailable(DependencyDown, RedisUnavailable):
    """Redis did not answer in time, or answered with an error. Clients see it only if they ask about Redis itself."""


class CircuitBreaker:
    """Stops calls to a server of Redis after a few failures in a row, until its owner finds that it answers.

    Logs each outage once with its reason, its end once, and refused commands once a minute. A Redis that is full or
    read-only refuses writes and answers reads. That is not an outage. ``address`` is that of a node of a Cluster, else
    empty. ``is_open`` and ``failures`` (in a row) are attributes, so that reading them on every call costs nothing.
    """

    def __init__(self, address: str = "", *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name = f"redis {address}".strip()
        self._monotonic = monotonic
        self.is_open = False
        self.failures = 0
        self._next_refusal = float("-inf")

    def failed(self, reason: str, *, at_once: bool = False) -> None:
        """Count a failed call. ``at_once`` opens the breaker at this failure: the call used its whole time limit."""
        self.failures += 1
        if not self.is_open and (at_once or self.failures >= _MOST_FAILURES):
            self.is_open = True
            logger.warning("%s does not answer, going on without it: reason=%s", self._name, reason)

    def answered(self) -> None:
        """Close: a call was answered."""
        if self.is_open:
            logger.info("%s answers again", self._name)
        self.is_open, self.failures = False, 0

    def refused(self, reason: str) -> None:
        """Log that Redis answered with an error."""
        now = self._monotonic()
        if now >= self._next_refusal:
            logger.warning("%s refuses commands: reason=%s", self._name, reason)
            self._next_refusal = now + _REFUSALS_EVERY


class PackedConnection(AbstractConnection):
    """Mixin of connections to Redis: packs commands with hiredis, as redis-py's synchronous client does.

    Its asynchronous client loops over the arguments, which took a tenth of the time of a look-up that is no hit.
    """

    async def can_read(self) -> bool:
        """Return whether data are there before a command is sent. Raises ``ConnectionError`` for a closed connection.

        redis-py notices a connection that the server closed, and none that the kernel ended (``ETIMEDOUT``). To write
        there raises ``TypeError`` or ``AttributeError`` from Python 3.12 on. The pool connects anew.
        """
        if self._writer is not None and self._writer.is_closing():
            raise RedisConnectionError("the connection is closed")
        return await super().can_read()

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0] if isinstance(args[0], bytes) else args[0].encode()
        if b" " in name:  # "CLIENT SETNAME" is two words for the server
            args = (*name.split(), *args[1:])
        try:
            return [hiredis.pack_command(args)]
        except TypeError as error:
            raise DataError(str(error)) from None


class GuardedRedis:
    """The client of one server of Redis, with a time-out and a circuit breaker. Connections pack commands in C.

    Calls may take ``timeout`` seconds and raise ``CacheUnavailable`` when they fail. After a time-out, or a few calls
    in a row without an answer, the breaker opens. Then calls fail at once, until ``answered`` is called: a background
    task tries whether the server answers again, so that no request waits for it.

    client: the client of a server, or of the master behind Sentinel, for use within ``bounded``.
    address: ``host:port`` of a node of a Cluster, else empty.
    on_failure: called when the server did not answer, or answered that it is a replica or that its Cluster is down.
    observe: makes the context of each call, for traces. It gets no arguments of commands: they are keys and values.

    ``is_read_only``: whether the server refused a write as a replica since the last ``reconnect``.
    """

    def __init__(
        self,
        client: Redis,
        timeout: float,
        *,
        address: str = "",
        on_failure: Callable[[], None] = lambda: None,
        observe: ObserveCommand | None = None,
    ) -> None:
        # redis-py types one answer for all its modes (str or bytes, lists or dicts); ours is bytes.
        self.client: Any = client
        self.timeout = timeout
        self.address = address
        self._breaker = CircuitBreaker(address)
        self._on_failure = on_failure
        self._observe = observe if observe is not None else lambda _command, _count: _NOT_OBSERVED
        self._wrong_type = False
        self._last_failure = ""
        self._is_closed = False
        self.is_read_only = False

    @property
    def is_away(self) -> bool:
        """Return whether calls fail at once."""
        return self._breaker.is_open

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Bound the time of the calls within, translate their errors, and count their failures."""
        breaker = self._breaker
        if breaker.is_open:
            raise CacheUnavailable(f"not asked again yet: {self._last_failure}")
        try:
            async with loop_timeout(self.timeout):
                yield
        except ResponseError as error:
            raise self.refusal(error) from error
        except REDIS_ERRORS as error:
            # A time-out opens the breaker at once, so that one request waits only once for a Redis that hangs.
            self._last_failure = reason = message_of(error) or f"no answer within {self.timeout:g} s"
            breaker.failed(reason, at_once=isinstance(error, TimeoutError | RedisTimeout))
            self._on_failure()
            raise CacheUnavailable(reason) from error
        finally:
            if self._is_closed:
                await self.aclose()
        if breaker.failures:
            breaker.answered()

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers to commands that are sent together, which may be errors. Raises what redis-py raises."""
        if len(commands) == 1:
            try:
                with self._observe(commands[0][0], 1):
                    return [await self.client.execute_command(*commands[0])]
            except ResponseError as error:
                return [error]
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        with self._observe("PIPELINE", len(commands)):
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers, which may be errors. Raises ``CacheUnavailable`` if the server does not answer."""
        async with self.bounded():
            return await self.exchange(commands)

    async def run(self, *commands: Command) -> list[Any]:
        """Return the answers. Raises ``CacheUnavailable`` also if any of them is an error."""
        return self.accepted(await self.send(commands))

    def accepted(self, answers: list[Any]) -> list[Any]:
        """Return the answers. Raises ``CacheUnavailable`` if any of them is an error."""
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise self.refusal(answer) from answer
        return answers

    def refusal(self, error: ResponseError) -> CacheUnavailable:
        """Return what an answer that is an error is raised as."""
        # It answers: a Redis that is full or read-only still serves reads, so the breaker stays closed.
        self.answered()
        message = message_of(error)
        if is_wrong_type(error):
            self._wrong_type = True
            return CacheUnavailable(message)
        self._breaker.refused(message)
        if "READONLY" in message:  # also within the error of a script of Redis 6
            self.is_read_only = True
            self._on_failure()
        elif isinstance(error, ClusterDownError):
            self._on_failure()
        return CacheUnavailable(message)

    async def aclose(self) -> None:
        """Close the connections. A call that is under way is sent again by redis-py, on a new one: it closes that."""
        self._is_closed = True
        with suppress(*REDIS_ERRORS):  # over TLS, a server that hangs does not close its end
            await self.client.aclose()

    async def ping(self) -> None:
        await self.run(("PING",))

    async def try_again(self) -> None:
        """Let calls be made again if the server answers, also by an error."""
        with suppress(*REDIS_ERRORS):
            async with loop_timeout(self.timeout):
                await self.exchange([("PING",)])
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
        self._breaker.answered()


def is_wrong_type(error: Exception) -> bool:
    """Return whether a command met a value of the wrong type, by itself or in a script."""
    return isinstance(error, ResponseError) and str(error).startswith(_WRONG)


def message_of(error: Exception) -> str:
    """Return Redis' code and the error on a line, without arguments. Empty for a time-out of asyncio."""
    code = getattr(error, "status_code", None)
    words = _NOISE.sub("", str(error)).split()
    message = " ".join([code, *words] if code in _CODES else words)
    return message or ("" if isinstance(error, TimeoutError) else type(error).__name__)


async def in_parallel(work: Iterable[Any]) -> None:
    """Run coroutines that handle their own errors. A single coroutine needs no task."""
    some = list(work)
    if len(some) == 1:
        await some[0]
        return
    async with asyncio.TaskGroup() as group:
        for number, coroutine in enumerate(some):
            group.create_task(coroutine, name=f"redis-{number}")


class Script:
    """A Lua script. In its body, keys and arguments are local variables, and ``rows`` is a list of tables.

    All of them are strings: redis-py sends numbers in decimal. EVALSHA is not used: a pipeline cannot answer NOSCRIPT.

    keys, arguments: the names, separated by spaces. The last key may be ``*name``: a list of any number of keys.
    rows: the names of the fields of a row, separated by spaces.
    """

    def __init__(self, *, keys: str, arguments: str = "", rows: str = "", body: str) -> None:
        names, _, self._more = keys.partition("*")
        self._keys, self._arguments, fields = names.split(), arguments.split(), rows.split()
        self._names = {*self._keys, *self._arguments, *([self._more] if self._more else [])}
        lines = [
            f"local {', '.join(names)} = unpack({array}, 1, {len(names)})"
            for array, names in (("KEYS", self._keys), ("ARGV", self._arguments))
            if names
        ]
        if self._more:
            lines.append(f"local {self._more} = {{unpack(KEYS, {len(self._keys) + 1})}}")
        if fields:
            row = ", ".join(f"{name} = ARGV[at + {place}]" for place, name in enumerate(fields))
            first = len(self._arguments) + 1
            lines += ["local rows = {}", f"for at = {first}, #ARGV, {len(fields)} do rows[#rows + 1] = {{{row}}} end"]
        self.lua = "\n".join((*lines, body.lstrip()))

    def command(self, *, rows: Iterable[Sequence[object]] = (), **named: Any) -> Command:
        """Return the command that runs the script. Raises ``TypeError`` for other names than the script has."""
        if named.keys() != self._names:
            raise TypeError(f"the names of the script are {sorted(self._names)}, not {sorted(named)}")
        keys = [named[name] for name in self._keys]
        if self._more:
            keys += named[self._more]
        return (
            "EVAL",
            self.lua,
            len(keys),
            *keys,
            *(named[name] for name in self._arguments),
            *chain.from_iterable(rows),
        )
