"""The Redis client for one server, for a master behind Sentinel, or for a Cluster, chosen by the URL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

from gateway.redis_store.observed_commands import ObserveCommand, observe_commands
from gateway.settings import RedisSettings

Client = Redis | RedisCluster

# All that redis-py raises. A Cluster that cannot be reached, or a server that is not one, raises no RedisError.
REDIS_ERRORS: Final = (RedisError, RedisClusterException, OSError, TimeoutError)

_CONNECTIONS = 64
# redis-py's own limit also counts the time in which the event loop is late; that of ``GuardedRedis`` ends earlier.
_LATE = 10
_SENTINEL_PORT = 26379
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@asynccontextmanager
async def open_redis(settings: RedisSettings, observe: ObserveCommand | None = None) -> AsyncIterator[Client]:
    """Open a client with a bounded number of connections, which are made when first needed.

    - ``redis://``, ``rediss://`` and ``unix://`` are read by redis-py.
    - ``redis+sentinel://host:port,host:port/name/db`` follows the master that Sentinel lists as ``name``.
    - ``redis+cluster://host:port,host:port`` gets the other nodes of the cluster from the first node that answers.
    - ``rediss+…`` is the same over TLS, with ``?ssl_ca_certs=FILE`` for a private authority.

    A password precedes the hosts. The settings have checked the URL. ``observe`` makes the context of each command.
    """
    url = settings.url.get_secret_value()
    options: dict[str, Any] = {
        "socket_timeout": settings.timeout * _LATE,
        "socket_connect_timeout": settings.timeout * _LATE,
        "protocol": 2,
        "client_name": "image-gateway",
        "driver_info": None,  # else every new connection reads the library's version from the disk
    }
    parts = settings.parts()
    async with AsyncExitStack() as stack:
        if parts.scheme.endswith("+cluster"):
            client: Client = _cluster(parts, options)
        elif parts.scheme.endswith("+sentinel"):
            sentinel = _sentinel(parts, settings.timeout, options)
            for server in sentinel.sentinels:
                stack.push_async_callback(server.aclose)
            client = _master(sentinel, parts)
        else:
            client = Redis.from_pool(_pool(url, settings.timeout, options))
        stack.push_async_callback(client.aclose)
        if observe is not None:
            observe_commands(client, observe)
        yield client


def _pool(url: str, timeout: float, options: dict[str, Any]) -> BlockingConnectionPool:
    # One retry: a connection kept open may have been closed by the server meanwhile.
    return BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, timeout=timeout * _LATE, retry=Retry(NoBackoff(), 1), **options
    )


def _cluster(parts: SplitResult, options: dict[str, Any]) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts, 6379)]
    return RedisCluster(
        startup_nodes=nodes, max_connections=_CONNECTIONS, retry=Retry(NoBackoff(), 2), **_login(parts), **options
    )


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
    }
    return Sentinel(  # type: ignore[no-untyped-call]
        hosts,
        sentinel_kwargs={**sentinel_options, "password": own},
        retry=Retry(NoBackoff(), 1),
        **_login(parts),
        **options,
    )


def _master(sentinel: Sentinel, parts: SplitResult) -> Redis:
    name, _, db = parts.path.strip("/").partition("/")
    master: Redis = sentinel.master_for(unquote(name), db=int(db or 0), max_connections=_CONNECTIONS)
    return master


def _hosts(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    """Return the hosts and ports of a URL that names several, which ``urlsplit`` does not split."""
    hosts = parts.netloc.rpartition("@")[2].split(",")
    places = [urlsplit(f"//{host}") for host in hosts]  # handles the brackets of IPv6
    return [(place.hostname or "", place.port or default_port) for place in places]


def _login(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    login: dict[str, Any] = {}
    if user:
        login["username"] = unquote(user)
    if password:
        login["password"] = unquote(password)
    if parts.scheme.startswith("rediss"):
        login["ssl"] = True
        query = parse_qs(parts.query)
        login |= {name: query[name][0] for name in _TLS_FILES if name in query}
    return login
