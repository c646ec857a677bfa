"""The components that explain the gateway to operators, as contexts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from gateway.api import app_keys
from gateway.delivery.variant_request import VariantRequests
from gateway.explain.access import AccessStep
from gateway.explain.cache import CacheStep
from gateway.explain.explainer import Explainer, Steps
from gateway.explain.origin import OriginStep
from gateway.explain.variants import VariantStep
from gateway.service.image_components import cache_policy, correct_clock
from gateway.tracing.hooks import Tracing


async def tracing(app: web.Application) -> AsyncIterator[None]:
    """Sends spans of requests and of their calls; absent unless ``tracing.enabled``. Raises ``UnusableTracing``."""
    settings, metrics = app[app_keys.SETTINGS], app[app_keys.METRICS]
    if not settings.tracing.enabled:
        yield
        return

    def load() -> Callable[..., AbstractAsyncContextManager[Tracing]]:
        from gateway.tracing.exporter import open_tracing  # imported here: it needs the extra `otel`

        return open_tracing

    open_tracing = await asyncio.to_thread(load)  # the import reads some hundred files
    opening = open_tracing(
        lambda result, spans: metrics.trace_spans.labels(result=result).inc(spans),
        redis=settings.redis.server(),
        postgres=settings.postgres.server(),
    )
    async with opening as app[app_keys.TRACING]:
        yield


async def explainer(app: web.Application) -> AsyncIterator[None]:
    """Explains why an image is served or not; without ``OBJECT_SOURCE`` this process has no image in memory."""
    settings, clock, lifetime = app[app_keys.SETTINGS], app[app_keys.CLOCK], app[app_keys.LIFETIME]
    serves = app_keys.OBJECT_SOURCE in app
    steps = Steps(
        AccessStep(
            app[app_keys.AUTHENTICATOR],
            app.get(app_keys.SIGNED_LINKS),
            has_tokens=settings.access.jwt is not None,
            originals_for_owner=app[app_keys.RENDITIONS].originals_for_owner,
        ),
        CacheStep(
            app.get(app_keys.SHARED_TIER),
            app.get(app_keys.REFRESH_QUEUE),
            lifetime,
            app[app_keys.LOCAL_TIER].inspect if serves else None,
            clock.now,
        ),
        OriginStep(
            app[app_keys.ORIGIN],
            app[app_keys.SIGNER],
            app[app_keys.HOSTS],
            lifetime,
            lambda cos_time: correct_clock(app, cos_time),
        ),
        VariantStep(
            app[app_keys.RENDITIONS],
            app.get(app_keys.VARIANT_REQUESTS)
            or VariantRequests(app[app_keys.RENDITIONS], settings.image_variants.max_dpr),
            app.get(app_keys.SHARED_TIER),
        ),
    )
    app[app_keys.EXPLAINER] = Explainer(
        app[app_keys.CATALOG],
        steps,
        app[app_keys.SIGNER],
        app[app_keys.HOSTS],
        lifetime,
        clock,
        settings.image_proxy,
        cache_policy(app, settings),
    )
    yield
