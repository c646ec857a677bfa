"""Reactions to the notifications of changed rows: which caches are invalidated, and from when Redis is trusted."""

from collections.abc import Callable, Sequence

from gateway.urls.invalidation import Invalidation
from gateway.urls.resolver import UrlResolver


class RowChanges:
    """Invalidates images whose rows have changed. The change feed calls its methods.

    ``now`` is COS's clock in Unix seconds. ``count_dropped`` gets the number of changes that were dropped. None: nobody
    counts them. Until ``started``, entries of Redis are not trusted, because changes that were made while this replica
    was down were missed.
    """

    def __init__(
        self,
        resolver: UrlResolver,
        invalidation: Invalidation,
        now: Callable[[], float],
        count_dropped: Callable[[int], None] | None,
    ) -> None:
        self._resolver = resolver
        self._invalidation = invalidation
        self._now = now
        self._count_dropped = count_dropped
        resolver.stop_trusting_redis()

    def started(self) -> None:
        """Trust entries of Redis whose rows are read from now on: notifications arrive."""
        self._invalidation.invalidate_here(None)
        self._resolver.trust_redis_from(self._now())

    async def changed(self, image_ids: Sequence[str]) -> None:
        """Invalidate the images here and in Redis. Every replica has the same notification."""
        await self._invalidation.invalidate_here_and_in_redis(image_ids)

    def too_many(self, dropped: int) -> None:
        """Read every row again, as after a gap, because of images that still wait and images that were dropped."""
        self.started()
        if self._count_dropped is not None:
            self._count_dropped(dropped)
