"""The part that says who asks, and may they: tokens and their keys, signed links."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from gateway.access.admin_guard import AdminGuard
from gateway.access.client_address import ClientAddress
from gateway.access.identity import Authenticator
from gateway.access.metrics import AccessMetrics
from gateway.access.signed_links import SignedLinks
from gateway.delivery.cors import CorsOrigins
from gateway.errors import ConfigurationRefused
from gateway.process.reloader import Replaceable
from gateway.settings import JwtSettings, Live, Settings

if TYPE_CHECKING:
    from gateway.access.jwks import Jwks


class Access:
    """The objects that identify callers and check their rights. No ``links`` without ``access.signed_links``."""

    def __init__(
        self,
        live: Live[Settings],
        metrics: AccessMetrics,
        key_set: "Replaceable[Jwks | None]",
        rights_changed: Callable[[], None],
    ) -> None:
        server = live.map(lambda settings: settings.server)
        self.metrics, self.key_set, self.rights_changed = metrics, key_set, rights_changed
        self.admin_guard = AdminGuard(live.map(lambda settings: settings.admin), metrics.admin_attempts)
        self.client_address, self.cors_origins = ClientAddress(server), CorsOrigins(server)
        self.links = signed_links(live)
        access = live.map(lambda settings: settings.access)
        self.authenticator = Authenticator(access, lambda: key_set.value, self.links)

    @asynccontextmanager
    async def prepare(self, old: Settings, new: Settings) -> AsyncIterator[Callable[[], None]]:
        """Fetch the new key set, if a key set is configured. Refuse a provider that gives no key."""
        await _import_token_libraries(new.access.jwt)
        if _key_source(old.access.jwt) == _key_source(new.access.jwt):
            yield lambda: None
            return
        opening = _key_set(new.access.jwt, self.metrics, self.rights_changed)
        async with aclosing(await Replaceable.open(opening)) as successor:
            if successor.value is not None and successor.value.is_empty:
                raise ConfigurationRefused(f"access.jwt.jwks_url: {successor.value.problem}")
            yield lambda: self.key_set.swap(successor)


@asynccontextmanager
async def open_access(
    live: Live[Settings],
    metrics: AccessMetrics,
    rights_changed: Callable[[], None] = lambda: None,
    *,
    verifies_tokens: bool = True,
) -> AsyncIterator[Access]:
    """Keep fetching the key set (empty without ``verifies_tokens``). Call ``rights_changed`` when its keys change."""
    jwt = live.value.access.jwt
    await _import_token_libraries(jwt)
    opening = _key_set(jwt, metrics, rights_changed, fetches=verifies_tokens)
    async with aclosing(await Replaceable.open(opening)) as key_set:
        yield Access(live, metrics, key_set, rights_changed)


def signed_links(live: Live[Settings]) -> SignedLinks | None:
    """Return what signs and verifies links, or None without ``access.signed_links``."""
    configured = live.value.access.signed_links  # whether there are any needs a restart
    if configured is None:
        return None
    return SignedLinks(live.map(lambda settings: settings.access.signed_links or configured))


def _key_source(jwt: JwtSettings | None) -> tuple[object, ...]:
    """Return where the keys of tokens come from, and their algorithms."""
    return () if jwt is None else (jwt.jwks_url, jwt.algorithms)


async def _import_token_libraries(jwt: JwtSettings | None) -> None:
    """Import the verifier of tokens if tokens are configured, in a thread: the import reads some hundred files."""
    if jwt is not None:
        await asyncio.to_thread(importlib.import_module, "gateway.access.tokens")


@asynccontextmanager
async def _key_set(
    jwt: JwtSettings | None, metrics: AccessMetrics, changed: Callable[[], None], *, fetches: bool = True
) -> "AsyncIterator[Jwks | None]":
    """Keep fetching the key set of ``access.jwt.jwks_url``. None without it."""
    if jwt is None or jwt.jwks_url is None:
        yield None
        return
    from gateway.access.jwks import Jwks, keep_fetching  # the libraries for tokens are imported already

    key_set = Jwks(jwt.algorithms, changed)
    async with keep_fetching(key_set, jwt.jwks_url, metrics) if fetches else nullcontext():
        yield key_set
