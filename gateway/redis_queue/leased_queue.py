"""A queue in Redis: a sorted set ordered by time, with leases, attempts and a dead list.

The score of an item in ``<name>:queue`` is the time at which the item is due. The items that a dead worker claimed come
due again when its lease ends. Every other operation is idempotent. The codec of a queue defines its items and their
encoding. The queues of renewals and of purges have different codecs. The queue of renewals is in all shards, the queue
of purges in the first.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Generic, TypeVar

from gateway.concurrency.time_slices import in_groups
from gateway.redis_connection.guarded_client import Command
from gateway.redis_connection.shards import Shard, Shards
from gateway.redis_queue.dead_entry import DeadEntry
from gateway.redis_queue.queue_codec import Codec
from gateway.redis_queue.queue_scripts import claim_due, count_attempt, count_by_step, look_at, set_times
from gateway.settings import Live

T = TypeVar("T")

_BACKOFF_BASE = 1.0
_ATTEMPTS_LIFE = 30 * 24 * 3600
_SCANNED_AT_ONCE = 500
_SET_AT_ONCE = 500  # a script of Redis can unpack about 8,000 arguments
# Seconds from now. A score beyond was written by another program and would never be due.
_HORIZON = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Limits of a queue.

    lease: returns the seconds for which a new claim holds.
    max_dead: how many items the dead list has at most.
    """

    lease: Callable[[], float]
    max_attempts: int
    max_dead: int


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """An item to work on, and when it was due (Unix seconds)."""

    item: T
    due_at: float


@dataclass(frozen=True, slots=True)
class QueueLengths:
    """Numbers of items."""

    queued: int
    due: int
    dead: int


