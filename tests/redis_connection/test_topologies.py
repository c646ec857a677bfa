"""Redis on a Unix socket, over TLS, behind Sentinel, and as a Cluster: the lifecycle on each."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from pydantic import SecretStr
from redis.asyncio import Redis as AsyncRedis

from gateway.checks.redis import CLUSTER_RULES, RULES
from gateway.concurrency.background import background
from gateway.monitoring.redis_probe import RedisProbe
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.client import WrongRedis, check_settings, open_redis
from gateway.redis_connection.cluster import Address, ClusterServers
from gateway.redis_connection.guarded_client import CacheUnavailable, GuardedRedis
from gateway.redis_connection.shards import OneServer, Shards
from gateway.redis_entries.usage_store import Usage
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.service.metrics import Metrics
from gateway.settings import RedisSettings
from gateway_dev.processes import wait_until
from gateway_dev.redis_server import RedisServer
from tests.certificates import server_context, write_certificate
from tests.cluster import OPTIONS, PASSWORD, Cluster
from tests.heard_changes import Recorder
from tests.limits import LIMIT
from tests.sentinel import Watched
from tests.tier import IN_CLUSTER, Clock, Tier, make_tier
from tests.urls.test_refresh_batch import cached, drained, keep
from tests.valve import Valve
from tests.waiting import until


async def lifecycle(url: str, clock: Clock) -> None:
    """Cache, count, queue, renew, drop and invalidate."""
    async with open_redis(RedisSettings(url=SecretStr(url), timeout=LIMIT)) as shards:
        tier = make_tier(shards, clock, max_size=1000)
        await one_round(tier, [f"first-{number}" for number in range(30)])
        assert not any(state.problem for state in await probe_of(tier.shards, url).try_nodes())


def probe_of(shards: Shards, url: str) -> RedisProbe:
    settings = RedisSettings(url=SecretStr(url))
    return RedisProbe(shards, InvalidationChannel(shards), settings, Metrics().monitoring)


async def one_round(tier: Tier, image_ids: list[str]) -> None:
    await keep(tier, *image_ids)
    await keep(tier, image_ids[0], style="thumb")
    await tier.count(
        {ImageVariant(image_id): Usage(access_count=1, last_access=tier.clock()) for image_id in image_ids}
    )
    before = await cached(tier, ImageVariant(image_ids[0]))
    assert before is not None
    tier.clock.now += 3000
    results = await drained(tier)
    assert results["renewed"] + results["fresh"] >= len(image_ids) + 1
    after = await cached(tier, ImageVariant(image_ids[0]))
    assert after is not None
    assert after.presigned.expires_at > before.presigned.expires_at
    await tier.cache.drop(image_ids[:2])
    assert await cached(tier, ImageVariant(image_ids[0])) is None
    await tier.queue.fail(ImageVariant(image_ids[3]), "x", tier.clock())
    for _ in range(3):
        given_up = await tier.queue.fail(ImageVariant(image_ids[4]), "x", tier.clock())
    assert given_up
    assert (await tier.queue.state(tier.clock())).dead == 1
    await keep(tier, image_ids[4])
    assert (await tier.queue.state(tier.clock())).dead == 0
    assert (await tier.queue.state(tier.clock())).queued >= len(image_ids) - 2
    await tier.maintenance.trim()
    await tier.shards.repair()
    await purge_round(tier, image_ids)
    await check_invalidation(tier.shards)


async def purge_round(tier: Tier, image_ids: list[str]) -> None:
    """Queue purges, send some, give one up, and requeue it: in a Cluster, its keys are on several nodes."""
    queue, now = PurgeQueue(tier.shards, per_second=1000), tier.clock()
    assert await queue.enqueue(image_ids, now) == 0
    assert await queue.take_slot() < 1
    claims = await queue.claim(now, 10)
    assert [claim.item.image_id for claim in claims] == sorted(image_ids)[:10]
    await queue.sent(claims[:4], now)
    await queue.free(now)
    for _ in range(5):
        given_up = await queue.fail(claims[9].item, "x", now)
    assert given_up
    assert (await queue.state(now))[:3] == (len(image_ids) - 5, len(image_ids) - 5, 1)
    assert await queue.requeue(now) == 1
    await queue.remove([ImageVariant(image_id) for image_id in image_ids])
    assert (await queue.state(now)).next_due is None


async def check_invalidation(guard: Shards) -> None:
    """Check that one replica receives the invalidations of another."""
    recorder = Recorder()
    async with (
        background("invalidation-channel", InvalidationChannel(guard).listen(recorder, recorder.use_new_url)),
        asyncio.timeout(LIMIT),
    ):
        assert await recorder.told.get() is None
        assert await InvalidationChannel(guard).publish(["a", "b"]) == 1
        await InvalidationChannel(guard).try_out()
        assert [await recorder.told.get(), await recorder.told.get()] == ["a", "b"]
        await until(lambda: recorder.beats > 0)


def client_of(server: RedisServer) -> "redis.Redis":
    return redis.Redis(port=server.port, password=server.password)


async def test_a_unix_socket(server_folder: Path, clock: Clock) -> None:
    socket = server_folder / "r.sock"
    with RedisServer(server_folder / "unix", ephemeral=True, extra_args=["--unixsocket", str(socket)]) as server:
        await lifecycle(f"unix://:{server.password}@{socket}?db=0", clock)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    return write_certificate(tmp_path, "127.0.0.1")


@asynccontextmanager
async def tls_before(host: str, port: int, authority: tuple[Path, Path]) -> AsyncIterator[int]:
    """Yield a port that speaks TLS and relays to a server."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))
        for closing in (writer, inner_writer):
            with contextlib.suppress(OSError):
                await closing.wait_closed()

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=server_context(*authority))
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.usefixtures("redis_client")
class TestTls:
    """``rediss://``: certificates are verified. The server's end of TLS is a relay before a real Redis."""

    @pytest.fixture
    async def tls_port(self, authority: tuple[Path, Path], redis_url: str) -> AsyncIterator[int]:
        """A port that speaks TLS and relays to the Redis of the run."""
        target = urlsplit(redis_url)
        async with tls_before(str(target.hostname), target.port or 6379, authority) as port:
            yield port

    async def test_the_lifecycle_over_tls_with_a_trusted_certificate_alone(
        self, authority: tuple[Path, Path], tls_port: int, redis_url: str, clock: Clock
    ) -> None:
        url = f"rediss://:{urlsplit(redis_url).password or ''}@127.0.0.1:{tls_port}/0"
        await lifecycle(f"{url}?ssl_ca_certs={authority[0]}", clock)
        async with open_redis(RedisSettings(url=SecretStr(url), timeout=2)) as shards:  # without the authority
            with pytest.raises(CacheUnavailable, match=r"(?i)certificate"):
                await shards.servers.all[0].ping()

    async def test_the_lifecycle_over_tls_behind_sentinel(
        self, authority: tuple[Path, Path], tls_port: int, redis_url: str, tmp_path: Path, clock: Clock
    ) -> None:
        """The Sentinel speaks TLS, too. It does not itself reach the master by TLS."""
        password = urlsplit(redis_url).password or ""
        monitor = f"--sentinel monitor main 127.0.0.1 {tls_port} 1"
        never = "--sentinel down-after-milliseconds main 1000000000"
        with RedisServer(tmp_path / "sentinel", password="", extra_args=["--sentinel", monitor, never]) as sentinel:
            async with tls_before("127.0.0.1", sentinel.port, authority) as port:
                url = f"rediss+sentinel://:{password}@127.0.0.1:{port}/main/0?ssl_ca_certs={authority[0]}"
                await lifecycle(url, clock)


