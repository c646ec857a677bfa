"""Invalidations between replicas, through Redis publish and subscribe."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from redis.asyncio.client import PubSub
from redis.asyncio.cluster import RedisCluster

from gateway.concurrency.time_slices import TimeSlices
from gateway.redis_store.client import REDIS_ERRORS
from gateway.redis_store.guarded_client import CacheUnavailable, GuardedRedis, message_of

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# After the name of the sender. A replica of an earlier release takes both for another name, and invalidates everything.
_ONLY_URLS: Final = ":urls"


class Scope(Enum):
    """What caches in front must forget without the name of an image: decisions about access, or every copy."""

    DECISIONS = "decisions"
    IMAGES = "images"


_SCOPES: Final = {f":{scope.value}": scope for scope in Scope}


@dataclass(frozen=True, slots=True)
class _Calls:
    """What ``listen`` calls, as its arguments."""

    began: Callable[[], None]
    invalidate: Callable[[str], None]
    forget_url: Callable[[str], None]
    sweeping: Callable[[Scope], None]


class InvalidationChannel:
    """Publishes and receives invalidations, ignoring this replica's own. Its calls raise ``CacheUnavailable``.

    After ``ping_every`` seconds without a message it pings Redis. Redis has ``ping_every`` seconds to answer.
    """

    def __init__(self, guard: GuardedRedis, *, ping_every: float = 5.0) -> None:
        self._guard = guard
        self._ping_every = ping_every
        self._channel = guard.key("changes")
        self._name = secrets.token_hex(8)
        self._problem = "there is no subscription yet"
        self._tried = asyncio.Event()

    async def publish(self, image_ids: Sequence[str], *, only_urls: bool = False) -> int | None:
        """Make the other replicas look these images up again. ``only_urls``: only the URLs of the images are new.

        Returns how many replicas receive the message, this replica included if it listens. None if a Cluster does not
        tell.
        """
        sender = self._name + _ONLY_URLS if only_urls else self._name
        async with self._guard.bounded():
            count = int(await self._guard.client.publish(self._channel, " ".join([sender, *image_ids])))
        if not self._guard.is_cluster:
            return count
        try:  # the answer of a node counts only those that are connected to it (PUBLISH, Redis)
            async with self._guard.bounded():
                every_node = {"target_nodes": RedisCluster.ALL_NODES}
                [(_, count)] = await self._guard.client.pubsub_numsub(self._channel, **every_node)
        except CacheUnavailable:
            return None
        return int(count)

    async def publish_sweeping(self, scope: Scope) -> None:
        """Tell the other replicas what caches in front must forget. Earlier releases ignore it."""
        async with self._guard.bounded():
            await self._guard.client.publish(self._channel, f"{self._name}:{scope.value}")

    async def problem(self) -> str:
        """Return why ``listen`` receives nothing now, or an empty string. Waits for the first attempt of ``listen``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._guard.timeout):
                await self._tried.wait()
        return self._problem

    async def try_out(self) -> None:
        """Subscribe, publish and receive, on each primary of a Cluster: users and channels are set on each of them."""
        if not self._guard.is_cluster:
            await self._try_out({}, {})
            return
        async with self._guard.bounded():
            await self._guard.client.initialize()
            nodes = self._guard.client.get_primaries()
        for node in nodes:
            await self._try_out({"node": node}, {"target_nodes": node})

    async def _try_out(self, subscriber: dict[str, Any], publisher: dict[str, Any]) -> None:
        client = self._guard.client
        async with self._guard.bounded(), client.pubsub(**subscriber) as subscription:
            await subscription.subscribe(self._channel)
            await _received(subscription, "subscribe")
            await client.publish(self._channel, self._name, **publisher)  # names no image
            await _received(subscription, "message")

    async def listen(
        self,
        invalidate: Callable[[str | None], None],
        forget_url: Callable[[str], None] | None = None,
        *,
        began: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
        sweeping: Callable[[Scope], None] = lambda _: None,
    ) -> None:
        """Listen until cancelled.

        invalidate: called with each image id that another replica publishes, and with None whenever a subscription
        begins, also the first: earlier messages are lost.
        forget_url: called instead for an image of which only the URL is new. None: ``invalidate`` is called.
        began, lost: called when a subscription begins and when it is lost.
        sweeping: called with what another replica says that caches in front must forget.
        """
        pause = _FIRST_PAUSE

        def subscribed() -> None:
            nonlocal pause
            pause = _FIRST_PAUSE
            self._note("")
            invalidate(None)
            began()

        calls = _Calls(subscribed, invalidate, forget_url or invalidate, sweeping)
        while True:
            try:
                await self._guard.ping()  # a Cluster takes subscriptions only once its nodes are known
                async with self._guard.client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    await self._receive(subscription, calls)
            except (CacheUnavailable, *REDIS_ERRORS) as error:
                self._note(message_of(error) or "no answer")
                logger.debug("not listening to the other replicas: %s", error)
            except Exception:  # else this replica would miss every purge until a restart
                self._note("an unexpected error: the log has it")
                logger.exception("listening to the other replicas failed")
            lost()
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _note(self, problem: str) -> None:
        self._problem = problem
        self._tried.set()

    async def _receive(self, subscription: PubSub, calls: _Calls) -> None:
        """Handle messages until the connection fails. Raises ``TimeoutError`` when Redis does not answer a ping.

        The client reconnects automatically; each time Redis confirms the subscription again.
        """
        is_pinged = False
        while True:
            message = await subscription.get_message(timeout=self._ping_every)
            if message is None:  # a dead connection may send no error: only a ping shows it
                if is_pinged:
                    raise TimeoutError("Redis does not answer")
                await subscription.ping()
            elif message["type"] == "subscribe":
                calls.began()
            elif message["type"] == "message":
                await self._dispatch(message["data"], calls)
            is_pinged = message is None

    async def _dispatch(self, data: bytes, calls: _Calls) -> None:
        sender, *image_ids = data.decode("ascii", errors="replace").split(" ")
        name, colon, kind = sender.partition(":")
        if name == self._name:
            return
        if (scope := _SCOPES.get(colon + kind)) is not None:
            calls.sweeping(scope)
            return
        call = calls.forget_url if colon + kind == _ONLY_URLS else calls.invalidate
        slices = TimeSlices()
        for image_id in image_ids:
            call(image_id)
            await slices.pause()


async def _received(subscription: PubSub, kind: str) -> None:
    """Wait for the first message of that kind. The caller bounds the time."""
    async for message in subscription.listen():
        if message["type"] == kind:
            return
