"""Faults of Redis: of one server, behind Sentinel, and of a Cluster."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import redis

from gateway_dev.redis_server import RedisServer
from tests.cluster import Cluster
from tests.faults.scene import Injected, Scene, Sections, fault
from tests.sentinel import Watched
from tests.valve import Valve

OF_REDIS: Final[list[Injected]] = []
_fault: Final = partial(fault, OF_REDIS)
_MAY_BREAK: Final = ("--enable-protected-configs", "yes")
_FULL_RIGHTS: Final = ("ACL", "SETUSER", "default", "allchannels", "+@all")


async def _own_redis(scene: Scene) -> Sections:
    server = await asyncio.to_thread(
        scene.stack.enter_context,
        RedisServer(scene.folder / "redis", ephemeral=True, password="secret", extra_args=_MAY_BREAK),
    )
    scene.kept = server
    return {"redis": {"url": server.url, "timeout": 2}}


async def _behind_valve(scene: Scene) -> Sections:
    url = urlsplit(scene.request.getfixturevalue("redis_url"))
    scene.kept = await scene.stack.enter_async_context(Valve.before(url.port or 6379))
    here = url._replace(netloc=url.netloc.replace(f":{url.port}", f":{scene.kept.port}"))
    return {"redis": {"url": here.geturl(), "timeout": 0.5}}


async def _behind_sentinel(scene: Scene) -> Sections:
    watched: Watched = scene.request.getfixturevalue("watched")
    watched.flush()
    scene.kept = watched
    return {"redis": {"url": watched.url, "timeout": 0.5}}


async def _in_cluster(scene: Scene) -> Sections:
    cluster: Cluster = scene.request.getfixturevalue("six_nodes")
    cluster.flush()
    scene.kept = cluster
    return {"redis": {"url": cluster.url, "timeout": 0.5}}


async def _no_client_notices(scene: Scene) -> None:
    assert await scene.ask("/i/a", "/i/b") == [200] * 2


async def _run(server: RedisServer, *commands: tuple[Any, ...]) -> None:
    """Do what an operator does to Redis."""

    def run() -> None:
        with redis.Redis.from_url(server.url) as client:
            for command in commands:
                client.execute_command(*command)

    await asyncio.to_thread(run)


def _until_saved(server: RedisServer, status: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        while (found := client.info("persistence"))["rdb_bgsave_in_progress"] or found[
            "rdb_last_bgsave_status"
        ] != status:
            pass


def _degraded(
    name: str, breaks: tuple[str, ...], mends: tuple[str, ...], reason: str, *check: str, remedy: str
) -> None:
    """Add a fault of a server that answers, and refuses what requests do."""

    @_fault(
        name, "dependency_degraded", prepare=_own_redis, light=("redis", "degraded", reason), check=check, remedy=remedy
    )
    async def _(scene: Scene) -> AsyncIterator[None]:
        await _run(scene.kept, breaks)
        await _no_client_notices(scene)
        yield
        await _run(scene.kept, mends)


_degraded(
    "Redis full",
    ("CONFIG", "SET", "maxmemory", "1"),
    ("CONFIG", "SET", "maxmemory", "0"),
    "refuses writes: OOM ",
    "fail  redis: refuses writes: OOM ",
    "maxmemory-policy",
    remedy="raise maxmemory",
)
_degraded(
    "Redis a read-only replica",
    ("REPLICAOF", "127.0.0.1", "1"),
    ("REPLICAOF", "NO", "ONE"),
    "refuses writes: READONLY ",
    "fail  redis: refuses writes: READONLY ",
    remedy="name the primary",
)
_degraded(
    "user of Redis without the channel",
    ("ACL", "SETUSER", "default", "resetchannels"),
    _FULL_RIGHTS,
    "invalidations of other replicas are not received: NOPERM ",
    "fail  invalidations: ",
    "ACL SETUSER default ~image:* &image:* ",
    remedy="what check prints",
)
_degraded(
    "user of Redis without EVAL",
    ("ACL", "SETUSER", "default", "-eval", "-evalsha"),
    _FULL_RIGHTS,
    "refuses writes: ",
    "fail  redis: refuses writes: ",
    remedy="what check prints",
)


@_fault(
    "Redis cannot save (MISCONF)",
    "dependency_degraded",
    prepare=_own_redis,
    light=("redis", "degraded", "refuses writes: MISCONF "),
    check=("fail  redis: refuses writes: MISCONF ",),
)
async def _(scene: Scene) -> AsyncIterator[None]:
    """Redis writes its file over a folder, which fails as on a full disk."""
    await asyncio.to_thread((scene.kept.data / "taken").mkdir)
    await _run(scene.kept, ("CONFIG", "SET", "dbfilename", "taken"), ("CONFIG", "SET", "save", "3600 1"), ("BGSAVE",))
    await asyncio.to_thread(_until_saved, scene.kept, "err")
    await _no_client_notices(scene)
    yield
    await _run(scene.kept, ("CONFIG", "SET", "dbfilename", "dump.rdb"), ("BGSAVE",))
    await asyncio.to_thread(_until_saved, scene.kept, "ok")


_down: Final = partial(_fault, problem="dependency_down")


@_down("Redis killed", prepare=_own_redis, light=("redis", "down", "Connect call failed"), check=("fail  redis: ",))
async def _(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(scene.kept.kill)
    await _no_client_notices(scene)
    yield
    await asyncio.to_thread(scene.kept.start)


@_down("Redis hangs", prepare=_own_redis, light=("redis", "down", "no answer within"), check=("fail  redis: ",))
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept.pause()
    await _no_client_notices(scene)
    yield
    scene.kept.resume()


@_down(
    "half-open connections to Redis",
    prepare=_behind_valve,
    light=("redis", "down", "no answer within"),
    check=("fail  redis: ", "no answer within"),
    remedy="see that Redis runs",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept.lose_packets()
    await _no_client_notices(scene)
    yield
    scene.kept.open()


@_down(
    "Redis has no connection left",
    prepare=_own_redis,
    light=("redis", "down", "max number of clients reached"),
    check=("fail  redis: ", "raise maxclients"),
    remedy="raise maxclients",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    with redis.Redis.from_url(scene.kept.url, single_connection_client=True) as client:
        await asyncio.to_thread(client.config_set, "maxclients", 1)
        await asyncio.to_thread(client.execute_command, "CLIENT", "KILL", "SKIPME", "yes")
        await _no_client_notices(scene)
        yield
        await asyncio.to_thread(client.config_set, "maxclients", 1000)


@_fault(
    "Redis evicts the queue of renewals",
    "redis_evicts",
    prepare=_own_redis,
    check=("warn  redis: maxmemory-policy is allkeys-lru",),
    remedy="volatile-lru",
    headline="^Redis evicts keys without an end: ",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await _run(scene.kept, ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"))
    yield
    await _run(scene.kept, ("CONFIG", "SET", "maxmemory-policy", "volatile-lru"))


@_down(
    "no such host of Redis",
    light=("redis", "down", ""),
    check=("fail  names: ",),
    remedy="check redis.url",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.start(redis={"url": "redis://no-such-host.invalid:6379/0"})
    yield
    await scene.start()


@_down(
    "wrong password of Redis",
    prepare=_own_redis,
    light=("redis", "down", "invalid username-password pair"),
    check=("fail  redis: ", "password"),
    remedy="the password in redis.url",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.start(redis={"url": scene.kept.url.replace("secret", "wrong-password")})
    yield
    await scene.start()


@_down(
    "master behind Sentinel hangs",
    prepare=_behind_sentinel,
    uses=("watched",),
    light=("redis", "down", "no answer within"),
)
async def _(scene: Scene) -> AsyncIterator[None]:
    master = scene.kept.master()
    master.pause()
    try:
        await _no_client_notices(scene)
        yield
    finally:
        master.resume()


@_fault(
    "node of a Cluster down",
    "dependency_degraded",
    prepare=_in_cluster,
    uses=("six_nodes",),
    light=("redis", "degraded", "Connect call failed"),
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(scene.kept.masters()[0].kill)
    try:
        await _no_client_notices(scene)
        yield
    finally:
        await asyncio.to_thread(scene.kept.heal)
