"""How many presigned URLs a second one gateway renews, and what requests feel of it.

    python -m bench.renewals

Real Redis and Postgres from the development stack. The gateway is kept to one core where the system can do that;
requests for hot URLs go on while the queue is drained, and their 99th percentile is compared with one before.
"""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from gateway.api import app_keys
from gateway.app import create_admin_app, create_app
from gateway.dev.database import ImageRow, ImagesTable
from gateway.dev.postgres_server import PostgresServer
from gateway.dev.redis_server import RedisServer
from gateway.metrics.collectors import Metrics
from gateway.presign.signed_image import ImageVariant
from gateway.server.listener import listening
from gateway.settings import Settings

IMAGES = 20_000


async def p99(session: aiohttp.ClientSession, url: str, until: asyncio.Event) -> float:
    """The 99th percentile of the time of requests one after another, in milliseconds."""
    took = []
    while not until.is_set():
        began = time.perf_counter()
        async with session.get(url) as answer:
            await answer.read()
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.002)
    return statistics.quantiles(took, n=100)[98]


async def after(seconds: float) -> asyncio.Event:
    """An event that is set after some seconds."""
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, event.set)
    return event


async def measure(settings: Settings) -> None:
    """Fill the cache, make everything due, drain it, and print what that took."""
    app = create_app(settings, Metrics())
    async with listening(app, create_admin_app) as ports, aiohttp.ClientSession() as session:
        image_ids = [f"id-{number}" for number in range(IMAGES)]
        for start in range(0, IMAGES, 1000):
            await app[app_keys.RESOLVER].resolve_many(image_ids[start : start + 1000])
        url = ports.public + "/api/v1/images/id-0/url"
        quiet = await p99(session, url, await after(3))
        now = time.time()
        for start in range(0, IMAGES, 1000):  # no entry is fresh, and every one was asked for lately
            batch = image_ids[start : start + 1000]
            await app[app_keys.SHARED_TIER].drop(batch)
            await app[app_keys.USAGE_STORE].made({ImageVariant(image_id): int(now) for image_id in batch}, now)
        await app[app_keys.REFRESH_QUEUE].schedule({ImageVariant(image_id): now for image_id in image_ids})
        done = asyncio.Event()
        report = app[app_keys.REFRESH_WORKER].report
        before = report.results["renewed"]
        busy_task = asyncio.create_task(p99(session, url, done), name="requests")
        began, cpu = time.perf_counter(), time.process_time()
        while report.results["renewed"] - before < IMAGES:  # the task itself wakes, since all of it is due
            await asyncio.sleep(0.02)
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
        done.set()
        busy = await busy_task
    print(f"{IMAGES} renewed in {elapsed:.2f} s: {IMAGES / elapsed:,.0f} a second")
    print(f"processor time {cpu:.2f} s: {IMAGES / cpu:,.0f} a second of it")
    print(f"p99 of requests: {quiet:.1f} ms before, {busy:.1f} ms meanwhile")


def main() -> None:
    """Start the servers on the other core, and measure on one."""
    with tempfile.TemporaryDirectory() as folder:
        with (
            RedisServer(Path(folder, "redis"), ephemeral=True) as redis,
            PostgresServer(Path(folder, "postgres"), ephemeral=True) as postgres,
        ):
            table = ImagesTable(postgres.dsn)
            table.create()
            table.put(ImageRow(f"id-{number}", None, f"objects/{number}.png", public=True) for number in range(IMAGES))
            if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
                os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
            sections = {
                "server": {"host": "127.0.0.1", "port": 0},
                "admin": {"port": 0},
                "redis": {"url": redis.url, "timeout": 5},
                "postgres": {"dsn": postgres.dsn, "listen": False},
                "cos": {"secret_id": "x", "secret_key": "y", "bucket": "b-1250000000"},
                "url_cache": {"max_size": IMAGES * 2},
                "url_prerefresh": {"interval": 3600},
            }
            asyncio.run(measure(Settings.model_validate(sections)))


if __name__ == "__main__":
    main()
