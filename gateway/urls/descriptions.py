"""Descriptions of images: sizes from the row where it has them, else from COS, which is asked once and remembered."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from gateway.catalog.record import ImageDescription, ImageRecord
from gateway.concurrency.rate_limit import RateLimit
from gateway.concurrency.single_flight import SingleFlight
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.description_store import INCOMPLETE_LIFE, DescriptionStore
from gateway.urls.metrics import UrlMetrics

logger = logging.getLogger(__name__)

# COS charges for each description, and anyone can ask for those of all public images.
PER_MINUTE: Final = 600
PER_CLIENT: Final = 300  # a minute
_MOST_AT_ONCE: Final = 16
_MOST_WAITING: Final = PER_MINUTE
_LONGEST_WAIT: Final = 2.5  # seconds of a request; a later request gets a description that comes after that
_MOST_KEPT: Final = 10_000
_KEPT_FOR: Final = 600.0  # seconds
_UNREADABLE: Final = frozenset({"image/svg+xml"})

_NOTHING: Final = ImageDescription()
Describe = Callable[[ImageRecord], Awaitable[ImageDescription | None]]


class _Kept(NamedTuple):
    version: str
    description: ImageDescription
    until: float  # monotonic seconds


class Descriptions:
    """Describes images from memory, from Redis, or by asking COS, which a minute's bounds limit.

    describe: asks COS; returns None if COS does not answer.
    store: the descriptions in Redis, or None without Redis.
    wants_placeholder: whether COS makes the placeholder of an image.
    now: monotonic seconds.
    """

    def __init__(
        self,
        describe: Describe,
        store: DescriptionStore | None,
        metrics: UrlMetrics,
        wants_placeholder: Callable[[ImageRecord], bool],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._describe = describe
        self._store = store
        self._results = metrics.descriptions
        self._wants_placeholder = wants_placeholder
        self._now = now
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._by_client = RateLimit(PER_CLIENT / 60, PER_CLIENT, now=now)
        self._by_all = RateLimit(PER_MINUTE / 60, PER_MINUTE, now=now)
        self._calls: SingleFlight[tuple[str, str], ImageDescription | None] = SingleFlight(
            "describe", metrics.coalesced_requests
        )

    async def of_many(self, records: Sequence[ImageRecord], client: str) -> dict[str, ImageDescription]:
        """Return a description of each record by image id, with None for unknown values.

        ``client``: the name of the share that pays for the requests to COS.
        """
        readable = [record for record in records if record.content_type not in _UNREADABLE]
        found = self._in_memory(readable)
        found |= await self._in_redis([record for record in readable if record.image_id not in found])
        tasks: dict[str, asyncio.Task[ImageDescription | None]] = {}
        for record in readable:
            if record.image_id not in found and (task := self._start(record, client)) is not None:
                tasks[record.image_id] = task
        if tasks:
            await asyncio.wait(tasks.values(), timeout=_LONGEST_WAIT)
            described = {image_id: task.result() for image_id, task in tasks.items() if task.done()}
            found |= {image_id: result for image_id, result in described.items() if result is not None}
        return {record.image_id: self._with_row(record, found.get(record.image_id, _NOTHING)) for record in records}

    def drop(self, image_id: str) -> None:
        """Forget an image that has changed."""
        self._kept.pop(image_id, None)
        self._calls.detach(lambda key: key[0] == image_id)

    def drop_all(self) -> None:
        """Forget nothing: descriptions are of objects, which do not depend on rows."""

    async def close(self) -> None:
        """Stop running requests."""
        await self._calls.close()

    def _in_memory(self, records: Sequence[ImageRecord]) -> dict[str, ImageDescription]:
        now, found = self._now(), {}
        for record in records:
            kept = self._kept.get(record.image_id)
            is_usable = kept is not None and now < kept.until and kept.version == record.version_token
            if kept is not None and is_usable and not self._lacks_placeholder(record, kept.description):
                self._kept.move_to_end(record.image_id)
                found[record.image_id] = kept.description
        return found

    async def _in_redis(self, records: Sequence[ImageRecord]) -> dict[str, ImageDescription]:
        if self._store is None or not records:
            return {}
        try:
            found = await self._store.get_many(records)
        except CacheUnavailable as error:
            logger.debug("redis unavailable: %s", error)
            return {}
        for record in records:
            if record.image_id in found:
                if self._lacks_placeholder(record, found[record.image_id]):
                    del found[record.image_id]
                else:
                    self._keep(record, found[record.image_id])
        return found

    def _lacks_placeholder(self, record: ImageRecord, description: ImageDescription) -> bool:
        """Return whether COS has yet to be asked for a placeholder."""
        return description.placeholder is None and self._wants_placeholder(record)

    def _start(self, record: ImageRecord, client: str) -> "asyncio.Task[ImageDescription | None] | None":
        """Return the call that asks COS, or None if none is running and none may be started."""
        key = record.image_id, record.version_token
        running = self._calls.running(key)
        if running is not None:
            return running
        if len(self._calls) >= _MOST_WAITING or self._by_client.wait(client) > 0 or self._by_all.wait("") > 0:
            self._results.add(("limited",))
            return None
        return self._calls.start(key, lambda: self._ask(record, key))

    async def _ask(self, record: ImageRecord, key: tuple[str, str]) -> ImageDescription | None:
        async with self._places:
            description = await self._describe(record)
        self._results.add(("described" if description is not None else "failed",))
        # A call that can no longer be joined began before the image changed.
        if description is None or self._calls.running(key) is not asyncio.current_task():
            return description
        self._keep(record, description)
        if self._store is not None:
            try:
                await self._store.put_many({record.image_id: (record, description)})
            except CacheUnavailable as error:
                logger.debug("redis unavailable: %s", error)
        return description

    def _keep(self, record: ImageRecord, description: ImageDescription) -> None:
        life = _KEPT_FOR if description.is_complete_for(record) else INCOMPLETE_LIFE
        self._kept[record.image_id] = _Kept(record.version_token, description, self._now() + life)
        self._kept.move_to_end(record.image_id)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def _with_row(self, record: ImageRecord, description: ImageDescription) -> ImageDescription:
        """Return the description with the row's size and placeholder, where the row has them."""
        if record.has_size:
            description = description._replace(width=record.width, height=record.height)
        made = description.placeholder if self._wants_placeholder(record) else None
        return description._replace(placeholder=record.placeholder or made or None)
