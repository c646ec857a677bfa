"""Invalidation: a change is noted in the log, dropped from Redis, published to the other replicas, and purged."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.entry_trust import EntryTrust
from gateway.concurrency.time_limits import TimeSlices
from gateway.errors import DependencyDown
from gateway.purge.intake import PurgeIntake
from gateway.redis_entries.url_entries import UrlEntries
from gateway.redis_replicas.invalidation_channel import InvalidationChannel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Does what a change of an image requires: drops its cached URLs here, in Redis, and in other replicas.

    log: drops images from the caches of this process, and lists changes for nginx.
    now: the clock of the log.
    shared, channel: the entries in Redis, and the way to the other replicas. None without Redis.
    purges: queues purges of caches in front. None without ``purge``.
    """

    log: ChangeLog
    now: Callable[[], float]
    trust: EntryTrust
    shared: UrlEntries | None
    channel: InvalidationChannel | None
    purges: PurgeIntake | None

    async def drop(self, image_ids: Sequence[str]) -> int | None:
        """Drop and ``publish`` images that only this replica knows to have changed: a purge, killed links, no row."""
        await self.rows_changed(image_ids)
        return await self.publish(image_ids)

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

    def gap_ended(self) -> None:
        """Read every row again, and let nginx forget every copy: changes were not notified until now.

        nginx may ask any gateway, and this one may have used old rows after the others had read them again.
        """
        self.log.missed(Source.ROWS, self.now())
        if self.log.serves:
            self.log.sweep(Scope.IMAGES, self.now())

    def drop_here(self, image_id: str) -> None:
        """Drop an image that another replica has dropped from Redis, or a command."""
        self.log.image_changed(image_id, self.now())

    async def publish(self, image_ids: Sequence[str], *, only_urls: bool = False) -> int | None:
        """Make the other replicas drop the images, or with ``only_urls`` use the new URLs that are in Redis.

        Returns how many replicas receive it, with this one if it listens; None without Redis, or if that is not known.
        """
        if self.channel is None:
            return None
        try:
            return await self.channel.publish(image_ids, only_urls=only_urls)
        except DependencyDown as error:
            logger.warning("other replicas are not told to drop images: count=%s reason=%s", len(image_ids), error)
            return 0
