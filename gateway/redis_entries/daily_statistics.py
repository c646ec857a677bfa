"""Statistics per day (UTC): gathered in memory, written to Redis once a second, kept for a number of days."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from gateway.redis_connection.guarded_client import (
    CacheUnavailable,
    Key,
    is_wrong_type,
    lua_script,
    message_of,
)
from gateway.redis_connection.shards import Shards
from gateway.settings import Live, UrlStatsSettings

_DAY = 24 * 3600
_MAX_IMAGES = 50_000
_IMAGES_AT_ONCE = 500  # a script of Redis can unpack about 8,000 arguments
_MOST_DIGITS = 18  # of a count that Redis can add to


@lua_script("""
if (tonumber(redis.call('GET', marker)) or 0) >= tonumber(batch) then
    return 0
end
local kind = redis.call('TYPE', counts).ok
if kind ~= 'hash' and kind ~= 'none' then
    redis.call('DEL', counts)
end
for name, number in string.gmatch(lines, '(%S+) (%S+)') do
    local answer = redis.pcall('HINCRBY', counts, name, number)
    if type(answer) == 'table' and answer.err then
        redis.call('HSET', counts, name, number)
    end
end
redis.call('EXPIRE', counts, life)
redis.call('SET', marker, batch, 'EX', life)
return 1
""")
def _add(*, counts: Key, marker: Key, batch: int, life: int, lines: str) -> None:
    """Add a batch to the counts of a day. A batch sent again, because no answer to it came, adds nothing.

    A value of another type is replaced.

    marker: the number of the last batch that this writer added.
    life: for how many seconds both are kept.
    lines: a name and a number on each.
    """


@lua_script("""
local images = {}
for image in string.gmatch(lines, '%S+') do
    images[#images + 1] = image
end
local answer = redis.pcall('PFADD', distinct, unpack(images))
if type(answer) == 'table' and answer.err then
    if not (string.find(answer.err, 'WRONGTYPE') or string.find(answer.err, 'INVALIDOBJ')) then
        return answer
    end
    redis.call('DEL', distinct)
    redis.call('PFADD', distinct, unpack(images))
end
redis.call('EXPIRE', distinct, life)
return 1
""")
def _add_images(*, distinct: Key, life: int, lines: str) -> None:
    """Add images, each on a line, to a HyperLogLog that is kept for ``life`` seconds.

    Adding an image again has no effect. A broken value, or a value of another type, is replaced.
    """


@dataclass(slots=True)
class _Day:
    """The counts, and the ids of images, of a day that are not yet written."""

    counts: "Counter[str]" = field(default_factory=Counter)
    images: set[str] = field(default_factory=set)


class _Batch(NamedTuple):
    """Statistics to add once, by day. Ids of images leave it as they are written."""

    number: int
    days: Mapping[str, _Day]


class DailyStatistics:
    """Sums up the day from totals that other objects keep. A HyperLogLog estimates the distinct images.

    Holds at most ``max_images`` ids, and keeps each day in Redis for ``settings.retention_days``.
    Statistics that cannot be written stay for the next flush.
    A batch whose write got no answer is written again unchanged: Redis adds the batch once.
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
        self._max_images = self._room = max_images
        self._now = now
        self._gathered: dict[str, _Day] = {}
        self._writer = secrets.token_hex(8)
        self._batches = 0
        self._unconfirmed: _Batch | None = None
        self._watched: dict[str, tuple[Callable[[], int], int]] = {}

    def add_images(self, image_ids: Iterable[str]) -> None:
        """Add images that were used to the distinct images of the day."""
        images = self._today().images
        room = self._room - sum(len(day.images) for day in self._gathered.values() if day.images is not images)
        for image_id in image_ids:
            if len(images) >= room:
                break
            images.add(image_id)

    @property
    def retention_days(self) -> int:
        """For how many days the statistics of a day are kept."""
        return self._settings.value.retention_days

    def watch(self, name: str, total: Callable[[], int]) -> None:
        """Add the growth of ``total()`` between flushes to the count ``name``. The total never falls."""
        self._watched[name] = (total, total())

    async def flush(self) -> None:
        """Write the gathered statistics. Keeps them if it raises ``CacheUnavailable``."""
        self._count_watched()  # first, so that an outage over midnight leaves each day its own
        await self._write_unconfirmed()
        if not self._gathered:
            return
        self._batches += 1
        self._unconfirmed, self._gathered = _Batch(self._batches, self._gathered), {}
        self._room = self._max_images - sum(len(day.images) for day in self._unconfirmed.days.values())
        await self._write_unconfirmed()

    async def _write_unconfirmed(self) -> None:
        """Write the unconfirmed batch, if there is one."""
        if (batch := self._unconfirmed) is None:
            return
        life = (self.retention_days + 1) * _DAY
        for name, day in batch.days.items():
            if day.counts:
                key = self._key(name)
                lines = "\n".join(f"{count} {number}" for count, number in day.counts.items())
                marker = self._place.marker(key, self._writer)
                call = _add(counts=key, marker=marker, batch=batch.number, life=life, lines=lines)
                await self._shards.run_on(self._place, call)
            while day.images:
                await self._write_some(self._images_key(name), life, day.images)
        self._unconfirmed, self._room = None, self._max_images

    async def _write_some(self, key: str, life: int, images: set[str]) -> None:
        """Write some of the images, and remove them from the set. Packing a single argument for all is fast."""
        some = [images.pop() for _ in range(min(_IMAGES_AT_ONCE, len(images)))]
        try:
            call = _add_images(distinct=key, life=life, lines="\n".join(some))
            await self._shards.run_on(self._place, call)
        except BaseException:  # also when cancelled: the flush at the end writes them
            images.update(some)
            raise

    async def read(self, days: int) -> list[dict[str, Any]]:
        """Return the last ``days`` days, today first. Garbage counts as zero. Raises ``CacheUnavailable``."""
        today = datetime.fromtimestamp(self._now(), UTC).date()
        names = [(today - timedelta(days=back)).isoformat() for back in range(days)]
        commands = [
            command for name in names for command in (("HGETALL", self._key(name)), ("PFCOUNT", self._images_key(name)))
        ]
        answers = [_value(answer) for answer in await self._shards.try_on(self._place, *commands)]
        return [_summary(name, answers[2 * at] or {}, answers[2 * at + 1] or 0) for at, name in enumerate(names)]

    def _count_watched(self) -> None:
        for name, (total, before) in self._watched.items():
            if (now := total()) > before:
                self._today().counts[name] += now - before
                self._watched[name] = (total, now)

    def _today(self) -> _Day:
        return self._gathered.setdefault(datetime.fromtimestamp(self._now(), UTC).date().isoformat(), _Day())

    def _key(self, day: str) -> str:
        return self._place.key("stats", "daily", day)

    def _images_key(self, day: str) -> str:
        return self._place.key("stats", "daily", day, "images")


def _summary(name: str, fields: dict[bytes, bytes], images: int) -> dict[str, Any]:
    counts = {key: int(value) for key, value in fields.items() if value.isdigit() and len(value) <= _MOST_DIGITS}
    requests = counts.get(b"requests", 0)
    hits = counts.get(b"hits_local", 0) + counts.get(b"hits_redis", 0)
    looks = hits + counts.get(b"misses", 0)
    return {
        "date": name,
        "requests": requests,
        "hits": hits,
        "hits_local": counts.get(b"hits_local", 0),
        "hits_redis": counts.get(b"hits_redis", 0),
        "misses": counts.get(b"misses", 0),
        "hit_rate": round(hits / looks, 4) if looks else None,
        "refreshes": counts.get(b"refreshes", 0),
        "errors": counts.get(b"errors", 0),
        "mean_response_ms": round(counts.get(b"response_ms", 0) / requests, 3) if requests else None,
        "distinct_images": images,
    }


def _value(answer: Any) -> Any:
    """Return the answer, or None where the key holds another type. Raises any other error."""
    if isinstance(answer, ResponseError):
        if is_wrong_type(answer):
            return None
        raise CacheUnavailable(message_of(answer))
    return answer
