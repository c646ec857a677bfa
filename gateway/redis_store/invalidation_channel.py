"""What replicas tell each other, through Redis publish and subscribe: look this image up again."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from redis.asyncio.client import PubSub

from gateway.redis_store.client import REDIS_ERRORS
from gateway.redis_store.guarded_client import CacheUnavailable, GuardedRedis

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class InvalidationChannel:
    """One replica's ear and mouth; its own words are not heard.

    After ``ask_every`` seconds of silence Redis is asked whether it is still there, and has as long to answer.
    """

    def __init__(self, guard: GuardedRedis, *, ask_every: float = 5.0) -> None:
        self._guard = guard
        self._ask_every = ask_every
        self._channel = guard.key("changes")
        self._name = secrets.token_hex(8)

    async def tell(self, image_ids: Sequence[str]) -> None:
        """Tell the others to look these images up again; raises ``CacheUnavailable``."""
        async with self._guard.bounded():
            await self._guard.client.publish(self._channel, " ".join([self._name, *image_ids]))

    async def listen(self, heard: Callable[[str | None], None]) -> None:
        """Call ``heard`` with each image id that another replica tells, for ever.

        It is called with None whenever listening begins, the first time and after each gap: whatever was said before
        that is lost.
        """
        pause = _FIRST_PAUSE

        def began() -> None:
            nonlocal pause
            pause = _FIRST_PAUSE
            heard(None)

        while True:
            try:
                await self._guard.ping()  # one cannot subscribe to a Cluster before its nodes are known
                async with self._guard.client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    await self._take(subscription, began, heard)
            except (CacheUnavailable, *REDIS_ERRORS) as error:
                logger.debug("not listening to the other replicas: %s", error)
            except Exception:  # or this replica would hear of no purge until a restart
                logger.exception("listening to the other replicas failed")
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _take(self, subscription: PubSub, began: Callable[[], None], heard: Callable[[str], None]) -> None:
        """Take messages until the connection fails; raises ``TimeoutError`` if Redis is silent though it was asked.

        A confirmation of the subscription comes again whenever the client had to connect anew, which it does by itself.
        """
        is_asked = False
        while True:
            message = await subscription.get_message(timeout=self._ask_every)
            if message is None:  # a connection that died without a word is noticed by asking
                if is_asked:
                    raise TimeoutError("Redis does not answer")
                await subscription.ping()
            elif message["type"] == "subscribe":
                began()
            elif message["type"] == "message":
                self._pass_on(message["data"], heard)
            is_asked = message is None

    def _pass_on(self, data: bytes, heard: Callable[[str], None]) -> None:
        sender, *image_ids = data.decode("ascii", errors="replace").split(" ")
        if sender != self._name:
            for image_id in image_ids:
                heard(image_id)
