"""The Lua scripts that change cached entries in Redis."""

from gateway.redis_connection.guarded_client import Key, Keys, Values, lua_script


@lua_script(r"""
local used, expiry, queue, attempts, dead = unpack(sets)
local latest = tonumber(latest_end)
local done, any_kept = {}, false
for i, key in ipairs(entries) do
    local at = 5 * (i - 1)
    local entry, seen, usable_for = values[at + 1], values[at + 2], tonumber(values[at + 3])
    local entry_end = tonumber(string.match(entry, '^(%d+) '))
    local there = redis.pcall('GET', key)
    local may = true
    if type(there) == 'string' then
        if string.sub(there, 1, 1) == '-' then
            may = there == seen
        else
            local there_end = tonumber(string.match(there, '^(%d+) '))
            local dropped = string.match(there, '\n(%-%x+)$') or ''
            may = dropped == seen and not (there_end and there_end > entry_end and there_end <= latest)
        end
    end
    if may then
        if seen ~= '' then
            entry = entry .. '\n' .. seen
        end
        redis.call('SET', key, entry, 'EX', math.max(1, usable_for))
        any_kept = true
    end
    done[i] = may and 1 or 0
end
if not any_kept then
    return done
end
local any_failed = redis.call('EXISTS', attempts, dead) > 0
for i = 1, #entries do
    if done[i] == 1 then
        local at = 5 * (i - 1)
        local word, due = values[at + 4], values[at + 5]
        redis.call('ZADD', expiry, string.match(values[at + 1], '^%d+'), word)
        redis.call('ZADD', used, 'NX', now, word)
        if due ~= '' then
            redis.call('ZADD', queue, due, word)
            if any_failed then
                redis.call('HDEL', attempts, word)
                redis.call('HDEL', dead, word)
            end
        end
    end
end
redis.call('EXPIRE', expiry, index_life)
redis.call('EXPIRE', used, index_life)
return done
""")
def keep_entries(*, entries: Keys, sets: Keys, latest_end: int, now: float, index_life: int, values: Values) -> None:
    """Keep entries, and in the same step enter the kept entries into the indexes and the refresh queue.

    A URL is never replaced by a URL that ends earlier, not even by another replica: two replicas may write in any
    order. A URL that ends later than any URL can was signed by a clock that ran ahead, and is replaced.

    A row that was read before its image was dropped is not written after the drop. It also does not replace the entry
    of a writer that read the row after the drop: an entry that replaces a tombstone carries it behind a line break.

    Returns for each entry 1 if it was kept, else 0.

    sets: the indexes ``used`` and ``expiry``, the refresh queue, its attempts and its dead list.
    latest_end: the latest end that a URL signed by now can have.
    now: Unix seconds.
    index_life: for how many seconds the indexes are kept.
    values: for each entry its value, the tombstone that its writer found before it read the row or "", for how many
        seconds it may be used, the word of the variant, and when its renewal is due or "".
    """


@lua_script(r"""
if redis.call('GET', key) == value then
    local dropped = string.match(value, '\n(%-%x+)$')
    if dropped then
        redis.call('SET', key, dropped, 'PX', milliseconds)
    else
        redis.call('DEL', key)
    end
end
""")
def drop_if_same(*, key: Key, value: bytes, milliseconds: int) -> None:
    """Delete a foreign value, or leave the tombstone that it carries, unless it was replaced since it was read."""


@lua_script("""
local expiry, queue, attempts, dead = unpack(sets)
for _, key in ipairs(entries) do
    redis.call('SET', key, tombstone, 'PX', milliseconds)
end
for i = 1, #words, 1000 do
    local some = {unpack(words, i, math.min(i + 999, #words))}
    redis.call('ZREM', expiry, unpack(some))
    redis.call('ZREM', queue, unpack(some))
    redis.call('HDEL', attempts, unpack(some))
    redis.call('HDEL', dead, unpack(some))
end
if #metadata > 0 then
    redis.call('UNLINK', unpack(metadata))
end
""")
def drop_entries(
    *, entries: Keys, sets: Keys, metadata: Keys, tombstone: bytes, milliseconds: int, words: Values
) -> None:
    """Replace entries by the tombstone, and remove what belongs to them.

    Packing a command for each key would keep the event loop busy five times as long.

    sets: the index ``expiry``, the refresh queue, its attempts and its dead list.
    words: how the queue and the indexes name the variants of the entries.
    """