async def test_after_a_fail_over_behind_a_name_the_new_master_is_found(tmp_path: Path) -> None:
    """The connections stay at the earlier master, which is a replica now."""
    with ExitStack() as stack:
        earlier, later = (
            stack.enter_context(RedisServer(tmp_path / name, ephemeral=True, password=PASSWORD)) for name in "ab"
        )
        async with Valve.before(earlier.port) as valve:
            url = SecretStr(f"redis://:{PASSWORD}@127.0.0.1:{valve.port}")
            async with open_redis(RedisSettings(url=url, timeout=LIMIT), try_every=0.05) as shards:
                write = ("SET", shards.first.key("x"), "1", "EX", 60)
                await shards.run_on(shards.first, write)
                with client_of(earlier) as client:
                    client.replicaof("127.0.0.1", later.port)
                valve.lead_to(later.port)
                with pytest.raises(CacheUnavailable, match="READONLY"):
                    await shards.run_on(shards.first, write)

                async def is_written() -> bool:
                    with contextlib.suppress(CacheUnavailable):
                        return await shards.run_on(shards.first, write) == [True]
                    return False

                await until(is_written, what="the new master")


@IN_CLUSTER
async def test_behind_sentinel_more_commands_at_once_than_connections_wait_for_a_connection(watched: Watched) -> None:
    async with open_redis(RedisSettings(url=SecretStr(watched.url), timeout=10)) as shards:
        get = ("GET", shards.first.key("x"))

        async def is_found() -> bool:
            with contextlib.suppress(CacheUnavailable):
                return await shards.run_on(shards.first, get) == [None]
            return False

        await until(is_found, what="the master")
        answers = await asyncio.gather(*(shards.run_on(shards.first, get) for _ in range(200)))
        assert answers == [[None]] * 200


