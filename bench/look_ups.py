"""Processor time of a gateway for the look-up of a URL that is not in its memory, and for the renewal of a URL.

The process has the parts of the service on a real Redis and Postgres, and no port. What those two take is not counted.
"""

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import Final

from bench.databases import Databases, Sections
from gateway.presign.style_variants import ImageVariant
from gateway.process.memory_tuning import tune_memory
from gateway.redis_entries.usage_store import Usage
from gateway.redis_queue.leased_queue import Claim
from gateway.service.changes import Changes
from gateway.service.metrics import Metrics
from gateway.service.signing import open_signing
from gateway.service.stores import RedisStores, open_stores
from gateway.service.urls import Urls
from gateway.settings import Live, Settings
from gateway.urls.refresh_batch import RefreshBatch

# Look-ups: of a URL that is in Redis, of one that is not, and by Postgres alone. A renewal, and the bytes of an entry.
HIT, MISS, SIGNED, RENEWAL, ENTRY = "redis hit", "redis miss", "query and sign", "renewal", "entry"
_AT_ONCE: Final = {"32 at once": 32, "1 at once": 1, "100 at once": 100, "of Redis": 1}
_IMAGES: Final = 2_000
_ROUNDS: Final = {1: 1, 32: 10, 100: 5}  # of all images: seconds of processor time


@contextmanager
def look_ups(databases: Databases, origin: str) -> Iterator[Callable[[str, str], float]]:
    """Yield what measures a kind at so many at once: microseconds for each, or the bytes of an entry."""
    databases.table.execute(
        "INSERT INTO images (id, user_id, cos_key, is_public, storage_status) "
        "SELECT 'image-' || lpad(n::text, 8, '0'), 'u-12345', 'photos/' || n || '.jpg', true, 'active' "
        "FROM generate_series(1, %s) n",
        _IMAGES,
    )
    databases.table.execute("ANALYZE images")
    sections = databases.sections(origin)
    sections["cos"] = {**sections["cos"], "secret_id": "AKID" + "x" * 32, "secret_key": "y" * 32}
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda kind, size: pool.submit(_measured, sections, kind, _AT_ONCE[size]).result()


def _measured(sections: Sections, kind: str, at_once: int) -> float:
    return asyncio.run(_measure(sections, kind, at_once))


async def _measure(sections: Sections, kind: str, at_once: int) -> float:
    values = {
        **sections,
        "postgres": {**sections["postgres"], "listen": False},
        "url_cache": {"enabled": kind != SIGNED, "local_ttl": 0},
        "url_prerefresh": {"threshold": 3599},  # each URL is due as soon as it is signed
    }
    tune_memory()
    ids = [f"image-{number:08}" for number in range(1, _IMAGES + 1)]
    async with _opened(Settings.model_validate(values)) as urls:
        await _look_up(urls, ids, 32)  # opens connections, and writes entries
        redis = urls.stores.redis
        work: Callable[[], Awaitable[None]] = partial(_look_up, urls, ids, at_once)
        if redis is not None and kind == ENTRY:
            shard = redis.shards.of(ids[0])
            [length] = await redis.shards.run_on(shard, ("STRLEN", shard.entry(ImageVariant(ids[0]))))
            return float(length)
        if redis is not None and kind == RENEWAL:
            work = await _renewing(urls, redis, ids, at_once)
        spent = 0.0
        for _ in range(_ROUNDS[at_once]):
            if redis is not None and kind == MISS:
                await redis.entries.remove([ImageVariant(image_id) for image_id in ids])
            before = time.process_time()
            await work()
            spent += time.process_time() - before
        if kind == HIT and urls.metrics.lookups("redis", "hit") < _ROUNDS[at_once] * _IMAGES:
            raise RuntimeError("not each look-up found an entry")
    return spent / (_ROUNDS[at_once] * _IMAGES) * 1e6


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Urls]:
    live, metrics = Live(settings), Metrics()
    async with (
        open_signing(live, metrics.presign) as signing,
        open_stores(live, metrics.catalog, metrics.monitoring, signing) as stores,
        aclosing(Urls(live, metrics.urls, signing, stores, None, Changes(live))) as urls,
    ):
        yield urls


async def _look_up(urls: Urls, ids: Sequence[str], at_once: int) -> None:
    """Look the images up as so many clients do that have one request at a time each."""
    waiting = iter(ids)

    async def client() -> None:
        for image_id in waiting:
            await urls.resolver.look_up(image_id)

    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(client(), name=f"client-{number}")


async def _renewing(urls: Urls, redis: RedisStores, ids: Sequence[str], at_once: int) -> Callable[[], Awaitable[None]]:
    """Return what renews each URL, in batches. All have been used."""
    now, variants = urls.signing.clock.now, [ImageVariant(image_id) for image_id in ids]

    async def forget(image_ids: Sequence[str]) -> None:
        raise RuntimeError(f"rows are gone: {image_ids}")

    prerefresh = urls.signing.lifetime.prerefresh
    batch = RefreshBatch(
        redis.entries, redis.usage, redis.queue, urls.stores.catalog, urls.resolver.urls, prerefresh, forget
    )
    await redis.usage.write([redis.usage.batch(redis.shards.first, dict.fromkeys(variants, Usage(3, 1, now())))])

    async def renew() -> None:
        for start in range(0, len(variants), at_once):
            claims = [Claim(variant, now()) for variant in variants[start : start + at_once]]
            if (results := await batch.refresh(claims))["renewed"] != at_once:
                raise RuntimeError(f"not each URL was renewed: {results}")

    return renew
