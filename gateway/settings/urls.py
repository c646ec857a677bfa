"""Life, cache, renewal and statistics of presigned URLs."""

from pydantic import Field

from gateway.settings.base import MOST, WEEK, Count, Reloaded, Restarted, Section, UrlLife


class UrlCacheSettings(Section):
    """How long presigned URLs live, and how they are cached.

    ``sign_window`` and a default ``min_remaining`` are at most a tenth of ``default_ttl``, so it can be set alone.
    """

    enabled: Restarted[bool] = True
    default_ttl: Reloaded[UrlLife] = 3600
    max_size: Reloaded[Count] = 10_000
    min_remaining: Reloaded[int] = Field(60, ge=0)
    local_ttl: Reloaded[float] = Field(30, ge=0, le=3600)
    sign_window: Reloaded[int] = Field(300, ge=0)
    warm_top: Restarted[int] = Field(0, ge=0, le=MOST)

    def _check(self) -> None:
        tenth = self.default_ttl // 10
        if "min_remaining" not in self.model_fields_set:
            object.__setattr__(self, "min_remaining", min(self.min_remaining, tenth))
        object.__setattr__(self, "sign_window", min(self.sign_window, tenth))
        if self.min_remaining + self.sign_window >= self.default_ttl:
            raise ValueError(
                f"min_remaining {self.min_remaining} and a signing window of {self.sign_window} leave nothing "
                f"usable of default_ttl {self.default_ttl}: lower min_remaining"
            )


class UrlPrerefreshSettings(Section):
    """Renewal of presigned URLs before they expire."""

    enabled: Restarted[bool] = True
    interval: Reloaded[float] = Field(300, gt=0, le=WEEK)
    threshold: Reloaded[UrlLife] = 900
    batch_size: Reloaded[int] = Field(100, ge=1, le=10_000)
    lease: Reloaded[UrlLife] = 60
    max_attempts: Reloaded[int] = Field(5, ge=1, le=100)
    idle_after: Reloaded[Count] = 86_400


class UrlStatsSettings(Section):
    """Daily statistics of the uses of presigned URLs."""

    enabled: Restarted[bool] = True
    retention_days: Reloaded[int] = Field(30, ge=1, le=3650)
