"""The queue of purges in Redis: the id of a changed image is due when its purge should be sent.

Every replica is notified of a change and queues it: an id that waits keeps its time, so the purge is sent once.
"""

from collections.abc import Sequence
from typing import Final

from gateway.catalog.image_id import parse_image_id
from gateway.concurrency.time_limits import in_groups
from gateway.errors import InvalidImageId
from gateway.redis_connection.guarded_client import Command, Key, Values, lua_script
from gateway.redis_connection.shards import Shard, Shards
from gateway.redis_queue.leased_queue import Claim, LeasedQueue, QueueLimits
from gateway.settings import Live

_LEASE: Final = 60.0  # seconds; a request to a target takes at most ten
_MAX_ATTEMPTS: Final = 5
_MAX_DEAD: Final = 10_000
_WITHOUT_ROOM: Final = 600.0  # seconds until a purge is tried again while the dead list is full
_AT_ONCE: Final = 200  # packing 200 words takes less than a millisecond
LATEST_DUE: Final = 3600.0  # seconds from now: no purge is queued for later, however long it failed
_LONGEST_WAIT: Final = 600.0  # seconds; a later time was written by another program


@lua_script("""
local due, most = tonumber(due_at), tonumber(most_queued)
local queued, dropped = redis.call('ZCARD', queue), 0
for _, word in ipairs(words) do
    local score = redis.call('ZSCORE', queue, word)
    if score and tonumber(score) > due then
        redis.call('ZADD', queue, due_at, word)
    elseif not score and queued < most then
        redis.call('ZADD', queue, due_at, word)
        queued = queued + 1
    elseif not score then
        dropped = dropped + 1
    end
end
return dropped
""")
def _enqueue(*, queue: Key, due_at: float, most_queued: int, words: Values) -> None:
    """Queue the words, if there is room. Return the number of words that were dropped.

    A word that is queued for later, under a lease or after a failure, comes due earlier: its image has changed again.
    """


@lua_script("""
for i = 1, #words_and_times, 2 do
    local word, due_at = words_and_times[i], words_and_times[i + 1]
    if tonumber(redis.call('ZSCORE', queue, word) or '') == tonumber(lease_end) then
        if due_at == '' then
            redis.call('ZREM', queue, word)
        else
            redis.call('ZADD', queue, due_at, word)
        end
    end
end
""")
def _set_leased(*, queue: Key, lease_end: float, words_and_times: Values) -> None:
    """Set the times of the words that are still under the lease that ends then. A word with the time "" is removed."""


@lua_script("""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local free = tonumber(redis.call('GET', next_slot) or '')
if not (free and free > now and free < now + tonumber(longest_wait)) then
    free = now
end
local after = free + tonumber(interval)
redis.call('SET', next_slot, string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000))
return string.format('%.6f', free - now)
""")
def _take_slot(*, next_slot: Key, interval: float, longest_wait: float) -> None:
    """Return the seconds until the slot that this call takes. A longer wait than ``longest_wait`` is not believed.

    next_slot: the time of the next slot, in Unix seconds by Redis' own clock, which all replicas share.
    interval: the seconds between two slots.
    """


class PurgeQueue(LeasedQueue[str]):
    """The queue of CDN purges in Redis, at most ``max_queued``: ``purge:queue``, ``purge:dead``, ``purge:attempts``.

    All are in the first shard: caches in front take far fewer purges than one server can hold.
    ``purge:pace`` bounds the requests of all replicas together to ``per_second``.
    """

    def __init__(
        self, shards: Shards, *, per_second: float, max_queued: int = 1_000_000, max_dead: int = _MAX_DEAD
    ) -> None:
        self._home = home = shards.first
        limits = Live(QueueLimits(lambda: _LEASE, _MAX_ATTEMPTS, max_dead))
        super().__init__(shards, "purge", (home,), limits=limits, horizon=LATEST_DUE)
        self._queue, self._attempts, self._dead = self._keys[home]
        self._pace = home.key("purge", "pace")
        self._interval = 1 / per_second
        self._max_queued = max_queued

    def _shard_of(self, item: str) -> Shard:  # noqa: ARG002 - one shard has all
        return self._home

    def _encode(self, item: str) -> str:
        return item

    def _decode(self, word: bytes) -> str:
        try:
            return parse_image_id(word.decode("ascii"))
        except InvalidImageId:
            raise ValueError("not an image id") from None

    async def enqueue(self, image_ids: Sequence[str], due_at: float) -> int:
        """Queue the images that are not in the queue. Return how many were dropped because the queue is full."""
        dropped = 0
        for some in in_groups(image_ids, _AT_ONCE):
            call = _enqueue(queue=self._queue, due_at=due_at, most_queued=self._max_queued, words=some)
            [count] = await self._shards.run_on(self._home, call)
            dropped += count
        return dropped

    async def sent(self, claims: Sequence[Claim[str]], claimed_at: float) -> None:
        """Remove the purges that were claimed at that time and sent. An image that changed meanwhile stays queued."""
        for some in in_groups(claims, _AT_ONCE):
            words = [claim.item for claim in some]
            call = self._end_lease(claimed_at, [part for word in words for part in (word, "")])
            gone = (("HDEL", key, *words) for key in (self._attempts, self._dead))
            await self._shards.run_on(self._home, call, *gone)

    async def fail(self, item: str, reason: str, now: float) -> bool:
        """As the base class, but while the dead list is full, the item is not given up: it waits ten minutes."""
        if (await self.state(now)).dead >= self.limits.value.max_dead:
            await self.postpone([item], now, _WITHOUT_ROOM)
            return False
        return await super().fail(item, reason, now)

    async def release(self, claims: Sequence[Claim[str]], claimed_at: float) -> None:
        """Give the purges that were claimed at that time their places in the queue back, without an attempt."""
        for some in in_groups(claims, _AT_ONCE):
            times = [part for claim in some for part in (claim.item, claim.due_at)]
            await self._shards.run_on(self._home, self._end_lease(claimed_at, times))

    def _end_lease(self, claimed_at: float, words_and_times: Sequence[str | float]) -> Command:
        return _set_leased(queue=self._queue, lease_end=claimed_at + _LEASE, words_and_times=words_and_times)

    async def take_slot(self) -> float:
        """Take the next request that the rate allows. Return the seconds until the request may be sent."""
        longest = _LONGEST_WAIT + self._interval
        call = _take_slot(next_slot=self._pace, interval=self._interval, longest_wait=longest)
        [seconds] = await self._shards.run_on(self._home, call)
        return float(seconds)

    async def repair(self) -> None:
        """Delete each key that holds a value of another type."""
        await super().repair()
        await self._shards.remove_unless(b"string", {self._home: [self._pace]})
