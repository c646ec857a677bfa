"""A Redis Cluster and a master behind Sentinel: killed, paused, moved and added to during requests."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shard, Shards
from gateway.settings import RedisSettings
from gateway_dev.redis_server import RedisServer
from tests.cluster import Cluster
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.sentinel import Watched
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("cluster")

TIMEOUT = 10.0  # seconds that a node has to answer
# For how many seconds a master is paused at least. More than 30 need --timeout 0.
PAUSE = float(os.environ.get("GATEWAY_TEST_PAUSE", "0"))
PAUSE_OF_A_CLIENT = 0.01  # seconds: four clients without it would keep a processor busy
IDS = [f"id-{number}" for number in range(120)]


@dataclass(frozen=True)
class Seen:
    """The answer to a request for a URL."""

    image_id: str
    began: float
    seconds: float
    status: int
    from_cache: bool
    remaining: float


@dataclass
class Load:
    """Requests for the URLs of all images, in a random order."""

    gateway: RunningGateway
    answers: list[Seen] = field(default_factory=list)

    async def run(self) -> None:
        """Request until cancelled."""
        chance = random.Random(1)  # noqa: S311 - a load, not a secret
        while True:
            await self.request(chance.choice(IDS))
            await asyncio.sleep(PAUSE_OF_A_CLIENT)

    async def request(self, image_id: str) -> None:
        """Request the URL of an image."""
        began = time.monotonic()
        answer = await self.gateway.get(f"/api/v1/images/{image_id}/url")
        data = answer.json().get("data") or {}
        remaining = data.get("expires_at", 0) - time.time()
        seconds = time.monotonic() - began
        self.answers.append(Seen(image_id, began, seconds, answer.status, data.get("from_cache", False), remaining))

    async def more(self, count: int) -> None:
        """Return when so many more requests have been answered."""
        goal = len(self.answers) + count
        await until(lambda: len(self.answers) >= goal, what="the answers")


@asynccontextmanager
async def under_load(gateway: RunningGateway) -> AsyncIterator[Load]:
    """Send requests, at first until all images are cached. Afterwards every answer was a URL that can be used."""
    load = Load(gateway)
    for image_id in IDS:
        await load.request(image_id)
    load.answers.clear()
    clients = [asyncio.create_task(load.run(), name="client") for _ in range(4)]
    try:
        await load.more(200)
        yield load
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    assert {seen.status for seen in load.answers} == {200}
    assert min(seen.remaining for seen in load.answers) > 60 - 5


Servers = Cluster | Watched


@contextmanager
def healed(servers: Cluster | Watched) -> Iterator[None]:
    """Begin with empty servers that are whole again at the end."""
    servers.flush()
    yield
    servers.heal()


@pytest.fixture
def cluster(six_nodes: Cluster) -> Iterator[Cluster]:
    """The Cluster, empty, and whole again afterwards."""
    with healed(six_nodes):
        yield six_nodes


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """The Cluster, or what the test is parametrized with."""
    if getattr(request, "param", "cluster") == "cluster":
        yield request.getfixturevalue("cluster")
        return
    watched: Watched = request.getfixturevalue("watched")
    with healed(watched):
        yield watched


@pytest.fixture
async def gateway(servers: Servers, start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway on these servers, which asks Redis for every request."""
    for image_id in IDS:
        await images.add(image_id)
    return await start_gateway(
        redis={"url": servers.url, "timeout": TIMEOUT}, url_cache={"local_ttl": 0}, url_prerefresh={"interval": 1}
    )


def on_node(gateway: RunningGateway, servers: Servers, node: RedisServer) -> set[str]:
    """Return the images that a node has."""
    if not isinstance(servers, Cluster):
        return set(IDS)
    shards = gateway.redis.shards
    return {image_id for image_id in IDS if servers.master_of(shards.of(image_id).slot) is node}


def are_away(gateway: RunningGateway) -> bool:
    """Return whether any server is away, or none is known."""
    try:
        return any(server.is_away for server in gateway.redis.shards.servers.all)
    except CacheUnavailable:
        return True


async def nothing_is_overdue(gateway: RunningGateway) -> None:
    """Wait until each image is queued for a later time, also those that were due."""

    async def is_so() -> bool:
        times = [await gateway.redis.queue.due_at(ImageVariant(image_id)) for image_id in IDS]
        return all(at is not None and at > time.time() for at in times)

    await until(is_so, what="the renewals")


async def hits(load: Load) -> dict[str, bool]:
    """Return for each image whether it is answered from the cache now."""
    load.answers.clear()
    for image_id in IDS:
        await load.request(image_id)
    return {seen.image_id: seen.from_cache for seen in load.answers}


@pytest.mark.parametrize("servers", ["sentinel", "cluster"], indirect=True)
async def test_a_killed_master_holds_up_its_images_alone_until_its_replica_takes_over(
    gateway: RunningGateway, servers: Cluster | Watched
) -> None:
    node = servers.masters()[0]
    replica, lost = servers.replica_of(node), on_node(gateway, servers, node)
    others = set(IDS) - lost
    assert len(lost) > 20
    async with under_load(gateway) as load:
        assert all(seen.from_cache for seen in load.answers)
        await gateway.redis.queue.schedule({ImageVariant(image_id): time.time() for image_id in IDS})
        load.answers.clear()
        with servers.failover():
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(servers.promote, replica)
        assert all(seen.from_cache for seen in load.answers if seen.image_id in others)
        assert max(seen.seconds for seen in load.answers) < TIMEOUT

        async def all_are_cached() -> bool:
            return all((await hits(load)).values())

        await until(all_are_cached, what="the hits")
        await nothing_is_overdue(gateway)


