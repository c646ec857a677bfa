"""The whole service on a screen: every part, in the order it opens. Nothing opens before the application starts.

aiohttp unwinds the contexts in reverse, also when a later one fails to open.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from gateway.access.identity import Authenticator
from gateway.api import keys
from gateway.api.middlewares import observe, render_errors, stamp
from gateway.api.routes import add_admin_routes, add_public_routes
from gateway.api.viewing import ImageViewing
from gateway.catalog.postgres import open_catalog
from gateway.catalog.record import ImageRecord
from gateway.delivery.accel import ImageAccel
from gateway.delivery.limit import StreamLimit
from gateway.delivery.relay import Relay
from gateway.delivery.stream import ImageStream
from gateway.metrics import Metrics
from gateway.ops.doctor import Finding, examine
from gateway.ops.health import Health
from gateway.ops.in_flight import InFlight
from gateway.origin.client import open_origin
from gateway.origin.memory_cache import ObjectCache
from gateway.origin.source import ObjectSource
from gateway.settings import Settings
from gateway.urls.lifetime import Lifetime
from gateway.urls.local_tier import LocalTier
from gateway.urls.presigned import SignedImage
from gateway.urls.redis_cache import open_url_cache
from gateway.urls.resolver import UrlResolver
from gateway.urls.signer import Hosts, Signer, credentials_from
from gateway.urls.usage import open_usage_counter

_MAX_BODY = 64 * 1024  # the largest valid one names 200 images
_UNKNOWN_TTL = 3.0  # so that an image that appears is served within 5 s


def create_app(settings: Settings, metrics: Metrics) -> web.Application:
    """The public port."""
    app = web.Application(middlewares=[observe, render_errors], client_max_size=_MAX_BODY)
    app[keys.SETTINGS] = settings
    app[keys.METRICS] = metrics
    app[keys.AUTHENTICATOR] = Authenticator(settings.access.jwt, settings.admin.token)
    app[keys.IN_FLIGHT] = InFlight(metrics)
    app[keys.DROPPERS] = []
    app[keys.STREAM_LIMIT] = StreamLimit(settings.server.max_streams)
    app[keys.HOSTS] = Hosts(settings.cos)
    app[keys.SIGNER] = _signer(app)
    app[keys.LIFETIME] = Lifetime(
        settings.url_cache.default_ttl, settings.url_cache.min_remaining, settings.url_prerefresh.threshold
    )
    app.cleanup_ctx.extend([_catalog, _url_cache, _usage, _resolver, _origin, _delivery, _health])
    app.on_response_prepare.append(stamp)
    add_public_routes(app)
    return app


def create_admin_app(app: web.Application) -> web.Application:
    """The admin port, beside a public one that has started."""
    admin = web.Application(middlewares=[observe, render_errors], client_max_size=_MAX_BODY)
    admin[keys.METRICS] = app[keys.METRICS]
    admin[keys.IN_FLIGHT] = app[keys.IN_FLIGHT]
    admin[keys.HEALTH] = app[keys.HEALTH]
    admin.on_response_prepare.append(stamp)
    add_admin_routes(admin)
    return admin


def _signer(app: web.Application) -> Signer:
    settings = app[keys.SETTINGS]
    return Signer(
        credentials_from(settings.cos),
        app[keys.HOSTS],
        ttl=settings.url_cache.default_ttl,
        window=settings.url_cache.sign_window,
        styles=settings.image_styles,
        metrics=app[keys.METRICS],
    )


async def _catalog(app: web.Application) -> AsyncIterator[None]:
    cos = app[keys.SETTINGS].cos
    opening = open_catalog(
        app[keys.SETTINGS].postgres, default_bucket=cos.bucket, default_region=cos.region, metrics=app[keys.METRICS]
    )
    async with opening as app[keys.CATALOG]:
        yield


async def _url_cache(app: web.Application) -> AsyncIterator[None]:
    if not app[keys.SETTINGS].url_cache.enabled:
        yield
        return
    async with open_url_cache(app[keys.SETTINGS].redis, app[keys.SIGNER].is_ours) as app[keys.URL_CACHE]:
        yield


async def _usage(app: web.Application) -> AsyncIterator[None]:
    async with open_usage_counter(app.get(keys.URL_CACHE)) as app[keys.USAGE]:
        yield


async def _resolver(app: web.Application) -> AsyncIterator[None]:
    settings = app[keys.SETTINGS].url_cache
    local = LocalTier(
        settings.max_size if settings.enabled else 0, local_ttl=settings.local_ttl, unknown_ttl=_UNKNOWN_TTL
    )
    app[keys.RESOLVER] = resolver = UrlResolver(
        app[keys.CATALOG], app[keys.SIGNER], app.get(keys.URL_CACHE), local, app[keys.LIFETIME], app[keys.METRICS]
    )
    app[keys.VIEWING] = ImageViewing(resolver)
    yield
    await resolver.close()


async def _origin(app: web.Application) -> AsyncIterator[None]:
    settings, metrics = app[keys.SETTINGS], app[keys.METRICS]
    opening = open_origin(settings.image_proxy, max_connections=settings.server.max_streams, metrics=metrics)
    async with opening as app[keys.ORIGIN]:
        yield


async def _delivery(app: web.Application) -> AsyncIterator[None]:
    settings, metrics, resolver = app[keys.SETTINGS].image_proxy, app[keys.METRICS], app[keys.RESOLVER]

    async def renew(refused: SignedImage) -> SignedImage:
        return await resolver.renew(refused.record.image_id, refused.style, refused=refused)

    source = ObjectSource(
        app[keys.ORIGIN],
        ObjectCache(settings.memory_cache, metrics),
        settings,
        renew=renew,
        sign_for_head=resolver.sign_for_head,
        metrics=metrics,
    )
    app[keys.OBJECT_SOURCE] = source
    app[keys.DROPPERS].append(source.drop)
    app[keys.IMAGE_STREAM] = stream = ImageStream(source, Relay(settings.timeout, metrics), max_age=settings.max_age)
    app[keys.IMAGE_ACCEL] = ImageAccel(source, stream, prefix=settings.accel_prefix, max_age=settings.max_age)
    yield
    await source.close()


async def _health(app: web.Application) -> AsyncIterator[None]:
    cos = app[keys.SETTINGS].cos
    bucket = app[keys.HOSTS].origin_of(cos.bucket, cos.region).base + "/"
    probes = {"postgres": app[keys.CATALOG].ping, "cos": lambda: app[keys.ORIGIN].probe(bucket)}
    if keys.URL_CACHE in app:
        probes["redis"] = app[keys.URL_CACHE].ping
    app[keys.HEALTH] = Health(probes, app[keys.METRICS])
    yield


async def examine_dependencies(settings: Settings) -> AsyncIterator[Finding]:
    """Open the adapters alone, and try them one by one: what ``gateway check`` tells."""
    app = create_app(settings, Metrics())
    cos, signer = settings.cos, app[keys.SIGNER]
    probe = ImageRecord(
        "check", None, public=False, bucket=cos.bucket, region=cos.region, key="check", content_type=None
    )
    async with AsyncExitStack() as stack:
        for part in (_catalog, _url_cache, _origin):
            await stack.enter_async_context(asynccontextmanager(part)(app))
        async for finding in examine(
            app.get(keys.URL_CACHE),
            app[keys.CATALOG],
            app[keys.ORIGIN],
            presign=lambda image: signer.sign(image).url,
            probe=probe,
        ):
            yield finding
