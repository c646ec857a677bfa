"""The probe of Redis: it does what requests and renewals do, with keys of its own that expire."""

import asyncio
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import DependencyDegraded
from gateway.monitoring.metrics import MonitoringMetrics
from gateway.redis_connection.client import WrongRedis, check_settings
from gateway.redis_connection.guarded_client import CacheUnavailable, Command, message_of
from gateway.redis_connection.shards import Shard, Shards
from gateway.redis_entries.entry_scripts import DROP_ENTRIES, KEEP_ENTRIES, EntryRow
from gateway.redis_queue.leased_queue import CLAIM_DUE
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.settings import RedisSettings

_LIFE: Final = 60  # seconds; of the keys that a probe leaves
_SETS: Final = ("expiry", "queue", "attempts", "dead")  # which entries are added to, and removed from
_WORD: Final = "probe"


@dataclass(frozen=True, slots=True)
class NodeState:
    """What ``RedisProbe`` found on a Redis server. ``address``: empty without a Cluster. ``problem``: empty if none.

    policy: its ``maxmemory-policy``; empty: not known.
    """

    address: str
    problem: str = ""
    is_readable: bool = True
    policy: str = ""

    @property
    def evicts_unending(self) -> bool:
        """Return whether a full server also evicts keys without an end: the queues, and the counts of uses."""
        return self.policy.startswith("allkeys-")


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """Readiness probe of Redis: runs the scripts of requests on each server with keys, and publishes a test message."""

    shards: Shards
    channel: InvalidationChannel
    settings: RedisSettings
    metrics: MonitoringMetrics
    _name: str = field(default_factory=lambda: secrets.token_hex(4), init=False)

    async def run(self) -> None:
        """Raise ``CacheUnavailable`` if no server can be read, ``DependencyDegraded`` if anything else fails."""
        try:
            problems = await self._refusals()
        except CacheUnavailable:
            self.metrics.invalidation_receivers.set(None)
            raise
        if deafness := await self.channel.problem():
            problems.append(f"invalidations of other replicas are not received: {deafness}")
        receivers = self.metrics.invalidation_receivers
        try:
            receivers.set(await self.channel.publish([]))  # after the first subscription, which is counted
        except CacheUnavailable as error:
            receivers.set(0)
            problems.append(f"invalidations cannot be sent: {error}")
        if problems:
            raise DependencyDegraded("; ".join(problems))

    async def _refusals(self) -> list[str]:
        states = await self.try_nodes()
        self.metrics.redis_evicts.set(max(state.evicts_unending for state in states) if states else None)
        problems = [f"{state.address} {state.problem}".strip() for state in states if state.problem]
        if not any(state.is_readable for state in states):
            raise CacheUnavailable("; ".join(problems))
        try:
            await self.check_settings()
        except WrongRedis as error:
            problems.append(str(error))
        except CacheUnavailable:  # the server that holds the number: its state has the reason
            pass
        return problems

    async def check_settings(self) -> None:
        """Raise ``WrongRedis`` if Redis is not what the settings say, ``CacheUnavailable`` if that is not known."""
        await check_settings(self.shards, self.settings)

    async def try_nodes(self) -> list[NodeState]:
        """Return the result on each server. Raises ``CacheUnavailable`` if a Cluster does not name its servers."""
        states = {server.address: NodeState(server.address) for server in self.shards.servers.all}
        by_server = self.shards.by_server()
        tries = (self._try_scripts(server.address, shards[0]) for server, shards in by_server.items())
        states |= {state.address: state for state in await asyncio.gather(*tries)}
        if missing := len(self.shards.all) - sum(map(len, by_server.values())):
            problem = f"CLUSTERDOWN the slots of {missing} shards have no node"
            states["(no node)"] = NodeState("(no node)", problem, is_readable=False)
        return list(states.values())

    async def _try_scripts(self, address: str, shard: Shard) -> NodeState:
        """Read two entries, keep and index them, claim from the queue, drop them."""
        try:
            *answers, memory = await self.shards.try_on(shard, *self._commands(shard), ("INFO", "memory"))
        except CacheUnavailable as error:
            return NodeState(address, str(error), is_readable=False)
        policy = str(memory.get("maxmemory_policy", "")) if isinstance(memory, Mapping) else ""
        reading, *writing = (message_of(answer) if isinstance(answer, Exception) else "" for answer in answers)
        if reading:
            return NodeState(address, f"refuses look-ups: {reading}", is_readable=False)
        refusal = next(filter(None, writing), "")
        return NodeState(address, f"refuses writes: {refusal}" if refusal else "", policy=policy)

    def _commands(self, shard: Shard) -> list[Command]:
        def own(name: str) -> str:
            return shard.key("probe", self._name, name)

        entries = [own("a"), own("b")]
        sets, used, now = {name: own(name) for name in _SETS}, own("used"), math.ceil(time.time())
        row = EntryRow(b"%d probe" % (now + _LIFE), seen=b"", foreign=b"", usable_for=_LIFE, word=_WORD, due="")
        return [
            ("MGET", *entries),
            KEEP_ENTRIES.command(
                **sets,
                used=used,
                entries=entries,
                latest_end=now + _LIFE,
                now=now,
                index_life=_LIFE,
                rows=[row for _ in entries],
            ),
            CLAIM_DUE.command(queue=sets["queue"], now=now, lease_end=now, most=1, latest=now),
            ("ZMSCORE", used, _WORD),  # the newest command that the gateway needs: Redis 6.2
            DROP_ENTRIES.command(
                **sets, entries=entries, tombstone=b"-", milliseconds=1, rows=[(_WORD,) for _ in entries]
            ),
        ]
