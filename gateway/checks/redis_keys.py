"""A finding on a Redis that others use, too: their keys under our prefix."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from gateway.catalog.image_id import PATTERN as IMAGE_ID
from gateway.findings.finding import Finding
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shard, Shards

_SCANS: Final = 50  # of each server
_KEYS_A_SCAN: Final = 1000
_SHOWN: Final = 3
# The keys that gateways write, after the prefix (``Shard.key``), and the first byte of an entry or a tombstone.
_ENTRY: Final = re.compile(rf"(?:\{{s\d\d\}}:)?url:{IMAGE_ID}\|?")
_OTHER: Final = re.compile(
    r"shards|(?:\{s\d\d\}:)?(?:replicas|(?:answers|canary|description|index|marker|probe|purge|refresh|stats):.+)"
)
_FIRST_BYTES: Final = re.compile(rb"[0-9-]?")


async def check_shared_use(shards: Shards) -> AsyncIterator[Finding]:
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
