"""The Lua scripts that change cached entries in Redis."""

from typing import Final, NamedTuple

from gateway.redis_connection.guarded_client import Script


class EntryRow(NamedTuple):
    """An entry for ``KEEP_ENTRIES``.

    value: of the entry.
    seen: the tombstone that its writer found before it read the row, or empty.
    foreign: the value that its writer found then and could not use, or empty.
    usable_for: for how many seconds it may be used.
    word: of the variant, in the indexes and the refresh queue.
    due: when its renewal is due (Unix seconds), or "" for no renewal.
    """

    value: bytes
    seen: bytes
    foreign: bytes
    usable_for: float
    word: str
    due: float | str


# Keep entries, and in the same step enter the kept entries into the indexes and the refresh queue.
#
# A URL is never replaced by a URL that ends earlier, not even by another replica: two replicas may write in any order.
# A URL that ends later than ``latest_end``, the latest end of a URL signed by now, was signed by a clock that ran
# ahead, and is replaced.
#
# A row that was read before its image was dropped is not written after the drop. It also does not replace the entry of
# a writer that read the row after the drop: an entry that replaces a tombstone carries it behind a line break.
#
# A foreign value is replaced, even by an earlier end, if it is the value that the writer found before it read the row.
KEEP_ENTRIES: Final = Script(
    keys="used expiry queue attempts dead *entries",
    arguments="latest_end now index_life",
    rows=" ".join(EntryRow._fields),
    body=r"""
local any_failed = redis.call('EXISTS', attempts, dead) > 0
for i, key in ipairs(entries) do
    local row = rows[i]
    local value, ends = row.value, tonumber(string.match(row.value, '^(%d+) '))
    local there = redis.pcall('GET', key)
    local may = true
    if type(there) == 'string' and there ~= row.foreign then
        if string.sub(there, 1, 1) == '-' then
            may = there == row.seen
        else
            local there_ends = tonumber(string.match(there, '^(%d+) '))
            local dropped = string.match(there, '\n(%-%x+)$') or ''
            local is_later = there_ends and there_ends > ends and there_ends <= tonumber(latest_end)
            may = dropped == row.seen and not is_later
        end
    end
    if may then
        if row.seen ~= '' then
            value = value .. '\n' .. row.seen
        end
        redis.call('SET', key, value, 'EX', math.max(1, row.usable_for))
        redis.call('ZADD', expiry, ends, row.word)
        redis.call('ZADD', used, 'NX', now, row.word)
        if row.due ~= '' then
            redis.call('ZADD', queue, row.due, row.word)
            if any_failed then
                redis.call('HDEL', attempts, row.word)
                redis.call('HDEL', dead, row.word)
            end
        end
    end
end
redis.call('EXPIRE', expiry, index_life)
redis.call('EXPIRE', used, index_life)
""",
)

# Replace entries by the tombstone, and remove their ends and renewals. ``word``: of the variant of each entry. Packing
# a command for each key would keep the event loop busy five times as long.
DROP_ENTRIES: Final = Script(
    keys="expiry queue attempts dead *entries",
    arguments="tombstone milliseconds",
    rows="word",
    body="""
local words = {}
for i, key in ipairs(entries) do
    words[i] = rows[i].word
    redis.call('SET', key, tombstone, 'PX', milliseconds)
end
redis.call('ZREM', expiry, unpack(words))
redis.call('ZREM', queue, unpack(words))
redis.call('HDEL', attempts, unpack(words))
redis.call('HDEL', dead, unpack(words))
""",
)
