"""Findings on Redis: every server, the channel, and advice for each answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from gateway.checks.finding import Finding
from gateway.checks.redis import CLUSTER_RULES, RULES, RedisCheck
from gateway.errors import DependencyDown
from gateway.monitoring.redis_probe import NodeState, RedisProbe
from gateway.redis_connection.client import WrongRedis, open_redis
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.service.metrics import Metrics
from gateway.settings import RedisSettings
from gateway_dev.redis_server import RedisServer
from tests.limits import LIMIT
from tests.redis_connection.test_topologies import lifecycle
from tests.tier import Clock


@dataclass
class Redis:
    """Servers in these states, and a channel that works or not."""

    states: Sequence[NodeState] | Exception = field(default_factory=lambda: [NodeState("")])
    channel: Exception | None = None
    layout: Exception | None = None

    async def check(self) -> None:
        """Return or raise as configured."""
        if self.layout is not None:
            raise self.layout

    async def try_nodes(self) -> Sequence[NodeState]:
        """Return or raise as configured."""
        if isinstance(self.states, Exception):
            raise self.states
        return self.states

    async def try_out(self) -> None:
        """Return or raise as configured."""
        if self.channel is not None:
            raise self.channel


async def findings(servers: Redis, rules: str = RULES) -> list[Finding]:
    check = RedisCheck(
        servers.try_nodes,
        servers.try_out,
        servers.check,
        "redis:6379",
        "gateway",
        "image:",
        rules,
    )
    return [finding async for finding in check.findings()]


async def test_each_server_of_a_cluster_has_a_finding() -> None:
    states = [NodeState("a:1"), NodeState("b:2", "refuses writes: OOM command not allowed"), NodeState("c:3")]
    found = await findings(Redis(states))
    assert [(finding.name, finding.is_well) for finding in found] == [
        ("redis", True),
        ("redis", False),
        ("redis", True),
        ("invalidations", True),
    ]
    assert found[1].what == "refuses writes: OOM command not allowed, at b:2"


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
async def test_advice_says_how_to_mend_it(problem: str, advice: str) -> None:
    [found] = await findings(Redis(DependencyDown(problem)))
    assert (found.name, found.is_well) == ("redis", False)
    assert found.what == f"{problem.removesuffix('.')}, at redis:6379"
    assert advice in found.advice


@pytest.mark.parametrize("rules", [RULES, f"{RULES} {CLUSTER_RULES}"])
async def test_the_advice_ends_with_the_rights_that_are_needed(rules: str) -> None:
    refused = DependencyDown("NOPERM User gateway has no permissions to run the 'cluster|slots' command")
    [found] = await findings(Redis(refused), rules)
    assert found.advice.endswith(f"ACL SETUSER gateway ~image:* &image:* {rules}")


async def test_a_redis_of_another_kind_stops_the_start_and_nothing_else_is_tried() -> None:
    wrong = WrongRedis("redis.url leads to a node of a Cluster", "write redis+cluster://redis:6379")
    [found] = await findings(Redis(layout=wrong))
    assert found == Finding(
        "redis",
        is_well=False,
        what="redis.url leads to a node of a Cluster",
        advice="write redis+cluster://redis:6379",
        stops_start=True,
    )


async def test_a_channel_that_may_not_be_used_is_a_failure_with_the_rule_that_allows_it() -> None:
    [_, found] = await findings(Redis(channel=DependencyDown("NOPERM No permissions to access a channel")))
    assert (found.name, found.is_well) == ("invalidations", False)
    assert "NOPERM" in found.what
    assert "ACL SETUSER gateway ~image:* &image:* " in found.advice


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
        settings = RedisSettings(url=SecretStr(url), timeout=LIMIT)
        async with open_redis(settings) as shards:
            channel = InvalidationChannel(shards)
            probe = RedisProbe(shards, channel, settings, Metrics().invalidation_receivers)
            check = RedisCheck(probe.try_nodes, channel.try_out, probe.check_settings, "", "gateway", "image:", RULES)
            [refused] = [finding async for finding in check.findings()]
            _, _, rules = refused.advice.partition("ACL SETUSER gateway ")
            await asyncio.to_thread(allow, *rules.split())
            assert [finding.is_well async for finding in check.findings()] == [True, True]
        await lifecycle(url, Clock())
