"""Descriptions of images: sizes from the row where it has them, else from COS, which is asked once and remembered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.catalog.record import ImageDescription, ImageRecord
from gateway.concurrency.single_flight import SingleFlight
from gateway.metrics.collectors import Metrics
from gateway.redis_store.description_store import DescriptionStore
from gateway.redis_store.guarded_client import CacheUnavailable

logger = logging.getLogger(__name__)

_MOST_AT_ONCE: Final = 16
_MOST_WAITING: Final = 1000
_PATIENCE: Final = 2.5  # seconds that a request waits; what comes later is there for the next one
_UNREADABLE: Final = frozenset({"image/svg+xml"})

_NOTHING: Final = ImageDescription()
Describe = Callable[[ImageRecord], Awaitable[ImageDescription | None]]


class Descriptions:
    """Describes images; ``describe`` asks COS and returns None if it does not answer; ``store`` None: no Redis."""

    def __init__(self, describe: Describe, store: DescriptionStore | None, metrics: Metrics) -> None:
        self._describe = describe
        self._store = store
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._calls: SingleFlight[tuple[str, str], ImageDescription | None] = SingleFlight(
            "describe", metrics.coalesced_requests
        )

    async def of_many(self, records: Sequence[ImageRecord]) -> dict[str, ImageDescription]:
        """Return a description of each record by image id, with None for unknown values."""
        found = await self._kept([record for record in records if record.content_type not in _UNREADABLE])
        missing = [
            record for record in records if record.image_id not in found and record.content_type not in _UNREADABLE
        ]
        # One beyond the bound is described by a later request.
        tasks = {record.image_id: self._start(record) for record in missing if len(self._calls) < _MOST_WAITING}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=_PATIENCE)
            described = {image_id: task.result() for image_id, task in tasks.items() if task.done()}
            found |= {image_id: result for image_id, result in described.items() if result is not None}
        return {record.image_id: _with_row(record, found.get(record.image_id, _NOTHING)) for record in records}

    async def close(self) -> None:
        """Stop running requests."""
        await self._calls.close()

    def _start(self, record: ImageRecord) -> "asyncio.Task[ImageDescription | None]":
        return self._calls.start((record.image_id, record.version_token), lambda: self._ask(record))

    async def _ask(self, record: ImageRecord) -> ImageDescription | None:
        async with self._places:
            description = await self._describe(record)
        if description is not None and self._store is not None:
            try:
                await self._store.put_many({record.image_id: (record, description)})
            except CacheUnavailable as error:
                logger.debug("redis unavailable: %s", error)
        return description

    async def _kept(self, records: Sequence[ImageRecord]) -> dict[str, ImageDescription]:
        if self._store is None or not records:
            return {}
        try:
            return await self._store.get_many(records)
        except CacheUnavailable as error:
            logger.debug("redis unavailable: %s", error)
            return {}


def _with_row(record: ImageRecord, description: ImageDescription) -> ImageDescription:
    """Return the description with the row's size, if the row has one."""
    if not record.has_size:
        return description
    return description._replace(width=record.width, height=record.height)
