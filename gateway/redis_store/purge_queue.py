"""The queue of purges in Redis: the id of a changed image is due when its purge should be sent.

Every replica is notified of a change and queues it: an id that waits keeps its time, so the purge is sent once.
"""

from collections.abc import Sequence
from typing import Final

from gateway.catalog.image_id import parse_image_id
from gateway.concurrency.time_slices import in_groups
from gateway.errors import InvalidImageId
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.leased_queue import Claim, LeasedQueue, QueueLimits
from gateway.redis_store.queue_codec import Codec

_LEASE: Final = 60.0  # seconds; a request to a target takes at most ten
_MAX_ATTEMPTS: Final = 5
_MAX_DEAD: Final = 10_000
_WITHOUT_ROOM: Final = 600.0  # seconds until a purge is tried again while the dead list is full
_AT_ONCE: Final = 200  # packing 200 words takes less than a millisecond
LATEST_DUE: Final = 3600.0
"""Seconds from now: no purge is queued for later, however long it failed."""
_LONGEST_WAIT: Final = 600.0  # seconds; a later time was written by another program

# KEYS[1] the queue; ARGV[1] when the purges are due, ARGV[2] how many may be queued, then the words. A word that is
# queued for later, under a lease or after a failure, comes due earlier: its image has changed again. One that is queued
# for earlier keeps its time. Returns the number of words that were dropped.
_ENQUEUE = """
local due, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local queued, dropped = redis.call('ZCARD', KEYS[1]), 0
for i = 3, #ARGV do
    local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if score and tonumber(score) > due then
        redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
    elseif not score and queued < most then
        redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
        queued = queued + 1
    elseif not score then
        dropped = dropped + 1
    end
end
return dropped
"""

# KEYS[1] the queue; ARGV[1] the end of the lease, then the words. Removes those that are still under that lease.
_REMOVE_LEASED = """
for i = 2, #ARGV do
    if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '') == tonumber(ARGV[1]) then
        redis.call('ZREM', KEYS[1], ARGV[i])
    end
end
"""

# KEYS[1] the queue; ARGV[1] the end of the lease, then a word and its time, and so on. Gives those that are still under
# that lease their times.
_RELEASE_LEASED = """
for i = 2, #ARGV, 2 do
    if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '') == tonumber(ARGV[1]) then
        redis.call('ZADD', KEYS[1], 'XX', ARGV[i + 1], ARGV[i])
    end
end
"""

# KEYS[1] the time of the next slot (Unix seconds by Redis' own clock, which all replicas share); ARGV[1] the seconds
# between two slots, ARGV[2] the longest wait that is believed. Returns the seconds until the slot that it takes.
_TAKE_SLOT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local free = tonumber(redis.call('GET', KEYS[1]) or '')
if not (free and free > now and free < now + tonumber(ARGV[2])) then
    free = now
end
local after = free + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000))
return string.format('%.6f', free - now)
"""


def _decode(word: bytes) -> str:
    try:
        return parse_image_id(word.decode("ascii"))
    except InvalidImageId:
        raise ValueError("not an image id") from None


_CODEC: Final = Codec[str](str, _decode)


class PurgeQueue(LeasedQueue[str]):
    """Purges by due time, in ``purge:queue``, ``purge:dead`` and ``purge:attempts``; at most ``max_queued``.

    ``purge:pace`` bounds the requests of all replicas together to ``per_second``.
    """

    def __init__(
        self, guard: GuardedRedis, *, per_second: float, max_queued: int = 1_000_000, max_dead: int = _MAX_DEAD
    ) -> None:
        super().__init__(
            guard,
            "purge",
            _CODEC,
            limits=QueueLimits(lambda: _LEASE, _MAX_ATTEMPTS, max_dead),
            horizon=LATEST_DUE,
        )
        self._pace = guard.key("purge", "pace")
        self._interval = 1 / per_second
        self._max_queued = max_queued

    async def enqueue(self, image_ids: Sequence[str], due_at: float) -> int:
        """Queue the images that are not in the queue; return how many were dropped because it is full."""
        dropped = 0
        for some in in_groups(image_ids, _AT_ONCE):
            async with self._guard.bounded():
                dropped += await self._guard.client.eval(_ENQUEUE, 1, self._queue, due_at, self._max_queued, *some)
        return dropped

    async def sent(self, claims: Sequence[Claim[str]], claimed_at: float) -> None:
        """Remove the purges that were claimed at that time and sent, also from the dead list.

        An image that changed meanwhile stays in the queue.
        """
        for some in in_groups(claims, _AT_ONCE):
            words = [claim.item for claim in some]
            async with self._guard.bounded():
                await self._guard.client.eval(_REMOVE_LEASED, 1, self._queue, claimed_at + _LEASE, *words)
                pipeline = self._guard.client.pipeline(transaction=False)
                pipeline.hdel(self._attempts, *words)
                pipeline.hdel(self._dead, *words)
                await pipeline.execute()

    async def fail(self, item: str, reason: str, now: float) -> bool:
        """Like the base class; but while the dead list is full, the item is not given up: it waits ten minutes."""
        if (await self.lengths(now)).dead >= self.limits.max_dead:
            await self.postpone([item], now, _WITHOUT_ROOM)
            return False
        return await super().fail(item, reason, now)

    async def release(self, claims: Sequence[Claim[str]], claimed_at: float) -> None:
        """Give the purges that were claimed at that time their places in the queue back, without an attempt."""
        for some in in_groups(claims, _AT_ONCE):
            words = [part for claim in some for part in (claim.item, claim.due_at)]
            async with self._guard.bounded():
                await self._guard.client.eval(_RELEASE_LEASED, 1, self._queue, claimed_at + _LEASE, *words)

    async def take_slot(self) -> float:
        """Take the next request that the rate allows; return the seconds until then."""
        async with self._guard.bounded():
            longest = _LONGEST_WAIT + self._interval
            return float(await self._guard.client.eval(_TAKE_SLOT, 1, self._pace, self._interval, longest))

    async def repair(self) -> None:
        """Delete those of the keys that hold another type."""
        await super().repair()
        await self._guard.remove_unless(b"string", [self._pace])
