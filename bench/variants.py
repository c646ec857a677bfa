"""Memory of Redis for a million variants, and the time to drop an image with all of its variants.

    python -m bench.variants

Uses the Redis of the development stack. 55,556 images have 18 variants each: 6 widths in 3 formats.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from bench.databases import running_databases
from bench.url_cache import open_cached_urls
from gateway.catalog.record import ImageRecord
from gateway.redis_entries.url_entries import Made
from gateway.settings import Settings

_IMAGES_AT_ONCE = 20
_DROPPED = 500


async def measure(settings: Settings, images: int) -> None:
    """Keep every variant of the images, and print the memory; then drop some images, and print the time."""
    async with open_cached_urls(settings) as (signing, redis, shared):
        client, signer, names = redis.shards.servers.all[0].client, signing.signer, signing.renditions.value.names
        before = (await client.info("memory"))["used_memory"]
        started, now = time.perf_counter(), int(time.time())
        for first in range(0, images, _IMAGES_AT_ONCE):
            records = [
                ImageRecord(
                    f"image-{number:08}", "u-12345", True, "b-1250000000", "ap-guangzhou", f"photos/{number}.jpg", None
                )
                for number in range(first, min(first + _IMAGES_AT_ONCE, images))
            ]
            made = [Made(signer.sign_image(record, name, read_at=now)) for record in records for name in names]
            for start in range(0, len(made), 100):
                await shared.keep(made[start : start + 100])
        elapsed = time.perf_counter() - started
        used = (await client.info("memory"))["used_memory"] - before
        variants = images * len(names)
        print(f"{variants:,} variants kept in {elapsed:.0f} s: {used / variants:.0f} bytes of Redis for each")
        durations = []
        for number in range(_DROPPED):
            started = time.perf_counter()
            await shared.drop([f"image-{number:08}"])
            durations.append((time.perf_counter() - started) * 1000)
        print(f"an image with its {len(names)} variants is dropped in {statistics.median(durations):.2f} ms")


def main() -> None:
    """Start Redis and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.variants")
    parser.add_argument("--images", type=int, default=55_556)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_databases(Path(folder)) as databases:
        sections = {
            "redis": {"url": databases.redis.url, "timeout": 5},
            "postgres": {"dsn": databases.postgres.dsn, "listen": False},
            "cos": {"secret_id": "AKID" + "x" * 32, "secret_key": "y" * 32, "bucket": "b-1250000000"},
            "url_cache": {"max_size": 10_000_000},
            "image_styles": {"card": {"formats": ["avif", "webp"]}},
        }
        asyncio.run(measure(Settings.model_validate(sections), options.images))


if __name__ == "__main__":
    main()
