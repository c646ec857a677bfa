"""The last point of each replica, which every console shows: a sorted set in Redis, bounded and expiring."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.net.printable import printable
from gateway.redis_store.guarded_client import GuardedRedis, WrongType

_LIFE: Final = 30  # seconds without a new point after which a replica is left out
_MOST_REPLICAS: Final = 100
_LONGEST_NAME: Final = 100  # characters
_LARGEST: Final = 10**15


@dataclass(frozen=True, slots=True)
class ReplicaPoint:
    """The counts of a replica in the seconds before ``at`` (Unix seconds)."""

    name: str
    at: float
    requests_per_second: float
    errors_per_second: float

    def encode(self) -> str:
        """Return the member of the sorted set."""
        return json.dumps([self.name, self.at, self.requests_per_second, self.errors_per_second])

    @staticmethod
    def decode(member: bytes) -> "ReplicaPoint | None":
        """Return the point that ``encode`` wrote; None for anything else."""
        try:
            name, *numbers = json.loads(member)
            at, requests, errors = (float(number) for number in numbers)
        except (ValueError, TypeError, OverflowError, RecursionError):
            return None
        if not isinstance(name, str) or not all(0 <= number <= _LARGEST for number in (at, requests, errors)):
            return None
        return ReplicaPoint(printable(name[:_LONGEST_NAME]), at, requests, errors)

    def as_json(self) -> Mapping[str, Any]:
        """Return the point for the console."""
        return {
            "name": self.name,
            "at": self.at,
            "requests_per_second": self.requests_per_second,
            "errors_per_second": self.errors_per_second,
        }


class ReplicaStore:
    """Publishes the point of this replica, and reads those of all; the methods raise ``CacheUnavailable``."""

    def __init__(self, guard: GuardedRedis) -> None:
        self._guard = guard
        self._key = guard.key("replicas")
        self._published: str | None = None

    async def publish(self, point: ReplicaPoint) -> None:
        """Replace the last point of this replica, and remove the replicas that have ended.

        A value of the wrong type under the key is deleted, so that the next point can be published.
        """
        try:
            await self._replace(point.encode(), point.at)
        except WrongType:
            await self._guard.remove_unless(b"zset", [self._key])
            raise

    async def _replace(self, member: str, at: float) -> None:
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=True)
            if self._published is not None:
                pipeline.zrem(self._key, self._published)
            pipeline.zadd(self._key, {member: at})
            pipeline.zremrangebyscore(self._key, "-inf", at - _LIFE)
            pipeline.zremrangebyrank(self._key, 0, -_MOST_REPLICAS - 1)
            pipeline.expire(self._key, _LIFE)
            self._published = member  # also if no answer comes: Redis may have added it
            await pipeline.execute()

    async def read(self, now: float) -> list[ReplicaPoint]:
        """Return the replicas of the last half minute, by name."""
        async with self._guard.bounded():
            members = await self._guard.client.zrevrangebyscore(
                self._key, "+inf", now - _LIFE, start=0, num=_MOST_REPLICAS
            )
        points = [point for member in members if (point := ReplicaPoint.decode(member)) is not None]
        return sorted(points, key=lambda point: point.name)
