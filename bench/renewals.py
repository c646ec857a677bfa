"""Rate at which one gateway renews presigned URLs, and the latency of requests meanwhile.

    python -m bench.renewals

Uses the Redis and PostgreSQL of the development stack. The gateway is pinned to one core if the system supports that.
Requests for a cached URL continue while the queue is drained; their 99th percentile is compared with the one before.
"""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.databases import running_databases
from gateway.presign.signed_image import ImageVariant
from gateway.redis_entries.usage_store import Usage
from gateway.service.metrics import Metrics
from gateway.service.serving import serve
from gateway.settings import Settings
from gateway_dev.database import ImageRow

IMAGES = 20_000


async def p99(session: aiohttp.ClientSession, url: str, until: asyncio.Event) -> float:
    """Return the 99th percentile of the duration of sequential requests, in milliseconds."""
    durations = []
    while not until.is_set():
        started = time.perf_counter()
        async with session.get(url) as answer:
            await answer.read()
        durations.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.002)
    return statistics.quantiles(durations, n=100)[98]


async def after(seconds: float) -> asyncio.Event:
    """Return an event that is set after some seconds."""
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, event.set)
    return event


async def measure(settings: Settings) -> None:
    """Fill the cache, make every URL due, drain the queue, and print the rates."""
    async with serve(settings, Metrics()) as running, aiohttp.ClientSession() as session:
        service, ports = running.service, running.ports
        redis, shared = service.stores.redis, service.urls.shared
        if redis is None or shared is None:
            raise ValueError("url_cache.enabled is off")
        image_ids = [f"id-{number}" for number in range(IMAGES)]
        for start in range(0, IMAGES, 1000):
            await service.urls.resolver.resolve_many(image_ids[start : start + 1000])
        url = ports.public + "/api/v1/images/id-0/url"
        quiet = await p99(session, url, await after(3))
        now = time.time()
        for start in range(0, IMAGES, 1000):  # no entry is fresh, and every one was used recently
            batch = image_ids[start : start + 1000]
            await shared.entries.drop(batch)
            used = {ImageVariant(image_id): Usage(last_access=now) for image_id in batch}
            for shard, own in redis.shards.split_variants(used).items():
                await redis.usage.write([redis.usage.batch(shard, {variant: used[variant] for variant in own})])
        await redis.queue.schedule({ImageVariant(image_id): now for image_id in image_ids})
        done = asyncio.Event()
        report = service.renewal.report
        before = report.results["renewed"]
        busy_task = asyncio.create_task(p99(session, url, done), name="requests")
        started, cpu = time.perf_counter(), time.process_time()
        while report.results["renewed"] - before < IMAGES:  # the worker starts by itself, because all entries are due
            await asyncio.sleep(0.02)
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
        done.set()
        busy = await busy_task
    print(f"{IMAGES} URLs renewed in {elapsed:.2f} s: {IMAGES / elapsed:,.0f} per second")
    print(f"processor time {cpu:.2f} s: {IMAGES / cpu:,.0f} URLs per second of processor time")
    print(f"p99 of requests: {quiet:.1f} ms before, {busy:.1f} ms during the renewals")


def main() -> None:
    """Start the servers, pin this process to one core, and measure."""
    rows = (ImageRow(f"id-{number}", None, f"objects/{number}.png", public=True) for number in range(IMAGES))
    with tempfile.TemporaryDirectory() as folder, running_databases(Path(folder), rows) as databases:
        if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        sections = {
            "server": {"host": "127.0.0.1", "port": 0},
            "admin": {"port": 0},
            "redis": {"url": databases.redis.url, "timeout": 5},
            "postgres": {"dsn": databases.postgres.dsn, "listen": False},
            "cos": {"secret_id": "x", "secret_key": "y", "bucket": "b-1250000000"},
            "url_cache": {"max_size": IMAGES * 2},
            "url_prerefresh": {"interval": 3600},
        }
        asyncio.run(measure(Settings.model_validate(sections)))


if __name__ == "__main__":
    main()
