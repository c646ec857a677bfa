"""The queue of purges in Redis: the id of a changed image is due when its purge should be sent.

Every replica is notified of a change and queues it: an id that waits keeps its time, so the purge is sent once. If a
replica has not queued it by then, the purge is sent again when that replica cannot use what it knew any more.
"""

from collections.abc import Collection, Sequence
from typing import Final

from gateway.concurrency.time_limits import in_groups
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import Script
from gateway.redis_connection.shards import Shards, encode_variant
from gateway.redis_queue.leased_queue import Claim, LeasedQueue, QueueLimits
from gateway.settings import Live

_LEASE: Final = 60.0  # seconds; a request to a target takes at most ten
_MAX_ATTEMPTS: Final = 5
_MAX_DEAD: Final = 10_000
_TOGETHER: Final = 2.0  # seconds within which replicas hear of a change
_HEARD_LIFE: Final = 30  # seconds for which it is known who has heard: longer than until the second purge
_WITHOUT_ROOM: Final = 600.0  # seconds until a purge is tried again while the dead list is full
_AT_ONCE: Final = 200  # packing 200 words takes less than a millisecond
LATEST_DUE: Final = 3600.0  # seconds from now: no purge is queued for later, however long it failed
_LONGEST_WAIT: Final = 600.0  # seconds; a later time was written by another program


# Queue the words, if there is room. Return the number of words that were dropped. A word that is queued for later,
# under a lease or after a failure, comes due earlier: its image has changed again.
#
# heard: a key for each word, for ``life`` seconds: when the first replica heard of the change, and which have. If a
# replica hears again, or later than ``together`` seconds after the first, the image may have changed again. Then ``!``
# says that nobody knows who has heard of which change. It says so, too, where the word has waited for longer than
# ``life``: it is due before the change has reached all.
_ENQUEUE: Final = Script(
    keys="queue *heard",
    arguments="now due_at most_queued replica together life",
    rows="word",
    body="""
local due, most = tonumber(due_at), tonumber(most_queued)
local queued, dropped = redis.call('ZCARD', queue), 0
for i, row in ipairs(rows) do
    local score = redis.call('ZSCORE', queue, row.word)
    local waits = score and tonumber(score) <= due
    local known = redis.pcall('GET', heard[i])
    local changed_at = type(known) == 'string' and tonumber(string.match(known, '^[%d.]+'))
    local is_same = changed_at and math.abs(tonumber(now) - changed_at) <= tonumber(together)
    if is_same and not string.find(known, ',' .. replica .. ',', 1, true) then
        redis.call('APPEND', heard[i], replica .. ',')
    else
        redis.call('SET', heard[i], now .. ((changed_at or waits) and ',!,' or ',') .. replica .. ',', 'EX', life)
    end
    if score and not waits then
        redis.call('ZADD', queue, due_at, row.word)
    elseif not score and queued < most then
        redis.call('ZADD', queue, due_at, row.word)
        queued = queued + 1
    elseif not score then
        dropped = dropped + 1
    end
end
return dropped
""",
)

# Set the time of all words that are under the lease that ends then.
_FREE: Final = Script(
    keys="queue",
    arguments="lease_end due_at",
    body="""
for _, word in ipairs(redis.call('ZRANGEBYSCORE', queue, lease_end, lease_end)) do
    redis.call('ZADD', queue, due_at, word)
end
""",
)

# Remove the sent words that are still under the lease that ends then. Return how many are sent a second time.
#
# replicas: the names of all replicas, which contain no comma. A word is sent again if one of them is not known to have
# heard of its change, and it was claimed earlier than ``repeat_after`` seconds after the change.
_END_SENT: Final = Script(
    keys="queue *heard",
    arguments="claimed_at lease_end repeat_after replicas",
    rows="word",
    body="""
local repeats = 0
for i, row in ipairs(rows) do
    if tonumber(redis.call('ZSCORE', queue, row.word) or '') == tonumber(lease_end) then
        local known, is_missed = redis.pcall('GET', heard[i]), false
        local changed_at = type(known) == 'string' and tonumber(string.match(known, '^[%d.]+'))
        if changed_at and tonumber(claimed_at) < changed_at + repeat_after then
            is_missed = string.find(known, ',!,', 1, true)
            for name in string.gmatch(replicas, '[^,]+') do
                is_missed = is_missed or not string.find(known, ',' .. name .. ',', 1, true)
            end
        end
        if is_missed then
            redis.call('ZADD', queue, changed_at + repeat_after, row.word)
            repeats = repeats + 1
        else
            redis.call('ZREM', queue, row.word)
        end
    end
end
return repeats
""",
)

