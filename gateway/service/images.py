"""The part that answers requests for images: the bytes from memory or COS, the caller's rights, the way of delivery."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.image_handler import Counts, ImageHandler, ImageMemory
from gateway.api.urls import UrlHandler
from gateway.catalog.record import ImageRecord
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.decision import Rules
from gateway.delivery.nginx_decisions import NginxDecisions
from gateway.delivery.nginx_files import NginxFiles
from gateway.delivery.parameters import VariantRequests
from gateway.delivery.redirect import ImageRedirect
from gateway.objects.object_body import OriginAccess
from gateway.objects.object_cache import ObjectCache
from gateway.objects.object_source import ObjectSource
from gateway.objects.transfer_state import ResumptionLimits
from gateway.objects.variant_source import RefusedVariants, VariantSource
from gateway.origin.client import OriginClient, open_origin
from gateway.origin.failures import FailedObjects
from gateway.origin.image_probe import ImageProbe
from gateway.origin.metrics import OriginMetrics
from gateway.service.access import Access
from gateway.service.metrics import Metrics
from gateway.service.signing import Signing
from gateway.service.urls import Urls
from gateway.settings import Live, Settings
from gateway.urls.metadata import MetadataLookup
from gateway.urls.on_demand_refresh import OnDemandRefresh

if TYPE_CHECKING:
    from gateway.tracing.spans import Spans


class Images:
    """The handlers of requests for images, and the objects that these handlers use: the bytes and the metadata."""

    def __init__(
        self, live: Live[Settings], metrics: Metrics, access: Access, urls: Urls, origin: OriginClient
    ) -> None:
        configured, signing, redis = live.value.image_proxy, urls.signing, urls.stores.redis
        renditions, resolver, log, counted = signing.renditions, urls.resolver, urls.changes.log, metrics.origin
        self.origin = origin

        def wants_placeholder(record: ImageRecord) -> bool:
            return renditions.value.makes_placeholders and record.placeholder is None

        probe = ImageProbe(origin, signing.signer.sign_rule, wants_placeholder)
        kept = redis.metadata if redis is not None else None
        self.metadata = MetadataLookup(probe.describe, kept, urls.metrics, wants_placeholder)
        self.refresh = refresh = OnDemandRefresh(resolver, signing.clock)
        log.add_cache(refresh)
        log.add_cache(self.metadata)

        memory = ObjectCache(live.map(lambda settings: settings.image_proxy.memory_cache), counted, log)
        self.failures = failures = FailedObjects(memory.changed_at, memory.now)
        self.refused = RefusedVariants(renditions, memory.changed_at, memory.now)
        limits = live.map(lambda settings: ResumptionLimits(settings.image_proxy.retry_count))
        sign_for_head = resolver.urls.sign_for_head
        transfers = OriginAccess(origin, failures, memory, refresh.refresh_refused, sign_for_head, counted, limits)
        self.source = ObjectSource(transfers, VariantSource(transfers, renditions, self.refused))

        authenticator = access.authenticator
        self.lookup = AuthorizedLookup(resolver, authenticator, renditions)
        self.variant_requests = VariantRequests(renditions)
        decisions = NginxDecisions(live.map(lambda settings: settings.access), signing.lifetime, signing.clock)
        self.decisions = decisions
        self.nginx_files = NginxFiles(configured.delivery, configured.accel_prefix, metrics.nginx)
        redirect = ImageRedirect(signing.lifetime, signing.public_urls, signing.clock)

        def rules_of(settings: Settings) -> Rules:
            image_proxy = settings.image_proxy
            policy = CachePolicy(
                image_proxy.max_age,
                authenticator.varies_by,
                has_tags=settings.purge is not None,
                shared_max_age=image_proxy.shared_max_age,
                stale_while_revalidate=image_proxy.stale_while_revalidate,
                stale_if_error=image_proxy.stale_if_error,
            )
            return Rules(image_proxy, policy, authenticator.caller_of, renditions.value, redirect, decisions)

        self.rules = live.map(rules_of)
        counts = Counts(urls.usage, counted.sent_bytes, counted.variants, self.nginx_files.accel_not_configured)
        server, known = live.map(lambda settings: settings.server), ImageMemory(resolver, self.source, self.refused)
        self.handler = ImageHandler(server, self.rules, known, access.client_address, self.variant_requests, counts)
        self.url_handler = UrlHandler(self.lookup, urls.usage, signing.public_urls)

    async def aclose(self) -> None:
        """Cancel running requests to COS, and renewals."""
        await asyncio.gather(*(part.close() for part in (self.metadata, self.refresh, self.source)))


def open_cos(
    live: Live[Settings], metrics: OriginMetrics, signing: Signing, tracing: "Spans | None" = None
) -> AbstractAsyncContextManager[OriginClient]:
    """Open the connections to COS."""
    settings = live.value
    return open_origin(
        live.map(lambda settings: settings.image_proxy),
        max_connections=settings.server.max_streams,
        metrics=metrics,
        buckets=list(settings.cos.regions),
        credentials_refused=signing.credentials.refused,
        observe=tracing.cos if tracing is not None else None,
    )
