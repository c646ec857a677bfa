"""A million cached URLs, renewed by two gateways within their threshold while requests go on.

    python -m bench.million [--images 1000000] [--replicas 2] [--masters 1] [--ttl 600] [--rate 50]

Fills a real Postgres and a real Redis, or a Cluster of ``--masters``, starts the gateways as processes, and watches
until every URL was renewed once: memory and operations of Redis, processor time of all processes, latency of requests,
and how even the shards are. Renewals come faster than they would with an hour's TTL: all of them within half of the
TTL. Exits with 1 if an entry was lost, or has less life left than a URL must have to be used.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from redis.asyncio import Redis

from bench.databases import BUCKET, Databases, running_databases, write_configuration
from bench.redis_masters import RedisMasters, running_masters
from bench.soak.stack import Replica, stopped
from bench.url_cache import open_cached_urls
from gateway.catalog.record import ImageRecord
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.guarded_client import GuardedRedis
from gateway.redis_connection.shards import OneServer, Shards
from gateway.redis_entries.url_entries import Made
from gateway.settings import Settings
from gateway_dev.processes import free_port

REGION, OWNER = "ap-guangzhou", "u-12345"
_IN_A_STEP = 200
_ROWS = """
INSERT INTO images (id, user_id, cos_key, is_public, storage_status)
SELECT 'image-' || lpad(n::text, 8, '0'), %s, 'photos/' || n || '.jpg', true, 'active' FROM generate_series(0, %s) AS n
"""


def image_id(number: int) -> str:
    """Return the id of an image by its number."""
    return f"image-{number:08}"


async def fill(settings: Settings, masters: RedisMasters, images: int) -> None:
    """Sign every URL, and keep it as a look-up would."""
    async with open_cached_urls(settings) as (signing, _, shared):
        signer = signing.signer
        before = masters.total("memory", "used_memory")
        began = time.perf_counter()
        for start in range(0, images, _IN_A_STEP):
            now = int(time.time())
            records = [
                ImageRecord(image_id(number), OWNER, True, BUCKET, REGION, f"photos/{number}.jpg", None)
                for number in range(start, min(start + _IN_A_STEP, images))
            ]
            await shared.keep([Made(signer.sign_image(record, None, read_at=now)) for record in records])
        took = time.perf_counter() - began
        used = masters.total("memory", "used_memory") - before
    print(f"{images:,} URLs signed and kept in {took:.0f} s ({images / took:,.0f} a second)")
    print(f"{used / images:,.0f} bytes of Redis for each", flush=True)


async def request(session: aiohttp.ClientSession, bases: list[str], images: int, rate: float) -> list[float]:
    """Ask for URLs of random images until cancelled; return the durations in milliseconds. Raises if one fails."""
    durations: list[float] = []
    chance = random.Random(1)  # noqa: S311 - a load, not a secret
    try:
        while True:
            base = chance.choice(bases)
            began = time.perf_counter()
            async with session.get(f"{base}/api/v1/images/{image_id(chance.randrange(images))}/url") as answer:
                answer.raise_for_status()
                await answer.read()
            durations.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(chance.expovariate(rate))
    except asyncio.CancelledError:
        return durations


def metric(text: str, name: str) -> float:
    """Return the value of a metric without labels, or with the label ``result="renewed"``."""
    for line in text.splitlines():
        if line.startswith((f"{name} ", f'{name}{{result="renewed"}} ')):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


async def renewed(session: aiohttp.ClientSession, replicas: list[Replica]) -> float:
    """Return how many URLs all the gateways have renewed."""
    total = 0.0
    for replica in replicas:
        async with session.get(replica.admin + "/metrics") as answer:
            total += metric(await answer.text(), "image_gateway_refresh_total")
    return total


def keys_of(settings: Settings) -> Shards:
    """Return the keys of the gateways. No command can be sent with them."""
    return Shards(OneServer(GuardedRedis(Redis(), 1)), settings.redis.prefix, settings.redis.shard_count)


async def watch(
    masters: RedisMasters, shards: Shards, replicas: list[Replica], postgres: int, options: argparse.Namespace
) -> bool:
    """Watch until every URL was renewed once; print the figures, and return whether nothing was lost."""
    processes = {"Redis": [psutil.Process(server.pid) for server in masters.servers], "gateways": []}
    processes["gateways"] = [psutil.Process(replica.running.pid) for replica in replicas]
    parent = psutil.Process(postgres)

    def seconds() -> dict[str, float]:
        used = {name: sum(sum(process.cpu_times()[:2]) for process in some) for name, some in processes.items()}
        # Connections come and go, and the times of those that ended are their parent's.
        used["Postgres"] = sum(parent.cpu_times()[:4]) + sum(
            sum(process.cpu_times()[:2]) for process in parent.children()
        )
        return used

    def due() -> int:
        now = time.time()
        return sum(masters.client_of(shard).zcount(shard.queue, "-inf", now) for shard in shards.all)

    async with aiohttp.ClientSession() as session:
        before, commands = seconds(), masters.total("stats", "total_commands_processed")
        began, done, first, most_due = time.monotonic(), 0.0, None, 0
        load = asyncio.create_task(
            request(session, [replica.public for replica in replicas], options.images, options.rate), name="load"
        )
        while done < options.images:
            await asyncio.sleep(1)
            done = await renewed(session, replicas)
            if done and first is None:
                first = time.monotonic()
                before, commands = seconds(), masters.total("stats", "total_commands_processed")
            most_due = max(most_due, due())
            if time.monotonic() - began > 3 * options.ttl:
                break
        load.cancel()
        durations = await load
    took = time.monotonic() - (first or began)
    used = {name: value - before[name] for name, value in seconds().items()}
    commands = masters.total("stats", "total_commands_processed") - commands
    ends = lives(masters, shards, options.images)
    lost, left = sum(end < 0 for end in ends), min(end for end in ends if end >= 0) / 1000
    memory = masters.total("memory", "used_memory")
    sizes = [masters.client_of(shard).zcard(shard.queue) for shard in shards.all]
    print(f"{done:,.0f} URLs renewed in {took:.0f} s: {done / took:,.0f} a second by {len(replicas)} gateways")
    for name, value in used.items():
        print(f"  {name}: {value / took:.2f} of a core, {value / done * 1e6:.0f} microseconds for each")
    print(f"  {commands / done:.2f} commands of Redis for each; at most {most_due:,} were due at once")
    print(f"memory of Redis {memory / 2**30:.2f} GiB; of each gateway {_memory(replicas):.0f} MiB")
    over = max(sizes) / statistics.mean(sizes) - 1
    print(f"URLs of a shard: {min(sizes):,} to {max(sizes):,}, at most {over:.1%} over the mean")
    percentiles = statistics.quantiles(durations, n=100)
    print(f"{len(durations)} requests meanwhile: median {percentiles[49]:.1f} ms, p99 {percentiles[98]:.1f} ms")
    print(f"{lost} entries were lost; the next one to end has {left:.0f} s left", flush=True)
    return lost == 0 and left > options.ttl // 10


def lives(masters: RedisMasters, shards: Shards, images: int) -> list[int]:
    """Return for how many milliseconds each entry lives on; negative for an entry that is lost."""
    found: list[int] = []
    for start in range(0, images, 10_000):
        pipelines = {client: client.pipeline(transaction=False) for client in masters.clients}
        for number in range(start, min(start + 10_000, images)):
            shard = shards.of(image_id(number))
            pipelines[masters.client_of(shard)].pttl(shard.entry(ImageVariant(image_id(number))))
        for pipeline in pipelines.values():
            found += pipeline.execute()
    return found


def _memory(replicas: list[Replica]) -> float:
    return max(replica.memory() for replica in replicas) / 2**20


async def measure(masters: RedisMasters, databases: Databases, folder: Path, options: argparse.Namespace) -> bool:
    """Fill, start the gateways, and watch."""
    sections: dict[str, Any] = {
        "redis": {"url": masters.url, "timeout": 5},
        "postgres": {"dsn": databases.postgres.dsn},
        "cos": {"secret_id": "AKID" + "x" * 32, "secret_key": "y" * 32, "bucket": BUCKET},
        "url_cache": {
            "default_ttl": options.ttl,
            "max_size": 10_000_000,
            "min_remaining": options.ttl // 10,
            "sign_window": options.ttl // 20,
        },
        "url_prerefresh": {"threshold": options.ttl // 2, "interval": 10},
    }
    settings = Settings.model_validate(sections)
    await fill(settings, masters, options.images)
    async with AsyncExitStack() as stack:
        replicas = []
        for number in range(options.replicas):
            public, admin = free_port(), free_port()
            ports = {"server": {"host": "127.0.0.1", "port": public}, "admin": {"port": admin}}
            replica = Replica(
                f"gateway-{number}",
                write_configuration(folder / f"gateway-{number}.yaml", sections | ports),
                f"http://127.0.0.1:{public}",
                f"http://127.0.0.1:{admin}",
                folder / f"gateway-{number}.log",
            )
            await replica.start(ready_statuses=(200, 503))  # there is no COS to probe
            stack.push_async_callback(stopped, replica)
            replicas.append(replica)
        return await watch(masters, keys_of(settings), replicas, databases.postgres.pid, options)


def main() -> None:
    """Start the servers and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.million")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--masters", type=int, default=1, help="1: a server; more: the masters of a Cluster")
    parser.add_argument("--ttl", type=int, default=600, help="seconds that a URL lives")
    parser.add_argument("--rate", type=float, default=50, help="requests a second meanwhile")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running_databases(folder := Path(name)) as databases,
        running_masters(folder, options.masters) as masters,
    ):
        databases.table.execute(_ROWS, OWNER, options.images - 1)
        databases.table.execute("ANALYZE images")
        is_well = asyncio.run(measure(masters, databases, folder, options))
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
