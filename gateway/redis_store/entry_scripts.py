"""The Lua scripts that change cached entries in Redis."""

from typing import Final

# Keeps entries, and in the same step enters those that were kept into the indexes and the refresh queue.
#
# KEYS: the entries, and after them, outside of a Redis Cluster, the indexes ``used`` and ``expiry``, the refresh queue,
# its attempts and its dead list, from which those that were kept are removed. ARGV[1] the number of entries, ARGV[2]
# the latest end that a URL signed by now can have, ARGV[3] now, ARGV[4] for how many seconds the indexes are kept. Then
# for each entry: its value, the tombstone its writer found before it read the row or "", for how many seconds it may be
# used, the word of the variant, and when its renewal is due or "". Returns for each entry 1 if it was kept, else 0.
#
# A URL is never replaced by one that ends earlier, also if another replica signed it: two replicas may write in any
# order. One that ends later than any can was signed by a clock that ran ahead, and is replaced. A row that was read
# before its image was dropped is never written after that, also not over the entry of a writer that read the row later:
# an entry that takes the place of a tombstone carries it behind a line break.
KEEP: Final = r"""
local count, latest, now, index_life = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local used, expiry, queue, attempts, dead = unpack(KEYS, count + 1, count + 5)
local done, any_kept = {}, false
for i = 1, count do
    local key, at = KEYS[i], 5 * i
    local entry, seen, usable_for = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
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
if not (used and any_kept) then
    return done
end
local any_failed = redis.call('EXISTS', attempts, dead) > 0
for i = 1, count do
    if done[i] == 1 then
        local word, due = ARGV[5 * i + 3], ARGV[5 * i + 4]
        redis.call('ZADD', expiry, string.match(ARGV[5 * i], '^%d+'), word)
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
"""

# KEYS[1] the entry; ARGV[1] the value that was read. Deletes garbage, but not what another replica put in its place.
DROP_IF_SAME: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""

# KEYS entries; ARGV[1] the tombstone that replaces each, ARGV[2] its life in milliseconds. Packing a command for each
# key would keep the event loop busy five times as long.
DROP: Final = """
for i = 1, #KEYS do
    redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2])
end
"""