@pytest.mark.parametrize("first", ["refuses", "hangs"])
async def test_a_sentinel_that_is_away_leaves_the_others(tmp_path: Path, first: str) -> None:
    """Its machine may be that of the old master."""
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer(tmp_path / "master", password=PASSWORD))
        monitor = [f"--sentinel monitor main 127.0.0.1 {master.port} 1", f"--sentinel auth-pass main {PASSWORD}"]
        sentinel = stack.enter_context(
            RedisServer(tmp_path / "sentinel", password="", extra_args=["--sentinel", *monitor])
        )
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # it accepts and never answers
        away = 1 if first == "refuses" else silent.getsockname()[1]
        url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{away},127.0.0.1:{sentinel.port}/main/0"
        async with open_redis(RedisSettings(url=SecretStr(url), timeout=2)) as shards:
            [guard] = shards.servers.all
            async with asyncio.timeout(LIMIT):
                while True:
                    with contextlib.suppress(CacheUnavailable):
                        await guard.ping()
                        return
                    await asyncio.sleep(0.2)


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[RedisServer]:
    """A node of a cluster to be, without any slot."""
    with RedisServer(tmp_path / "node", password=PASSWORD, ephemeral=True, extra_args=OPTIONS) as node:
        yield node


@pytest.fixture
def one_node_cluster(own_node: RedisServer) -> RedisServer:
    """A Cluster of one node."""
    with client_of(own_node) as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        assert wait_until(lambda: client.cluster("INFO")["cluster_state"] == "ok", LIMIT)
    return own_node


async def check_every_node(guard: Shards, url: str, nodes: list[RedisServer]) -> None:
    """Check that a fault of any primary is found, though most keys are on others."""
    probe = probe_of(guard, url)
    primaries = {f"127.0.0.1:{node.port}": node for node in nodes}
    assert {state.address: state.problem for state in await probe.try_nodes()} == dict.fromkeys(primaries, "")
    for address, node in primaries.items():
        with client_of(node) as client:
            client.config_set("maxmemory", "1")
            problems = [state for state in await probe.try_nodes() if state.problem]
            client.config_set("maxmemory", "0")
            assert [(state.address, state.is_readable) for state in problems] == [(address, True)]
            assert problems[0].problem.startswith("refuses writes: OOM ")
            client.execute_command("ACL", "SETUSER", "default", "resetchannels")
            with pytest.raises(CacheUnavailable, match="NOPERM"):
                await InvalidationChannel(guard).try_out()
            client.execute_command("ACL", "SETUSER", "default", "allchannels")


@IN_CLUSTER
async def test_a_cluster(six_nodes: Cluster, clock: Clock) -> None:
    six_nodes.flush()
    url = six_nodes.url
    async with open_redis(RedisSettings(url=SecretStr(url), timeout=LIMIT)) as shards:
        await check_invalidation(shards)  # its first command
        await check_every_node(shards, url, six_nodes.masters())
    await lifecycle(url, clock)


