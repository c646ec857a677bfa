"""The whole service on a screen: every part, in the order it opens. Nothing opens before the application starts.

aiohttp unwinds the contexts in reverse, also when a later one fails to open.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web

from gateway import parts
from gateway.access.identity import Authenticator
from gateway.access.jwks import Jwks, keep_fetching
from gateway.access.links import Links
from gateway.api import keys
from gateway.api.caller import Callers
from gateway.api.client_address import ClientAddress
from gateway.api.routes import ADMIN, add_admin_routes, add_public_routes
from gateway.delivery.handout import HandOut
from gateway.delivery.limit import StreamLimit
from gateway.metrics import Metrics
from gateway.ops.in_flight import InFlight
from gateway.settings import Settings
from gateway.urls.clock import CosClock
from gateway.urls.lifetime import Lifetime
from gateway.urls.signer import Hosts, Signer, credentials_from

_MAX_BODY = 64 * 1024  # the largest valid one names 200 images

_PARTS = (
    parts.catalog,
    parts.catalog_query,
    parts.shared_tier,
    parts.resolver,
    parts.origin,
    parts.delivery,
    parts.health,
    parts.refresher,
    parts.statistics,
    parts.change_feeds,
    parts.warm_up,
)

# What the admin port shows of the public one.
_SHOWN: tuple[web.AppKey[Any], ...] = (
    keys.SETTINGS,
    keys.METRICS,
    keys.CLOCK,
    keys.AUTHENTICATOR,
    keys.CLIENT_ADDRESS,
    keys.IN_FLIGHT,
    keys.HEALTH,
    keys.RESOLVER,
    keys.FORGETTING,
    keys.REDIS_USAGE,
    keys.REFRESH_QUEUE,
    keys.REFRESHER,
    keys.DAILY_STATS,
)


def create_app(settings: Settings, metrics: Metrics) -> web.Application:
    """The public port."""
    app = web.Application(client_max_size=_MAX_BODY)
    app[keys.SETTINGS] = settings
    app[keys.METRICS] = metrics
    app[keys.AUTHENTICATOR] = _authenticator(app)
    if settings.access.signed_links is not None:
        app[keys.LINKS] = Links(settings.access.signed_links)
    app[keys.CALLERS] = Callers(app[keys.AUTHENTICATOR], app.get(keys.LINKS))
    app[keys.CLIENT_ADDRESS] = ClientAddress(settings.server.trusted_proxies)
    app[keys.IN_FLIGHT] = InFlight(metrics)
    app[keys.STREAM_LIMIT] = StreamLimit(settings.server.max_streams)
    app[keys.LIFETIME] = Lifetime(
        settings.url_cache.default_ttl, settings.url_cache.min_remaining, settings.url_prerefresh.threshold
    )
    app[keys.CLOCK] = CosClock()
    metrics.cos_clock_difference.set_function(lambda: app[keys.CLOCK].observed_offset)
    metrics.cos_clock_offset.set_function(lambda: app[keys.CLOCK].offset)
    app[keys.HOSTS] = Hosts(settings.cos)
    app[keys.SIGNER] = Signer(
        credentials_from(settings.cos),
        app[keys.HOSTS],
        ttl=settings.url_cache.default_ttl,
        window=settings.url_cache.sign_window,
        styles=settings.image_styles,
        metrics=metrics,
        now=app[keys.CLOCK].now,
    )
    app[keys.HAND_OUT] = HandOut(app[keys.SIGNER], settings.image_styles)
    app.cleanup_ctx.extend(_PARTS)
    add_public_routes(app)
    return app


def create_admin_app(app: web.Application) -> web.Application:
    """The admin port, beside a public one that has started."""
    admin = web.Application(client_max_size=_MAX_BODY)
    # Counted apart: what operators and Prometheus are answered does not show how images do.
    admin[keys.ROUTE_PREFIX] = ADMIN
    for key in _SHOWN:
        if key in app:
            admin[key] = app[key]
    add_admin_routes(admin)
    return admin


def _authenticator(app: web.Application) -> Authenticator:
    settings, admin = app[keys.SETTINGS].access, app[keys.SETTINGS].admin
    published: Jwks | None = None
    if settings.jwt is not None and settings.jwt.jwks_url is not None:
        published, url = Jwks(settings.jwt.algorithms), settings.jwt.jwks_url
        fetching = keep_fetching(published, url, app[keys.METRICS])
        app.cleanup_ctx.append(lambda _: _open(fetching))
    return Authenticator(settings.jwt, admin.token, forwarded_user=settings.forwarded_user, keys=published)


async def _open(part: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
    async with part:
        yield
