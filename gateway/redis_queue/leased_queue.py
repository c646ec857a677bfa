"""A queue in Redis: a sorted set ordered by due time, with leases, attempts and a dead list.

The items that a dead worker claimed come due again when its lease ends. Every other operation is idempotent. A word is
how the queue writes an item.
"""

import json
import math
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from gateway.concurrency.time_limits import in_groups
from gateway.net.printable import printable
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import Command, Script
from gateway.redis_connection.shards import Shard, Shards, decode_variant, encode_variant
from gateway.settings import Live

_ATTEMPTS_LIFE: Final = 30 * 24 * 3600  # seconds
_AT_ONCE: Final = 500  # items of a command; a script of Redis can unpack about 8,000 arguments
# Seconds from now. A score beyond was written by another program and would never be due.
_HORIZON: Final = 10 * 365 * 24 * 3600
_LATEST: Final = 253_402_300_799  # the end of the year 9999, the last that Python's datetime has
_MOST_ATTEMPTS: Final = 10**9
_LONGEST_REASON: Final = 500  # characters


# Claim up to ``most`` words until the end of the lease. Return the words and their scores. A word with a score beyond
# ``latest``, for which no gateway queues, is due now.
CLAIM_DUE: Final = Script(
    keys="queue",
    arguments="now lease_end most latest",
    body="""
local never = redis.call('ZRANGEBYSCORE', queue, '(' .. latest, '+inf', 'LIMIT', 0, most)
for _, word in ipairs(never) do
    redis.call('ZADD', queue, 'XX', now, word)
end
local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #due, 2 do
    redis.call('ZADD', queue, 'XX', lease_end, due[i])
end
return due
""",
)

# Return the numbers of queued, due and dead words, and the earliest score or "".
_LOOK_AT: Final = Script(
    keys="queue dead",
    arguments="now latest",
    body="""
local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
local due = redis.call('ZCOUNT', queue, '-inf', now) + redis.call('ZCOUNT', queue, '(' .. latest, '+inf')
return {redis.call('ZCARD', queue), due, redis.call('HLEN', dead), first[2] or ''}
""",
)

# Return the number of words that come due in each of the next ``steps`` times ``step`` seconds.
_COUNT_BY_STEP: Final = Script(
    keys="queue",
    arguments="now step steps",
    body="""
local counts = {}
for i = 1, tonumber(steps) do
    counts[i] = redis.call('ZCOUNT', queue, '(' .. (now + (i - 1) * step), now + i * step)
end
return counts
""",
)

# Return the number of attempts, with this one, kept for ``life`` seconds. What is not a number counts as 0.
_COUNT_ATTEMPT: Final = Script(
    keys="attempts",
    arguments="word life",
    body="""
local before = tonumber(redis.call('HGET', attempts, word)) or 0
if not (before >= 0 and before < 1000000) then
    before = 0
end
local counted = math.floor(before) + 1
redis.call('HSET', attempts, word, counted)
redis.call('EXPIRE', attempts, life)
return counted
""",
)


