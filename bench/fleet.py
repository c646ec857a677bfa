"""Where a deployment stops: the refresh queue of millions of images and many replicas, simulated with measured costs.

    python -m bench.fleet [--images 10000000] [--replicas 50] [--hours 6] [--redis-us 68] [--gateway-us 175] ...

The costs are processor time for each renewal as `python -m bench.million` measures them. The simulation moves whole
seconds: URLs fall due, replicas renew the oldest first within what their cores, Redis and Postgres have left for it,
and faults come: Redis away for two minutes, half of the replicas away for ten. It prints how late renewals are, how
many URLs end before they are renewed, and how busy each server is; then how many images the same servers could have.
"""

import argparse
from collections import deque
from dataclasses import dataclass

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
    """Images in use, replicas of one core each, and the share of each core that renewals may take."""

    images: int
    replicas: int
    postgres_cores: int
    ttl: int
    threshold: int
    spread: int
    gateway_share: float = 0.5
    server_share: float = 0.7

    def capacity(self, costs: Costs, replicas: int) -> float:
        """Return the most renewals a second that these replicas, Redis and Postgres can do."""
        return min(
            replicas * self.gateway_share / costs.gateway,
            self.server_share / costs.redis,
            self.postgres_cores * self.server_share / costs.postgres,
        )

    def rate(self) -> float:
        """Return the renewals a second when nothing is late."""
        return self.images / (self.ttl - self.threshold - self.spread / 2)


@dataclass
class Outcome:
    """What happened: the longest delay in seconds, and the URLs that ended before they were renewed."""

    most_late: int = 0
    ended: float = 0.0
    most_waiting: float = 0.0


def available(second: int, fleet: Fleet) -> int:
    """Return the replicas that can renew: none while Redis is away, half of them in another hour."""
    if _HOUR <= second < _HOUR + 2 * _MINUTE:
        return 0
    if 3 * _HOUR <= second < 3 * _HOUR + 10 * _MINUTE:
        return fleet.replicas // 2
    return fleet.replicas


def simulate(fleet: Fleet, costs: Costs, seconds: int) -> Outcome:
    """Run the queue for so long, second by second."""
    period = fleet.ttl - fleet.threshold
    due = [fleet.images / period] * period + [0.0] * (seconds + fleet.ttl)
    waiting: deque[list[float]] = deque()
    outcome = Outcome()
    total = 0.0
    for second in range(seconds):
        if due[second]:
            waiting.append([second, due[second]])
            total += due[second]
        room = fleet.capacity(costs, available(second, fleet)) if available(second, fleet) else 0.0
        done = 0.0
        while waiting and room > 0:
            oldest = waiting[0]
            some = min(room, oldest[1])
            if second - oldest[0] > fleet.threshold:
                outcome.ended += some
            room, done, oldest[1] = room - some, done + some, oldest[1] - some
            if oldest[1] <= 0:
                waiting.popleft()
        total -= done
        for ahead in range(fleet.spread):
            due[second + period - ahead] += done / fleet.spread
        outcome.most_waiting = max(outcome.most_waiting, total)
        if waiting:
            outcome.most_late = max(outcome.most_late, second - int(waiting[0][0]))
    return outcome


def most_images(fleet: Fleet, costs: Costs) -> int:
    """Return the images at which renewals need all that the servers have left for them."""
    period = fleet.ttl - fleet.threshold - fleet.spread / 2
    return int(fleet.capacity(costs, fleet.replicas) * period)


def report(fleet: Fleet, costs: Costs, seconds: int) -> None:
    """Simulate and print a line."""
    outcome, rate = simulate(fleet, costs, seconds), fleet.rate()
    limits = {
        "the gateways": fleet.replicas * fleet.gateway_share / costs.gateway,
        "Redis": fleet.server_share / costs.redis,
        "Postgres": fleet.postgres_cores * fleet.server_share / costs.postgres,
    }
    first = min(limits, key=lambda name: limits[name])
    print(
        f"{fleet.images:>12,} images, {fleet.replicas:3} replicas: {rate:8,.0f} renewals/s; "
        f"Redis {rate * costs.redis:5.2f} of a core, {fleet.images * costs.memory / 2**30:6.2f} GiB; "
        f"each gateway {rate * costs.gateway / fleet.replicas:5.2f}; Postgres {rate * costs.postgres:5.2f}; "
        f"late by at most {outcome.most_late:5} s, {outcome.ended:,.0f} ended; "
        f"{first} end it at {most_images(fleet, costs):,}"
    )


def main() -> None:
    """Parse the options and simulate."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet")
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--replicas", type=int, nargs="+", default=[2, 10, 50])
    parser.add_argument("--hours", type=float, default=5)
    parser.add_argument("--ttl", type=int, default=3600)
    parser.add_argument("--threshold", type=int, default=900)
    parser.add_argument("--postgres-cores", type=int, default=4)
    parser.add_argument("--gateway-us", type=float, default=175, help="microseconds of a gateway for each renewal")
    parser.add_argument("--redis-us", type=float, default=68)
    parser.add_argument("--postgres-us", type=float, default=13)
    parser.add_argument("--bytes", type=float, default=858, help="of Redis for each URL")
    options = parser.parse_args()
    costs = Costs(options.gateway_us / 1e6, options.redis_us / 1e6, options.postgres_us / 1e6, options.bytes)
    for images in options.images:
        for replicas in options.replicas:
            fleet = Fleet(images, replicas, options.postgres_cores, options.ttl, options.threshold, options.ttl // 10)
            report(fleet, costs, int(options.hours * _HOUR))


if __name__ == "__main__":
    main()
