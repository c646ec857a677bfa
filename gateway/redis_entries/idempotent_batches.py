"""Batches of counts, which Redis adds once, however often they are sent."""

import secrets
from typing import Final, Literal

from gateway.redis_connection.guarded_client import Command, Script
from gateway.redis_connection.shards import Shard

# Add a batch, unless ``marker``, which lasts a day, says that it or a later one of its writer was added. A count that
# cannot be added to, such as an infinite one, starts again from the new count. A hash replaces a value of another type.
_ADD: Final = Script(
    keys="counts marker",
    arguments="kind batch lines life",
    body="""
if (tonumber(redis.call('GET', marker)) or 0) >= tonumber(batch) then
    return 0
end
local is_hash, present = kind == 'hash', redis.call('TYPE', counts).ok
if is_hash and present ~= 'hash' and present ~= 'none' then
    redis.call('DEL', counts)
end
for name, number in string.gmatch(lines, '(%S+) (%S+)') do
    if not is_hash then
        if math.abs(tonumber(redis.call('ZINCRBY', counts, number, name)) or math.huge) == math.huge then
            redis.call('ZADD', counts, number, name)
        end
    elseif type(redis.pcall('HINCRBY', counts, name, number)) == 'table' then
        redis.call('HSET', counts, name, number)
    end
end
redis.call('EXPIRE', counts, life)
redis.call('SET', marker, batch, 'EX', 86400)
return 1
""",
)


class IdempotentBatches:
    """Numbers the batches of counts of this process, and makes the commands that add each of them once.

    A batch sent again within a day, because no answer to it came, adds nothing.
    """

    def __init__(self) -> None:
        self._writer = secrets.token_hex(8)
        self._last = 0

    def next_number(self) -> int:
        """Return the number of a new batch. Batches of a key are to be added in the order of their numbers."""
        self._last += 1
        return self._last

    def adding(
        self, shard: Shard, key: str, kind: Literal["hash", "zset"], *, batch: int, lines: str, life: int
    ) -> Command:
        """Return the command that adds a batch to ``key``, which is kept for ``life`` seconds.

        lines: a name and a number each. They are a single argument: packing an argument costs as much as counting.
        """
        marker = shard.key("marker", f"{{{key}}}", self._writer)
        return _ADD.command(counts=key, marker=marker, kind=kind, batch=batch, lines=lines, life=life)
