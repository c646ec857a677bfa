"""Memory of a process for the URLs in its local tier, each of a row with strings of its own, as from Postgres."""

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
from gateway.presign.signer import Signer
from gateway.presign.style_variants import Renditions
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, Live, UrlCacheSettings
from gateway.urls.local_tier import LocalTier

_BUCKET = "bench-1250000000"


def _row(number: int) -> ImageRecord:
    """Return a row that was read of strings that are its own."""
    texts = f"image-{number:08}", f"u-{number % 10_000}", _BUCKET, "ap-guangzhou", f"photos/{number}.jpg", "image/jpeg"
    image_id, owner, bucket, region, key, content_type = (text.encode().decode() for text in texts)
    row = image_id, key, owner, True, bucket, region, content_type, *(None,) * 9
    return read_row(row, _BUCKET, {})


def keeper(images: int) -> Callable[[int], None]:
    """Return what keeps an image by its number in a tier for so many images."""
    settings = CosSettings.model_validate({"secret_id": "AKID" + "x" * 32, "secret_key": "y" * 32, "bucket": _BUCKET})
    credentials = Credentials("AKID" + "x" * 32, "y" * 32)
    signer = Signer(lambda _: credentials, Hosts(settings), Live(UrlCacheSettings()), metrics=Metrics().presign)
    renditions = Live(Renditions({}))
    tier = LocalTier(
        Live(UrlCacheSettings(max_size=images, local_ttl=60)), renditions, ChangeLog([], "bench", 0), unknown_ttl=5
    )

    def keep(number: int) -> None:
        tier.put(signer.sign_image(_row(number), read_at=int(time.time())), tier.mark(), 60)

    return keep


def bytes_of_a_url(images: int) -> float:
    """Keep so many images in this process; return how much larger it is for each of them, in bytes."""
    keep, process = keeper(images), psutil.Process()
    keep(0)
    gc.collect()
    before = process.memory_info().rss
    for number in range(images):
        keep(number)
    gc.collect()
    return (process.memory_info().rss - before) / images


def in_a_new_process(images: int) -> float:
    """Return what `bytes_of_a_url` returns in a process that has done nothing else."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(bytes_of_a_url, images).result()
