"""The whole configuration as validated, frozen models; one section for each part of the gateway.

``gateway.settings.sources`` reads them from YAML, environment and secrets directory. Durations are seconds, sizes
bytes. A part is handed its own section, never the whole.

The rest of the gateway takes the models from here; which file of the package holds one is the package's own matter.
"""

from typing import Self

from pydantic import Field, model_validator

from gateway.settings.access import AccessSettings, ForwardedUserSettings, SignedLinksSettings
from gateway.settings.cos import CosSettings
from gateway.settings.images import STYLE_NAME, ImageProxySettings, MemoryCacheSettings, Styles
from gateway.settings.jwt import JwtSettings
from gateway.settings.section import Section
from gateway.settings.server import AdminSettings, LoggingSettings, ServerSettings
from gateway.settings.stores import ColumnSettings, PostgresSettings, RedisSettings
from gateway.settings.urls import UrlCacheSettings, UrlPrerefreshSettings, UrlStatsSettings

__all__ = [
    "STYLE_NAME",
    "AdminSettings",
    "ColumnSettings",
    "CosSettings",
    "ForwardedUserSettings",
    "ImageProxySettings",
    "JwtSettings",
    "LoggingSettings",
    "MemoryCacheSettings",
    "PostgresSettings",
    "RedisSettings",
    "ServerSettings",
    "Settings",
    "SignedLinksSettings",
]


class Settings(Section):
    """Everything an operator can set."""

    server: ServerSettings = ServerSettings()
    admin: AdminSettings = AdminSettings()
    redis: RedisSettings = RedisSettings()
    postgres: PostgresSettings
    cos: CosSettings
    url_cache: UrlCacheSettings = UrlCacheSettings()
    url_prerefresh: UrlPrerefreshSettings = UrlPrerefreshSettings()
    image_proxy: ImageProxySettings = ImageProxySettings()
    image_styles: Styles = Field(default_factory=dict)
    url_stats: UrlStatsSettings = UrlStatsSettings()
    access: AccessSettings = AccessSettings()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _renewal_fits_the_life_of_a_url(self) -> Self:
        """A default ``threshold`` or ``lease`` shrinks with ``default_ttl``; a given one must fit as it is."""
        ttl, given = self.url_cache.default_ttl, self.url_prerefresh
        threshold = given.threshold if "threshold" in given.model_fields_set else max(1, ttl // 4)
        most = {"threshold": threshold, "lease": max(1, threshold // 3)}
        fitted = {
            name: min(getattr(given, name), top) for name, top in most.items() if name not in given.model_fields_set
        }
        renewal = given.model_copy(update=fitted)
        object.__setattr__(self, "url_prerefresh", renewal)
        if renewal.threshold >= ttl:
            raise ValueError(
                f"url_prerefresh.threshold: {renewal.threshold} is not below url_cache.default_ttl {ttl}, "
                "so every URL would be due as soon as it is signed"
            )
        if renewal.lease >= renewal.threshold:
            raise ValueError(
                f"url_prerefresh.lease: {renewal.lease} is not below url_prerefresh.threshold {renewal.threshold}, "
                "so what a dead worker has claimed could expire before another may take it"
            )
        return self
