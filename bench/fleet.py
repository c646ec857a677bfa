"""Where a deployment stops: the refresh queue of millions of images and many replicas, simulated with measured costs.

    python -m bench.fleet [--images 10000000] [--replicas 50] [--nodes 1] [--hours 6] [--redis-us 68] ...

The costs are processor time for each renewal as `python -m bench.million` measures them. With `--nodes`, the queue is
divided into shards (`--shards`), and each node has the shards whose slots are in its range, as `redis.shards` places
them. The simulation moves whole seconds: URLs fall due, replicas renew the oldest of each node first within what their
cores, the node and Postgres have left for it, and faults come: the node with the most shards (without `--nodes`: Redis)
is away for two minutes, half of the replicas are away for ten. It prints how late renewals are, how many URLs end
before they are renewed, and how busy each server is; then how many images the same servers could have.
"""

import argparse
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from gateway.redis_connection.shards import SLOTS, slot_of

_TINY = 1e-6  # of a renewal: what is left of sums of fractions
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class Costs:
    """Processor time for each renewal in seconds, and bytes of Redis for each URL."""

    gateway: float
    redis: float
    postgres: float
    memory: float


@dataclass(frozen=True)
class Fleet:
    """Images in use, replicas of one core each, and the share of each core that renewals may take.

    nodes: the share of the images that each node of Redis has, the largest first.
    """

    images: int
    replicas: int
    nodes: Sequence[float]
    postgres_cores: int
    ttl: int
    threshold: int
    spread: int
    gateway_share: float = 0.5
    server_share: float = 0.7

    def capacity(self, costs: Costs, replicas: int) -> float:
        """Return the most renewals a second that these replicas and Postgres can do."""
        return min(
            replicas * self.gateway_share / costs.gateway, self.postgres_cores * self.server_share / costs.postgres
        )

    def node_capacity(self, costs: Costs) -> float:
        """Return the most renewals a second of a node of Redis."""
        return self.server_share / costs.redis

    def rate(self) -> float:
        """Return the renewals a second when nothing is late."""
        return self.images / (self.ttl - self.threshold - self.spread / 2)


