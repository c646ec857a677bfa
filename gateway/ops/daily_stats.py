"""Statistics per day (UTC): gathered in memory, written to Redis once a second, kept for a number of days."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from gateway.urls.redis_guard import CacheUnavailable, RedisGuard

_DAY = 24 * 3600
_MOST_IMAGES = 50_000
_TIME = "response_ms"


@dataclass(slots=True)
class _Gathered:
    """What was counted of one day and is not yet written; ``counts`` are those of what is watched."""

    requests: int = 0
    errors: int = 0
    milliseconds: float = 0.0
    images: set[str] = field(default_factory=set)
    counts: "Counter[str]" = field(default_factory=Counter)

    def add(self, other: "_Gathered", most_images: int) -> None:
        """What the other counted was of the same day; of its images, as many as there is room for."""
        self.requests += other.requests
        self.errors += other.errors
        self.milliseconds += other.milliseconds
        self.images.update(islice(other.images, max(0, most_images - len(self.images))))
        self.counts += other.counts


class DailyStats:
    """Counts without waiting for anything; distinct images are estimated by a HyperLogLog.

    Between two flushes it holds at most ``most_images`` ids; what Redis cannot take now stays for the next flush.
    """

    def __init__(
        self,
        guard: RedisGuard,
        *,
        retention_days: int,
        most_images: int = _MOST_IMAGES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._retention_days = retention_days
        self._most_images = most_images
        self._now = now
        self._gathered: dict[str, _Gathered] = {}
        self._fraction = 0.0
        self._current = _Gathered()
        self._current_until = self._current_from = 0.0
        self._watched: dict[str, tuple[Callable[[], int], int]] = {}

    def request(self, image_id: str, milliseconds: float, *, is_error: bool) -> None:
        """A request for an image was answered; an error is a 5xx."""
        today = self._today()
        today.requests += 1
        today.milliseconds += milliseconds
        today.errors += is_error
        if len(today.images) < self._most_images:
            today.images.add(image_id)

    def watch(self, name: str, total: Callable[[], int]) -> None:
        """Count as ``name`` what ``total()``, a number that only grows, has grown by between flushes."""
        self._watched[name] = (total, total())

    async def flush(self) -> None:
        """Write what was gathered; raises ``CacheUnavailable`` and keeps it."""
        self._count_watched()
        gathered, self._gathered, self._current_until = self._gathered, {}, 0.0
        if not gathered:
            return
        life, fraction = (self._retention_days + 1) * _DAY, self._fraction
        try:
            async with self._guard.bounded():
                pipeline = self._guard.client.pipeline(transaction=False)
                for day, one in gathered.items():
                    for name, number in self._numbers(one).items():
                        pipeline.hincrby(self._key(day), name, number)
                    pipeline.expire(self._key(day), life)
                    if one.images:
                        pipeline.pfadd(self._images_key(day), *one.images)
                        pipeline.expire(self._images_key(day), life)
                await pipeline.execute()
        except CacheUnavailable:
            for day, one in gathered.items():
                self._gathered.setdefault(day, _Gathered()).add(one, self._most_images)
            self._fraction = fraction
            raise

    async def read(self, days: int) -> list[dict[str, Any]]:
        """The last ``days`` days, today first; raises ``CacheUnavailable``."""
        today = datetime.fromtimestamp(self._now(), UTC).date()
        names = [(today - timedelta(days=back)).isoformat() for back in range(days)]
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for name in names:
                pipeline.hgetall(self._key(name))
                pipeline.pfcount(self._images_key(name))
            answers = await pipeline.execute()
        return [_day(name, *answers[2 * at : 2 * at + 2]) for at, name in enumerate(names)]

    async def mend(self) -> None:
        """Remove what is of another type under today's names."""
        day = self._day()
        await self._guard.remove_unless(b"hash", [self._key(day)])
        await self._guard.remove_unless(b"string", [self._images_key(day)])

    def _numbers(self, gathered: _Gathered) -> "Counter[str]":
        """What is to be added in Redis, in whole numbers; the rest of a millisecond is for the next time."""
        whole, self._fraction = divmod(gathered.milliseconds + self._fraction, 1)
        own = Counter({"requests": gathered.requests, "errors": gathered.errors, _TIME: int(whole)})
        return gathered.counts + own

    def _count_watched(self) -> None:
        for name, (total, before) in self._watched.items():
            if (now := total()) > before:
                self._today().counts[name] += now - before
                self._watched[name] = (total, now)

    def _today(self) -> _Gathered:
        now = self._now()
        if not self._current_from <= now < self._current_until:
            self._current_from = now // _DAY * _DAY
            self._current_until = self._current_from + _DAY
            self._current = self._gathered.setdefault(self._day(), _Gathered())
        return self._current

    def _day(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).date().isoformat()

    def _key(self, day: str) -> str:
        return self._guard.key("stats", "daily", day)

    def _images_key(self, day: str) -> str:
        return self._guard.key("stats", "daily", day, "images")


def _day(name: str, fields: dict[bytes, bytes], images: int) -> dict[str, Any]:
    counts = {key.decode(): int(value) for key, value in fields.items()}
    requests = counts.get("requests", 0)
    hits = counts.get("hits_local", 0) + counts.get("hits_redis", 0)
    looks = hits + counts.get("misses", 0)
    return {
        "date": name,
        "requests": requests,
        "hits": hits,
        "hits_local": counts.get("hits_local", 0),
        "hits_redis": counts.get("hits_redis", 0),
        "misses": counts.get("misses", 0),
        "hit_rate": round(hits / looks, 4) if looks else None,
        "refreshes": counts.get("refreshes", 0),
        "errors": counts.get("errors", 0),
        "mean_response_ms": round(counts.get(_TIME, 0) / requests, 3) if requests else None,
        "distinct_images": images,
    }