@dataclass(frozen=True, slots=True)
class QueueState:
    """Numbers of items of a shard, and when the next item is due (Unix seconds, which may be infinite), or None."""

    queued: int
    due: int
    dead: int
    next_due: float | None


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of a queue in a shard."""

    queue: str
    attempts: str
    dead: str


@dataclass(frozen=True, slots=True)
class Places(Generic[T]):
    """Where the items of a queue are: the shards that have some, the shard of an item, the keys in a shard."""

    all: Sequence[Shard]
    of: Callable[[T], Shard]
    keys: Callable[[Shard], QueueKeys]


class LeasedQueue(Generic[T]):
    """Items by due time. The caller passes all times, in Unix seconds. Raises ``CacheUnavailable``.

    What concerns several shards is done in the shards whose server answers before ``CacheUnavailable`` is raised. An
    item due more than ``horizon`` seconds from now is due now: no gateway queues for later.
    """

    def __init__(
        self,
        shards: Shards,
        places: Places[T],
        codec: Codec[T],
        *,
        limits: Live[QueueLimits],
        random: Callable[[], float] = random.random,
        horizon: float = _HORIZON,
    ) -> None:
        self._shards = shards
        self._places = places
        self._codec = codec
        self._horizon = horizon
        self.limits = limits
        self._random = random

    async def schedule(self, due: Mapping[T, float]) -> None:
        """Queue each item for its time, without failed attempts, and not dead. An item already queued is moved."""
        await self._set(due, only_if_queued=False)

    async def ack(self, due: Mapping[T, float]) -> None:
        """Queue finished items for their next times. An item removed since its claim stays removed."""
        await self._set(due, only_if_queued=True)

    async def _set(self, due: Mapping[T, float], *, only_if_queued: bool) -> None:
        commands: dict[Shard, list[Command]] = {}
        for shard, items in self._split(due).items():
            keys = self._places.keys(shard)
            for some in in_groups(items, _SET_AT_ONCE):
                call = set_times(
                    queue=keys.queue,
                    attempts=keys.attempts,
                    dead=keys.dead,
                    only_if_queued=int(only_if_queued),
                    words_and_times=[part for item in some for part in (self._codec.encode(item), due[item])],
                )
                commands.setdefault(shard, []).append(call)
        (await self._shards.run(commands)).complete()

    async def look(self, now: float, shards: Sequence[Shard] | None = None) -> Mapping[Shard, QueueState]:
        """Return the states of the shards (default: all) whose server answers, by a command for each shard."""
        commands: dict[Shard, list[Command]] = {}
        for shard in self._places.all if shards is None else shards:
            keys = self._places.keys(shard)
            call = look_at(queue=keys.queue, dead=keys.dead, now=now, latest=now + self._horizon)
            commands[shard] = [call]
        if not commands:
            return {}
        answers = (await self._shards.run(commands)).available()
        return {
            shard: QueueState(queued, due, dead, float(first) if first else None)
            for shard, [(queued, due, dead, first)] in answers.items()
        }

    async def claim(self, now: float, most: int, due: Mapping[Shard, int] | None = None) -> list[Claim[T]]:
        """Claim up to ``most`` due items. No other worker gets them before the lease ends.

        ``due``: how many to claim from which shards, in this order, as ``look`` has counted them; default: it looks.
        The items of a shard are those that are due for the longest time. Shards whose server does not answer are left
        out, unless none answers.
        """
        if due is None:
            [alone, *others] = self._places.all
            if others:
                due = {shard: state.due for shard, state in (await self.look(now)).items() if state.due}
            else:
                due = {alone: most}
        commands: dict[Shard, list[Command]] = {}
        lease_end, latest = now + self.limits.value.lease(), now + self._horizon
        for shard, count in due.items():
            some = min(count, most)
            if not some:
                break
            most -= some
            call = claim_due(
                queue=self._places.keys(shard).queue, now=now, lease_end=lease_end, most=some, latest=latest
            )
            commands[shard] = [call]
        if not commands:
            return []
        claims: list[Claim[T]] = []
        for shard, [answer] in (await self._shards.run(commands)).available().items():
            found, garbage = self._read_claims(zip(answer[::2], answer[1::2], strict=True), instead_of_infinity=now)
            claims += found
            if garbage:
                await self._shards.run_on(shard, ("ZREM", self._places.keys(shard).queue, *garbage))
        return claims

    async def remove(self, items: Sequence[T]) -> None:
        """Take the items out of the queue, and off the dead list."""
        commands: dict[Shard, list[Command]] = {}
        for shard, own in self._split(items).items():
            keys, words = self._places.keys(shard), [self._codec.encode(item) for item in own]
            commands[shard] = [
                ("ZREM", keys.queue, *words),
                ("HDEL", keys.attempts, *words),
                ("HDEL", keys.dead, *words),
            ]
        (await self._shards.run(commands)).complete()

    async def postpone(self, items: Sequence[T], now: float, seconds: float) -> None:
        """Queue claimed items again for within ``seconds``, without counting an attempt."""
        commands: dict[Shard, list[Command]] = {}
        for shard, own in self._split(items).items():
            times = [
                part for item in own for part in (now + seconds * (0.5 + self._random() / 2), self._codec.encode(item))
            ]
            commands[shard] = [("ZADD", self._places.keys(shard).queue, "XX", *times)]
        (await self._shards.run(commands)).complete()

    async def fail(self, item: T, reason: str, now: float) -> bool:
        """Queue a failed item again after a backoff, or after its last attempt move it to the dead list.

        Returns True when the item was given up. The backoff is exponential with full jitter, and lasts at most ten
        leases.
        """
        shard, word = self._places.of(item), self._codec.encode(item)
        keys = self._places.keys(shard)
        call = count_attempt(attempts=keys.attempts, word=word, life=_ATTEMPTS_LIFE)
        [attempts] = await self._shards.run_on(shard, call)
        if attempts < self.limits.value.max_attempts:
            backoff = self._random() * min(self.limits.value.lease() * 10, _BACKOFF_BASE * 2**attempts)
            await self._shards.run_on(shard, ("ZADD", keys.queue, "XX", now + backoff, word))
            return False
        # First into the dead list, then out of the queue: dying in between leaves it in both, and loses nothing.
        [length] = await self._shards.run_on(shard, ("HLEN", keys.dead))
        gone: list[Command] = [("ZREM", keys.queue, word), ("HDEL", keys.attempts, word)]
        if length < math.ceil(self.limits.value.max_dead / len(self._places.all)):
            gone.insert(0, ("HSET", keys.dead, word, DeadEntry(item, reason, now, attempts).encode()))
        await self._shards.run_on(shard, *gone)
        return True

    async def dead(self, most: int = 1000) -> list[DeadEntry[T]]:
        """Return up to ``most`` entries of the dead list, without unreadable ones."""
        found: dict[T, DeadEntry[T]] = {}
        for shard in await self._with_dead():
            cursor: int | None = None
            while cursor != 0 and len(found) < most:
                cursor, entries = await self._scan_dead(shard, cursor or 0, min(most, _SCANNED_AT_ONCE))
                items, _ = self._codec.decode_all(entries)
                shown = islice(items.items(), most - len(found))
                found |= {item: DeadEntry.decode(item, entries[word]) for word, item in shown}
        return list(found.values())

    async def requeue(self, now: float, chosen: Sequence[T] | None = None) -> int:
        """Make the dead list due now, and return the number of entries. Unreadable entries are removed.

        With ``chosen``, make only these items due, if they are on the list.
        """
        moved = 0
        if chosen is not None:
            for shard, items in self._split(chosen).items():
                moved += await self._requeue_chosen(shard, now, [self._codec.encode(item) for item in items])
            return moved
        for shard in await self._with_dead():
            moved += await self._requeue_all(shard, now)
        return moved

    async def _with_dead(self) -> list[Shard]:
        """Return the shards with a dead list. Raises ``CacheUnavailable`` if any of them cannot be read."""
        commands: dict[Shard, list[Command]] = {
            shard: [("EXISTS", self._places.keys(shard).dead)] for shard in self._places.all
        }
        return [shard for shard, [exists] in (await self._shards.run(commands)).complete().items() if exists]

    async def _requeue_all(self, shard: Shard, now: float) -> int:
        keys, moved = self._places.keys(shard), 0
        cursor: int | None = None
        while cursor != 0:
            cursor, entries = await self._scan_dead(shard, cursor or 0)
            if not entries:
                continue
            items, garbage = self._codec.decode_all(entries)
            # First into the queue, then off the list, for the same reason as in fail().
            if items:
                queued = [part for word in items for part in (now, word)]
                _, count = await self._shards.run_on(shard, ("ZADD", keys.queue, *queued), ("HDEL", keys.dead, *items))
                moved += count
            if garbage:
                await self._shards.run_on(shard, ("HDEL", keys.dead, *garbage))
        return moved

    async def _requeue_chosen(self, shard: Shard, now: float, words: Sequence[str]) -> int:
        keys = self._places.keys(shard)
        [entries] = await self._shards.run_on(shard, ("HMGET", keys.dead, *words))
        dead = [word for word, entry in zip(words, entries, strict=True) if entry is not None]
        if not dead:
            return 0
        queued = [part for word in dead for part in (now, word)]  # first, as in requeue()
        _, count = await self._shards.run_on(shard, ("ZADD", keys.queue, *queued), ("HDEL", keys.dead, *dead))
        return int(count)

    async def _scan_dead(
        self, shard: Shard, cursor: int, most: int = _SCANNED_AT_ONCE
    ) -> tuple[int, dict[bytes, bytes]]:
        """Return the cursor of the next page of a dead list, and this page, of about ``most`` entries.

        Only cursor 0 is the end: pages in between may be empty (HSCAN, Redis).
        """
        command = ("HSCAN", self._places.keys(shard).dead, cursor, "COUNT", most)
        [(cursor, entries)] = await self._shards.run_on(shard, command)
        return int(cursor), entries

    async def next_due(self) -> float | None:
        """Return when the next item is due, or None when the queue is empty."""
        commands: dict[Shard, list[Command]] = {
            shard: [("ZRANGE", self._places.keys(shard).queue, 0, 0, "WITHSCORES")] for shard in self._places.all
        }
        answers = (await self._shards.run(commands)).complete().values()
        return min((float(first[1]) for [first] in answers if first), default=None)

    async def due_at(self, item: T) -> float | None:
        """Return when the item is due, or None when it is not queued, or at an infinite time."""
        shard = self._places.of(item)
        command = ("ZSCORE", self._places.keys(shard).queue, self._codec.encode(item))
        [score] = await self._shards.run_on(shard, command)
        return float(score) if score is not None and math.isfinite(score) else None

    async def dead_entry(self, item: T) -> DeadEntry[T] | None:
        """Return the item's entry in the dead list, or None without one."""
        shard = self._places.of(item)
        command = ("HGET", self._places.keys(shard).dead, self._codec.encode(item))
        [entry] = await self._shards.run_on(shard, command)
        return DeadEntry.decode(item, entry) if entry is not None else None

    async def first(self, most: int) -> list[Claim[T]]:
        """Return the next items to come due, without claiming them. An infinite time is returned as 0.0.

        Of several shards, each is read up to twice its share of ``most``.
        """
        count = len(self._places.all)
        page = most if count == 1 else 2 * math.ceil(most / count)
        commands: dict[Shard, list[Command]] = {
            shard: [("ZRANGE", self._places.keys(shard).queue, 0, page - 1, "WITHSCORES")] for shard in self._places.all
        }
        answers = (await self._shards.run(commands)).complete().values()
        pages = [
            self._read_claims(zip(flat[::2], flat[1::2], strict=True), instead_of_infinity=0.0)[0] for [flat] in answers
        ]
        return list(islice(merge(*pages, key=attrgetter("due_at")), most))

    def _read_claims(
        self, entries: Iterable[tuple[bytes, bytes | float]], *, instead_of_infinity: float
    ) -> tuple[list[Claim[T]], list[bytes]]:
        """Return the entries as claims, and the words that cannot be decoded."""
        due = {word: float(score) for word, score in entries}
        items, garbage = self._codec.decode_all(due)
        finite = {word: due[word] if math.isfinite(due[word]) else instead_of_infinity for word in items}
        return [Claim(item, finite[word]) for word, item in items.items()], garbage

    async def repair(self) -> None:
        """Delete each key that holds a value of another type."""
        keys = {shard: self._places.keys(shard) for shard in self._places.all}
        await self._shards.remove_unless(b"zset", {shard: (own.queue,) for shard, own in keys.items()})
        await self._shards.remove_unless(b"hash", {shard: (own.dead, own.attempts) for shard, own in keys.items()})

    async def lengths(self, now: float) -> QueueLengths:
        """Return how many are queued, how many of them are due, and how many are dead. All shards must answer."""
        commands: dict[Shard, list[Command]] = {}
        for shard in self._places.all:
            keys = self._places.keys(shard)
            commands[shard] = [
                ("ZCARD", keys.queue),
                ("ZCOUNT", keys.queue, "-inf", now),
                ("HLEN", keys.dead),
            ]
        answers = (await self._shards.run(commands)).complete().values()
        return QueueLengths(*(sum(counts) for counts in zip(*answers, strict=True)))

    async def due_by_step(self, now: float, step: float, steps: int) -> list[int]:
        """Return how many items come due in each of the next ``steps`` times ``step`` seconds."""
        commands: dict[Shard, list[Command]] = {}
        for shard in self._places.all:
            call = count_by_step(queue=self._places.keys(shard).queue, now=now, step=step, steps=steps)
            commands[shard] = [call]
        answers = (await self._shards.run(commands)).complete().values()
        return [sum(counts) for counts in zip(*(counts for [counts] in answers), strict=True)]

    def _split(self, items: Iterable[T]) -> dict[Shard, list[T]]:
        groups: dict[Shard, list[T]] = {}
        for item in items:
            groups.setdefault(self._places.of(item), []).append(item)
        return groups
