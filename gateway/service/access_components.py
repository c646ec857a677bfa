"""The components that authenticate callers, as contexts: tokens and their keys, signed links, callers."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.access.admin_guard import AdminGuard
from gateway.access.identity import Authenticator
from gateway.access.signed_links import SignedLinks
from gateway.api import app_keys
from gateway.api.caller import Callers
from gateway.api.client_address import ClientAddress
from gateway.concurrency.replaceable import replaceable
from gateway.metrics.collectors import Metrics
from gateway.settings import JwtSettings

if TYPE_CHECKING:
    from gateway.access.jwks import Jwks


async def authenticator(app: web.Application) -> AsyncIterator[None]:
    """Identifies users by token, cookie or forwarded header, and fetches the key set that verifies the tokens."""
    access, admin = app[app_keys.SETTINGS].access, app[app_keys.SETTINGS].admin
    await import_token_libraries(access.jwt)
    async with replaceable(key_set(access.jwt, app[app_keys.METRICS])) as app[app_keys.KEY_SET]:
        app[app_keys.AUTHENTICATOR] = Authenticator(
            access.jwt, forwarded_user=access.forwarded_user, keys=app[app_keys.KEY_SET].value
        )
        app[app_keys.ADMIN_GUARD] = AdminGuard(admin.token, app[app_keys.METRICS].admin_attempts)
        yield


async def import_token_libraries(jwt: JwtSettings | None) -> None:
    """Import the verifier of tokens if tokens are configured, in a thread: the import reads some hundred files."""
    if jwt is not None:
        await asyncio.to_thread(importlib.import_module, "gateway.access.tokens")


@asynccontextmanager
async def key_set(jwt: JwtSettings | None, metrics: Metrics) -> "AsyncIterator[Jwks | None]":
    """Keep fetching the key set of ``access.jwt.jwks_url``; None without it."""
    if jwt is None or jwt.jwks_url is None:
        yield None
        return
    from gateway.access.jwks import Jwks, keep_fetching  # the libraries for tokens are imported already

    fetched = Jwks(jwt.algorithms)
    async with keep_fetching(fetched, jwt.jwks_url, metrics):
        yield fetched


async def signed_links(app: web.Application) -> AsyncIterator[None]:
    """Signs and verifies links; absent without ``access.signed_links``."""
    settings = app[app_keys.SETTINGS].access.signed_links
    if settings is not None:
        app[app_keys.SIGNED_LINKS] = SignedLinks(settings)
    yield


async def callers(app: web.Application) -> AsyncIterator[None]:
    """Finds a request's caller and address."""
    app[app_keys.CALLERS] = Callers(app[app_keys.AUTHENTICATOR], app.get(app_keys.SIGNED_LINKS))
    app[app_keys.CLIENT_ADDRESS] = ClientAddress(app[app_keys.SETTINGS].server.trusted_proxies)
    yield