# Return the seconds until the slot that this call takes. A longer wait than ``longest_wait`` is not believed.
#
# next_slot: the time of the next slot, in Unix seconds by Redis' own clock, which all replicas share.
# interval: the seconds between two slots.
_TAKE_SLOT: Final = Script(
    keys="next_slot",
    arguments="interval longest_wait",
    body="""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local free = tonumber(redis.call('GET', next_slot) or '')
if not (free and free > now and free < now + tonumber(longest_wait)) then
    free = now
end
local after = free + tonumber(interval)
redis.call('SET', next_slot, string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000))
return string.format('%.6f', free - now)
""",
)


class PurgeQueue(LeasedQueue):
    """The queue of CDN purges in Redis, at most ``max_queued``: ``purge:queue``, ``purge:dead``, ``purge:attempts``.

    All are in the first shard: caches in front take far fewer purges than one server can hold.
    ``purge:pace`` bounds the requests of all replicas together to ``per_second``. ``purge:heard:ID`` has the replicas
    that have heard of the last change of an image.
    """

    def __init__(
        self, shards: Shards, *, per_second: float, max_queued: int = 1_000_000, max_dead: int = _MAX_DEAD
    ) -> None:
        limits = Live(QueueLimits(lambda: _LEASE, _MAX_ATTEMPTS, max_dead))
        alone = Shards(shards.servers, shards.first.prefix)
        super().__init__(alone, "purge", limits=limits, horizon=LATEST_DUE)
        self._home = home = alone.first
        self._queue, self._attempts, self._dead = self._keys[home]
        self._pace = home.key("purge", "pace")
        self._interval = 1 / per_second
        self._max_queued = max_queued

    async def now(self) -> float:
        """Return the time by Redis' own clock, in Unix seconds. The clocks of those who queue and send may differ."""
        [(seconds, microseconds)] = await self._shards.run_on(self._home, ("TIME",))
        return int(seconds) + int(microseconds) / 1_000_000

    async def enqueue(self, image_ids: Sequence[str], now: float, *, settle: float = 0.0, replica: str = "") -> int:
        """Queue the images that are not in the queue. Return how many were dropped because the queue is full.

        settle: seconds until they are due. replica: the name of who has heard of the change. Empty: a command.
        """
        dropped = 0
        for some in in_groups(image_ids, _AT_ONCE):
            call = _ENQUEUE.command(
                queue=self._queue,
                heard=self._heard(some),
                now=now,
                due_at=now + settle,
                most_queued=self._max_queued,
                replica=replica,
                together=_TOGETHER,
                life=_HEARD_LIFE,
                rows=[(image_id,) for image_id in some],
            )
            [count] = await self._shards.run_on(self._home, call)
            dropped += count
        return dropped

    def _heard(self, image_ids: Sequence[str]) -> list[str]:
        return [self._home.key("purge", "heard", image_id) for image_id in image_ids]

    async def sent(
        self, claims: Sequence[Claim], claimed_at: float, replicas: Collection[str] = (), repeat_after: float = 0.0
    ) -> int:
        """Remove the purges that were claimed at that time and sent. An image that changed meanwhile stays queued.

        replicas: the names of all. An image of whose change one of them is not known to have heard stays queued, too:
        for ``repeat_after`` seconds after the change, unless it was claimed later. Return how many.
        """
        repeats = 0
        for some in in_groups(claims, _AT_ONCE):
            words = [encode_variant(claim.item) for claim in some]
            call = _END_SENT.command(
                queue=self._queue,
                heard=self._heard(words),
                claimed_at=claimed_at,
                lease_end=claimed_at + _LEASE,
                repeat_after=repeat_after,
                replicas=",".join(replicas),
                rows=[(word,) for word in words],
            )
            gone = (("HDEL", key, *words) for key in (self._attempts, self._dead))
            count, *_ = await self._shards.run_on(self._home, call, *gone)
            repeats += count
        return repeats

    async def fail(self, item: ImageVariant, reason: str, now: float) -> bool:
        """As the base class, but while the dead list is full, the item is not given up: it waits ten minutes."""
        if (await self.state(now)).dead >= self.limits.value.max_dead:
            await self.postpone([item], now, _WITHOUT_ROOM)
            return False
        return await super().fail(item, reason, now)

    async def free(self, claimed_at: float, due_at: float | None = None) -> None:
        """Make all purges due that are claimed since that time: a gateway may not know which of them it claimed.

        due_at: their place in the queue from then on. None: that of their claim.
        """
        due_at = claimed_at if due_at is None else due_at
        call = _FREE.command(queue=self._queue, lease_end=claimed_at + _LEASE, due_at=due_at)
        await self._shards.run_on(self._home, call)

    async def take_slot(self) -> float:
        """Take the next request that the rate allows. Return the seconds until the request may be sent."""
        longest = _LONGEST_WAIT + self._interval
        call = _TAKE_SLOT.command(next_slot=self._pace, interval=self._interval, longest_wait=longest)
        [seconds] = await self._shards.run_on(self._home, call)
        return float(seconds)
