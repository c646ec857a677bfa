"""Takes changed images into the queue of purges. While Redis does not answer, it keeps them in memory."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from gateway.purge.metrics import PurgeMetrics
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_queue.purge_queue import PurgeQueue

# Seconds from a change to its purge. By then every replica has dropped the image, and so has nginx, which uses no copy
# two seconds after it asked last. So the edge does not fetch the old one again. And each replica has queued the purge,
# which is sent once.
SETTLE: Final = 2.5
_MOST_KEPT: Final = 100_000


@dataclass(slots=True)
class PurgeIntake:
    """Puts changed images into the queue of CDN purges in Redis. ``flush`` adds those that Redis did not accept.

    now: returns Unix seconds by a clock that all processes share. Raises ``CacheUnavailable``.
    replica: the name of this process in Redis, which has heard of the changes. Empty: a command.
    """

    queue: PurgeQueue
    metrics: PurgeMetrics
    _: KW_ONLY
    now: Callable[[], Awaitable[float]]
    settle: float = SETTLE
    replica: str = ""
    _kept: dict[str, None] = field(default_factory=dict, init=False)

    async def add(self, image_ids: Sequence[str]) -> None:
        """Queue the images, or keep them until ``flush``. Does not raise when Redis fails."""
        room = max(0, _MOST_KEPT - len(self._kept))
        new = [image_id for image_id in dict.fromkeys(image_ids) if image_id not in self._kept]
        self._kept.update(dict.fromkeys(new[:room]))
        self.count_dropped(len(new[room:]))
        try:
            await self.flush()
        except CacheUnavailable:
            return  # the guard logs the outage; the worker flushes when it is over

    async def flush(self) -> None:
        """Queue the kept purges. Raises ``CacheUnavailable``, and keeps them then.

        Simultaneous calls queue each image once. An image that changes again meanwhile is queued again.
        """
        if not self._kept:
            return
        taken, self._kept = self._kept, {}
        try:
            now = await self.now()
            dropped = await self.queue.enqueue(list(taken), now, settle=self.settle, replica=self.replica)
        except BaseException:  # also when cancelled
            self._kept = taken | self._kept
            raise
        self.count_dropped(dropped)

    def count_dropped(self, count: int) -> None:
        """Count changed images that are not purged, because there is no room for them."""
        if count:
            self.metrics.purges.labels(result="dropped").inc(count)
