"""The part that purges changed images from caches in front. It is absent without ``purge``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.concurrency.background import background
from gateway.net.bounded_http import BoundedHttp
from gateway.net.tencent_api import TencentApi
from gateway.presign.credentials.rotation import BucketCredentials, RotatingCredentials, open_credentials
from gateway.presign.credentials.sources import source_of
from gateway.presign.metrics import PresignMetrics
from gateway.presign.url_lifetime import CosClock
from gateway.purge.intake import PurgeIntake
from gateway.purge.metrics import PurgeMetrics
from gateway.purge.target import Addresses, Target
from gateway.purge.tencent import EdgeOne, TencentCdn
from gateway.purge.webhook import Webhook
from gateway.purge.worker import PurgeWorker
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.service.signing import Signing
from gateway.service.stores import RedisStores, Stores
from gateway.settings import CredentialsSettings, Live, Settings
from gateway.urls.aliases import Aliases

PURGE_CREDENTIALS = "purge"  # the name in metrics and logs, where other credentials have the name of a bucket
_TIMEOUT = 10.0  # seconds for a whole request
_MOST_BYTES = 4 * 1024 * 1024  # of an answer: EdgeOne repeats up to a thousand addresses in it


@dataclass(frozen=True, slots=True)
class PurgeTarget:
    """The client of the service that purges images. ``credentials`` is None without ``purge.credentials``."""

    target: Target
    credentials: BucketCredentials | None


def make_purge_intake(settings: Settings, metrics: PurgeMetrics, stores: Stores) -> PurgeIntake | None:
    """Return what queues purges in Redis, or None without ``purge``."""
    if settings.purge is None or stores.redis is None:
        return None
    queue = PurgeQueue(stores.redis.shards, per_second=settings.purge.per_second)
    return PurgeIntake(queue, metrics, now=queue.now)


@asynccontextmanager
async def open_purge_target(
    live: Live[Settings], metrics: PresignMetrics, signing: Signing, aliases: Aliases | None = None
) -> AsyncIterator[PurgeTarget | None]:
    """Open the session to the service, and its own credentials if they are configured. None without ``purge``."""
    purge = live.value.purge
    if purge is None:
        yield None
        return
    addresses = Addresses(purge.base_urls, signing.renditions, aliases.of_images if aliases is not None else None)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(BoundedHttp(_TIMEOUT, _MOST_BYTES))
        if purge.target == "webhook":
            token = purge.token.get_secret_value() if purge.token is not None else None
            yield PurgeTarget(Webhook(http, purge.url or "", addresses, token=token), None)
            return
        credentials, keys = None, (signing.credentials, live.value.cos.bucket)
        if (own := purge.credentials) is not None:
            source, clock = live.map(lambda settings: settings.cos.with_keys(own)), signing.clock
            opening = open_credentials(source.value, [PURGE_CREDENTIALS], metrics, clock=clock)
            credentials = await stack.enter_async_context(opening)
            following = _follow(source, credentials.default, http, clock)
            await stack.enter_async_context(background("purge-credentials", following))
            keys = credentials, PURGE_CREDENTIALS
        named = addresses if purge.names_addresses else None
        is_edgeone = purge.target == "edgeone"
        service = EdgeOne if is_edgeone else TencentCdn
        clock, named_so = signing.clock, {"service": service.SERVICE, "version": service.VERSION}
        api = TencentApi(http, purge.api, **named_so, now=clock.now, correct=clock.refused_at)
        target = EdgeOne(api, *keys, named, purge.zone_id or "") if is_edgeone else TencentCdn(api, *keys, named)
        yield PurgeTarget(target, credentials)


async def _follow(
    source: Live[CredentialsSettings], credentials: RotatingCredentials, http: BoundedHttp, clock: CosClock
) -> None:
    """Fetch credentials anew when a reload has replaced the keys that their source takes from ``cos``."""
    changed = asyncio.Event()
    source.watch(lambda old, new: changed.set() if old != new else None)
    while True:
        await changed.wait()
        changed.clear()
        credentials.fetch = source_of(source.value, http, clock)
        await credentials.refresh()


@asynccontextmanager
async def purging(
    intake: PurgeIntake, target: PurgeTarget, metrics: PurgeMetrics, redis: RedisStores, name: str
) -> AsyncIterator[None]:
    """Send the purges that are due. ``name``: this process's among the replicas, which notes what it has heard."""
    intake.replica, redis.channel.on_dropped = name, intake.add
    worker = PurgeWorker(intake, target.target, metrics, redis.replicas)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(worker.give_back)
        await stack.enter_async_context(background("purge-worker", worker.run()))
        yield
