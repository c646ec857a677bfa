"""The configuration as validated, frozen models, a section for each part of the gateway.

``gateway.settings.sources`` reads them. Durations are in seconds, sizes in bytes. A class receives its own section, not
the whole configuration, and imports the section's model from this package, not from a module of it.
"""

import hashlib
import json
from math import prod

from pydantic import Field

from gateway.settings.access import AccessSettings, ForwardedUserSettings, JwtSettings, SignedLinksSettings
from gateway.settings.base import Live, Reloaded, Restarted, Section
from gateway.settings.cos import CosSettings
from gateway.settings.credentials import (
    ROLE_NAME,
    AssumeRoleCredentialsSettings,
    CredentialsSettings,
    CvmRoleCredentialsSettings,
    EnvironmentCredentialsSettings,
    FileCredentialsSettings,
    StaticCredentialsSettings,
    TkeOidcCredentialsSettings,
)
from gateway.settings.fronts import MOST_ADDRESSES, CanaryRowSettings, CanarySettings, PurgeSettings
from gateway.settings.images import (
    RATIO,
    STYLE_NAME,
    FallbackSettings,
    ImageProxySettings,
    MemoryCacheSettings,
    Styles,
    StyleSettings,
    VariantFormat,
    VariantSettings,
)
from gateway.settings.postgres import ColumnSettings, GrantSettings, PostgresSettings
from gateway.settings.redis import RedisSettings
from gateway.settings.server import AdminSettings, LoggingSettings, ServerSettings, TracingSettings
from gateway.settings.urls import UrlCacheSettings, UrlPrerefreshSettings, UrlStatsSettings

_MOST_VARIANTS = 500


class Settings(Section):
    """The whole configuration: everything an operator can set."""

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    redis: RedisSettings = RedisSettings()
    postgres: PostgresSettings
    cos: CosSettings
    purge: Restarted[PurgeSettings | None] = None
    canary: Reloaded[CanarySettings | None] = None
    url_cache: UrlCacheSettings = UrlCacheSettings()
    url_prerefresh: UrlPrerefreshSettings = UrlPrerefreshSettings()
    image_proxy: ImageProxySettings = ImageProxySettings()
    image_styles: Reloaded[Styles] = Field(default_factory=dict)
    image_variants: VariantSettings = VariantSettings()
    url_stats: UrlStatsSettings = UrlStatsSettings()
    access: AccessSettings = AccessSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()

    @property
    def sources(self) -> str:
        """A hash of what decides what a row says. Gateways with another hash do not use what is made of a row here."""
        sources = [self.postgres.sources, self.cos.bucket, self.cos.region]
        return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]

    def _check(self) -> None:
        self._check_styles()
        self._require_an_entry_key_that_outlives_credentials()
        self._check_canary_and_purges()
        self._fit_refresh_into_the_life_of_a_url()

    def _check_styles(self) -> None:
        """Reject too many variants, since a change of an image visits all, and a fixed style that gives originals."""
        sized = (style for style in self.image_styles.values() if isinstance(style, StyleSettings))
        number = sum(prod(self._forms(style)) for style in sized)
        if number > _MOST_VARIANTS:
            raise ValueError(
                f"image_styles: widths, ratios and formats make {number} variants of an image, "
                f"and {_MOST_VARIANTS} are allowed"
            )
        for name, style in self.image_styles.items():
            if isinstance(style, str) and "ignore-error" in style and self.image_variants.originals == "owner":
                raise ValueError(
                    f"image_styles.{name}: ignore-error gives the original where COS cannot process it, and "
                    "image_variants.originals is owner"
                )

    def _forms(self, style: StyleSettings) -> tuple[int, int, int]:
        """Return how many widths, ratios (with that of the image) and formats (with ``original``) a style has."""
        widths, formats = style.widths or self.image_variants.widths, style.formats or self.image_variants.formats
        return len(set(widths)), len({None, *style.ratios}), len({"original", *formats})

    def _require_an_entry_key_that_outlives_credentials(self) -> None:
        sources = {section.source for section in (self.cos.source, *self.cos.own_sources.values())} - {"static"}
        is_missing = self.redis.entry_key is None and self.url_cache.enabled
        if is_missing and (sources or self.cos.secret_key is None):
            names = " or ".join(sorted(sources)) or "static"
            raise ValueError(
                f"redis.entry_key: is required with cos.credentials of the source {names}, since replicas then have "
                "different credentials and share their entries in Redis"
            )

    def _check_canary_and_purges(self) -> None:
        if self.canary is not None and not self.image_proxy.enabled:
            raise ValueError("canary: needs image_proxy.enabled, since it asks for images")
        if self.purge is None:
            return
        if not self.url_cache.enabled:
            raise ValueError("purge: needs url_cache.enabled, since purges wait in Redis")
        if self.purge.credentials is not None and self.cos.lacks_keys_of(self.purge.credentials):
            raise ValueError("purge.credentials: the static source needs secret_id and secret_key, here or in cos")
        if self.purge.names_addresses:
            self._fit_the_addresses_of_an_image_into_one_purge(self.purge)

    def _fit_the_addresses_of_an_image_into_one_purge(self, purge: PurgeSettings) -> None:
        number, auto = 1, self.image_variants.negotiate == "accept"
        for style in self.image_styles.values():
            if isinstance(style, StyleSettings):
                # Each with and without a width, a ratio and a format (``Renditions.queries``).
                widths, ratios, formats = self._forms(style)
                number += (1 + widths) * ratios * (1 + formats + auto)
            else:
                number += 1
        # /i/ID and /api/v1/images/ID/proxy, and by alias: while an alias moves, by two.
        addresses = (2 if self.postgres.columns.alias is None else 4) * number * len(purge.base_urls)
        if addresses > MOST_ADDRESSES:
            raise ValueError(
                f"purge: base_urls and image_styles make {addresses} addresses of an image, and a purge may name "
                f"{MOST_ADDRESSES}: shorten one of them, or purge by cache_tag (edgeone)"
            )

    def _fit_refresh_into_the_life_of_a_url(self) -> None:
        """Fit a default ``threshold`` or ``lease`` to ``default_ttl``. Reject a configured value that does not fit."""
        ttl, configured = self.url_cache.default_ttl, self.url_prerefresh
        threshold = configured.threshold if "threshold" in configured.model_fields_set else max(1, ttl // 4)
        limits = {"threshold": threshold, "lease": max(1, threshold // 3)}
        unset = limits.keys() - configured.model_fields_set
        refresh = configured.model_copy(update={name: min(getattr(configured, name), limits[name]) for name in unset})
        object.__setattr__(self, "url_prerefresh", refresh)
        if refresh.threshold >= ttl:
            raise ValueError(
                f"url_prerefresh.threshold: {refresh.threshold} is not below url_cache.default_ttl {ttl}, "
                "so every URL would be due as soon as it is signed"
            )
        if refresh.lease >= refresh.threshold:
            raise ValueError(
                f"url_prerefresh.lease: {refresh.lease} is not below url_prerefresh.threshold {refresh.threshold}, "
                "so URLs that a dead worker has claimed could expire before another may claim them"
            )
