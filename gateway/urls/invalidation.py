"""Invalidation: a change is noted in the log, dropped from Redis, published to the other replicas, and purged."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.changes.change_log import ChangeLog, Source
from gateway.changes.entry_trust import EntryTrust
from gateway.concurrency.time_slices import TimeSlices
from gateway.errors import DependencyDown
from gateway.purge.intake import PurgeIntake
from gateway.redis_entries.url_entries import UrlEntries
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.urls.resolver import UrlResolver

logger = logging.getLogger(__name__)

_PAUSE: Final = 1.0  # seconds between two tries to publish a sweep


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Does what a change requires, wherever it is heard. The log has dropped the image here before anything else.

    log: drops images from the caches of this process, and lists changes for nginx.
    now: the clock of the log.
    resolver: looks up images again whose URL alone is new.
    shared: the entries in Redis. None without them.
    channel: reaches the other replicas. None without Redis.
    purges: queues purges of caches in front. None without ``purge``.
    """

    log: ChangeLog
    now: Callable[[], float]
    resolver: UrlResolver
    trust: EntryTrust
    shared: UrlEntries | None
    channel: InvalidationChannel | None
    purges: PurgeIntake | None

    # Changes that this process makes or finds

    async def drop(self, image_ids: Sequence[str]) -> int | None:
        """Drop images everywhere, of which only this replica knows that they changed: a purge, killed links, no row.

        Returns how many replicas receive it, with this one if it listens; None without Redis, or if that is not known.
        """
        await self.rows_changed(image_ids)
        return await self._publish(image_ids, only_urls=False)

    async def announce_url(self, image_id: str) -> None:
        """Make the other replicas use the new URL of the image that is in Redis."""
        await self._publish([image_id], only_urls=True)

    async def publish_sweeps(self, channel: InvalidationChannel) -> None:
        """Tell the other replicas what caches in front must forget, until cancelled. A failure is tried again."""
        unpublished, is_due = self.log.unpublished, asyncio.Event()
        self.log.add_observer(is_due.set)
        while True:
            try:
                while unpublished:
                    scope = unpublished.pop()
                    try:
                        await channel.publish_sweep(scope)
                    except BaseException:
                        unpublished.add(scope)
                        raise
                is_due.clear()
                await is_due.wait()
            except DependencyDown as error:
                logger.debug("other replicas are not told yet: %s", error)
                await asyncio.sleep(_PAUSE)

    # What is heard

    async def rows_changed(self, image_ids: Sequence[str]) -> None:
        """Drop the images here and in Redis, and purge them. The other replicas hear of changed rows themselves."""
        slices = TimeSlices()
        for image_id in image_ids:
            self.drop_here(image_id)
            await slices.pause()
        if self.shared is not None:
            try:
                await self.shared.drop(image_ids)
            except DependencyDown as error:
                self.trust.drop_failed()
                logger.warning("images not dropped from redis: count=%s reason=%s", len(image_ids), error)
        if self.purges is not None:
            await self.purges.add(image_ids)

    def too_many_rows(self, dropped: int) -> None:
        """Read every row again, as after a gap: some changes are handled late, and ``dropped`` ones never."""
        self.log.missed(Source.ROWS, self.now())
        if self.purges is not None:
            self.purges.count_dropped(dropped)

    def drop_here(self, image_id: str) -> None:
        """Drop an image that another replica has dropped from Redis."""
        self.log.image_changed(image_id, self.now())

    def use_new_url(self, image_id: str) -> None:
        """Look the image up again in Redis, where another replica has put a new URL of it. Keep the image's bytes."""
        self.resolver.drop(image_id)

    async def _publish(self, image_ids: Sequence[str], *, only_urls: bool) -> int | None:
        if self.channel is None:
            return None
        try:
            return await self.channel.publish(image_ids, only_urls=only_urls)
        except DependencyDown as error:
            logger.warning("other replicas are not told to drop images: count=%s reason=%s", len(image_ids), error)
            return 0
