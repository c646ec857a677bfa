"""Statistics per day (UTC): gathered in memory, written to Redis once a second, kept for a number of days."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.exceptions import ResponseError

from gateway.concurrency.time_limits import in_groups
from gateway.redis_connection.guarded_client import CacheUnavailable, is_wrong_type, message_of
from gateway.redis_connection.shards import Shards
from gateway.redis_entries.idempotent_batches import IdempotentBatches
from gateway.settings import Live, UrlStatsSettings

_DAY = 24 * 3600
_MAX_IMAGES = 50_000
_IMAGES_AT_ONCE = 500  # packing them takes less than a millisecond
_MOST_DIGITS = 18  # of a count that Redis can add to


@dataclass(eq=False, slots=True)
class _Gathered:
    """One day's statistics, in memory until they are written to Redis: the counts, and the ids of images."""

    day: str
    counts: "Counter[str]" = field(default_factory=Counter)
    images: set[str] = field(default_factory=set)
    batch: int = 0  # its number once its write was tried: nothing is added from then on


class DailyStatistics:
    """Gathers each day's statistics, and adds them up in Redis. A HyperLogLog estimates how many images were used.

    Holds at most ``max_images`` ids. Statistics that cannot be written stay for the next flush. A batch whose write got
    no answer is written again unchanged: Redis adds the batch once.
    """

    def __init__(
        self,
        shards: Shards,
        settings: Live[UrlStatsSettings],
        *,
        max_images: int = _MAX_IMAGES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._shards = shards
        self._place = shards.first
        self._settings = settings
        self._max_images = max_images
        self._now = now
        self._gathered: list[_Gathered] = []  # the last one is of today, unless nothing was counted today
        self._batches = IdempotentBatches()
        self._watched: dict[str, tuple[Callable[[], int], int]] = {}

    def add_images(self, image_ids: Iterable[str]) -> None:
        """Add images that were used to the distinct images of the day."""
        images = self._today().images
        room = self._max_images - sum(len(other.images) for other in self._gathered if other.images is not images)
        for image_id in image_ids:
            if len(images) >= room:
                break
            images.add(image_id)

    @property
    def retention_days(self) -> int:
        return self._settings.value.retention_days

    def watch(self, name: str, total: Callable[[], int]) -> None:
        """Add the growth of ``total()`` between flushes to the count ``name``. The total never falls."""
        self._watched[name] = (total, total())

    async def flush(self) -> None:
        """Write the gathered statistics. Keeps them if it raises ``CacheUnavailable``."""
        for name, (total, before) in self._watched.items():  # first: an outage over midnight leaves each day its own
            if (now := total()) > before:
                self._today().counts[name] += now - before
                self._watched[name] = (total, now)
        for gathered in list(self._gathered):
            if not gathered.batch:
                gathered.batch = self._batches.next_number()
            await self._write(gathered)
            self._gathered.remove(gathered)

    async def _write(self, gathered: _Gathered) -> None:
        life = (self.retention_days + 1) * _DAY
        if gathered.counts:
            key = self._key(gathered.day)
            lines = "\n".join(f"{count} {number}" for count, number in gathered.counts.items())
            call = self._batches.adding(self._place, key, "hash", batch=gathered.batch, lines=lines, life=life)
            await self._shards.run_on(self._place, call)
        key = self._images_key(gathered.day)
        for some in in_groups(list(gathered.images), _IMAGES_AT_ONCE):
            adding = ("PFADD", key, *some), ("EXPIRE", key, life)
            added, _ = await self._shards.try_on(self._place, *adding)
            if _value(added) is None:
                await self._shards.run_on(self._place, ("DEL", key), *adding)
            gathered.images.difference_update(some)

    async def read(self, days: int) -> list[dict[str, Any]]:
        """Return the last ``days`` days, today first. Garbage counts as zero. Raises ``CacheUnavailable``."""
        today = datetime.fromtimestamp(self._now(), UTC).date()
        names = [(today - timedelta(days=back)).isoformat() for back in range(days)]
        commands = [("HGETALL", self._key(name)) for name in names]
        commands += [("PFCOUNT", self._images_key(name)) for name in names]
        answers = [_value(answer) for answer in await self._shards.try_on(self._place, *commands)]
        by_day = zip(names, answers[:days], answers[days:], strict=True)
        return [_summary(name, counts or {}, images or 0) for name, counts, images in by_day]

    def _today(self) -> _Gathered:
        day = datetime.fromtimestamp(self._now(), UTC).date().isoformat()
        if not self._gathered or self._gathered[-1].day != day or self._gathered[-1].batch:
            self._gathered.append(_Gathered(day))
        return self._gathered[-1]

    def _key(self, day: str) -> str:
        return self._place.key("stats", "daily", day)

    def _images_key(self, day: str) -> str:
        return self._place.key("stats", "daily", day, "images")


def _summary(name: str, fields: dict[bytes, bytes], images: int) -> dict[str, Any]:
    numbers = {key: int(value) for key, value in fields.items() if value.isdigit() and len(value) <= _MOST_DIGITS}
    counts = Counter(numbers)
    requests, misses = counts[b"requests"], counts[b"misses"]
    hits = counts[b"hits_local"] + counts[b"hits_redis"]
    return {
        "date": name,
        "requests": requests,
        "hits": hits,
        "hits_local": counts[b"hits_local"],
        "hits_redis": counts[b"hits_redis"],
        "misses": misses,
        "hit_rate": round(hits / (hits + misses), 4) if hits + misses else None,
        "refreshes": counts[b"refreshes"],
        "errors": counts[b"errors"],
        "mean_response_ms": round(counts[b"response_ms"] / requests, 3) if requests else None,
        "distinct_images": images,
    }


def _value(answer: Any) -> Any:
    """Return the answer, or None where the key holds another type. Raises any other error."""
    if not isinstance(answer, ResponseError):
        return answer
    if is_wrong_type(answer):
        return None
    raise CacheUnavailable(message_of(answer))
