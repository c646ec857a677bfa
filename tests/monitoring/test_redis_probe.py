"""The probe of Redis against servers that answer PING, and refuse what requests do."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from gateway.concurrency.background import background
from gateway.errors import DependencyDegraded
from gateway.metrics.registry import OptionalGauge, Registry, gauge_value
from gateway.monitoring.metrics import MonitoringMetrics
from gateway.monitoring.redis_probe import RedisProbe
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.settings import RedisSettings
from gateway_dev.redis_server import RedisServer
from tests.heard_changes import Recorder
from tests.limits import LIMIT
from tests.waiting import until

WITHOUT_CHANNELS = "resetchannels ~image:* +@all"
WITHOUT_PUBLISH = "allchannels ~image:* +@all -publish"
WITHOUT_EVAL = "allchannels ~image:* +@all -eval"
WITHOUT_SETS = "allchannels ~image:* +@all -zadd"
OF_ANOTHER_PREFIX = "allchannels ~other:* +@all"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis to be broken."""
    with RedisServer(tmp_path_factory.mktemp("probed"), ephemeral=True) as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator["redis.Redis"]:
    """An administrator of that Redis, who mends it after the test."""
    with redis.Redis.from_url(server.url) as client:
        yield client
        client.acl_deluser("gateway")
        client.flushall()


@asynccontextmanager
async def probing(url: str) -> AsyncIterator[tuple[RedisProbe, OptionalGauge]]:
    """Yield the probe of a gateway that listens to invalidations."""
    metrics = MonitoringMetrics(Registry())
    settings = RedisSettings(url=SecretStr(url), timeout=LIMIT)
    async with open_redis(settings) as shards:
        channel = InvalidationChannel(shards)
        recorder = Recorder()
        async with background("invalidation-channel", channel.listen(recorder, recorder.use_new_url)):
            yield RedisProbe(shards, channel, settings, metrics), metrics.invalidation_receivers


def url_of(server: RedisServer, client: "redis.Redis", rules: str) -> str:
    """Return the address for a user with these rules."""
    client.execute_command("ACL", "SETUSER", "gateway", "on", ">secret-of-the-user", *rules.split())  # type: ignore[no-untyped-call]
    return f"redis://gateway:secret-of-the-user@127.0.0.1:{server.port}/0"


async def test_a_policy_that_evicts_keys_without_an_end_is_said(server: RedisServer, client: "redis.Redis") -> None:
    async with probing(server.url) as (probe, _):
        for policy, expected in (("allkeys-lru", 1), ("volatile-lru", 0), ("noeviction", 0)):
            client.config_set("maxmemory-policy", policy)
            await probe.run()
            assert gauge_value(probe.metrics.redis_evicts) == expected


async def test_each_listening_replica_is_a_receiver_and_what_a_probe_leaves_expires(
    server: RedisServer, client: "redis.Redis"
) -> None:
    async with probing(server.url) as (probe, receivers):
        await probe.run()
        await probe.run()
        assert gauge_value(receivers) == 1
        async with probing(server.url) as (other, _):
            await other.run()
            await probe.run()
            assert gauge_value(receivers) == 2
    keys = set(client.scan_iter()) - {b"image:shards"}
    assert keys
    assert all(key.startswith(b"image:probe:") and 0 < client.ttl(key) <= 60 for key in keys)


@pytest.mark.parametrize(
    ("rules", "error", "reason"),
    [
        (WITHOUT_EVAL, DependencyDegraded, "refuses writes: .*eval"),
        (WITHOUT_SETS, DependencyDegraded, "refuses writes: "),
        (WITHOUT_CHANNELS, DependencyDegraded, "invalidations of other replicas are not received: .*channel"),
        (WITHOUT_PUBLISH, DependencyDegraded, "invalidations cannot be sent: .*publish"),
        (OF_ANOTHER_PREFIX, CacheUnavailable, "refuses look-ups: .*key"),
    ],
)
async def test_a_user_who_may_not_do_what_requests_do_is_noticed(
    server: RedisServer, client: "redis.Redis", rules: str, error: type[Exception], reason: str
) -> None:
    async with probing(url_of(server, client, rules)) as (probe, receivers):
        with pytest.raises(error, match=f"(?i){reason}"):
            await probe.run()
        expected = {WITHOUT_CHANNELS: 0.0, WITHOUT_PUBLISH: 0.0, OF_ANOTHER_PREFIX: math.nan}.get(rules, 1.0)
        assert str(gauge_value(receivers)) == str(expected), "absent: NaN"


async def test_a_user_who_loses_the_channel_while_listening_is_noticed(
    server: RedisServer, client: "redis.Redis"
) -> None:
    async with probing(url_of(server, client, "allchannels ~image:* +@all")) as (probe, _):
        await probe.run()
        url_of(server, client, WITHOUT_CHANNELS)

        async def is_degraded() -> bool:
            try:
                await probe.run()
            except DependencyDegraded:
                return True
            return False

        await until(is_degraded)
        url_of(server, client, "allchannels")

        async def is_well() -> bool:
            return not await is_degraded()

        await until(is_well)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--cluster-enabled", "yes"], "refuses look-ups: CROSSSLOT .*slot"),
        (["--sentinel"], "refuses look-ups: unknown command .MGET."),
        (["--rename-command", "ZMSCORE", ""], "refuses writes: unknown command .ZMSCORE."),
    ],
    ids=["a node of a Cluster", "a Sentinel", "a Redis that is too old"],
)
async def test_a_server_of_another_kind_is_noticed(tmp_path: Path, arguments: list[str], reason: str) -> None:
    with RedisServer(tmp_path / "redis", ephemeral=True, password="", extra_args=arguments) as other:
        if "--cluster-enabled" in arguments:
            with redis.Redis(port=other.port) as node:
                node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
                await asyncio.to_thread(until_ok, node)
        async with probing(other.url) as (probe, _):
            with pytest.raises((CacheUnavailable, DependencyDegraded), match=f"(?i){reason}$"):
                await probe.run()


def until_ok(node: "redis.Redis") -> None:
    """Wait until the Cluster of one node serves."""
    while node.cluster("INFO")["cluster_state"] != "ok":
        pass
