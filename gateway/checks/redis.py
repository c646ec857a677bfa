"""Findings on Redis: the scripts of requests on every server, and the channel of invalidations."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.checks.finding import Finding
from gateway.errors import DependencyDown
from gateway.monitoring.redis_probe import NodeState
from gateway.redis_connection.client import WrongRedis

# Advice by what Redis answers; the first that fits. A script's error has the error of its command in the middle.
_ADVICE: Final = (
    (r"\bOOM\b", "Redis is full: raise maxmemory, or set maxmemory-policy to volatile-lru"),
    (r"\bREADONLY\b", "redis.url leads to a replica: name the primary, or redis+sentinel://HOST:PORT/NAME"),
    (r"\b(CROSSSLOT|MOVED|ASK)\b", "redis.url leads to a node of a Cluster: begin it with redis+cluster://"),
    (r"CLUSTERDOWN|slots are not covered", "some slots of the Cluster have no node: see CLUSTER SHARDS"),
    (r"(?i)cluster mode is not enabled", "redis.url leads to a single server: begin it with redis://"),
    (r"(?i)unknown command \W?mget", "redis.url leads to a Sentinel: write redis+sentinel://HOST:PORT/NAME"),
    (r"(?i)unknown command", "the gateway needs Redis 6.2 or newer, with EVAL and without renamed commands"),
    (r"\bMISCONF\b", "Redis cannot save to its disk, and takes no writes until it can: see its log"),
    (r"\bNOREPLICAS\b", "too few replicas are connected to this primary: see min-replicas-to-write"),
    (r"(?i)\b(WRONGPASS|NOAUTH)\b|username-password|authentication", "check the user and the password in redis.url"),
)
# As docs/set-up.md has them.
RULES: Final = (
    "-@all +@read +@write +@connection +@transaction -@dangerous "
    "+eval +evalsha +script|load +publish +subscribe +unsubscribe +info +time"
)
CLUSTER_RULES: Final = "+cluster|slots +cluster|info +pubsub|numsub"
_REFUSED_BY_ACL: Final = re.compile(r"(?i)NOPERM|no permissions|ACL failure|can't (run|access)")
_OTHERWISE: Final = "see that Redis runs, and check redis.url"


@dataclass(frozen=True, slots=True)
class RedisCheck:
    """Tries what requests do, at ``address``, as ``user``, with keys and a channel that begin with ``prefix``.

    Each of the three functions may raise ``DependencyDown``.

    try_nodes: returns the result on each server.
    try_channel: subscribes, publishes and receives.
    check_settings: raises ``WrongRedis`` if Redis is not what the settings say.
    rules: the commands of the gateway, as rules of an ACL.
    """

    try_nodes: Callable[[], Awaitable[Sequence[NodeState]]]
    try_channel: Callable[[], Awaitable[None]]
    check_settings: Callable[[], Awaitable[None]]
    address: str
    user: str
    prefix: str
    rules: str

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield a finding on each server, and a finding on the channel if any server can be read."""
        try:
            await self.check_settings()
        except WrongRedis as error:
            yield Finding("redis", False, error.what, error.advice, stops_start=True)
            return
        except DependencyDown:
            pass  # the probe says why, on which server
        try:
            states = await self.try_nodes()
        except DependencyDown as error:
            states = [NodeState("", str(error), is_readable=False)]
        for state in states:
            address = state.address or self.address
            if state.problem:
                what = f"{state.problem.removesuffix('.')}, at {address}"
                yield Finding("redis", False, what, self._advice(state.problem))
            else:
                yield Finding("redis", True, f"entries were read and written at {address}")
        if any(state.is_readable for state in states):
            yield await self._diagnose_channel()

    async def _diagnose_channel(self) -> Finding:
        try:
            await self.try_channel()
        except DependencyDown as error:
            what = f"the other replicas get no purges and changes: {error}"
            return Finding("invalidations", False, what, self._advice(str(error)))
        return Finding("invalidations", True, "a message to the other replicas was sent and received")

    def _advice(self, problem: str) -> str:
        if _REFUSED_BY_ACL.search(problem):
            rules = f"~{self.prefix}* &{self.prefix}* {self.rules}"
            return f"allow what the gateway uses, on every server: ACL SETUSER {self.user} {rules}"
        return next((advice for pattern, advice in _ADVICE if re.search(pattern, problem)), _OTHERWISE)
