"""What replicas tell each other, through Redis publish and subscribe: look this image up again."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

from gateway.urls.redis_guard import RedisGuard

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Replicas:
    """One replica's ear and mouth; its own words are not heard."""

    def __init__(self, guard: RedisGuard) -> None:
        self._guard = guard
        self._channel = guard.key("changes")
        self._name = secrets.token_hex(8)

    async def tell(self, image_ids: Sequence[str]) -> None:
        """Tell the others to look these images up again; raises ``CacheUnavailable``."""
        async with self._guard.bounded():
            await self._guard.client.publish(self._channel, " ".join([self._name, *image_ids]))

    async def listen(self, heard: Callable[[str | None], None]) -> None:
        """Call ``heard`` with each image id that another replica tells, for ever.

        After a gap in listening it is called with None: whatever was said meanwhile is lost.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._guard.client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    heard(None)
                    pause = _FIRST_PAUSE
                    async for message in subscription.listen():
                        self._take(message["data"], heard)
            except (RedisError, OSError, TimeoutError) as error:
                logger.debug("not listening to the other replicas: %s", error)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _take(self, data: object, heard: Callable[[str | None], None]) -> None:
        if not isinstance(data, bytes):
            return  # the confirmation of the subscription
        sender, *image_ids = data.decode("ascii", errors="replace").split(" ")
        if sender != self._name:
            for image_id in image_ids:
                heard(image_id)
