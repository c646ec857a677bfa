"""A Redis Cluster of three masters with a replica each, whose nodes tests kill, pause and move slots between."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from gateway_dev.processes import wait_until
from gateway_dev.redis_server import RedisServer
from tests.limits import LIMIT

PASSWORD = "secret-of-the-nodes"
# Milliseconds after which a node counts as lost. Masters refuse all commands that hear of too few for as long.
_NODE_TIMEOUT, _NO_TIMEOUT = 4000, 60_000
OPTIONS = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", str(_NO_TIMEOUT), "--masterauth", PASSWORD),
    # Else the nodes that are left refuse everything while a slot has no node.
    *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
    *("--cluster-replica-no-failover", "yes"),
    *("--cluster-allow-replica-migration", "no"),  # a master that has lost its last slot stays a master
)
_MASTERS = 3


class Cluster:
    """The nodes, and a client of each. Roles change: ask ``masters``."""

    def __init__(self, nodes: Sequence[RedisServer], clients: Sequence["redis.Redis"]) -> None:
        self.nodes = nodes
        self.clients = dict(zip(nodes, clients, strict=True))

    @property
    def url(self) -> str:
        """The address of two of the nodes."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[1:3])
        return f"redis+cluster://:{PASSWORD}@{hosts}"

    def slots(self, seen_by: RedisServer | None = None) -> list[tuple[int, int, list[RedisServer]]]:
        """Return the first and the last slot of each range, and its nodes, the master first."""
        by_port = {node.port: node for node in self.nodes}
        running = seen_by or next(node for node in self.nodes if node.is_running)
        answer: Any = self.clients[running].execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        return sorted(
            ((start, end, [by_port[port] for _, port, *_ in nodes]) for start, end, *nodes in answer),
            key=lambda found: found[0],
        )

    def masters(self) -> list[RedisServer]:
        """Return the nodes that have slots."""
        return list(dict.fromkeys(nodes[0] for _, _, nodes in self.slots()))

    def master_of(self, slot: int) -> RedisServer:
        """Return the node that has the slot."""
        return next(nodes[0] for start, end, nodes in self.slots() if start <= slot <= end)

    def replica_of(self, master: RedisServer) -> RedisServer:
        """Return the replica of a master."""
        return next(nodes[1] for _, _, nodes in self.slots() if nodes[0] is master and len(nodes) > 1)

    def flush(self) -> None:
        """Remove every key."""
        for master in self.masters():
            self.clients[master].flushall()

    def heal(self) -> None:
        """Start what was killed, and wait until each master has its replica."""
        for node in self.nodes:
            if not node.is_running:
                node.start()
        assert wait_until(self.is_well, LIMIT)

    def is_well(self) -> bool:
        """Return whether every node serves, and every replica follows."""
        try:
            return self._is_well()
        except redis.RedisError:  # of a node that is starting
            return False

    def _is_well(self) -> bool:
        for client in self.clients.values():
            info: Any = client.info("replication")
            if info["role"] == "slave" and info["master_link_status"] != "up":
                return False
            state: Any = client.cluster("INFO")
            if state["cluster_state"] != "ok" or state["cluster_slots_ok"] != "16384":
                return False
        views = [self.slots(node) for node in self.nodes]
        if any(view != views[0] for view in views):
            return False
        return len(self.masters()) == _MASTERS and all(len(nodes) == 2 for _, _, nodes in self.slots())

    def promote(self, replica: RedisServer) -> None:
        """Wait until every running node knows a replica as a master."""
        running = [node for node in self.nodes if node.is_running]
        assert wait_until(
            lambda: all(any(nodes[0] is replica for _, _, nodes in self.slots(node)) for node in running), LIMIT
        )

    @contextmanager
    def failover(self) -> Iterator[None]:
        """Let replicas take over meanwhile: on a busy machine one would without need."""
        self._set_failover("no", _NODE_TIMEOUT)
        try:
            yield
        finally:
            self._set_failover("yes", _NO_TIMEOUT)

    def _set_failover(self, refused: str, node_timeout: int) -> None:
        for node, client in self.clients.items():
            if node.is_running:
                client.config_set("cluster-replica-no-failover", refused)
                client.config_set("cluster-node-timeout", node_timeout)

    @contextmanager
    def added_node(self, folder: Path) -> Iterator[RedisServer]:
        """Add a master without slots. It must have none when the context ends."""
        with (
            RedisServer(folder, password=PASSWORD, ephemeral=True, extra_args=OPTIONS) as node,
            redis.Redis(port=node.port, password=PASSWORD, socket_timeout=LIMIT) as client,
        ):
            others = list(self.clients.values())
            others[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port)  # type: ignore[no-untyped-call]
            count = len(others) + 1

            def is_known() -> bool:
                state = client.cluster("INFO")
                serves = state["cluster_state"] == "ok" and state["cluster_slots_assigned"] == "16384"
                return serves and all(len(known.cluster("NODES")) == count for known in others)

            assert wait_until(is_known, LIMIT)
            self.nodes, self.clients[node] = [*self.nodes, node], client
            yield node
            self.nodes, node_id = self.nodes[:-1], self._id_of(node)
            del self.clients[node]
            for other in others:
                other.execute_command("CLUSTER FORGET", node_id)  # type: ignore[no-untyped-call]

    @contextmanager
    def importing(self, slot: int, target: RedisServer) -> Iterator[None]:
        """Let the master of a slot send clients to ``target`` for each key that it does not have."""
        source = self.master_of(slot)
        self.clients[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self._id_of(source))  # type: ignore[no-untyped-call]
        self.clients[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self._id_of(target))  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for node in (source, target):
                self.clients[node].execute_command("CLUSTER SETSLOT", slot, "STABLE")  # type: ignore[no-untyped-call]

    def move_slot(self, slot: int, target: RedisServer, between: Callable[[], None]) -> None:
        """Move the slot to another master, a few keys at a time. ``between`` is called while keys are on both nodes."""
        source = self.master_of(slot)
        from_, to = self.clients[source], self.clients[target]
        from_id, to_id = self._id_of(source), self._id_of(target)
        to.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", from_id)  # type: ignore[no-untyped-call]
        from_.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", to_id)  # type: ignore[no-untyped-call]
        between()
        while keys := from_.execute_command("CLUSTER GETKEYSINSLOT", slot, 2):  # type: ignore[no-untyped-call]
            arguments = ("127.0.0.1", target.port, "", 0, 5000, "REPLACE", "AUTH", PASSWORD, "KEYS", *keys)
            from_.execute_command("MIGRATE", *arguments)  # type: ignore[no-untyped-call]
            between()
        masters = [
            client for node, client in self.clients.items() if node in self.masters() and client not in {from_, to}
        ]
        for client in (to, from_, *masters):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", to_id)  # type: ignore[no-untyped-call]

    def _id_of(self, node: RedisServer) -> str:
        found: bytes = self.clients[node].execute_command("CLUSTER MYID")  # type: ignore[no-untyped-call]
        return found.decode()


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Run a Cluster until the context ends."""
    with ExitStack() as stack:
        nodes = [
            RedisServer(folder / f"node-{number}", password=PASSWORD, ephemeral=True, extra_args=OPTIONS)
            for number in range(2 * _MASTERS)
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(stack.enter_context, nodes))
        clients = [
            stack.enter_context(redis.Redis(port=node.port, password=PASSWORD, socket_timeout=LIMIT)) for node in nodes
        ]
        bounds = [16384 * number // _MASTERS for number in range(_MASTERS + 1)]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < _MASTERS:
                client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            if number:
                clients[0].execute_command("CLUSTER MEET", "127.0.0.1", nodes[number].port)
        assert wait_until(lambda: all(len(client.cluster("NODES")) == len(nodes) for client in clients), LIMIT)
        for master, replica in zip(clients[:_MASTERS], clients[_MASTERS:], strict=True):
            replica.execute_command("CLUSTER REPLICATE", master.execute_command("CLUSTER MYID").decode())
        cluster = Cluster(nodes, clients)
        assert wait_until(cluster.is_well, LIMIT)
        yield cluster
