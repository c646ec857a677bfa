"""Opens the shards on one server, on a master behind Sentinel, or on a Cluster, and checks that it is what is there."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.concurrency.background import background
from gateway.redis_connection.cluster import Address, ClusterServers, OpenNode
from gateway.redis_connection.guarded_client import CacheUnavailable, GuardedRedis, ObserveCommand, PackedConnection
from gateway.redis_connection.shards import OneServer, Shard, Shards, slot_of
from gateway.settings import RedisSettings

_CONNECTIONS = 64
# redis-py's own limit also counts the time in which the event loop is late; that of ``GuardedRedis`` ends earlier.
_LATE = 10
_SENTINEL_PORT = 26379
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_ANSWERS: Final = re.compile(r"(?i)unknown command")
_NODE_ANSWERS: Final = re.compile(r"\b(CROSSSLOT|MOVED|ASK|CLUSTERDOWN)\b")
_SERVER_ANSWERS: Final = re.compile(r"(?i)cluster support disabled|cluster mode is not enabled")


class _PlainConnection(PackedConnection, Connection): ...


class _TlsConnection(PackedConnection, SSLConnection): ...


class _UnixConnection(PackedConnection, UnixDomainSocketConnection): ...


class _MasterConnection(PackedConnection, SentinelManagedConnection): ...


class _MasterTlsConnection(PackedConnection, SentinelManagedSSLConnection): ...


_CONNECTION_CLASSES: Final = {"redis": _PlainConnection, "rediss": _TlsConnection, "unix": _UnixConnection}


class WrongRedis(CacheUnavailable):
    """Redis answers, but ``redis.url`` or ``redis.shards`` does not fit it. ``advice`` says what to write."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}: {advice}")
        self.what = what
        self.advice = advice


@asynccontextmanager
async def open_redis(
    settings: RedisSettings, observe: ObserveCommand | None = None, *, try_every: float = 1.0
) -> AsyncIterator[Shards]:
    """Open clients with a bounded number of connections, which are made when first needed.

    - ``redis://``, ``rediss://`` and ``unix://`` are read by redis-py.
    - ``redis+sentinel://host:port,host:port/name/db`` follows the master that Sentinel lists as ``name``.
    - ``redis+cluster://host:port,host:port`` gets the other nodes of the cluster from the nodes that answer.
    - ``rediss+…`` is the same over TLS, also with the Sentinels. ``?ssl_ca_certs=FILE`` names a private authority.

    A password precedes the hosts. The settings have checked the URL. ``try_every``: after how many seconds a server
    that did not answer is tried again, in the background. When this function's own context is entered, only a Cluster
    is connected to, for at most ``settings.timeout`` seconds.
    """
    url = settings.url.get_secret_value()
    options: dict[str, Any] = {
        "socket_timeout": settings.timeout * _LATE,
        "socket_connect_timeout": settings.timeout * _LATE,
        "protocol": 2,
        "client_name": "image-gateway",
        "driver_info": None,  # else every new connection reads the library's version from the disk
        "retry": Retry(NoBackoff(), 1),  # a connection kept open may have been closed by the server meanwhile
    }
    limits: dict[str, Any] = {"max_connections": _CONNECTIONS, "timeout": settings.timeout * _LATE}
    parts = settings.parts()
    async with AsyncExitStack() as stack:
        if settings.names_a_cluster:
            opener = _open_node(parts, settings.timeout, options | limits, observe)
            cluster = ClusterServers(_hosts(parts, 6379), opener, settings.timeout)
            stack.push_async_callback(cluster.aclose)
            await cluster.look()
            await stack.enter_async_context(background("redis-cluster", cluster.watch()))
            yield Shards(cluster, settings.prefix, settings.shard_count)
            return
        if parts.scheme.endswith("+sentinel"):
            sentinel = _sentinel(parts, settings.timeout, options)
            for watcher in sentinel.sentinels:
                stack.push_async_callback(watcher.aclose)
            name, _, db = parts.path.strip("/").partition("/")
            client: Redis = sentinel.master_for(
                unquote(name), connection_pool_class=_MasterPool, db=int(db or 0), **limits
            )
        else:
            pool = BlockingConnectionPool.from_url(url, **options, **limits)
            pool.connection_class = _CONNECTION_CLASSES[parts.scheme]
            client = Redis.from_pool(pool)
        failed = asyncio.Event()
        server = GuardedRedis(client, settings.timeout, on_failure=failed.set, observe=observe)
        stack.push_async_callback(server.aclose)
        await stack.enter_async_context(background("redis", _watch(server, failed, try_every)))
        yield Shards(OneServer(server), settings.prefix, settings.shard_count)


async def _watch(server: GuardedRedis, failed: asyncio.Event, try_every: float) -> None:
    """Try the server every so many seconds while it is away, until cancelled. So no request waits for it.

    A master that became a replica keeps its connections, though the address leads to another server by now.
    """
    while True:
        await failed.wait()
        failed.clear()
        if server.is_read_only:
            await server.reconnect()
            await asyncio.sleep(try_every)
        while server.is_away:
            await asyncio.sleep(try_every)
            await server.try_again()


