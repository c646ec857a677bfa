"""The Lua scripts that change a queue in Redis. A word is how the queue writes an item."""

from gateway.redis_connection.guarded_client import Key, Values, lua_script


@lua_script("""
local never = redis.call('ZRANGEBYSCORE', queue, '(' .. latest, '+inf', 'LIMIT', 0, most)
for _, word in ipairs(never) do
    redis.call('ZADD', queue, 'XX', now, word)
end
local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #due, 2 do
    redis.call('ZADD', queue, 'XX', lease_end, due[i])
end
return due
""")
def claim_due(*, queue: Key, now: float, lease_end: float, most: int, latest: float) -> None:
    """Claim up to ``most`` words until the end of the lease. Return the words and their scores.

    ``latest``: the latest time that a gateway queues for. A word with a later score is due now.
    """


@lua_script("""
local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
local due = redis.call('ZCOUNT', queue, '-inf', now) + redis.call('ZCOUNT', queue, '(' .. latest, '+inf')
return {redis.call('ZCARD', queue), due, redis.call('HLEN', dead), first[2] or ''}
""")
def look_at(*, queue: Key, dead: Key, now: float, latest: float) -> None:
    """Return the numbers of queued, due and dead words, and the earliest score or ""."""


@lua_script("""
local counts = {}
for i = 1, tonumber(steps) do
    counts[i] = redis.call('ZCOUNT', queue, '(' .. (now + (i - 1) * step), now + i * step)
end
return counts
""")
def count_by_step(*, queue: Key, now: float, step: float, steps: int) -> None:
    """Return the number of words that come due in each of the next ``steps`` times ``step`` seconds."""


@lua_script("""
for i = 1, #words_and_times, 2 do
    local word = words_and_times[i]
    if only_if_queued == '1' then
        redis.call('ZADD', queue, 'XX', words_and_times[i + 1], word)
    else
        redis.call('ZADD', queue, words_and_times[i + 1], word)
    end
end
if redis.call('EXISTS', attempts, dead) > 0 then
    for i = 1, #words_and_times, 2 do
        redis.call('HDEL', attempts, words_and_times[i])
        redis.call('HDEL', dead, words_and_times[i])
    end
end
""")
def set_times(*, queue: Key, attempts: Key, dead: Key, only_if_queued: int, words_and_times: Values) -> None:
    """Set the times of words, without failed attempts, and not dead. Each word is followed by its time.

    ``only_if_queued``: 1 leaves words out that are not in the queue.
    """


@lua_script("""
local before = tonumber(redis.call('HGET', attempts, word)) or 0
if not (before >= 0 and before < 1000000) then
    before = 0
end
local counted = math.floor(before) + 1
redis.call('HSET', attempts, word, counted)
redis.call('EXPIRE', attempts, life)
return counted
""")
def count_attempt(*, attempts: Key, word: str, life: int) -> None:
    """Return the number of attempts, this attempt included. The number is kept for ``life`` seconds.

    A value that is not a number counts as 0.
    """
