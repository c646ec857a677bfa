"""Metadata of images: sizes from the row where it has them, else from COS, which is asked once and remembered."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, NamedTuple

from gateway.catalog.record import ImageMetadata, ImageRecord
from gateway.concurrency.rate_limit import RateLimit
from gateway.concurrency.single_flight import SingleFlight
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.metadata_store import INCOMPLETE_LIFE, MetadataStore
from gateway.urls.metrics import UrlMetrics

# COS charges for each image that it describes, and anyone can ask for the metadata of all public images.
PER_MINUTE: Final = 600
PER_CLIENT: Final = 300  # a minute
_MOST_AT_ONCE: Final = 16
_MOST_WAITING: Final = PER_MINUTE
_LONGEST_WAIT: Final = 2.5  # seconds of a request; a later request gets metadata that comes after that
_MOST_KEPT: Final = 10_000
_KEPT_FOR: Final = 600.0  # seconds
_UNREADABLE: Final = frozenset({"image/svg+xml"})

_NOTHING: Final = ImageMetadata()
Describe = Callable[[ImageRecord], Awaitable[ImageMetadata | None]]


class _Kept(NamedTuple):
    version: str
    metadata: ImageMetadata
    until: float  # monotonic seconds


@dataclass(eq=False, slots=True)
class MetadataLookup:
    """Finds metadata of images in memory, in Redis, or at COS, which is asked a bounded number of times a minute.

    describe: asks COS; returns None if COS does not answer.
    store: the metadata in Redis, or None without Redis.
    wants_placeholder: whether COS makes the placeholder of an image.
    now: monotonic seconds.
    """

    describe: Describe
    store: MetadataStore | None
    metrics: UrlMetrics
    wants_placeholder: Callable[[ImageRecord], bool]
    _: KW_ONLY
    now: Callable[[], float] = time.monotonic
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_AT_ONCE), init=False)
    _kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict, init=False)
    _by_client: RateLimit = field(init=False)
    _by_all: RateLimit = field(init=False)
    _calls: SingleFlight[tuple[str, str], ImageMetadata | None] = field(init=False)

    def __post_init__(self) -> None:
        self._by_client = RateLimit(PER_CLIENT / 60, PER_CLIENT, now=self.now)
        self._by_all = RateLimit(PER_MINUTE / 60, PER_MINUTE, now=self.now)
        self._calls = SingleFlight("describe", self.metrics.coalesced_requests)

    async def of_many(self, records: Sequence[ImageRecord], client: str) -> dict[str, ImageMetadata]:
        """Return the metadata of each record by image id. ``client`` names the share that pays for requests to COS."""
        readable = [record for record in records if record.content_type not in _UNREADABLE]
        found = self._in_memory(readable)
        found |= await self._in_redis([record for record in readable if record.image_id not in found])
        tasks: dict[str, asyncio.Task[ImageMetadata | None]] = {}
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
        """Forget nothing: metadata is about objects, which do not depend on rows."""

    async def close(self) -> None:
        """Cancel running requests."""
        await self._calls.close()

    def _in_memory(self, records: Sequence[ImageRecord]) -> dict[str, ImageMetadata]:
        now, found = self.now(), {}
        for record in records:
            kept = self._kept.get(record.image_id)
            is_usable = kept is not None and now < kept.until and kept.version == record.version_token
            if kept is not None and is_usable and not self._lacks_placeholder(record, kept.metadata):
                self._kept.move_to_end(record.image_id)
                found[record.image_id] = kept.metadata
        return found

    async def _in_redis(self, records: Sequence[ImageRecord]) -> dict[str, ImageMetadata]:
        found: dict[str, ImageMetadata] = {}
        if self.store is not None and records:
            with suppress(CacheUnavailable):
                found = await self.store.get_many(records)
        for record in records:
            if (metadata := found.get(record.image_id)) is not None:
                if self._lacks_placeholder(record, metadata):
                    del found[record.image_id]
                else:
                    self._keep(record, metadata)
        return found

    def _lacks_placeholder(self, record: ImageRecord, metadata: ImageMetadata) -> bool:
        """Return whether COS has yet to be asked for a placeholder."""
        return metadata.placeholder is None and self.wants_placeholder(record)

    def _start(self, record: ImageRecord, client: str) -> "asyncio.Task[ImageMetadata | None] | None":
        """Return the call that asks COS, or None if none is running and none may be started."""
        key = record.image_id, record.version_token
        if (running := self._calls.running(key)) is not None:
            return running
        if len(self._calls) >= _MOST_WAITING or self._by_client.wait(client) > 0 or self._by_all.wait("") > 0:
            self.metrics.descriptions.add(("limited",))
            return None
        return self._calls.start(key, lambda: self._ask(record, key))

    async def _ask(self, record: ImageRecord, key: tuple[str, str]) -> ImageMetadata | None:
        async with self._places:
            metadata = await self.describe(record)
        self.metrics.descriptions.add(("described" if metadata is not None else "failed",))
        # A call that can no longer be joined began before the image changed.
        if metadata is None or self._calls.running(key) is not asyncio.current_task():
            return metadata
        self._keep(record, metadata)
        if self.store is not None:
            with suppress(CacheUnavailable):
                await self.store.put(record, metadata)
        return metadata

    def _keep(self, record: ImageRecord, metadata: ImageMetadata) -> None:
        life = _KEPT_FOR if metadata.is_complete_for(record) else INCOMPLETE_LIFE
        self._kept[record.image_id] = _Kept(record.version_token, metadata, self.now() + life)
        self._kept.move_to_end(record.image_id)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def _with_row(self, record: ImageRecord, metadata: ImageMetadata) -> ImageMetadata:
        """Return the metadata with the row's size and placeholder, where the row has them."""
        if record.has_size:
            metadata = metadata._replace(width=record.width, height=record.height)
        made = metadata.placeholder if self.wants_placeholder(record) else None
        return metadata._replace(placeholder=record.placeholder or made or None)