def _open_node(parts: SplitResult, timeout: float, options: dict[str, Any], observe: ObserveCommand | None) -> OpenNode:
    """Return what opens the client of a node. Only ``ClusterServers`` try a node again that did not answer."""
    login = _login(parts)
    connection = _TlsConnection if login.pop("ssl", False) else _PlainConnection

    def open_node(address: Address, on_failure: Callable[[], None]) -> GuardedRedis:
        pool = BlockingConnectionPool(
            connection_class=connection, host=address.host, port=address.port, **login, **options
        )
        return GuardedRedis(
            Redis.from_pool(pool), timeout, address=str(address), on_failure=on_failure, observe=observe
        )

    return open_node


def _sentinel(parts: SplitResult, timeout: float, options: dict[str, Any]) -> Sentinel:
    # A sentinel may need another password: ?sentinel_password=…
    own = parse_qs(parts.query).get("sentinel_password", [None])[0]
    hosts = _hosts(parts, _SENTINEL_PORT)
    # They are asked one after another, and a call has the time of all: one that hangs must leave time for the others.
    share = timeout / (len(hosts) + 1)
    sentinel_options = {
        **{key: value for key, value in options.items() if key != "client_name"},
        "socket_timeout": share,
        "socket_connect_timeout": share,
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),  # redis-py's own pauses for seconds
        **_tls(parts),
    }
    return Sentinel(  # type: ignore[no-untyped-call]
        hosts, sentinel_kwargs={**sentinel_options, "password": own}, **_login(parts), **options
    )


class _MasterPool(BlockingConnectionPool, SentinelConnectionPool):
    """Connection pool of the master behind Sentinel. It waits while all are in use; redis-py's own pool there fails."""

    def __init__(self, service_name: str, sentinel_manager: Sentinel, *, ssl: bool = False, **options: Any) -> None:
        kind = _MasterTlsConnection if ssl else _MasterConnection
        options |= {"service_name": service_name, "sentinel_manager": sentinel_manager, "connection_class": kind}
        super().__init__(**options)


def _hosts(parts: SplitResult, default_port: int) -> list[Address]:
    """Return the hosts and ports of a URL that names several, which ``urlsplit`` does not split."""
    hosts = parts.netloc.rpartition("@")[2].split(",")
    places = [urlsplit(f"//{host}") for host in hosts]  # handles the brackets of IPv6
    return [Address(place.hostname or "", place.port or default_port) for place in places]


def _login(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    login = {"username": unquote(user), "password": unquote(password)}
    return _tls(parts) | {name: value for name, value in login.items() if value}


def _tls(parts: SplitResult) -> dict[str, Any]:
    if not parts.scheme.startswith("rediss"):
        return {}
    query = parse_qs(parts.query)
    return {"ssl": True, **{name: query[name][0] for name in _TLS_FILES if name in query}}


async def check_settings(shards: Shards, settings: RedisSettings) -> None:
    """Return if Redis is what ``redis.url`` and ``redis.shards`` say: the kind of server, the number of shards.

    Raises ``WrongRedis``, and ``CacheUnavailable`` if that cannot be found out. A Redis without a number of shards
    keeps that of the settings, in ``image:shards``.
    """
    key = f"{shards.prefix}shards"
    # The name of the key is the same for every number of shards, so it is in no shard.
    place = Shard(shards.prefix, slot_of(key))
    try:
        if len(shards.servers.all) == 1 and not settings.names_a_cluster:
            # In different slots, so that a node of a Cluster refuses them.
            await shards.run_on(place, ("MGET", *(place.key("probe", name) for name in "ab")))
        kept = await _kept_number(shards, place, key)
    except CacheUnavailable as error:
        if (wrong := await _of_another_kind(str(error), shards, settings)) is not None:
            raise wrong from error
        raise
    if kept != len(shards.all):
        raise WrongRedis(
            f"redis.shards is {len(shards.all)}, and the keys in Redis are spread over {kept}",
            f"write redis.shards: {kept}, or change the number as docs/scaling.md shows",
        )


async def _kept_number(shards: Shards, place: Shard, key: str) -> int:
    """Return the number of shards in Redis. Keep ours if there is none, or another value."""
    [kept] = await shards.run_on(place, ("GET", key))
    if kept is not None and kept.isdigit() and 0 < len(kept) < 6:
        return int(kept)
    if kept is not None:
        await shards.run_on(place, ("DEL", key))
    await shards.run_on(place, ("SET", key, len(shards.all), "NX"))
    [kept] = await shards.run_on(place, ("GET", key))
    return int(kept)


async def _of_another_kind(problem: str, shards: Shards, settings: RedisSettings) -> WrongRedis | None:
    """Return what to write in ``redis.url`` if it is a server of another kind that answers so."""
    parts = settings.parts()
    scheme, hosts = parts.scheme.partition("+")[0], parts.netloc.rpartition("@")[2]
    if _SERVER_ANSWERS.search(problem) and settings.names_a_cluster:
        return WrongRedis(
            "redis.url leads to a single server, which is no Cluster", f"write {scheme}://{hosts.split(',')[0]}"
        )
    if "+" in parts.scheme and not settings.names_a_cluster:
        return None
    if _NODE_ANSWERS.search(problem) and not settings.names_a_cluster:
        return WrongRedis("redis.url leads to a node of a Cluster", f"write {scheme}+cluster://{hosts}")
    if _SENTINEL_ANSWERS.search(problem):
        try:
            [masters] = await shards.servers.all[0].run(("SENTINEL MASTERS",))
        except CacheUnavailable:
            masters = ()
        name = next(iter(masters), "NAME")
        return WrongRedis("redis.url leads to a Sentinel", f"write {scheme}+sentinel://{hosts}/{name}/0")
    return None