async def test_a_cluster_over_tls_as_a_user_with_the_documented_rights(
    authority: tuple[Path, Path], one_node_cluster: RedisServer, clock: Clock
) -> None:
    async with tls_before("127.0.0.1", one_node_cluster.port, authority) as port:
        with client_of(one_node_cluster) as client:
            client.config_set("cluster-announce-port", port)
            rules = f"on >{PASSWORD} ~image:* &image:* {RULES} {CLUSTER_RULES}"
            client.execute_command("ACL", "SETUSER", "gateway", *rules.split())
        url = f"rediss+cluster://gateway:{PASSWORD}@127.0.0.1:{port}?ssl_ca_certs={authority[0]}"
        await lifecycle(url, clock)


async def test_a_node_is_reached_where_it_announces_itself(one_node_cluster: RedisServer) -> None:
    port = one_node_cluster.port
    settings = RedisSettings(url=SecretStr(f"redis+cluster://:{PASSWORD}@localhost:{port}"), timeout=LIMIT)
    for prefers, name, ip, host in (
        ("ip", "", "::1", "[::1]"),
        ("hostname", "redis.localhost", "127.0.0.1", "redis.localhost"),
        ("hostname", "", "127.0.0.1", "127.0.0.1"),
        ("unknown-endpoint", "", "127.0.0.1", "localhost"),
    ):
        with client_of(one_node_cluster) as client:
            client.config_set("cluster-preferred-endpoint-type", prefers)
            client.config_set("cluster-announce-hostname", name)
            client.config_set("cluster-announce-ip", ip)
        async with open_redis(settings) as shards:
            assert [server.address for server in shards.servers.all] == [f"{host}:{port}"]


