"""The probe of Redis: it does what requests and renewals do, with keys of its own that expire."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import SlotNotCoveredError

from gateway.errors import DependencyDegraded
from gateway.metrics.collectors import Metrics
from gateway.redis_store.entry_scripts import drop_entries, keep_entries
from gateway.redis_store.guarded_client import CacheUnavailable, GuardedRedis, message_of
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.redis_store.leased_queue import claim_due

_LIFE: Final = 60  # seconds; of the keys that a probe leaves
_SETS: Final = ("used", "expiry", "queue", "attempts", "dead")  # as `keep_entries` names them
_WORD: Final = "probe"
_TRIES_PER_NODE: Final = 64  # a node of three that has none of 192 keys would have a share of nothing


@dataclass(frozen=True, slots=True)
class NodeState:
    """The result on a server. ``address`` is empty outside of a Cluster. ``problem`` is empty if everything worked."""

    address: str
    problem: str = ""
    is_readable: bool = True


class RedisProbe:
    """Reads and writes by the scripts of requests, on every primary of a Cluster, and sends an empty invalidation."""

    def __init__(
        self,
        guard: GuardedRedis,
        channel: InvalidationChannel,
        metrics: Metrics,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._channel = channel
        self._receivers = metrics.invalidation_receivers
        self._now = now
        self._name = secrets.token_hex(4)

    async def run(self) -> None:
        """Return if all of it works.

        Raises ``CacheUnavailable`` if no server can be read. Raises ``DependencyDegraded`` if a server refuses
        something, or if invalidations are not received or cannot be sent.
        """
        try:
            problems = await self._refusals()
        except CacheUnavailable:
            self._receivers.clear()
            raise
        if deafness := await self._channel.problem():
            problems.append(f"invalidations of other replicas are not received: {deafness}")
        try:
            receivers = await self._channel.publish([])  # after the first subscription, which is counted
        except CacheUnavailable as error:
            self._receivers.set(0)
            problems.append(f"invalidations cannot be sent: {error}")
        else:
            if receivers is not None:
                self._receivers.set(receivers)
            else:
                self._receivers.clear()
        if problems:
            raise DependencyDegraded("; ".join(problems))

    async def _refusals(self) -> list[str]:
        states = await self.try_nodes()
        problems = [f"{state.address} {state.problem}".strip() for state in states if state.problem]
        if not any(state.is_readable for state in states):
            raise CacheUnavailable("; ".join(problems))
        return problems

    async def try_nodes(self) -> list[NodeState]:
        """Return the result on each server. Raises ``CacheUnavailable`` if a Cluster does not name its servers."""
        if not self._guard.is_cluster:
            # Keys in different slots, as those of requests are: a node of a Cluster refuses them.
            key = self._own_key
            return [await self._try_scripts("", [key("a"), key("b")], [key(name) for name in _SETS])]
        async with self._guard.bounded():
            await self._guard.client.initialize()
            entries = self._entry_by_node()
        return await asyncio.gather(
            *(
                self._try_scripts(address, [entry], [self._guard.marker(entry, name) for name in _SETS])
                for address, entry in entries.items()
            )
        )

    def _own_key(self, name: str) -> str:
        return self._guard.key("probe", self._name, name)

    def _entry_by_node(self) -> Mapping[str, str]:
        """Return a key of each primary to which requests go, by the primary's address."""
        client = self._guard.client
        primaries = {node.name for node in client.get_primaries()}
        found: dict[str, str] = {}
        for number in range(_TRIES_PER_NODE * len(primaries)):
            key = self._own_key(str(number))
            try:
                address = client.get_node_from_key(key).name
            except SlotNotCoveredError:
                address = "(no node)"
            found.setdefault(address, key)
            if primaries <= found.keys():
                break
        return found

    async def _try_scripts(self, address: str, entries: Sequence[str], sets: Sequence[str]) -> NodeState:
        """Read ``entries``, keep and index them, claim from the queue, drop them."""
        try:
            async with self._guard.bounded():
                answers = await self._send(entries, sets)
        except CacheUnavailable as error:
            return NodeState(address, str(error), is_readable=False)
        reading, *writing = (message_of(answer) if isinstance(answer, Exception) else "" for answer in answers)
        if reading:
            return NodeState(address, f"refuses look-ups: {reading}", is_readable=False)
        refusal = next(filter(None, writing), "")
        return NodeState(address, f"refuses writes: {refusal}" if refusal else "")

    async def _send(self, entries: Sequence[str], sets: Sequence[str]) -> list[Any]:
        """Return the answer to each command, or its error."""
        used, _, queue, *_ = sets
        now = math.ceil(self._now())
        values = [part for _ in entries for part in (b"%d probe" % (now + _LIFE), b"", _LIFE, _WORD, b"")]
        pipeline = self._guard.client.pipeline(transaction=False)
        if self._guard.is_cluster:
            pipeline.get(*entries)
        else:
            pipeline.mget(*entries)
        keep = keep_entries(
            entries=entries, sets=sets, latest_end=now + _LIFE, now=now, index_life=_LIFE, values=values
        )
        pipeline.eval(*keep)
        pipeline.eval(*claim_due(queue=queue, now=now, lease_end=now, most=1, latest=now))
        pipeline.zmscore(used, [_WORD])  # the newest command that the gateway needs: Redis 6.2
        pipeline.eval(*drop_entries(entries=entries, tombstone=b"-", milliseconds=1))
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers
