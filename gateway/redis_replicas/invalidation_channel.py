"""Invalidations between replicas, through Redis publish and subscribe."""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from redis.asyncio.client import PubSub

from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.heartbeat import LEASE
from gateway.concurrency.clocks import boot_time
from gateway.concurrency.time_limits import TimeSlices
from gateway.redis_connection.guarded_client import REDIS_ERRORS, CacheUnavailable, GuardedRedis, message_of
from gateway.redis_connection.shards import Shards

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_SWEEP_PAUSE: Final = 1.0  # seconds between two tries to publish a sweep
_SILENCE: Final = 15.0  # seconds without any message after which a connection is left
_FIRST_TRY: Final = 0.5  # seconds that a probe waits for the first attempt to subscribe
# After the name of the sender. A replica of an earlier release takes both for another name, and invalidates everything.
_ONLY_URLS: Final = ":urls"
# Before a question of a command, which the replicas answer in Redis. An earlier release takes its words for image ids.
_QUESTION: Final = ":ask"
_SCOPES: Final = {f":{scope.value}": scope for scope in Scope}
# Earlier releases find no image in it.
_HEARTBEAT: Final = ":heartbeat:"


class InvalidationChannel:
    """Tells replicas of changed images through Redis, and hears of theirs. Its calls raise ``CacheUnavailable``.

    Every node of a Cluster passes a message on to all others (PUBLISH, Redis), so any node can be used. A node that
    does not answer is left for another.
    """

    def __init__(self, shards: Shards, *, steady: Callable[[], float] = boot_time) -> None:
        self._shards = shards
        self._steady = steady
        self._channel = f"{shards.prefix}changes"
        self._name = secrets.token_hex(8)
        self._problem = "there is no subscription yet"
        self._is_subscribed = False
        self._tried = asyncio.Event()
        self.on_question: Callable[[str], None] = lambda _: None  # called with each question of a command
        self.on_dropped: Callable[[Sequence[str]], Awaitable[None]] = _do_nothing  # called after images were dropped

    async def publish(self, image_ids: Sequence[str], *, only_urls: bool = False) -> int | None:
        """Make the other replicas look these images up again. ``only_urls``: only the URLs of the images are new.

        Returns how many replicas receive it, with this one if it listens. None if a Cluster does not tell.
        """
        sender = self._name + _ONLY_URLS if only_urls else self._name
        count = await self._send(" ".join([sender, *image_ids]))
        return count if len(self._shards.servers.all) == 1 else await self._count_receivers()

    async def publish_sweeps(self, log: ChangeLog) -> None:
        """Tell the other replicas what caches in front must forget, until cancelled. Earlier releases ignore it."""
        unpublished, is_due = log.unpublished, asyncio.Event()
        log.add_observer(is_due.set)
        while True:
            try:
                while unpublished:
                    scope = unpublished.pop()
                    try:
                        await self._send(f"{self._name}:{scope.value}")
                    except BaseException:
                        unpublished.add(scope)
                        raise
                is_due.clear()
                await is_due.wait()
            except CacheUnavailable:
                await asyncio.sleep(_SWEEP_PAUSE)

    async def ask(self, question: str) -> None:
        await self._send(f"{self._name}{_QUESTION} {question}")

    async def _send(self, message: str) -> int:
        """Publish on a server that answers. Return how many connections of this server receive the message."""
        server, *others = self._servers()
        while True:
            try:
                [count] = await server.run(("PUBLISH", self._channel, message))
                return int(count)
            except CacheUnavailable:
                if not others:
                    raise
                server, *others = others

    async def _count_receivers(self) -> int | None:
        """Return how many replicas listen. A node counts only those that are connected to it (PUBLISH, Redis)."""

        async def count(server: GuardedRedis) -> int | None:
            try:
                [[(_, number)]] = await server.run(("PUBSUB NUMSUB", self._channel))
            except CacheUnavailable:
                return None
            return int(number)

        counts = await asyncio.gather(*map(count, self._servers()))
        known = [number for number in counts if number is not None]
        return sum(known) if len(known) == len(counts) else None

    def _servers(self) -> list[GuardedRedis]:
        """Return the servers in a random order, first those that answer. Raises ``CacheUnavailable`` without any."""
        servers = list(self._shards.servers.all)
        random.shuffle(servers)
        return sorted(servers, key=lambda server: server.is_away)

    async def problem(self) -> str:
        """Return why ``listen`` receives nothing now, or an empty string. Waits for the first attempt of ``listen``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_TRY):
                await self._tried.wait()
        return self._problem

    async def try_out(self) -> None:
        """Subscribe, publish and receive, on each primary of a Cluster: users and channels are set on each of them."""
        for server in self._shards.servers.all:
            async with server.bounded(), server.client.pubsub() as subscription:
                await subscription.subscribe(self._channel)
                await _received(subscription, "subscribe")
                server.accepted(await server.exchange([("PUBLISH", self._channel, self._name)]))  # names no image
                await _received(subscription, "message")

    async def listen(self, log: ChangeLog, use_new_url: Callable[[str], None]) -> None:
        """Note in ``log`` what other replicas publish, until cancelled. They have changed Redis already.

        use_new_url: called with each image of which Redis has a new URL. The image has not changed.
        """
        pause = _FIRST_PAUSE
        while True:
            self._is_subscribed = False
            try:
                server = self._servers()[0]
                await server.ping()
                async with server.client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    with _without_health_checks(subscription.connection):
                        await self._receive(subscription, server, log, use_new_url)
            except (CacheUnavailable, *REDIS_ERRORS) as error:
                self._note(message_of(error) or "no answer")
            except Exception:  # else this replica would miss every purge until a restart
                self._note("an unexpected error: the log has it")
                logger.exception("listening to the other replicas failed")
            log.lost(Source.REPLICAS)
            pause = _FIRST_PAUSE if self._is_subscribed else min(_LONGEST_PAUSE, pause * 2)
            await asyncio.sleep(pause)

    def _note(self, problem: str) -> None:
        self._problem = problem
        self._tried.set()

    async def _receive(
        self, subscription: PubSub, server: GuardedRedis, log: ChangeLog, use_new_url: Callable[[str], None]
    ) -> None:
        """Handle messages until the connection fails. Raises ``TimeoutError`` when nothing or no heartbeat comes back.

        Returns when the server is none of the Cluster's primaries any more: a node that has left the Cluster works, and
        receives nothing. The client reconnects automatically; each time Redis confirms the subscription again.
        """
        heartbeat, heard_at = log.heartbeats[Source.REPLICAS], self._steady()
        while True:
            await asyncio.sleep(0)  # else a call that returns at once would keep the event loop
            message = None
            with suppress(TimeoutError):
                async with asyncio.timeout(heartbeat.wait(self._steady()) if self._is_subscribed else LEASE):
                    message = await _next_message(subscription)
            if message is not None:
                heard_at = self._steady()
            if message is not None and message["type"] == "subscribe":
                self._is_subscribed = True
                self._note("")
                log.listens(Source.REPLICAS, self._steady())
            elif message is not None and message["type"] == "message":
                await self._dispatch(message["data"], log, use_new_url)
            elif not self._is_subscribed:
                raise TimeoutError("Redis does not answer")
            if heartbeat.wait(self._steady()) == 0:
                if server not in self._shards.servers.all:
                    return
                text, problem = heartbeat.send(self._steady()), ""
                try:
                    await self._send(f"{self._name}{_HEARTBEAT}{text}")
                except CacheUnavailable as error:
                    heartbeat.withdraw(text)
                    problem = f"cannot publish: {message_of(error) or 'no answer'}"
                self._note(problem)
            if heartbeat.is_lost(self._steady()):
                raise TimeoutError(f"no heartbeat came back within {LEASE:g} s")
            if self._steady() - heard_at >= _SILENCE:  # also when no heartbeat could be sent
                raise TimeoutError(f"nothing was heard for {_SILENCE:g} s")

    async def _dispatch(self, data: bytes, log: ChangeLog, use_new_url: Callable[[str], None]) -> None:
        sender, *image_ids = data.decode("ascii", errors="replace").split(" ")
        name, colon, kind = sender.partition(":")
        if name == self._name:
            if (colon + kind).startswith(_HEARTBEAT):
                log.heartbeat(Source.REPLICAS, (colon + kind).removeprefix(_HEARTBEAT))
        elif (scope := _SCOPES.get(colon + kind)) is not None:
            log.heard_sweep(scope, self._steady())
        elif colon + kind == _QUESTION:
            self.on_question(" ".join(image_ids))
        else:
            slices, only_urls = TimeSlices(), colon + kind == _ONLY_URLS
            for image_id in image_ids:
                if only_urls:
                    use_new_url(image_id)
                else:
                    log.image_changed(image_id, self._steady())
                await slices.pause()
            if not only_urls:
                await self.on_dropped(image_ids)


@contextmanager
def _without_health_checks(connection: Any) -> Iterator[None]:
    """Let redis-py not check the connection: heartbeats prove it, and the answer to a check looks like its end."""
    every, connection.health_check_interval = connection.health_check_interval, 0
    try:
        yield
    finally:
        connection.health_check_interval = every  # the pool has it back


async def _do_nothing(_: Sequence[str]) -> None: ...


async def _next_message(subscription: PubSub) -> dict[str, Any]:
    """Wait for a message. The caller bounds the time. Raises ``ConnectionResetError`` when the kernel gave up.

    redis-py returns nothing when its time is over, and at once for ETIMEDOUT, which is a ``TimeoutError``, too. So it
    gets no time limit.
    """
    message: dict[str, Any] | None = await subscription.get_message(timeout=None)
    if message is None:
        raise ConnectionResetError("the connection timed out")
    return message


async def _received(subscription: PubSub, kind: str) -> None:
    """Wait for the first message of that kind. The caller bounds the time."""
    while (await _next_message(subscription))["type"] != kind:
        pass