def shares_of(nodes: int, shards: int) -> list[float]:
    """Return the share of the shards that each node has with equal ranges of slots, the largest first."""
    if nodes == 1:
        return [1.0]
    sizes = Counter(slot_of(f"s{number:02}") * nodes // SLOTS for number in range(shards))
    return sorted((sizes[node] / shards for node in range(nodes)), reverse=True)


@dataclass
class Outcome:
    """What happened: the longest delay in seconds, and the URLs that ended before they were renewed."""

    most_late: int = 0
    ended: float = 0.0


class Queue:
    """The renewals of a node: those that wait, by the second in which they fell due, and those to come."""

    def __init__(self, fleet: Fleet, images: float, seconds: int) -> None:
        self._fleet = fleet
        self._period = fleet.ttl - fleet.threshold
        self._changes = [0.0] * (seconds + fleet.ttl + 2)  # of the number that falls due in a second
        self._add(0, self._period, images / self._period)
        self._due = 0.0
        self._waiting: deque[list[float]] = deque()

    def _add(self, start: int, end: int, number: float) -> None:
        self._changes[start] += number
        self._changes[end] -= number

    def fall_due(self, second: int) -> None:
        """Let the renewals of this second wait."""
        self._due += self._changes[second]
        if self._due > _TINY:
            self._waiting.append([second, self._due])

    def renew(self, second: int, room: float, outcome: Outcome) -> float:
        """Renew up to ``room`` of those that wait, the oldest first. Return how many."""
        done = 0.0
        while self._waiting and room > _TINY:
            oldest = self._waiting[0]
            some = min(room, oldest[1])
            if second - oldest[0] > self._fleet.threshold:
                outcome.ended += some
            room, done, oldest[1] = room - some, done + some, oldest[1] - some
            if oldest[1] <= _TINY:
                self._waiting.popleft()
        if done:
            last = second + self._period
            self._add(last - self._fleet.spread + 1, last + 1, done / self._fleet.spread)
        return done

    def late(self, second: int) -> int:
        """Return for how many seconds the oldest has waited."""
        return second - int(self._waiting[0][0]) if self._waiting else 0


def simulate(fleet: Fleet, costs: Costs, seconds: int) -> Outcome:
    """Run the queues for so long, second by second."""
    queues = [Queue(fleet, fleet.images * share, seconds) for share in fleet.nodes]
    outcome = Outcome()
    for second in range(seconds):
        is_half_away = 3 * _HOUR <= second < 3 * _HOUR + 10 * _MINUTE
        room = fleet.capacity(costs, fleet.replicas // 2 if is_half_away else fleet.replicas)
        rooms = [fleet.node_capacity(costs)] * len(queues)
        if _HOUR <= second < _HOUR + 2 * _MINUTE:
            rooms[0] = 0.0
        for queue in queues:
            queue.fall_due(second)
        # Each node gets an equal share of the replicas, and then what the others have left.
        for number, _ in enumerate(2 * queues):
            at = (second + number) % len(queues)
            share = room / max(1, len(queues) - number)
            done = queues[at].renew(second, min(rooms[at], share), outcome)
            rooms[at], room = rooms[at] - done, room - done
        outcome.most_late = max(outcome.most_late, *(queue.late(second) for queue in queues))
    return outcome


def report(fleet: Fleet, costs: Costs, seconds: int) -> None:
    """Simulate and print a line."""
    outcome, rate = simulate(fleet, costs, seconds), fleet.rate()
    limits = {
        "the gateways": fleet.replicas * fleet.gateway_share / costs.gateway,
        "Redis": fleet.node_capacity(costs) / fleet.nodes[0],
        "Postgres": fleet.postgres_cores * fleet.server_share / costs.postgres,
    }
    first = min(limits, key=lambda name: limits[name])
    period = fleet.ttl - fleet.threshold - fleet.spread / 2
    redis = fleet.nodes[0]
    print(
        f"{fleet.images:>12,} images, {fleet.replicas:3} replicas, {len(fleet.nodes)} nodes: "
        f"{rate:8,.0f} renewals/s; busiest Redis {rate * redis * costs.redis:5.2f} of a core, "
        f"{fleet.images * redis * costs.memory / 2**30:6.2f} GiB; "
        f"each gateway {rate * costs.gateway / fleet.replicas:5.2f}; Postgres {rate * costs.postgres:5.2f}; "
        f"late by at most {outcome.most_late:5} s, {outcome.ended:,.0f} ended; "
        f"{first} end it at {int(limits[first] * period):,}",
        flush=True,
    )


def main() -> None:
    """Parse the options and simulate."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet")
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--replicas", type=int, nargs="+", default=[2, 10, 50])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1], help="masters of a Cluster; 1: a server")
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--hours", type=float, default=5)
    parser.add_argument("--ttl", type=int, default=3600)
    parser.add_argument("--threshold", type=int, default=900)
    parser.add_argument("--postgres-cores", type=int, default=4)
    parser.add_argument("--gateway-us", type=float, default=140, help="microseconds of a gateway for each renewal")
    parser.add_argument("--redis-us", type=float, default=68)
    parser.add_argument("--postgres-us", type=float, default=14)
    parser.add_argument("--bytes", type=float, default=858, help="of Redis for each URL")
    options = parser.parse_args()
    costs = Costs(options.gateway_us / 1e6, options.redis_us / 1e6, options.postgres_us / 1e6, options.bytes)
    for images, replicas, nodes in product(options.images, options.replicas, options.nodes):
        fleet = Fleet(
            images,
            replicas,
            shares_of(nodes, options.shards),
            options.postgres_cores,
            options.ttl,
            options.threshold,
            options.ttl // 10,
        )
        report(fleet, costs, int(options.hours * _HOUR))


if __name__ == "__main__":
    main()
