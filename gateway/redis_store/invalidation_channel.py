"""Invalidations between replicas, through Redis publish and subscribe."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from redis.asyncio.client import PubSub

from gateway.concurrency.time_slices import TimeSlices
from gateway.redis_store.client import REDIS_ERRORS
from gateway.redis_store.guarded_client import CacheUnavailable, GuardedRedis

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class InvalidationChannel:
    """Publishes and receives invalidations, ignoring this replica's own.

    After ``ping_every`` seconds without a message it pings Redis, which has as long to answer.
    """

    def __init__(self, guard: GuardedRedis, *, ping_every: float = 5.0) -> None:
        self._guard = guard
        self._ping_every = ping_every
        self._channel = guard.key("changes")
        self._name = secrets.token_hex(8)

    async def publish(self, image_ids: Sequence[str]) -> None:
        """Make the other replicas look these images up again; raises ``CacheUnavailable``."""
        async with self._guard.bounded():
            await self._guard.client.publish(self._channel, " ".join([self._name, *image_ids]))

    async def listen(self, invalidate: Callable[[str | None], None]) -> None:
        """Call ``invalidate`` with each image id that another replica publishes, until cancelled.

        It is called with None whenever a subscription begins, the first one included: messages before it are lost.
        """
        pause = _FIRST_PAUSE

        def began() -> None:
            nonlocal pause
            pause = _FIRST_PAUSE
            invalidate(None)

        while True:
            try:
                await self._guard.ping()  # a Cluster takes subscriptions only once its nodes are known
                async with self._guard.client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    await self._receive(subscription, began, invalidate)
            except (CacheUnavailable, *REDIS_ERRORS) as error:
                logger.debug("not listening to the other replicas: %s", error)
            except Exception:  # else this replica would miss every purge until a restart
                logger.exception("listening to the other replicas failed")
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _receive(
        self, subscription: PubSub, began: Callable[[], None], invalidate: Callable[[str], None]
    ) -> None:
        """Handle messages until the connection fails; raises ``TimeoutError`` when Redis does not answer a ping.

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
                began()
            elif message["type"] == "message":
                await self._dispatch(message["data"], invalidate)
            is_pinged = message is None

    async def _dispatch(self, data: bytes, invalidate: Callable[[str], None]) -> None:
        sender, *image_ids = data.decode("ascii", errors="replace").split(" ")
        if sender != self._name:
            slices = TimeSlices()
            for image_id in image_ids:
                invalidate(image_id)
                await slices.pause()
