"""Findings on Redis: the scripts of requests on every server, keys of other programs, the channel of invalidations."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from urllib.parse import unquote

from gateway.catalog.image_id import PATTERN as IMAGE_ID
from gateway.errors import DependencyDown
from gateway.findings.finding import Finding, well
from gateway.monitoring.redis_probe import NodeState, RedisProbe
from gateway.presign.style_variants import RENDITION_NAME
from gateway.redis_connection.client import WrongRedis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shard, Shards
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.settings import RedisSettings

# As docs/set-up.md has them.
RULES: Final = (
    "-@all +@read +@write +@connection +@transaction -@dangerous "
    "+eval +evalsha +script|load +publish +subscribe +unsubscribe +info +time"
)
CLUSTER_RULES: Final = "+cluster|slots +cluster|info +pubsub|numsub"
_REFUSED_BY_ACL: Final = re.compile(r"(?i)NOPERM|no permissions|ACL failure|can't (run|access)")
_SCANS: Final = 50  # of each server
_KEYS_A_SCAN: Final = 1000
_SHOWN: Final = 3
# The keys that gateways write, after the prefix (``Shard.key``), and the first byte of an entry or a tombstone.
_ENTRY: Final = re.compile(rf"(?:\{{s\d{{2,4}}\}}:)?url:{IMAGE_ID}(?:\||:{RENDITION_NAME})?")
_OTHER: Final = re.compile(
    r"shards|(?:\{s\d{2,4}\}:)?(?:replicas|(?:answers|canary|description|index|marker|probe|purge|refresh|stats):.+)"
)
_FIRST_BYTES: Final = re.compile(rb"[0-9-]?")


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
    async for finding in _check_shared_use(probe.shards):
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


async def _check_shared_use(shards: Shards) -> AsyncIterator[Finding]:
    """Yield a warning if other programs use the prefix."""
    foreign: list[str] = []
    for shard, *_ in shards.by_server().values():
        try:
            foreign += await _foreign_keys(shards, shard)
        except CacheUnavailable:  # the server's own finding says why
            continue
    if foreign:
        named = ", ".join(f"{shards.prefix}{name}" for name in sorted(foreign)[:_SHOWN])
        yield Finding.of("redis_shared", "redis", prefix=shards.prefix, count=len(foreign), named=named)


async def _foreign_keys(shards: Shards, shard: Shard) -> Sequence[str]:
    """Return the keys of a server, without the prefix, that no gateway wrote: of the first 50,000 keys.

    Raises ``CacheUnavailable``.
    """
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", shards.prefix) + "*"
    foreign: list[str] = []
    cursor: Any = 0
    for _ in range(_SCANS):
        [answer] = await shards.try_on(shard, ("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_A_SCAN))
        if isinstance(answer, Exception):  # refused by an ACL
            break
        cursor, found = answer
        names = {key.decode(errors="backslashreplace").removeprefix(shards.prefix): key for key in found}
        entries = [name for name in names if _ENTRY.fullmatch(name)]
        values = await shards.try_on(shard, *(("GETRANGE", names[name], 0, 0) for name in entries)) if entries else []
        foreign += [name for name in names if not _ENTRY.fullmatch(name) and not _OTHER.fullmatch(name)]
        for name, value in zip(entries, values, strict=True):
            if not isinstance(value, bytes) or not _FIRST_BYTES.fullmatch(value):
                foreign.append(name)
        if not cursor:
            break
    return foreign
