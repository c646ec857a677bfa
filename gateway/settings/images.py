"""Delivery of images."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.settings.section import Reloaded, Restarted, Section, Timeout, matches

YEAR = 365 * 24 * 3600

Path = Annotated[str, matches(r"/[A-Za-z0-9_/-]*/", "a path that starts and ends with /")]

ErrorStatus = Annotated[int, Field(ge=400, le=599)]


class FallbackSettings(Section):
    """The picture's file, and the statuses of the errors that it replaces.

    The file is read when the gateway starts, not when the settings are validated.
    """

    path: str = Field(min_length=1)
    statuses: tuple[ErrorStatus, ...] = Field((404, 502, 503, 504), min_length=1)


class MemoryCacheSettings(Section):
    """Cache of small images in memory. ``max_bytes`` 0 turns the cache off."""

    max_bytes: Reloaded[int] = Field(268_435_456, ge=0)
    max_object_bytes: Reloaded[int] = Field(2_097_152, ge=0)
    ttl: Reloaded[float] = Field(60, ge=0, allow_inf_nan=False)


class ImageProxySettings(Section):
    """How image bytes reach the client."""

    enabled: Reloaded[bool] = True
    delivery: Restarted[Literal["stream", "redirect", "accel"]] = "stream"
    timeout: Restarted[Timeout] = 30
    retry_count: Reloaded[int] = Field(3, ge=0, le=10)
    max_age: Reloaded[int] = Field(3600, ge=0, le=YEAR)
    shared_max_age: Reloaded[int | None] = Field(None, ge=0, le=YEAR)
    stale_while_revalidate: Reloaded[int] = Field(300, ge=0, le=YEAR)
    stale_if_error: Reloaded[int] = Field(86_400, ge=0, le=YEAR)
    accel_prefix: Restarted[Path] = "/_cos/"
    fallback: Restarted[FallbackSettings | None] = None
    memory_cache: MemoryCacheSettings = MemoryCacheSettings()