class ClosesLate(AsyncRedis):
    """A client that fails to close in time, as one over TLS does whose server hangs."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        raise redis.TimeoutError("Timed out closing connection")


async def test_a_node_that_has_left_and_hangs_does_not_keep_others_from_being_found(
    one_node_cluster: RedisServer,
) -> None:
    port = one_node_cluster.port

    def open_node(address: Address, on_failure: Callable[[], None]) -> GuardedRedis:
        client = ClosesLate(port=port, password=PASSWORD, protocol=2, driver_info=None)
        return GuardedRedis(client, LIMIT, address=str(address), on_failure=on_failure)

    servers = ClusterServers([Address("localhost", port)], open_node, LIMIT)
    with client_of(one_node_cluster) as client:
        for ip, host in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")):
            client.config_set("cluster-announce-ip", ip)
            assert await servers.look()
            assert [server.address for server in servers.all] == [f"{host}:{port}"]
    await servers.aclose()


@IN_CLUSTER
async def test_a_replica_that_listens_at_a_node_listens_elsewhere_when_the_node_leaves(
    six_nodes: Cluster, tmp_path: Path
) -> None:
    """The node runs on without the others."""
    async with (
        open_redis(RedisSettings(url=SecretStr(six_nodes.url), timeout=LIMIT)) as shards,
        AsyncExitStack() as stack,
    ):
        shard = shards.first
        home = six_nodes.master_of(shard.slot)
        with six_nodes.added_node(tmp_path / "added") as added:
            await asyncio.to_thread(six_nodes.move_slot, shard.slot, added, lambda: None)
            await shards.run_on(shard, ("GET", shard.key("x")))
            await until(lambda: len(shards.servers.all) == 4, what="the added node")
            listeners = 0
            while six_nodes.clients[added].pubsub_numsub("image:changes")[0][1] == 0:
                recorder = Recorder(every=0.2)
                listening = InvalidationChannel(shards).listen(recorder, recorder.use_new_url)
                await stack.enter_async_context(background("listener", listening))
                await recorder.told.get()
                listeners += 1
            await asyncio.to_thread(six_nodes.move_slot, shard.slot, home, lambda: None)
            await shards.run_on(shard, ("GET", shard.key("x")))
            await until(lambda: len(shards.servers.all) == 3, what="the end of the node")
            six_nodes.clients[added].execute_command("CLUSTER RESET")  # type: ignore[no-untyped-call]

            async def all_listen() -> bool:
                return await InvalidationChannel(shards).publish([]) == listeners

            await until(all_listen, what="the subscriptions")


async def wrong(url: str, **changes: object) -> WrongRedis:
    """Return why a gateway with these settings does not start."""
    settings = RedisSettings.model_validate({"url": url, "timeout": LIMIT, **changes})
    async with open_redis(settings) as shards:
        with pytest.raises(WrongRedis) as raised:
            await check_settings(shards, settings)
    return raised.value


@IN_CLUSTER
async def test_a_url_that_leads_to_another_kind_of_server_is_refused_with_the_url_to_write(
    one_node_cluster: RedisServer, watched: Watched, redis_url: str
) -> None:
    host = f"127.0.0.1:{one_node_cluster.port}"
    node = await wrong(f"redis://:{PASSWORD}@{host}")
    assert (node.what, node.advice) == ("redis.url leads to a node of a Cluster", f"write redis+cluster://{host}")
    watcher = f"127.0.0.1:{watched.sentinel.port}"
    sentinel = await wrong(f"redis://{watcher}")
    assert sentinel.advice == f"write redis+sentinel://{watcher}/main/0"
    server = await wrong(redis_url.replace("redis://", "redis+cluster://"))
    assert server.advice == f"write redis://{redis_url.rpartition('@')[2].partition('/')[0]}"
    for error in (node, sentinel, server):
        assert PASSWORD not in str(error)


async def test_another_number_of_shards_than_redis_holds_is_refused(
    redis_url: str, redis_client: "redis.Redis"
) -> None:
    settings = RedisSettings(url=SecretStr(redis_url), timeout=LIMIT)
    async with open_redis(settings) as shards:
        await check_settings(shards, settings)
        await check_settings(shards, settings)
    assert redis_client.get("image:shards") == b"1"
    error = await wrong(redis_url, shards=4)
    assert str(error).startswith(
        "redis.shards is 4, and the keys in Redis are spread over 1: write redis.shards: 1, or"
    )
    redis_client.set("image:shards", "garbage")
    async with open_redis(settings) as shards:
        await check_settings(shards, settings)
    assert redis_client.get("image:shards") == b"1"


async def test_several_shards_on_one_server(redis_url: str, redis_client: "redis.Redis", clock: Clock) -> None:
    """Behind a proxy of a Cluster, for instance: all keys of a script carry the same hash tag."""
    async with open_redis(RedisSettings(url=SecretStr(redis_url), timeout=LIMIT, shards=4)) as shards:
        tier = make_tier(shards, clock, max_size=1000)
        ids = [f"id-{number}" for number in range(30)]
        await one_round(tier, ids)
        assert redis_client.exists(f"{shards.of('id-9').prefix}url:id-9")
        small = make_tier(shards, clock, max_size=8)
        for _ in shards.all:  # it looks at a shard at a time
            await small.maintenance.trim()
        assert [redis_client.zcard(shard.used) for shard in shards.all] == [2] * 4
        assert len(await tier.usage.hottest(4)) == 4
        keys = {key.partition(b"}")[0] for key in redis_client.scan_iter()}
        assert keys == {b"image:{s%02d" % number for number in range(4)}
    redis_client.flushdb()  # the queues live on


def test_the_shard_of_an_image_is_the_end_of_the_checksum_of_its_id() -> None:
    """It must never change: entries and queues are found by it."""
    shards = Shards(OneServer(server=None), "image:", 64)  # type: ignore[arg-type]
    assert [shards.of(image_id).prefix for image_id in ("a", "b", "cat:1", "IMG_0001.jpg")] == [
        "image:{s03}:",
        "image:{s57}:",
        "image:{s41}:",
        "image:{s26}:",
    ]
    sizes = Counter(shards.of(f"image-{number:08}") for number in range(100_000))
    assert len(sizes) == 64
    assert max(sizes.values()) < 1.1 * 100_000 / 64


async def test_listening_starts_once_the_cluster_is_ready(
    own_node: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Without slots, redis-py raises errors that are not a ``RedisError``."""
    url = f"redis+cluster://:{PASSWORD}@127.0.0.1:{own_node.port}"
    async with open_redis(RedisSettings(url=SecretStr(url), timeout=2)) as shards:
        with pytest.raises(CacheUnavailable):
            await InvalidationChannel(shards).publish([])
        recorder = Recorder()
        async with background(
            "invalidation-channel", InvalidationChannel(shards).listen(recorder, recorder.use_new_url)
        ):
            with client_of(own_node) as node:
                await asyncio.to_thread(node.execute_command, "CLUSTER ADDSLOTSRANGE", 0, 16383)
            async with asyncio.timeout(LIMIT):
                assert await recorder.told.get() is None
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
