"""The last point of each replica, which every console shows: a sorted set in Redis, bounded and expiring."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from gateway.findings.finding import Finding
from gateway.metrics.events import MOST_SHARED, Event
from gateway.net.printable import printable
from gateway.redis_connection.guarded_client import Script
from gateway.redis_connection.shards import Shards

Part = TypeVar("Part", Finding, Event)

_LIFE: Final = 30  # seconds without a new point after which a replica is left out
_MOST_REPLICAS: Final = 100
_MOST_SYMPTOMS: Final = 50
_LONGEST_NAME: Final = 100  # characters
_LARGEST: Final = 10**15

Amount = Annotated[float, Field(ge=0, le=_LARGEST)]
Number = Annotated[int, Field(ge=0, le=_LARGEST)]
Text = Annotated[str, Field(max_length=_LONGEST_NAME), AfterValidator(printable)]


def _printable(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Make the texts of symptoms or events safe to print."""

    def safe(value: Any) -> Any:
        return printable(value) if isinstance(value, str) else value

    return tuple(replace(part, values={name: safe(value) for name, value in part.values.items()}) for part in parts)


@dataclass(frozen=True, slots=True)
class ReplicaPoint:
    """One replica's state and rates at ``at`` (Unix seconds), which the consoles of all replicas show.

    ``started`` is when its process started. ``entry_key`` is the fingerprint of the key of cached entries.
    """

    name: Text
    at: Amount
    requests_per_second: Amount
    errors_per_second: Amount
    version: Text
    entry_key: Text | None
    started: Amount
    streams: Number
    memory_bytes: Number | None
    open_files: Number | None
    symptoms: Annotated[tuple[Finding, ...], Field(max_length=_MOST_SYMPTOMS), AfterValidator(_printable)] = ()
    events: Annotated[tuple[Event, ...], Field(max_length=MOST_SHARED), AfterValidator(_printable)] = ()

    def encode(self) -> bytes:
        return _POINT.dump_json(self)

    @staticmethod
    def decode(member: bytes) -> "ReplicaPoint | None":
        """Return the point that ``encode`` wrote, or None for other text, such as the point of another version."""
        try:
            return _POINT.validate_json(member)
        except ValidationError:
            return None

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = _POINT.dump_python(self, mode="json")
        return found


_POINT: Final = TypeAdapter(ReplicaPoint)


# Replace the point of a replica, and remove the replicas that have ended, by Redis' clock: those of replicas differ.
_PUBLISH: Final = Script(
    keys="replicas",
    arguments="before point life most",
    body="""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('ZREM', replicas, before)
redis.call('ZADD', replicas, string.format('%.6f', now), point)
redis.call('ZREMRANGEBYSCORE', replicas, '-inf', string.format('%.6f', now - life))
redis.call('ZREMRANGEBYSCORE', replicas, string.format('%.6f', now + life), '+inf')
redis.call('ZREMRANGEBYRANK', replicas, 0, -most - 1)
redis.call('EXPIRE', replicas, life)
""",
)


class ReplicaStore:
    """Shares the state of each gateway (replica) through Redis, so that the console of each shows all.

    The methods raise ``CacheUnavailable``.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._place = shards.first
        self._key = self._place.key("replicas")
        self._published: bytes | None = None

    async def publish(self, point: ReplicaPoint) -> None:
        """Replace the last point of this replica, and remove the replicas that have ended."""
        before, self._published = self._published, point.encode()  # also if no answer comes: Redis may have added it
        call = _PUBLISH.command(
            replicas=self._key, before=before or "", point=self._published, life=_LIFE, most=_MOST_REPLICAS
        )
        await self._shards.run_on(self._place, call)

    async def withdraw(self) -> None:
        """Remove the last point of this replica."""
        if self._published is not None:
            await self._shards.run_on(self._place, ("ZREM", self._key, self._published))

    async def read(self) -> list[ReplicaPoint]:
        """Return the replicas that had not ended half a minute before one published last, by name."""
        return sorted((point for point in await self._read() if point is not None), key=lambda point: point.name)

    async def names(self) -> set[str]:
        """Return the names of these replicas.

        ``?`` is a replica of another version, or one for which a full list may have had no place.
        """
        points = await self._read()
        names = {"?" if point is None else point.name for point in points}
        return names if len(points) < _MOST_REPLICAS else {*names, "?"}

    async def _read(self) -> list[ReplicaPoint | None]:
        [members] = await self._shards.run_on(self._place, ("ZREVRANGE", self._key, 0, _MOST_REPLICAS - 1))
        return [ReplicaPoint.decode(member) for member in members]
