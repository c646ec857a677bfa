"""The tier in Redis, whole: entries, who is used, and when each is due for renewal."""

import time
from collections.abc import Callable, Mapping, Sequence

from gateway.urls.lifetime import Lifetime
from gateway.urls.member import Member
from gateway.urls.presigned import SignedImage
from gateway.urls.redis_cache import Found, Glance, RedisUrlCache
from gateway.urls.redis_guard import RedisGuard
from gateway.urls.redis_usage import RedisUsage
from gateway.urls.refresh_queue import RefreshQueue

_RENEWAL_LOCK = 1


class SharedTier:
    """What replicas share. Raises ``CacheUnavailable``.

    An entry is kept for as long as its URL may be handed out and, if ``renews``, queued for renewal in time.
    """

    def __init__(
        self,
        guard: RedisGuard,
        cache: RedisUrlCache,
        usage: RedisUsage,
        queue: RefreshQueue,
        lifetime: Lifetime,
        *,
        styles: Sequence[str],
        max_size: int,
        renews: bool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._cache = cache
        self._usage = usage
        self._queue = queue
        self._lifetime = lifetime
        self._styles = (None, *styles)
        self._max_size = max_size
        self._renews = renews
        self._now = now

    async def find(self, members: Sequence[Member]) -> dict[Member, Found]:
        """What is kept for each of ``members``."""
        return await self._cache.get_many(members)

    async def glance(self, members: Sequence[Member]) -> dict[Member, Glance]:
        """What is kept for each of ``members``, unread."""
        return await self._cache.glance(members)

    async def keep(self, made: Sequence[tuple[SignedImage, bytes]], hits: Mapping[Member, float] | None = None) -> None:
        """Keep images, each with the tombstone found before its row was read, and queue their renewals.

        Those with more ``hits`` are renewed earlier.
        """
        if not made:
            return
        now = self._now()
        kept = await self._cache.put_many(made, now, self._lifetime.min_remaining)
        images = {Member(image.record.image_id, image.style): image for image, _ in made}
        images = {member: image for member, image in images.items() if kept[member]}
        if not images:
            return
        await self._usage.made({member: image.presigned.expires_at for member, image in images.items()}, now)
        if self._renews:
            due = {
                member: self._lifetime.due_at(image.presigned, (hits or {}).get(member, 0))
                for member, image in images.items()
            }
            await self._queue.schedule(due)

    async def drop(self, image_ids: Sequence[str]) -> None:
        """The images have changed or are gone: their entries are out of use, also for writers already under way.

        How often they were used stays known: a row that changed names the same image.
        """
        members = self._members(image_ids)
        await self._cache.drop(members)
        await self._queue.remove(members)
        await self._usage.dropped(members)

    async def forget_usage(self, image_ids: Sequence[str]) -> None:
        """There are no such images: how often they were used is of no use to anybody."""
        await self._usage.forget(self._members(image_ids))

    async def lock_renewal(self, member: Member) -> bool:
        """Whether this caller is the first within a second to renew the member on demand."""
        key = self._guard.key("refresh", "lock", str(member))
        async with self._guard.bounded():
            return bool(await self._guard.client.set(key, b"", nx=True, ex=_RENEWAL_LOCK))

    async def trim(self) -> int:
        """Remove what is beyond ``max_size``, the least recently used first; how many that were."""
        taken = await self._usage.take_least_used(self._max_size)
        if taken:
            await self._cache.remove(taken)
            await self._queue.remove(taken)
            await self._usage.forget(taken)
        return len(taken)

    async def mend(self) -> None:
        """Remove values of another type under the names of our sets; an entry is overwritten when it is next made."""
        await self._usage.mend()
        await self._queue.mend()

    async def mend_if_needed(self) -> None:
        """Do so once any command, alone or in a pipeline, has met such a value."""
        if self._guard.met_wrong_type():
            await self.mend()

    def _members(self, image_ids: Sequence[str]) -> list[Member]:
        return [Member(image_id, style) for image_id in image_ids for style in self._styles]
