"""One server of Redis, or the masters of a Cluster, for measurements of both."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from gateway.redis_connection.shards import SLOTS, Shard
from gateway_dev.processes import wait_until
from gateway_dev.redis_server import RedisServer

_PASSWORD = "of-the-nodes"  # noqa: S105 - of servers that end with the measurement
_CLUSTER = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
_STARTED_WITHIN = 30.0  # seconds


@dataclass(frozen=True)
class RedisMasters:
    """The servers, a client of each, and the URL of a gateway. Each has an equal range of slots."""

    url: str
    servers: Sequence[RedisServer]
    clients: Sequence["redis.Redis"]

    def client_of(self, shard: Shard) -> "redis.Redis":
        """Return the client of the server that has the shard."""
        return self.clients[shard.slot * len(self.clients) // SLOTS]

    def total(self, section: str, name: str) -> float:
        """Return a number of INFO, added up."""
        found: list[Mapping[str, Any]] = [client.info(section) for client in self.clients]
        return float(sum(values[name] for values in found))


@contextlib.contextmanager
def running_masters(folder: Path, count: int) -> Iterator[RedisMasters]:
    """Run one server, or a Cluster of ``count`` masters without replicas."""
    with contextlib.ExitStack() as stack:
        options = _CLUSTER if count > 1 else ()
        servers = [
            stack.enter_context(
                RedisServer(folder / f"redis-{number}", ephemeral=True, password=_PASSWORD, extra_args=options)
            )
            for number in range(count)
        ]
        clients = [stack.enter_context(redis.Redis.from_url(server.url)) for server in servers]
        if count == 1:
            yield RedisMasters(servers[0].url, servers, clients)
            return
        for number, client in enumerate(clients):
            first, after = -(-SLOTS * number // count), -(-SLOTS * (number + 1) // count)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, after - 1)
            if number:
                clients[0].execute_command("CLUSTER MEET", "127.0.0.1", servers[number].port)

        def serves(client: "redis.Redis") -> bool:
            state = client.cluster("INFO")
            return bool(state["cluster_state"] == "ok" and state["cluster_slots_assigned"] == str(SLOTS))

        if not wait_until(lambda: all(map(serves, clients)), _STARTED_WITHIN):
            raise TimeoutError("the nodes have not become a Cluster")
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        yield RedisMasters(f"redis+cluster://:{_PASSWORD}@{hosts}", servers, clients)
