"""The components that answer requests for images, as contexts: descriptions, renewal, bytes, delivery."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from gateway.api import app_keys
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.image_handler import ImageHandler
from gateway.api.nginx_files import NginxFiles
from gateway.api.url_handler import UrlHandler
from gateway.delivery.accel import ImageAccel
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.fallback_picture import FallbackPicture
from gateway.delivery.redirect import ImageRedirect
from gateway.delivery.relay import Relay
from gateway.delivery.responder import Responder
from gateway.delivery.variant_request import VariantRequests
from gateway.delivery.variants import VariantDelivery
from gateway.origin.failed_objects import FailedObjects
from gateway.origin.image_probe import ImageProbe
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.object_source import ObjectSource
from gateway.origin.origin_access import OriginAccess
from gateway.origin.refused_variants import RefusedVariants
from gateway.origin.resumption import ResumptionLimits
from gateway.origin.retry import Backoff
from gateway.origin.variant_source import VariantSource
from gateway.presign.signed_image import SignedImage
from gateway.settings import Settings
from gateway.urls.descriptions import Descriptions
from gateway.urls.on_demand_renewal import OnDemandRenewal


async def descriptions(app: web.Application) -> AsyncIterator[None]:
    """Sizes and colours of images, from rows, Redis or COS."""
    probe = ImageProbe(app[app_keys.ORIGIN], app[app_keys.SIGNER].sign_rule)
    app[app_keys.DESCRIPTIONS] = described = Descriptions(
        probe.describe, app.get(app_keys.DESCRIPTION_STORE), app[app_keys.METRICS]
    )
    app[app_keys.INVALIDATION].add(described.invalidate)
    yield
    await described.close()


async def on_demand_renewal(app: web.Application) -> AsyncIterator[None]:
    """Signs new URLs after COS refused one, and for callers that request one."""
    app[app_keys.ON_DEMAND_RENEWAL] = renewal = OnDemandRenewal(
        app[app_keys.RESOLVER],
        app[app_keys.CATALOG],
        app.get(app_keys.SHARED_TIER),
        app[app_keys.LOCAL_TIER],
        app[app_keys.METRICS],
        app[app_keys.CLOCK].now,
    )
    yield
    await renewal.close()


async def object_source(app: web.Application) -> AsyncIterator[None]:
    """Bytes of objects, from memory or COS, one transfer shared by simultaneous requests."""
    settings, metrics = app[app_keys.SETTINGS].image_proxy, app[app_keys.METRICS]
    renewal = app[app_keys.ON_DEMAND_RENEWAL]

    async def renew(refused: SignedImage, cos_time: float | None) -> SignedImage:
        correct_clock(app, cos_time)
        return await renewal.renew(refused.record.image_id, refused.rendition, refused=refused)

    memory = ObjectCache(settings.memory_cache, metrics)
    access = OriginAccess(
        app[app_keys.ORIGIN],
        FailedObjects(memory.changed_at, memory.now),
        memory.discard,
        renew,
        app[app_keys.RESOLVER].sign_for_head,
        metrics,
        ResumptionLimits(settings.retry_count, Backoff()),
    )
    app[app_keys.REFUSED_VARIANTS] = refused = RefusedVariants(app[app_keys.RENDITIONS], memory.changed_at, memory.now)
    variants = VariantSource(
        access,
        memory,
        app[app_keys.RENDITIONS],
        refused,
        metrics,
        largest=settings.memory_cache.max_object_bytes,
    )
    app[app_keys.OBJECT_SOURCE] = source = ObjectSource(access, memory, variants, settings.memory_cache, metrics)

    def invalidate(image_id: str | None) -> None:
        # None invalidates every row; the bytes of an object do not depend on rows, and expire by their own age.
        if image_id is not None:
            source.invalidate(image_id)

    app[app_keys.INVALIDATION].add(invalidate)
    yield
    await source.close()


async def fallback_picture(app: web.Application) -> AsyncIterator[None]:
    """The picture of error responses; absent without ``image_proxy.fallback``. Raises ``UnusablePicture``."""
    settings = app[app_keys.SETTINGS].image_proxy.fallback
    if settings is not None:
        app[app_keys.FALLBACK_PICTURE] = await asyncio.to_thread(FallbackPicture.read, settings.path, settings.statuses)
    yield


async def image_handler(app: web.Application) -> AsyncIterator[None]:
    """Answers requests for images: authorizes the caller, then streams, redirects or hands over to nginx."""
    settings, metrics = app[app_keys.SETTINGS].image_proxy, app[app_keys.METRICS]
    source = app[app_keys.OBJECT_SOURCE]
    policy = cache_policy(app, app[app_keys.SETTINGS])
    responder = Responder(source, Relay(metrics), metrics)
    renditions = app[app_keys.RENDITIONS]
    app[app_keys.NGINX_FILES] = NginxFiles(settings.delivery, metrics)
    app[app_keys.AUTHORIZED_LOOKUP] = AuthorizedLookup(
        app[app_keys.RESOLVER],
        app[app_keys.CALLERS],
        originals_for_owner=renditions.originals_for_owner,
        is_public_style=renditions.is_public,
    )
    app[app_keys.VARIANT_REQUESTS] = VariantRequests(renditions, app[app_keys.SETTINGS].image_variants.max_dpr)
    app[app_keys.IMAGE_HANDLER] = ImageHandler(
        settings,
        max_streams=app[app_keys.SETTINGS].server.max_streams,
        lookup=app[app_keys.AUTHORIZED_LOOKUP],
        usage=app[app_keys.USAGE],
        policy=policy,
        variant_requests=app[app_keys.VARIANT_REQUESTS],
        variants=VariantDelivery(renditions, app[app_keys.REFUSED_VARIANTS], metrics),
        responder=responder,
        accel=ImageAccel(source, responder, prefix=settings.accel_prefix),
        redirect=ImageRedirect(app[app_keys.LIFETIME], app[app_keys.PUBLIC_URLS], now=app[app_keys.CLOCK].latest),
    )
    app[app_keys.URL_HANDLER] = UrlHandler(
        app[app_keys.AUTHORIZED_LOOKUP], app[app_keys.USAGE], app[app_keys.PUBLIC_URLS]
    )
    yield


def cache_policy(app: web.Application, settings: Settings) -> CachePolicy:
    """Return how long caches keep images, what private ones vary by, and whether public ones have a tag to purge."""
    private_vary = app[app_keys.AUTHENTICATOR].varies_by
    return CachePolicy(settings.image_proxy.max_age, private_vary, has_tags=settings.purge is not None)


def correct_clock(app: web.Application, cos_time: float | None) -> bool:
    """Set the clock after COS refused a URL for its time; return whether it moved."""
    clock = app[app_keys.CLOCK]
    if not clock.refused_at(cos_time):
        return False
    # The times of earlier reads and invalidations are those of the old clock.
    app[app_keys.RESOLVER].invalidate_before(clock.now())
    return True