@dataclass(frozen=True, slots=True)
class DeadEntry:
    """An item that the queue gave up, in its dead list: why, when (Unix seconds), and after how many attempts."""

    item: ImageVariant
    reason: str
    at: float
    attempts: int

    def encode(self) -> str:
        return json.dumps({"reason": self.reason, "at": self.at, "attempts": self.attempts})

    @staticmethod
    def decode(item: ImageVariant, text: bytes) -> "DeadEntry":
        """Return the entry that ``encode`` wrote. Any other text becomes an entry that says so."""
        try:
            entry = json.loads(text)
            return DeadEntry(
                item,
                printable(str(entry["reason"])[:_LONGEST_REASON]),
                _bounded(float(entry["at"]), _LATEST),
                int(_bounded(float(entry["attempts"]), _MOST_ATTEMPTS)),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return DeadEntry(item, "unreadable entry", 0.0, 0)


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Limits of a queue. ``lease`` returns the seconds for which a new claim holds."""

    lease: Callable[[], float]
    max_attempts: int
    max_dead: int  # items of the dead list


@dataclass(frozen=True, slots=True)
class Claim:
    """An item of a queue that this process works on until its lease ends, and when it was due (Unix seconds)."""

    item: ImageVariant
    due_at: float


class QueueState(NamedTuple):
    """The length of a queue in Redis, and when its next item is due: Unix seconds, maybe infinite, or None."""

    queued: int
    due: int
    dead: int
    next_due: float | None


class QueueKeys(NamedTuple):
    """The names of the keys of a queue in a shard of Redis."""

    queue: str
    attempts: str
    dead: str


class LeasedQueue:
    """A queue in Redis whose items are claimed for a time. The caller passes all times, in Unix seconds.

    What concerns several shards is done in the shards whose server answers before ``CacheUnavailable`` is raised.

    name: the second part of the names of the keys.
    horizon: an item due more than so many seconds from now is due now: no gateway queues for later.
    """

    def __init__(
        self,
        shards: Shards,
        name: str,
        *,
        limits: Live[QueueLimits],
        random: Callable[[], float] = random.random,
        horizon: float = _HORIZON,
    ) -> None:
        self._shards = shards
        self._keys = {shard: QueueKeys(*(shard.key(name, part) for part in QueueKeys._fields)) for shard in shards.all}
        self._horizon = horizon
        self.limits = limits
        self._random = random

    async def schedule(self, due: Mapping[ImageVariant, float], *, only_if_queued: bool = False) -> None:
        """Queue each item for its time, without failed attempts, and not dead. An item already queued is moved.

        ``only_if_queued``: a claimed item that was removed since its claim stays removed.
        """
        commands: dict[Shard, list[Command]] = {}
        for shard, items in self._shards.split(due).items():
            for some in in_groups(items, _AT_ONCE):
                keys, words = self._keys[shard], [encode_variant(item) for item in some]
                times = chain.from_iterable(zip((due[item] for item in some), words, strict=True))
                setting = ("ZADD", keys.queue, *(["XX"] if only_if_queued else []), *times)
                commands.setdefault(shard, []).extend([setting, *(("HDEL", key, *words) for key in keys[1:])])
        (await self._shards.run(commands)).complete()

    async def look(self, now: float, shards: Iterable[Shard] | None = None) -> Mapping[Shard, QueueState]:
        """Return the states of the shards (default: all) whose server answers, by a command for each shard."""
        commands = {shard: [self._look(self._keys[shard], now)] for shard in (self._keys if shards is None else shards)}
        answers = await self._shards.run(commands)
        return {shard: _state(*answer) for shard, [answer] in answers.available().items()}

    async def state(self, now: float) -> QueueState:
        """Return the state of the whole queue. All shards must answer."""
        answers = await self._run_on_all(lambda keys: self._look(keys, now))
        queued, due, dead, times = zip(*(_state(*answer) for answer in answers.values()), strict=True)
        return QueueState(sum(queued), sum(due), sum(dead), min((at for at in times if at is not None), default=None))

    def _look(self, keys: QueueKeys, now: float) -> Command:
        return _LOOK_AT.command(queue=keys.queue, dead=keys.dead, now=now, latest=now + self._horizon)

    async def claim(self, now: float, most: int, due: dict[Shard, int] | None = None) -> list[Claim]:
        """Claim up to ``most`` due items. No other worker gets them before the lease ends.

        ``due``: how many to claim from which shards, in this order, as ``look`` has counted them; default: it looks.
        What is claimed is taken off. Of a shard, the items due for the longest time come first. Shards whose server
        does not answer are left out, unless none answers.
        """
        if due is None:
            due = {shard: state.due for shard, state in (await self.look(now)).items() if state.due}
        commands: dict[Shard, list[Command]] = {}
        lease_end, latest = now + self.limits.value.lease(), now + self._horizon
        while due and most:
            shard, count = next(iter(due.items()))
            del due[shard]
            some = min(count, most)
            most -= some
            if count > some:
                due[shard] = count - some
            queue = self._keys[shard].queue
            call = CLAIM_DUE.command(queue=queue, now=now, lease_end=lease_end, most=some, latest=latest)
            commands[shard] = [call]
        claims: list[Claim] = []
        for shard, [answer] in (await self._shards.run(commands)).available().items():
            found, garbage = self._read_claims(answer, instead_of_infinity=now)
            claims += found
            if garbage:
                await self._shards.run_on(shard, ("ZREM", self._keys[shard].queue, *garbage))
        return claims

    async def remove(self, items: Sequence[ImageVariant]) -> None:
        """Take the items out of the queue, and off the dead list."""
        commands: dict[Shard, list[Command]] = {}
        for shard, own in self._shards.split(items).items():
            keys, words = self._keys[shard], [encode_variant(item) for item in own]
            commands[shard] = [("ZREM", keys.queue, *words), *(("HDEL", key, *words) for key in keys[1:])]
        (await self._shards.run(commands)).complete()

    async def postpone(self, items: Sequence[ImageVariant], now: float, seconds: float) -> None:
        """Queue claimed items again for within ``seconds``, without counting an attempt."""
        commands: dict[Shard, list[Command]] = {}
        for shard, own in self._shards.split(items).items():
            due = ((now + seconds * (0.5 + self._random() / 2), encode_variant(item)) for item in own)
            commands[shard] = [("ZADD", self._keys[shard].queue, "XX", *chain.from_iterable(due))]
        (await self._shards.run(commands)).complete()

    async def fail(self, item: ImageVariant, reason: str, now: float) -> bool:
        """Queue a failed item again after a backoff, or after its last attempt move it to the dead list: return True.

        The backoff is exponential with full jitter, and lasts at most ten leases.
        """
        shard, word = self._shards.of(item.image_id), encode_variant(item)
        keys, limits = self._keys[shard], self.limits.value
        call = _COUNT_ATTEMPT.command(attempts=keys.attempts, word=word, life=_ATTEMPTS_LIFE)
        [attempts] = await self._shards.run_on(shard, call)
        if attempts < limits.max_attempts:
            backoff = self._random() * min(limits.lease() * 10, 2**attempts)
            await self._shards.run_on(shard, ("ZADD", keys.queue, "XX", now + backoff, word))
            return False
        # First into the dead list, then out of the queue: dying in between leaves it in both, and loses nothing.
        [length] = await self._shards.run_on(shard, ("HLEN", keys.dead))
        gone: list[Command] = [("ZREM", keys.queue, word), ("HDEL", keys.attempts, word)]
        if length < math.ceil(limits.max_dead / len(self._keys)):
            gone.insert(0, ("HSET", keys.dead, word, DeadEntry(item, reason, now, attempts).encode()))
        await self._shards.run_on(shard, *gone)
        return True

    async def dead(self, most: int = 1000) -> list[DeadEntry]:
        """Return up to ``most`` entries of the dead list, without unreadable ones."""
        found: dict[ImageVariant, DeadEntry] = {}
        async for _, entries in self._dead_pages(min(most, _AT_ONCE)):
            items, _ = self._decode_all(entries)
            found |= {item: DeadEntry.decode(item, entries[word]) for word, item in items.items()}
            if len(found) >= most:
                break
        return list(found.values())[:most]

    async def requeue(self, now: float, chosen: Sequence[ImageVariant] | None = None) -> int:
        """Make the dead list, or the ``chosen`` items on it, due now. Return how many. Remove unreadable entries."""
        moved = 0
        if chosen is None:
            async for shard, entries in self._dead_pages(_AT_ONCE):
                found, garbage = self._decode_all(entries)
                moved += await self._revive(shard, list(found), now)
                if garbage:
                    await self._shards.run_on(shard, ("HDEL", self._keys[shard].dead, *garbage))
            return moved
        for shard, items in self._shards.split(chosen).items():
            words = [encode_variant(item) for item in items]
            [entries] = await self._shards.run_on(shard, ("HMGET", self._keys[shard].dead, *words))
            dead = [word for word, entry in zip(words, entries, strict=True) if entry is not None]
            moved += await self._revive(shard, dead, now)
        return moved

    async def _revive(self, shard: Shard, words: Sequence[str | bytes], now: float) -> int:
        """Queue dead words, and return how many were dead. First into the queue, for the same reason as in fail()."""
        if not words:
            return 0
        keys, queued = self._keys[shard], [part for word in words for part in (now, word)]
        _, count = await self._shards.run_on(shard, ("ZADD", keys.queue, *queued), ("HDEL", keys.dead, *words))
        return int(count)

    async def _dead_pages(self, most: int) -> AsyncIterator[tuple[Shard, dict[bytes, bytes]]]:
        """Yield the dead lists by pages of about ``most``. Some are empty: only cursor 0 is the end (HSCAN, Redis)."""
        exists = await self._run_on_all(lambda keys: ("EXISTS", keys.dead))
        for shard in [shard for shard, is_there in exists.items() if is_there]:
            cursor: int | None = None
            while cursor != 0:
                command = ("HSCAN", self._keys[shard].dead, cursor or 0, "COUNT", most)
                [(answered, entries)] = await self._shards.run_on(shard, command)
                cursor = int(answered)
                yield shard, entries

    async def due_at(self, item: ImageVariant) -> float | None:
        """Return when the item is due, or None when it is not queued, or at an infinite time."""
        shard = self._shards.of(item.image_id)
        [score] = await self._shards.run_on(shard, ("ZSCORE", self._keys[shard].queue, encode_variant(item)))
        return float(score) if score is not None and math.isfinite(score) else None

    async def dead_entry(self, item: ImageVariant) -> DeadEntry | None:
        """Return the item's entry in the dead list."""
        shard = self._shards.of(item.image_id)
        [entry] = await self._shards.run_on(shard, ("HGET", self._keys[shard].dead, encode_variant(item)))
        return DeadEntry.decode(item, entry) if entry is not None else None

    async def first(self, most: int) -> list[Claim]:
        """Return the next items to come due, without claiming them. An infinite time is returned as 0.0.

        Of several shards, each is read up to twice its share of ``most``.
        """
        page = min(most, 2 * math.ceil(most / len(self._keys)))
        answers = await self._run_on_all(lambda keys: ("ZRANGE", keys.queue, 0, page - 1, "WITHSCORES"))
        pages = [self._read_claims(flat, instead_of_infinity=0.0)[0] for flat in answers.values()]
        return list(islice(merge(*pages, key=attrgetter("due_at")), most))

    async def due_by_step(self, now: float, step: float, steps: int) -> list[int]:
        """Return how many items come due in each of the next ``steps`` times ``step`` seconds."""
        answers = await self._run_on_all(
            lambda keys: _COUNT_BY_STEP.command(queue=keys.queue, now=now, step=step, steps=steps)
        )
        return [sum(counts) for counts in zip(*answers.values(), strict=True)]

    async def _run_on_all(self, command: Callable[[QueueKeys], Command]) -> dict[Shard, Any]:
        """Return the answer of each shard to its command. Raises ``CacheUnavailable`` if any of them fails."""
        answers = await self._shards.run({shard: [command(keys)] for shard, keys in self._keys.items()})
        return {shard: answer for shard, [answer] in answers.complete().items()}

    def _read_claims(self, flat: Sequence[Any], *, instead_of_infinity: float) -> tuple[list[Claim], list[bytes]]:
        """Return words, each followed by its score, as claims, and the words that cannot be decoded."""
        due = {word: float(score) for word, score in zip(flat[::2], flat[1::2], strict=True)}
        items, garbage = self._decode_all(due)
        finite = {word: due[word] if math.isfinite(due[word]) else instead_of_infinity for word in items}
        return [Claim(item, finite[word]) for word, item in items.items()], garbage

    def _decode_all(self, words: Iterable[bytes]) -> tuple[dict[bytes, ImageVariant], list[bytes]]:
        """Return the items by their words, and the words that cannot be decoded."""
        found: dict[bytes, ImageVariant] = {}
        garbage: list[bytes] = []
        for word in words:
            try:
                found[word] = decode_variant(word)
            except ValueError:
                garbage.append(word)
        return found, garbage


def _state(queued: int, due: int, dead: int, first: bytes) -> QueueState:
    return QueueState(queued, due, dead, float(first) if first else None)


def _bounded(number: float, most: float) -> float:
    """Return the number if it is between 0 and ``most``, else 0: Python's JSON has infinities."""
    return number if 0 <= number <= most else 0.0
