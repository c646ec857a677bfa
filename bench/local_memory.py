"""Memory of a process for the URLs in its local tier.

    python -m bench.local_memory [--images 100000]

Signs each image from a row with separate strings, as from Postgres; then reads each as from Redis.
"""

import argparse
import gc
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import psutil

from gateway.catalog.record import ImageRecord, read_row
from gateway.changes.change_log import ChangeLog
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signed_image import ImageVariant
from gateway.presign.signer import Signer
from gateway.presign.style_variants import Renditions
from gateway.redis_entries.url_entries import decode, encode
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, Live, UrlCacheSettings
from gateway.urls.local_tier import LocalTier

_MIB = 2**20
_BUCKET = "bench-1250000000"


def _row(number: int) -> ImageRecord:
    """Return a row that was read of strings that are its own."""
    texts = f"image-{number:08}", f"u-{number % 10_000}", _BUCKET, "ap-guangzhou", f"photos/{number}.jpg", "image/jpeg"
    image_id, owner, bucket, region, key, content_type = (text.encode().decode() for text in texts)
    row = image_id, key, owner, True, bucket, region, content_type, *(None,) * 5
    return read_row(row, _BUCKET, {})


def keeper(images: int, *, from_redis: bool) -> Callable[[int], None]:
    """Return what keeps an image by its number in a tier for so many images."""
    settings = CosSettings.model_validate({"secret_id": "AKID" + "x" * 32, "secret_key": "y" * 32, "bucket": _BUCKET})
    credentials = Credentials("AKID" + "x" * 32, "y" * 32)
    signer = Signer(credentials, Hosts(settings), Live(UrlCacheSettings()), metrics=Metrics().presign)
    renditions = Renditions({})
    tier = LocalTier(
        Live(UrlCacheSettings(max_size=images, local_ttl=60)), renditions, ChangeLog([], "bench", 0), unknown_ttl=5
    )

    def keep(number: int) -> None:
        image = signer.sign_image(_row(number), read_at=int(time.time()))
        if from_redis:
            variant = ImageVariant(image.record.image_id)
            image = decode(encode(image, signer), variant, signer, renditions)
        tier.put(image, tier.mark(), 60)

    return keep


def bytes_of_a_url(images: int, *, from_redis: bool) -> float:
    """Keep so many images in this process; return how much larger it is for each of them, in bytes."""
    keep, process = keeper(images, from_redis=from_redis), psutil.Process()
    keep(0)
    gc.collect()
    before = process.memory_info().rss
    for number in range(images):
        keep(number)
    gc.collect()
    return (process.memory_info().rss - before) / images


def in_a_new_process(images: int, *, from_redis: bool) -> float:
    """Return what `bytes_of_a_url` returns in a process that has done nothing else."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(bytes_of_a_url, images, from_redis=from_redis).result()


def main() -> None:
    """Measure both in separate processes."""
    parser = argparse.ArgumentParser(prog="python -m bench.local_memory")
    parser.add_argument("--images", type=int, default=100_000)
    images = parser.parse_args().images
    for from_redis in (False, True):
        each = in_a_new_process(images, from_redis=from_redis)
        source = "Redis" if from_redis else "Postgres"
        print(f"{images:,} URLs by {source}: {images * each / _MIB:.0f} MiB, {each:,.0f} bytes for each", flush=True)


if __name__ == "__main__":
    main()