@pytest.mark.parametrize("servers", ["sentinel", "cluster"], indirect=True)
async def test_a_paused_master_holds_up_its_images_alone(gateway: RunningGateway, servers: Servers) -> None:
    """No replica takes over."""
    node = servers.masters()[-1]
    lost = on_node(gateway, servers, node)
    async with under_load(gateway) as load:
        await gateway.redis.queue.schedule({ImageVariant(image_id): time.time() for image_id in IDS})
        load.answers.clear()
        node.pause()
        ends_at = time.monotonic() + PAUSE
        try:
            await until(lambda: any(not seen.from_cache for seen in load.answers), what="a URL signed here")
            others = [seen for seen in load.answers if seen.image_id not in lost]
            assert all(seen.from_cache for seen in others)
            assert max((seen.seconds for seen in others), default=0) < TIMEOUT
            since = time.monotonic()
            load.answers.clear()
            await load.more(300)
            await until(lambda: time.monotonic() > ends_at, seconds=PAUSE + LIMIT)
            assert max(seen.seconds for seen in load.answers if seen.began > since) < TIMEOUT, (
                "nobody waits for the node any more"
            )
            assert all(seen.from_cache for seen in load.answers if seen.image_id not in lost)
            state = "degraded" if isinstance(servers, Cluster) else "down"

            async def is_reported() -> bool:
                """/readyz calls Redis down while its own question is the trial of the node."""
                readiness = await gateway.request("GET", "/readyz", admin=True)
                return bool(readiness.json()["checks"]["redis"] == state)

            await until(is_reported, what=f"Redis {state}")
        finally:
            node.resume()
        await until(lambda: not are_away(gateway), what="the node")
        await nothing_is_overdue(gateway)


async def test_a_slot_moves_to_an_added_node_and_back_while_requests_go_on(
    gateway: RunningGateway, cluster: Cluster, tmp_path: Path
) -> None:
    """Commands follow ASK and MOVED."""
    shard = gateway.redis.shards.of(IDS[0])
    loop = asyncio.get_running_loop()
    async with under_load(gateway) as load:

        def between() -> None:
            asyncio.run_coroutine_threadsafe(load.request(IDS[0]), loop).result(LIMIT)

        home = cluster.master_of(shard.slot)
        with cluster.added_node(tmp_path / "added") as added:
            await gateway.redis.queue.schedule({ImageVariant(image_id): time.time() for image_id in IDS})
            await asyncio.to_thread(cluster.move_slot, shard.slot, added, between)
            await load.request(IDS[0])
            assert gateway.redis.shards.address_of(IDS[0]) == f"127.0.0.1:{added.port}"
            await until(lambda: all_from_cache(load, IDS[0]))
            await nothing_is_overdue(gateway)
            await asyncio.to_thread(cluster.move_slot, shard.slot, home, between)
            await load.request(IDS[0])
            assert gateway.redis.shards.address_of(IDS[0]) == f"127.0.0.1:{home.port}"
        await nothing_is_overdue(gateway)
        assert all((await hits(load)).values())


async def test_a_node_that_hangs_while_a_slot_moves_to_it_is_away_alone(cluster: Cluster) -> None:
    """The node that sends clients to it is not."""
    source, target = cluster.masters()[:2]
    async with open_redis(RedisSettings(url=SecretStr(cluster.url), timeout=TIMEOUT / 2)) as shards:
        shard = next(shard for shard in shards.all if cluster.master_of(shard.slot) is source)
        with cluster.importing(shard.slot, target):
            target.pause()
            try:
                with pytest.raises(CacheUnavailable):
                    await shards.run_on(shard, ("GET", shard.key("x")))
                for calls in (shards.run_on(shard, ("GET", shard.key("x"))), run_both(shards, shard)):
                    with pytest.raises(CacheUnavailable, match="not asked again yet"):
                        await calls
                away = [server.address for server in shards.servers.all if server.is_away]
                assert away == [f"127.0.0.1:{target.port}"]
            finally:
                target.resume()
            await until(lambda: not any(server.is_away for server in shards.servers.all), what="the node")
            assert await shards.run_on(shard, ("GET", shard.key("x"))) == [None]


async def run_both(shards: Shards, shard: Shard) -> None:
    """Read a key of a shard and of another in one pipeline."""
    other = next(other for other in shards.by_server()[shards.servers.of(shard.slot)] if other is not shard)
    answers = await shards.run({each: [("GET", each.key("x"))] for each in (other, shard)})
    assert answers.by_shard == {other: [None]}
    answers.complete()


async def all_from_cache(load: Load, image_id: str) -> bool:
    """Return whether the image is answered from the cache."""
    await load.request(image_id)
    return load.answers[-1].from_cache


async def test_statistics_and_the_points_of_replicas_are_kept_in_a_cluster(gateway: RunningGateway) -> None:
    await gateway.get(f"/i/{IDS[0]}")

    async def is_counted() -> bool:
        answer = await gateway.request("GET", "/api/v1/monitoring/stats/daily", admin=True)
        assert answer.status == 200
        [day] = answer.json()["data"]["days"][:1]
        return bool(day["requests"])

    await until(is_counted, what="the count")
    await gateway.publish_replica()
    assert [point.name for point in await gateway.redis.replicas.read()]
