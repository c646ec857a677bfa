"""The parts of a reload: for each group of keys, the components that get the new values.

A part prepares its change, which may fail, and then applies it without awaiting anything. The keys are those of
``RELOADED`` in ``gateway.settings.reloading``; other keys need a restart.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.access.token_keys import TokenKeys
from gateway.api import app_keys
from gateway.api.access_log import LOGGER
from gateway.origin.resumption import ResumptionLimits
from gateway.origin.retry import Backoff
from gateway.process.logs import log_handler
from gateway.process.reloader import Change, Part, ReloadRefused
from gateway.service import access_components, components
from gateway.service.image_components import cache_policy
from gateway.settings import Settings
from gateway.settings.reloading import RELOADED


def _reloaded(*branches: str) -> frozenset[str]:
    """Return the keys that are one of ``branches`` or below it, of those that a reload changes."""
    return frozenset(key for key in RELOADED if f"{key}.".startswith(tuple(f"{branch}." for branch in branches)))


_NEW_VARIANTS = _reloaded("image_variants.max_new_per_minute")


def parts(app: web.Application) -> list[Part[Settings]]:
    """Return everything that a reload changes; the components are open."""
    return [*(_Simple(app, keys, set_values) for keys, set_values in _SIMPLE.items()), _Access(app), _Credentials(app)]


@dataclass(frozen=True)
class _Simple:
    """A part whose change cannot fail: ``set_values`` hands new values to components that are open."""

    app: web.Application
    keys: frozenset[str]
    set_values: Callable[[web.Application, Settings], None]

    async def prepare(self, settings: Settings) -> Change:
        """Return the change, which needs no preparation."""
        return Change(lambda: self.set_values(self.app, settings))


class _Access:
    """The authenticator and its key set, and the admin token."""

    keys = _reloaded("access.forwarded_user", "access.jwt", "admin.token")

    def __init__(self, app: web.Application) -> None:
        self._app = app

    async def prepare(self, settings: Settings) -> Change:
        """Fetch the new key set if there is one; refuse a provider that gives none."""
        app, held = self._app, self._app[app_keys.KEY_SET]
        await access_components.import_token_libraries(settings.access.jwt)
        if not self._needs_key_set(settings):
            return Change(lambda: self._set(settings, held.value))
        successor = await held.prepare(access_components.key_set(settings.access.jwt, app[app_keys.METRICS]))

        async def discard() -> None:
            await successor.discard()
            if held.value is not None:
                held.value.missed.set()  # fetch soon, so that the metric shows this provider again

        if successor.value is not None and successor.value.is_empty:
            await discard()
            raise ReloadRefused("access.jwt.jwks_url: the keys of the provider cannot be fetched")

        def apply() -> None:
            successor.take_over()
            self._set(settings, successor.value)
            if successor.value is None:
                app[app_keys.METRICS].dependency_up.remove("jwks")

        return Change(apply, successor.close_replaced, discard)

    def _needs_key_set(self, settings: Settings) -> bool:
        """Return whether the keys have another source or other algorithms."""
        old, new = self._app[app_keys.RELOADER].settings.access.jwt, settings.access.jwt
        return (old and (old.jwks_url, old.algorithms)) != (new and (new.jwks_url, new.algorithms))

    def _set(self, settings: Settings, key_set: TokenKeys | None) -> None:
        app, access = self._app, settings.access
        app[app_keys.AUTHENTICATOR].configure(access.jwt, forwarded_user=access.forwarded_user, keys=key_set)
        app[app_keys.ADMIN_GUARD].configure(settings.admin.token)
        _explain_access(app, settings)
        _set_delivery(app, settings)  # private images vary by the fields that identify a caller


class _Credentials:
    """The credentials that sign, and their refresh tasks."""

    keys = _reloaded("cos")

    def __init__(self, app: web.Application) -> None:
        self._app = app

    async def prepare(self, settings: Settings) -> Change:
        """Ask the new sources, for three seconds; refuse one that gives no credentials."""
        app = self._app
        in_use = app[app_keys.CREDENTIALS]
        successor = await app[app_keys.OPEN_CREDENTIALS].prepare(components.opened_credentials(app, settings.cos))

        async def discard() -> None:
            await successor.discard()
            in_use.show_ends()

        for one in successor.value.all:
            if one.newest is None:
                await discard()
                raise ReloadRefused(f"cos.credentials: the source {one.name} gives none: {one.reason}")

        def apply() -> None:
            successor.take_over()
            in_use.replace(successor.value)
            app[app_keys.PUBLIC_URLS].forget()
            app[app_keys.HEALTH].set_probe("credentials", in_use.check_life if in_use.can_end else None)
            _set_entry_keys(app, settings)  # without `redis.entry_key`, the MAC depends on the secret key

        return Change(apply, successor.close_replaced, discard)


def _set_log(app: web.Application, settings: Settings) -> None:
    in_use, new, debug_log = app[app_keys.RELOADER].settings.logging, settings.logging, app[app_keys.DEBUG_LOG]
    level = logging.getLevelNamesMapping()[new.level.upper()]
    if new.format != in_use.format and (handler := log_handler()) is not None:
        handler.set_format(new.format)
    if new.level != in_use.level:
        debug_log.set_level(level)
    app[app_keys.ACCESS_LOG].configure(
        format=new.format,
        sample=new.access_sample,
        is_on=new.access and (logging.getLogger(LOGGER).level or level) <= logging.INFO,
    )


def _set_trusted_proxies(app: web.Application, settings: Settings) -> None:
    app[app_keys.CLIENT_ADDRESS].configure(settings.server.trusted_proxies)


def _set_links(app: web.Application, settings: Settings) -> None:
    if settings.access.signed_links is not None:
        app[app_keys.SIGNED_LINKS].configure(settings.access.signed_links)


def _set_styles(app: web.Application, settings: Settings) -> None:
    """Allow other renditions, and drop the cached results of those that changed."""
    variants, renditions = settings.image_variants, app[app_keys.RENDITIONS]
    changed = renditions.configure(settings.image_styles, variants)
    app[app_keys.RESOLVER].forget_renditions(changed)
    app[app_keys.VARIANT_REQUESTS].configure(variants.max_dpr)
    if app_keys.PURGE_ADDRESSES in app:
        app[app_keys.PURGE_ADDRESSES].configure()
    app[app_keys.AUTHORIZED_LOOKUP].originals_for_owner = renditions.originals_for_owner
    _set_url_cache(app, settings)
    _explain_access(app, settings)


def _set_new_variants(app: web.Application, settings: Settings) -> None:
    app[app_keys.NEW_VARIANTS].configure(settings.image_variants.max_new_per_minute)


def _set_delivery(app: web.Application, settings: Settings) -> None:
    policy = cache_policy(app, settings)
    app[app_keys.IMAGE_HANDLER].configure(
        is_enabled=settings.image_proxy.enabled, max_streams=settings.server.max_streams, policy=policy
    )
    app[app_keys.EXPLAINER].configure(settings.image_proxy, policy)


def _set_origin(app: web.Application, settings: Settings) -> None:
    image_proxy = settings.image_proxy
    app[app_keys.ORIGIN].retry_count = image_proxy.retry_count
    app[app_keys.OBJECT_SOURCE].configure(
        image_proxy.memory_cache, ResumptionLimits(image_proxy.retry_count, Backoff())
    )


def _set_url_cache(app: web.Application, settings: Settings) -> None:
    """Set the life of URLs, and the size of both tiers and the renditions that they drop with an image."""
    url_cache, renewal, renditions = settings.url_cache, settings.url_prerefresh, app[app_keys.RENDITIONS].names
    app[app_keys.LIFETIME].configure(url_cache.default_ttl, url_cache.min_remaining, renewal.threshold)
    app[app_keys.SIGNER].configure(ttl=url_cache.default_ttl, window=url_cache.sign_window)
    app[app_keys.LOCAL_TIER].configure(
        url_cache.max_size if url_cache.enabled else 0, renditions, local_ttl=url_cache.local_ttl
    )
    if app_keys.SHARED_TIER in app:
        app[app_keys.SHARED_TIER].configure(renditions, max_size=url_cache.max_size)
        app[app_keys.REFRESH_QUEUE].configure(
            lease=components.lease(app, renewal.lease),
            max_attempts=renewal.max_attempts,
            max_dead=url_cache.max_size,
        )
    if app_keys.REFRESH_WORKER in app:
        app[app_keys.REFRESH_WORKER].configure(
            interval=renewal.interval, batch_size=renewal.batch_size, idle_after=renewal.idle_after
        )


def _set_entry_keys(app: web.Application, settings: Settings) -> None:
    if app_keys.ENTRY_MAC in app:
        app[app_keys.ENTRY_MAC].configure(*components.entry_secrets(settings.redis, settings.cos))


def _set_statistics(app: web.Application, settings: Settings) -> None:
    if app_keys.DAILY_STATISTICS in app:
        app[app_keys.DAILY_STATISTICS].retention_days = settings.url_stats.retention_days


def _set_nothing(app: web.Application, settings: Settings) -> None:
    """Do nothing: the settings in use are read when they are needed."""
    del app, settings


def _explain_access(app: web.Application, settings: Settings) -> None:
    app[app_keys.EXPLAINER].steps.access.configure(
        has_tokens=settings.access.jwt is not None,
        originals_for_owner=settings.image_variants.originals == "owner",
    )


_SIMPLE = {
    _reloaded("logging"): _set_log,
    _reloaded("server.trusted_proxies"): _set_trusted_proxies,
    _reloaded("server.shutdown_grace"): _set_nothing,
    _reloaded("access.signed_links.keys"): _set_links,
    _reloaded("image_styles", "image_variants") - _NEW_VARIANTS: _set_styles,
    _NEW_VARIANTS: _set_new_variants,
    _reloaded("image_proxy.enabled", "image_proxy.max_age"): _set_delivery,
    _reloaded("image_proxy.memory_cache", "image_proxy.retry_count"): _set_origin,
    _reloaded("url_cache", "url_prerefresh"): _set_url_cache,
    _reloaded("redis.entry_key", "redis.entry_key_previous"): _set_entry_keys,
    _reloaded("url_stats"): _set_statistics,
}
