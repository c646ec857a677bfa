"""Findings on Redis: the scripts of requests on every server, and the channel of invalidations."""

import re
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import unquote

from gateway.checks.redis_keys import check_shared_use
from gateway.errors import DependencyDown
from gateway.findings.finding import Finding, well
from gateway.monitoring.redis_probe import NodeState, RedisProbe
from gateway.redis_connection.client import WrongRedis
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.settings import RedisSettings

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


async def check_redis(
    settings: RedisSettings, probe: RedisProbe, channel: InvalidationChannel
) -> AsyncIterator[Finding]:
    """Yield findings on each server, and if any can be read, on other programs that use it, and on the channel."""
    try:
        await probe.check_settings()
    except WrongRedis as error:
        yield Finding.of("dependency_down", "redis", error.what, error.advice, stops_start=True)
        return
    except DependencyDown:
        pass  # the probe says why, on which server
    try:
        states = await probe.try_nodes()
    except DependencyDown as error:
        states = [NodeState("", str(error), is_readable=False)]
    for state in states:
        yield diagnose_node(state, settings)
        if state.evicts_unending:
            what = f"maxmemory-policy is {state.policy}{f' at {state.address}' if state.address else ''}"
            lost = "a full Redis evicts the queue of renewals and the counts of uses"
            yield Finding.of("redis_evicts", "redis", f"{what}: {lost}")
    if not any(state.is_readable for state in states):
        return
    async for finding in check_shared_use(probe.shards):
        yield finding
    try:
        await channel.try_out()
    except DependencyDown as error:
        what = f"the other replicas get no purges and changes: {error}"
        yield Finding.of("invalidations_lost", "invalidations", what, advice_on(str(error), settings))
    else:
        yield well("invalidations", "a message to the other replicas was sent and received")


def diagnose_node(state: NodeState, settings: RedisSettings) -> Finding:
    parts = settings.parts()
    # The hosts or the socket, without user and password.
    address = state.address or parts.netloc.rpartition("@")[2] or parts.path
    if not state.problem:
        return well("redis", f"entries were read and written at {address}")
    what = f"{state.problem.removesuffix('.')}, at {address}"
    name = "dependency_degraded" if state.is_readable else "dependency_down"
    return Finding.of(name, "redis", what, advice_on(state.problem, settings), level="bad")


def advice_on(problem: str, settings: RedisSettings) -> str:
    if _REFUSED_BY_ACL.search(problem):
        user = unquote(settings.parts().username or "default")
        rules = f"{RULES} {CLUSTER_RULES}" if settings.names_a_cluster else RULES
        access = f"~{settings.prefix}* &{settings.prefix}*"
        return f"allow what the gateway uses, on every server: ACL SETUSER {user} {access} {rules}"
    return next((advice for pattern, advice in _ADVICE if re.search(pattern, problem)), _OTHERWISE)
