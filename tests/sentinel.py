"""A master with a replica behind Sentinel, whose master tests kill and pause."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from gateway_dev.processes import wait_until
from gateway_dev.redis_server import RedisServer
from tests.cluster import PASSWORD
from tests.limits import LIMIT

_FOR_EVER = 10**9  # milliseconds
_SETTINGS = (
    f"--sentinel auth-pass main {PASSWORD}",
    f"--sentinel down-after-milliseconds main {_FOR_EVER}",
    "--sentinel failover-timeout main 2000",  # after twice as long it fails over again
)


class Watched:
    """Two servers, and a client of each. Either is the master: ask ``master``."""

    def __init__(
        self, clients: Mapping[RedisServer, "redis.Redis"], sentinel: RedisServer, watcher: "redis.Redis"
    ) -> None:
        self.clients = clients
        self.sentinel = sentinel
        self._watcher = watcher

    @property
    def url(self) -> str:
        """The address of the master by its Sentinel."""
        return f"redis+sentinel://:{PASSWORD}@127.0.0.1:{self.sentinel.port}/main/0"

    def master(self) -> RedisServer:
        """Return the server that Sentinel names as the master."""
        address: Any = self._watcher.sentinel_get_master_addr_by_name("main")
        return next(server for server in self.clients if server.port == address[1])

    def masters(self) -> list[RedisServer]:
        """Return the master alone."""
        return [self.master()]

    def replica_of(self, master: RedisServer) -> RedisServer:
        """Return the other server."""
        return next(server for server in self.clients if server is not master)

    def promote(self, replica: RedisServer) -> None:
        """Wait until Sentinel names the replica as the master, and it is."""
        assert wait_until(lambda: self.master() is replica and self._role(replica) == "master", LIMIT)

    def flush(self) -> None:
        """Remove every key."""
        self.clients[self.master()].flushall()

    @contextmanager
    def failover(self) -> Iterator[None]:
        """Let Sentinel notice meanwhile that a master is away."""
        self._watcher.sentinel_set("main", "down-after-milliseconds", 500)
        try:
            yield
        finally:
            self._watcher.sentinel_set("main", "down-after-milliseconds", _FOR_EVER)

    def heal(self) -> None:
        """Start what was killed, and wait until the master has its replica, and Sentinel sees both."""
        for server in self.clients:
            if not server.is_running:
                server.start()

        def is_well() -> bool:
            master = self.master()
            replica = self.replica_of(master)
            try:
                if self._role(master) != "master":
                    return False
                if self._role(replica) == "master":  # Sentinel makes it a replica after ten seconds
                    self.clients[replica].replicaof("127.0.0.1", master.port)
                    return False
                state: Any = self._watcher.sentinel_master("main")
                return self._replicates(replica) and bool(state["num-slaves"] == 1) and not state["is_sdown"]
            except redis.RedisError:  # of a server that is starting
                return False

        assert wait_until(is_well, LIMIT)

    def _role(self, server: RedisServer) -> str:
        return str(self.clients[server].info("replication")["role"])

    def _replicates(self, server: RedisServer) -> bool:
        return bool(self.clients[server].info("replication")["master_link_status"] == "up")


@contextmanager
def running_sentinel(folder: Path) -> Iterator[Watched]:
    """Run a master, its replica and a Sentinel until the context ends."""
    with ExitStack() as stack:

        def started(name: str, *options: str, password: str = PASSWORD) -> RedisServer:
            server = RedisServer(folder / name, ephemeral=True, password=password, extra_args=options)
            return stack.enter_context(server)

        diskless = ("--repl-diskless-sync-delay", "0")
        master = started("master", *diskless)
        replica = started("replica", *diskless, "--replicaof", f"127.0.0.1 {master.port}")
        monitor = f"--sentinel monitor main 127.0.0.1 {master.port} 1"
        sentinel = started("sentinel", "--sentinel", monitor, *_SETTINGS, password="")
        clients = {
            server: stack.enter_context(redis.Redis(port=server.port, password=PASSWORD, socket_timeout=LIMIT))
            for server in (master, replica)
        }
        watcher = stack.enter_context(redis.Redis(port=sentinel.port, socket_timeout=LIMIT, decode_responses=True))
        watched = Watched(clients, sentinel, watcher)
        watched.heal()
        yield watched
