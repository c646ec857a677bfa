"""The whole service on a screen: every part, in the order it opens. Nothing opens before the application starts.

aiohttp unwinds the contexts in reverse, also when a later one fails to open.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web

from gateway import components
from gateway.access.identity import Authenticator
from gateway.access.jwks import Jwks, keep_fetching
from gateway.access.signed_links import SignedLinks
from gateway.api import app_keys
from gateway.api.caller import Callers
from gateway.api.client_address import ClientAddress
from gateway.api.routes import ADMIN, add_admin_routes, add_public_routes
from gateway.concurrency.in_flight import InFlight
from gateway.delivery.public_url import PublicUrls
from gateway.metrics.collectors import Metrics
from gateway.presign.cos_clock import CosClock
from gateway.presign.lifetime import Lifetime
from gateway.presign.signer import Hosts, Signer, credentials_from
from gateway.settings import Settings

_MAX_BODY = 64 * 1024  # the largest valid one names 200 images

_COMPONENTS = (
    components.catalog,
    components.catalog_query,
    components.shared_tier,
    components.resolver,
    components.origin,
    components.delivery,
    components.health,
    components.refresh_worker,
    components.statistics,
    components.change_feeds,
    components.warm_up,
)

# What the admin port shows of the public one.
_SHOWN: tuple[web.AppKey[Any], ...] = (
    app_keys.SETTINGS,
    app_keys.METRICS,
    app_keys.CLOCK,
    app_keys.AUTHENTICATOR,
    app_keys.CLIENT_ADDRESS,
    app_keys.IN_FLIGHT,
    app_keys.HEALTH,
    app_keys.RESOLVER,
    app_keys.INVALIDATION,
    app_keys.USAGE_STORE,
    app_keys.REFRESH_QUEUE,
    app_keys.REFRESH_WORKER,
    app_keys.DAILY_STATISTICS,
)


def create_app(settings: Settings, metrics: Metrics) -> web.Application:
    """The public port."""
    app = web.Application(client_max_size=_MAX_BODY)
    app[app_keys.SETTINGS] = settings
    app[app_keys.METRICS] = metrics
    app[app_keys.AUTHENTICATOR] = _authenticator(app)
    if settings.access.signed_links is not None:
        app[app_keys.LINKS] = SignedLinks(settings.access.signed_links)
    app[app_keys.CALLERS] = Callers(app[app_keys.AUTHENTICATOR], app.get(app_keys.LINKS))
    app[app_keys.CLIENT_ADDRESS] = ClientAddress(settings.server.trusted_proxies)
    app[app_keys.IN_FLIGHT] = InFlight(metrics)
    app[app_keys.LIFETIME] = Lifetime(
        settings.url_cache.default_ttl, settings.url_cache.min_remaining, settings.url_prerefresh.threshold
    )
    app[app_keys.CLOCK] = CosClock()
    metrics.cos_clock_difference.set_function(lambda: app[app_keys.CLOCK].observed_offset)
    metrics.cos_clock_offset.set_function(lambda: app[app_keys.CLOCK].offset)
    app[app_keys.HOSTS] = Hosts(settings.cos)
    app[app_keys.SIGNER] = Signer(
        credentials_from(settings.cos),
        app[app_keys.HOSTS],
        ttl=settings.url_cache.default_ttl,
        window=settings.url_cache.sign_window,
        styles=settings.image_styles,
        metrics=metrics,
        now=app[app_keys.CLOCK].now,
    )
    app[app_keys.PUBLIC_URLS] = PublicUrls(app[app_keys.SIGNER], settings.image_styles)
    app.cleanup_ctx.extend(_COMPONENTS)
    add_public_routes(app)
    return app


def create_admin_app(app: web.Application) -> web.Application:
    """The admin port, beside a public one that has started."""
    admin = web.Application(client_max_size=_MAX_BODY)
    # Counted apart: what operators and Prometheus are answered does not show how images do.
    admin[app_keys.ROUTE_PREFIX] = ADMIN
    for key in _SHOWN:
        if key in app:
            admin[key] = app[key]
    add_admin_routes(admin)
    return admin


def _authenticator(app: web.Application) -> Authenticator:
    settings, admin = app[app_keys.SETTINGS].access, app[app_keys.SETTINGS].admin
    published: Jwks | None = None
    if settings.jwt is not None and settings.jwt.jwks_url is not None:
        published, url = Jwks(settings.jwt.algorithms), settings.jwt.jwks_url
        fetching = keep_fetching(published, url, app[app_keys.METRICS])
        app.cleanup_ctx.append(lambda _: _open(fetching))
    return Authenticator(settings.jwt, admin.token, forwarded_user=settings.forwarded_user, keys=published)


async def _open(part: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
    async with part:
        yield
