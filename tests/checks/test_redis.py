"""Findings on Redis: every server, the channel, and advice for each answer."""

import asyncio
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from gateway.checks.redis import CLUSTER_RULES, RULES, check_redis, diagnose_node
from gateway.findings.finding import Finding, well
from gateway.monitoring.redis_probe import NodeState, RedisProbe
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.shards import Shard
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.service.metrics import Metrics
from gateway.settings import RedisSettings
from gateway_dev.redis_server import RedisServer
from tests.limits import LIMIT
from tests.redis_connection.test_topologies import lifecycle
from tests.tier import Clock


def settings_of(url: str) -> RedisSettings:
    return RedisSettings(url=SecretStr(url), timeout=LIMIT)


async def findings(url: str) -> list[Finding]:
    """Return the findings on a real server."""
    settings = settings_of(url)
    async with open_redis(settings) as shards:
        channel = InvalidationChannel(shards)
        probe = RedisProbe(shards, channel, settings, Metrics().monitoring)
        return [finding async for finding in check_redis(settings, probe, channel)]


def test_a_server_is_named_by_its_own_address_or_by_that_of_the_configuration_without_its_user() -> None:
    settings = settings_of("redis://gateway:secret@redis:6379/0")
    assert diagnose_node(NodeState(""), settings) == well("redis", "entries were read and written at redis:6379")
    found = diagnose_node(NodeState("b:2", "refuses writes: OOM command not allowed"), settings)
    assert (found.is_well, found.what) == (False, "refuses writes: OOM command not allowed, at b:2")


@pytest.mark.parametrize(
    ("problem", "advice"),
    [
        ("refuses writes: OOM command not allowed when used memory > 'maxmemory'.", "maxmemory-policy to volatile-lru"),
        ("refuses writes: READONLY You can't write against a read only replica.", "name the primary"),
        ("refuses look-ups: CROSSSLOT Keys in request don't hash to the same slot", "redis+cluster://"),
        ("refuses look-ups: MOVED 1 10.0.0.1:6379", "redis+cluster://"),
        ("refuses look-ups: CLUSTERDOWN Hash slot not served", "CLUSTER SHARDS"),
        ("cannot be connected: Cluster mode is not enabled on this node", "begin it with redis://"),
        ("refuses look-ups: unknown command 'MGET'", "redis+sentinel://HOST:PORT/NAME"),
        ("refuses writes: unknown command 'ZMSCORE'", "Redis 6.2"),
        ("refuses writes: MISCONF Redis is configured to save RDB snapshots", "see its log"),
        ("refuses writes: NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
        ("invalid username-password pair or user is disabled.", "the user and the password"),
        (
            "NOPERM User gateway has no permissions to run the 'eval' command",
            "ACL SETUSER gateway ~image:* &image:* -@all +@",
        ),
        ("ACL failure in script: User x has no permissions to run the 'zadd' command", "ACL SETUSER gateway "),
        ("Error 111 connecting to 127.0.0.1:1. Connection refused.", "see that Redis runs, and check redis.url"),
    ],
)
def test_advice_says_how_to_mend_it(problem: str, advice: str) -> None:
    found = diagnose_node(NodeState("", problem, is_readable=False), settings_of("redis://gateway:secret@redis:6379/0"))
    assert (found.where, found.is_well) == ("redis", False)
    assert found.what == f"{problem.removesuffix('.')}, at redis:6379"
    assert advice in found.advice


def test_the_advice_ends_with_the_rights_that_are_needed() -> None:
    refused = NodeState("", "NOPERM User gateway has no permissions to run the 'cluster|slots' command")
    for scheme, rules in ("redis", RULES), ("redis+cluster", f"{RULES} {CLUSTER_RULES}"):
        found = diagnose_node(refused, settings_of(f"{scheme}://gateway:secret@redis:6379"))
        assert found.advice.endswith(f"ACL SETUSER gateway ~image:* &image:* {rules}")


async def test_a_redis_of_another_kind_stops_the_start_and_nothing_else_is_tried(
    redis_url: str, redis_client: "redis.Redis"
) -> None:
    await asyncio.to_thread(redis_client.set, "image:shards", 64)
    try:
        [found] = await findings(redis_url)
    finally:
        await asyncio.to_thread(redis_client.delete, "image:shards")
    assert (found.is_well, found.stops_start) == (False, True)
    assert found.what == "redis.shards is 1, and the keys in Redis are spread over 64"
    assert found.advice


async def test_keys_of_other_programs_and_a_policy_that_evicts_what_has_no_end_are_warnings(tmp_path: Path) -> None:
    """The keys of a gateway are known, whatever it has done."""
    with RedisServer(tmp_path / "redis", ephemeral=True) as server, redis.Redis.from_url(server.url) as admin:
        await lifecycle(server.url, Clock())
        for key in ("purge:heard:cat", "description:cat", "stats:daily:2026-01-01", "canary:a:turn", "answers:x"):
            await asyncio.to_thread(admin.set, f"image:{key}", "1")
        last = Shard("image:{s1023}:", slot=0)
        longest = last.entry(ImageVariant("a" * 128, "card@640.16x9.webp"))
        await asyncio.to_thread(admin.mset, {longest: "1", last.used: "1"})
        await asyncio.to_thread(admin.set, "images:others", "1")
        names = [finding.where for finding in await findings(server.url)]
        assert names == ["redis", "invalidations"]
        application = {
            "url:ai/x.png": "a",
            "url:x.png": "https://b.example/x.png",
            "lock": "1",
            "url:y.png": '{"u": 1}',
        }
        await asyncio.to_thread(admin.mset, {f"image:{key}": value for key, value in application.items()})
        await asyncio.to_thread(admin.hset, "image:url:hash", "a", "b")
        await asyncio.to_thread(admin.config_set, "maxmemory-policy", "allkeys-lru")
        _, policy, keys, _ = await findings(server.url)
        assert (policy.name, keys.name) == ("redis_evicts", "redis_shared")
        assert policy.what.startswith("maxmemory-policy is allkeys-lru: ")
        assert "volatile-lru" in policy.advice
        assert keys.what == (
            "another program has keys under the prefix image: (at least 5), "
            "such as image:lock, image:url:ai/x.png, image:url:hash"
        )
        assert keys.advice.startswith("set redis.prefix to another one")


async def test_the_rules_of_the_advice_are_those_of_the_documents_and_enough(tmp_path: Path) -> None:
    """Everything that a gateway does in Redis works as a user that has just these rules."""
    text = (Path(__file__).parents[2] / "docs/set-up.md").read_text(encoding="utf-8")
    assert RULES in text
    assert CLUSTER_RULES in text
    with RedisServer(tmp_path / "redis", ephemeral=True) as server, redis.Redis.from_url(server.url) as admin:

        def allow(*rules: str) -> None:
            admin.execute_command("ACL", "SETUSER", "gateway", "on", ">its-password", *rules)

        await asyncio.to_thread(allow)
        url = f"redis://gateway:its-password@127.0.0.1:{server.port}/0"
        [refused] = await findings(url)
        _, _, rules = refused.advice.partition("ACL SETUSER gateway ")
        await asyncio.to_thread(allow, *(rule for rule in rules.split() if not rule.startswith("&")))
        [_, deaf] = await findings(url)
        assert (deaf.where, deaf.is_well) == ("invalidations", False)
        assert deaf.advice == refused.advice
        await asyncio.to_thread(allow, *rules.split())
        assert [finding.is_well for finding in await findings(url)] == [True, True]
        await lifecycle(url, Clock())
