"""Faults of Redis: of one server, behind Sentinel, and of a Cluster."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import redis

from gateway_dev.redis_server import RedisServer
from tests.cluster import Cluster
from tests.faults.scene import Injected, Scene, Sections, Step
from tests.sentinel import Watched

Command = Callable[["redis.Redis"], object]
_MAY_BREAK: Final = ("--enable-protected-configs", "yes")
_FULL_RIGHTS: Final = ("ACL", "SETUSER", "default", "allchannels", "+@all")


async def _own_redis(scene: Scene) -> Sections:
    server = await asyncio.to_thread(
        scene.stack.enter_context,
        RedisServer(scene.folder / "redis", ephemeral=True, password="secret", extra_args=_MAY_BREAK),
    )
    scene.kept = server
    return {"redis": {"url": server.url, "timeout": 0.5}}


def _commands(*commands: tuple[Any, ...]) -> Step:
    """Return what an operator does to Redis."""

    async def run(scene: Scene) -> None:
        await asyncio.to_thread(_executed, scene.kept, commands)
        assert await scene.ask("/i/a", "/i/b") == [200] * 2, "no client notices"

    return run


def _executed(server: RedisServer, commands: tuple[tuple[Any, ...], ...]) -> None:
    with redis.Redis.from_url(server.url) as client:
        for command in commands:
            client.execute_command(*command)


async def _fail_to_save(scene: Scene) -> None:
    """Let Redis write its file over a folder, which fails as on a full disk."""
    await asyncio.to_thread((scene.kept.data / "taken").mkdir)
    commands = (("CONFIG", "SET", "dbfilename", "taken"), ("CONFIG", "SET", "save", "3600 1"), ("BGSAVE",))
    await asyncio.to_thread(_executed, scene.kept, commands)
    await asyncio.to_thread(_until_saved, scene.kept, "err")
    assert await scene.ask("/i/a", "/i/b") == [200] * 2


async def _save_again(scene: Scene) -> None:
    await asyncio.to_thread(_executed, scene.kept, (("CONFIG", "SET", "dbfilename", "dump.rdb"), ("BGSAVE",)))
    await asyncio.to_thread(_until_saved, scene.kept, "ok")


def _until_saved(server: RedisServer, status: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        while (found := client.info("persistence"))["rdb_bgsave_in_progress"] or found[
            "rdb_last_bgsave_status"
        ] != status:
            pass


async def _kill(scene: Scene) -> None:
    await asyncio.to_thread(scene.kept.kill)
    assert await scene.ask("/i/a", "/i/b") == [200] * 2


async def _start(scene: Scene) -> None:
    await asyncio.to_thread(scene.kept.start)


async def _pause(scene: Scene) -> None:
    scene.kept.pause()
    assert await scene.ask("/i/a", "/i/b") == [200] * 2


async def _resume(scene: Scene) -> None:
    scene.kept.resume()


async def _wrong_password(scene: Scene) -> None:
    await scene.start(redis={"url": scene.kept.url.replace("secret", "wrong-password")})


async def _right_url(scene: Scene) -> None:
    await scene.start()


async def _behind_sentinel(scene: Scene) -> Sections:
    watched: Watched = scene.request.getfixturevalue("watched")
    watched.flush()
    scene.kept = watched
    return {"redis": {"url": watched.url, "timeout": 0.5}}


async def _pause_master(scene: Scene) -> None:
    watched = scene.kept
    await asyncio.to_thread(watched.set_failover, is_on=False)
    scene.kept = watched, watched.master()
    scene.kept[1].pause()
    assert await scene.ask("/i/a", "/i/b") == [200] * 2


async def _resume_master(scene: Scene) -> None:
    watched, master = scene.kept
    master.resume()
    await asyncio.to_thread(watched.set_failover, is_on=True)


async def _in_cluster(scene: Scene) -> Sections:
    cluster: Cluster = scene.request.getfixturevalue("six_nodes")
    cluster.flush()
    scene.kept = cluster
    return {"redis": {"url": cluster.url, "timeout": 0.5}}


async def _kill_node(scene: Scene) -> None:
    cluster = scene.kept
    await asyncio.to_thread(cluster.set_failover, is_on=False)
    await asyncio.to_thread(cluster.masters()[0].kill)
    assert await scene.ask("/i/a", "/i/b") == [200] * 2


async def _heal_cluster(scene: Scene) -> None:
    await asyncio.to_thread(scene.kept.heal)
    await asyncio.to_thread(scene.kept.set_failover, is_on=True)


def _degraded(name: str, inject: Step, heal: Step, reason: str, *check: str) -> Injected:
    """Return a fault of a server that answers, and refuses what requests do."""
    return Injected(
        name,
        "dependency_degraded",
        "warning",
        inject,
        heal,
        prepare=_own_redis,
        light=("redis", "degraded", reason),
        check=check,
    )


OF_REDIS: Final = (
    _degraded(
        "Redis full",
        _commands(("CONFIG", "SET", "maxmemory", "1")),
        _commands(("CONFIG", "SET", "maxmemory", "0")),
        "refuses writes: OOM ",
        "fail  redis: refuses writes: OOM ",
        "maxmemory-policy",
    ),
    _degraded(
        "Redis a read-only replica",
        _commands(("REPLICAOF", "127.0.0.1", "1")),
        _commands(("REPLICAOF", "NO", "ONE")),
        "refuses writes: READONLY ",
        "fail  redis: refuses writes: READONLY ",
    ),
    _degraded(
        "Redis cannot save (MISCONF)",
        _fail_to_save,
        _save_again,
        "refuses writes: MISCONF ",
        "fail  redis: refuses writes: MISCONF ",
    ),
    _degraded(
        "user of Redis without the channel",
        _commands(("ACL", "SETUSER", "default", "resetchannels")),
        _commands(_FULL_RIGHTS),
        "invalidations of other replicas are not received: NOPERM ",
        "fail  invalidations: ",
        "ACL SETUSER default ~image:* &image:* ",
    ),
    _degraded(
        "user of Redis without EVAL",
        _commands(("ACL", "SETUSER", "default", "-eval", "-evalsha")),
        _commands(_FULL_RIGHTS),
        "refuses writes: ",
        "fail  redis: refuses writes: ",
    ),
    Injected(
        "Redis killed",
        "dependency_down",
        "bad",
        _kill,
        _start,
        prepare=_own_redis,
        light=("redis", "down", "Connect call failed"),
        check=("fail  redis: ",),
    ),
    Injected(
        "Redis hangs",
        "dependency_down",
        "bad",
        _pause,
        _resume,
        prepare=_own_redis,
        light=("redis", "down", "no answer within"),
        check=("fail  redis: ",),
    ),
    Injected(
        "wrong password of Redis",
        "dependency_down",
        "bad",
        _wrong_password,
        _right_url,
        prepare=_own_redis,
        light=("redis", "down", "invalid username-password pair"),
        check=("fail  redis: ", "password"),
    ),
    Injected(
        "master behind Sentinel hangs",
        "dependency_down",
        "bad",
        _pause_master,
        _resume_master,
        prepare=_behind_sentinel,
        uses=("watched",),
        light=("redis", "down", "no answer within"),
    ),
    Injected(
        "node of a Cluster down",
        "dependency_degraded",
        "warning",
        _kill_node,
        _heal_cluster,
        prepare=_in_cluster,
        uses=("six_nodes",),
        light=("redis", "degraded", "Connect call failed"),
    ),
)
