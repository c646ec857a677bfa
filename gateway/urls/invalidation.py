"""An image has changed: every place that remembers it forgets, here and on the other replicas."""

import logging
from collections.abc import Callable, Sequence

from gateway.errors import DependencyDown
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.urls.shared_tier import SharedTier

logger = logging.getLogger(__name__)

# Forgets one image, or with None everything; must not wait for anything.
Invalidate = Callable[[str | None], None]


class Invalidation:
    """Knows the memories of this process (``add``), the tier in Redis, and the other replicas."""

    def __init__(self, shared: SharedTier | None, replicas: InvalidationChannel | None) -> None:
        self._shared = shared
        self._replicas = replicas
        self._memories: list[Invalidate] = []

    def add(self, forget: Invalidate) -> None:
        """One more place that remembers images."""
        self._memories.append(forget)

    def invalidate_here(self, image_id: str | None) -> None:
        """In this process alone: another replica has seen to Redis. None is every image."""
        for forget in self._memories:
            forget(image_id)

    async def invalidate_here_and_in_redis(self, image_ids: Sequence[str]) -> None:
        """When every replica hears of the change by itself, as from Postgres."""
        for image_id in image_ids:
            self.invalidate_here(image_id)
        if self._shared is None:
            return
        try:
            await self._shared.drop(image_ids)
        except DependencyDown as error:
            logger.warning("images not dropped from redis: count=%s reason=%s", len(image_ids), error)
        for image_id in image_ids:
            self.invalidate_here(image_id)  # again: a request may have read an entry just before it was dropped

    async def invalidate_everywhere(self, image_ids: Sequence[str]) -> None:
        """When only this replica knows: a purge, links killed, a row found missing."""
        await self.invalidate_here_and_in_redis(image_ids)
        await self.notify_replicas(image_ids)

    async def notify_replicas(self, image_ids: Sequence[str]) -> None:
        """Let the other replicas look the images up again in Redis: what is there is newer than what they know."""
        if self._replicas is None:
            return
        try:
            await self._replicas.tell(image_ids)
        except DependencyDown as error:
            logger.debug("other replicas not told: %s", error)
