"""The part that gets bytes from COS: the client session, renewal of refused URLs, memory, metadata."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.catalog.record import ImageRecord
from gateway.objects.content import ObjectCache, OriginAccess
from gateway.objects.object_source import ObjectSource
from gateway.objects.transfer_state import ResumptionLimits
from gateway.objects.variant_source import RefusedVariants, VariantSource
from gateway.origin.client import OriginClient, open_origin
from gateway.origin.failures import FailedObjects
from gateway.origin.image_probe import ImageProbe
from gateway.origin.metrics import OriginMetrics
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing
from gateway.service.stores import Stores
from gateway.service.urls import Urls
from gateway.settings import Live, Settings
from gateway.urls.metadata import MetadataLookup
from gateway.urls.on_demand_refresh import OnDemandRefresh

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans


@dataclass(frozen=True, slots=True)
class Objects:
    """``source`` has the bytes of objects, from memory or COS. Simultaneous requests share a transfer."""

    origin: OriginClient
    metadata: MetadataLookup
    refresh: OnDemandRefresh
    failures: FailedObjects
    refused: RefusedVariants
    source: ObjectSource


def open_cos(
    live: Live[Settings], metrics: OriginMetrics, signing: Signing, tracing: "Spans | None" = None
) -> AbstractAsyncContextManager[OriginClient]:
    settings = live.value
    return open_origin(
        live.map(lambda settings: settings.image_proxy),
        max_connections=settings.server.max_streams,
        metrics=metrics,
        buckets=list(settings.cos.regions),
        credentials_refused=signing.credentials.refused,
        observe=tracing.cos if tracing is not None else None,
    )


@asynccontextmanager
async def open_objects(
    live: Live[Settings], metrics: Metrics, signing: Signing, stores: Stores, urls: Urls, origin: OriginClient
) -> AsyncIterator[Objects]:
    """Get the bytes and the metadata of images, and sign new URLs in place of URLs that COS refuses."""
    redis, shared = stores.redis, urls.shared

    def wants_placeholder(record: ImageRecord) -> bool:
        return signing.renditions.makes_placeholders and record.placeholder is None

    probe = ImageProbe(origin, signing.signer.sign_rule, wants_placeholder)
    store = redis.metadata if redis is not None else None
    metadata = MetadataLookup(probe.describe, store, metrics.urls, wants_placeholder)
    refresh = OnDemandRefresh(
        urls.resolver,
        stores.catalog,
        shared.entries if shared is not None else None,
        urls.local,
        signing.clock,
        metrics.urls,
    )
    memory_settings = live.map(lambda settings: settings.image_proxy.memory_cache)
    memory = ObjectCache(memory_settings, metrics.origin, urls.changes.log)
    failures = FailedObjects(memory.changed_at, memory.now)
    access = OriginAccess(
        origin,
        failures,
        memory,
        refresh.refresh_refused,
        urls.resolver.urls.sign_for_head,
        metrics.origin,
        live.map(_resumption_limits),
    )
    refused = RefusedVariants(signing.renditions, memory.changed_at, memory.now)
    source = ObjectSource(access, VariantSource(access, signing.renditions, refused))
    urls.changes.log.add_cache(refresh)
    urls.changes.log.add_cache(metadata)
    async with AsyncExitStack() as stack:
        for part in (metadata, refresh, source):
            stack.push_async_callback(part.close)
        yield Objects(origin, metadata, refresh, failures, refused, source)


def _resumption_limits(settings: Settings) -> ResumptionLimits:
    return ResumptionLimits(settings.image_proxy.retry_count)
