"""Invalidation of changed images: in this process, in Redis, and on the other replicas."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.concurrency.time_slices import TimeSlices
from gateway.errors import DependencyDown
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.redis_store.url_entries import UrlEntries

logger = logging.getLogger(__name__)

# Invalidates one image, or with None every image, in one cache of this process; must not block.
Invalidate = Callable[[str | None], None]


class Invalidation:
    """Invalidates the caches of this process (``add``), the tier in Redis, and the other replicas.

    ``record`` is called with each image when this process drops it, and again when Redis has dropped it, too.
    ``purge`` is called with the images afterwards, for the caches in front; it does not raise.
    """

    def __init__(
        self,
        shared: UrlEntries | None,
        channel: InvalidationChannel | None,
        purge: Callable[[Sequence[str]], Awaitable[None]] | None = None,
        record: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._shared = shared
        self._channel = channel
        self._purge = purge
        self._record = record
        self._url_caches: list[Invalidate] = []
        self._other_caches: list[Invalidate] = []

    def add(self, invalidate: Invalidate, *, holds_urls: bool = False) -> None:
        """Add a cache of this process."""
        (self._url_caches if holds_urls else self._other_caches).append(invalidate)

    def invalidate_here(self, image_id: str | None) -> None:
        """Invalidate only in this process, when another replica has changed Redis. None is every image."""
        for invalidate in (*self._url_caches, *self._other_caches):
            invalidate(image_id)
        if image_id is not None:  # None: changes were missed, which is no change
            if self._shared is not None:
                self._shared.trust.changed(image_id)
            self._record(image_id)

    def forget_url_here(self, image_id: str) -> None:
        """Look the image up again in Redis, where another replica has put a new URL of it. Keep the image's bytes."""
        for invalidate in self._url_caches:
            invalidate(image_id)

    async def invalidate_here_and_in_redis(self, image_ids: Sequence[str]) -> None:
        """Invalidate without a message to other replicas, which get the change themselves, as from Postgres."""
        await self._invalidate_in_slices(image_ids)
        if self._shared is None:
            return
        try:
            await self._shared.drop(image_ids)
        except DependencyDown as error:
            logger.warning("images not dropped from redis: count=%s reason=%s", len(image_ids), error)
        await self._invalidate_in_slices(image_ids)  # again: a request may have read an entry before the drop
        if self._purge is not None:
            await self._purge(image_ids)

    async def _invalidate_in_slices(self, image_ids: Sequence[str]) -> None:
        slices = TimeSlices()
        for image_id in image_ids:
            self.invalidate_here(image_id)
            await slices.pause()

    async def invalidate_everywhere(self, image_ids: Sequence[str]) -> int | None:
        """Invalidate a change that only this replica has seen: a purge, killed links, a missing row.

        Returns how many replicas receive it, with this one if it listens; None without Redis, or if that is not known.
        """
        await self.invalidate_here_and_in_redis(image_ids)
        return await self._publish(image_ids, only_urls=False)

    async def announce_url(self, image_id: str) -> None:
        """Make the other replicas use the new URL of the image that is in Redis."""
        await self._publish([image_id], only_urls=True)

    async def _publish(self, image_ids: Sequence[str], *, only_urls: bool) -> int | None:
        if self._channel is None:
            return None
        try:
            return await self._channel.publish(image_ids, only_urls=only_urls)
        except DependencyDown as error:
            logger.warning("other replicas are not told to drop images: count=%s reason=%s", len(image_ids), error)
            return 0
