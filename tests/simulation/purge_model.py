"""The queue of purges and the list of replicas in Redis, in Python: what the worker and the intake of purges use.

``test_models.py`` compares the queue with the scripts in a real Redis.
"""

import copy
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import GuardedRedis
from gateway.redis_queue.leased_queue import Claim, QueueState

_LEASE: Final = 60.0  # seconds of a claim
_TOGETHER: Final = 2.0  # seconds within which replicas hear of a change
_HEARD_LIFE: Final = 30.0  # seconds for which it is known who has heard of a change
_LISTED: Final = 30.0  # seconds for which a replica is listed
MODEL: Final = "MODEL"  # the command whose argument the model of Redis calls


@dataclass(slots=True)
class PurgeData:
    """What Redis has of purges: the due images, who has heard of each since when, and when replicas were last seen.

    claims: the replica that claimed an image last, and when. Redis does not know it; the oracle does.
    """

    queue: dict[str, float] = field(default_factory=dict)
    claims: dict[str, tuple[str, float]] = field(default_factory=dict)
    heard: dict[str, tuple[float, set[str], float]] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)

    def copy(self) -> "PurgeData":
        return copy.deepcopy(self)

    def claimant(self, image_id: str) -> tuple[str, float] | None:
        """Return the replica that holds an image under its lease, and since when. None: it is free, or not queued."""
        name, at = self.claims.get(image_id, ("", 0.0))
        return (name, at) if self.queue.get(image_id) == at + _LEASE else None


class PurgeQueue:
    """What ``PurgeIntake`` and ``PurgeWorker`` of a replica use of the queue of purges and of the list of replicas."""

    def __init__(self, server: GuardedRedis, replica: str = "") -> None:
        self._server = server
        self._replica = replica

    async def _run(self, work: Callable[[PurgeData], Any]) -> Any:
        [answer] = await self._server.run((MODEL, work))
        return answer

    async def now(self) -> float:
        """Return the time of Redis."""
        [[seconds, microseconds]] = await self._server.run(("TIME",))
        return float(seconds + microseconds / 1_000_000)

    async def enqueue(self, image_ids: Sequence[str], now: float, *, settle: float = 0.0, replica: str = "") -> int:
        """Queue changed images. Return how many were dropped."""

        def work(data: PurgeData) -> int:
            for image_id in image_ids:
                at, names, end = data.heard.get(image_id, (0.0, set(), 0.0))
                if end > now and abs(now - at) <= _TOGETHER and replica not in names:
                    names.add(replica)
                else:
                    waits = data.queue.get(image_id, math.inf) <= now + settle
                    data.heard[image_id] = now, {"!", replica} if end > now or waits else {replica}, now + _HEARD_LIFE
                data.queue[image_id] = min(now + settle, data.queue.get(image_id, now + settle))
            return 0

        return int(await self._run(work))

    async def state(self, now: float) -> QueueState:
        """Return the state of the queue."""

        def work(data: PurgeData) -> QueueState:
            due = sum(at <= now for at in data.queue.values())
            return QueueState(len(data.queue), due, 0, min(data.queue.values(), default=None))

        state: QueueState = await self._run(work)
        return state

    async def claim(self, now: float, most: int) -> list[Claim]:
        """Claim due images."""

        def work(data: PurgeData) -> list[Claim]:
            due = sorted((at, image_id) for image_id, at in data.queue.items() if at <= now)[:most]
            data.queue |= {image_id: now + _LEASE for _, image_id in due}
            data.claims |= {image_id: (self._replica, now) for _, image_id in due}
            return [Claim(ImageVariant(image_id), at) for at, image_id in due]

        claims: list[Claim] = await self._run(work)
        return claims

    async def sent(
        self, claims: Sequence[Claim], claimed_at: float, replicas: Collection[str] = (), repeat_after: float = 0.0
    ) -> int:
        """Remove sent purges, unless one of the replicas is not known to have heard. Return how many remain."""

        def work(data: PurgeData) -> int:
            repeats = 0
            for image_id in (claim.item.image_id for claim in claims):
                if data.queue.get(image_id) != claimed_at + _LEASE:
                    continue
                at, names, end = data.heard.get(image_id, (0.0, set(), 0.0))
                if claimed_at < min(end, at + repeat_after) and ("!" in names or not names.issuperset(replicas)):
                    data.queue[image_id] = at + repeat_after
                    repeats += 1
                else:
                    del data.queue[image_id]
            return repeats

        return int(await self._run(work))

    async def free(self, claimed_at: float, due_at: float | None = None) -> None:
        """Make all purges due that were claimed at that time."""
        due = claimed_at if due_at is None else due_at

        def work(data: PurgeData) -> None:
            data.queue |= {image_id: due for image_id, at in data.queue.items() if at == claimed_at + _LEASE}

        await self._run(work)

    async def take_slot(self) -> float:
        """Return in how many seconds a request may be sent."""
        return 0.0

    async def names(self) -> set[str]:
        """Return the names of the replicas that are listed."""
        return set(await self._run(lambda data: list(data.seen)))

    async def publish(self, name: str, now: float) -> None:
        """List a replica, and remove those of more than half a minute before."""

        def work(data: PurgeData) -> None:
            data.seen[name] = now
            data.seen = {name: at for name, at in data.seen.items() if now - at < _LISTED}

        await self._run(work)
