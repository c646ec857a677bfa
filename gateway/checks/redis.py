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

# As docs/set-up.md has them.
RULES: Final = (
    "-@all +@read +@write +@connection +@transaction -@dangerous "
    "+eval +evalsha +script|load +publish +subscribe +unsubscribe +info +time"
)
CLUSTER_RULES: Final = "+cluster|slots +cluster|info +pubsub|numsub"
_REFUSED_BY_ACL: Final = re.compile(r"(?i)NOPERM|no permissions|ACL failure|can't (run|access)")


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
        yield Finding.of("invalidations_lost", "invalidations", what, missing_rights(what, settings))
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
    return Finding.of(name, "redis", what, missing_rights(what, settings), level="bad")


def missing_rights(problem: str, settings: RedisSettings) -> str:
    """Return the rights that Redis' user needs if Redis refuses a command for lack of them, else nothing."""
    if not _REFUSED_BY_ACL.search(problem):
        return ""
    user = unquote(settings.parts().username or "default")
    rules = f"{RULES} {CLUSTER_RULES}" if settings.names_a_cluster else RULES
    access = f"~{settings.prefix}* &{settings.prefix}*"
    return f"allow what the gateway uses, on every server: ACL SETUSER {user} {access} {rules}"
