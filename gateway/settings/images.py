"""Delivery of images, and image styles: COS processing under a name, fixed or with widths and formats."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from gateway.settings.base import Count, Reloaded, Restarted, Section, Timeout, empty_if_null, matches

YEAR: Final = 365 * 24 * 3600
STYLE_NAME: Final = "[a-z0-9][a-z0-9_-]{0,31}"
_PLACEHOLDERS: Final = frozenset({"width", "height", "quality", "focus"})
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_WITH_HEIGHT = re.compile(r"/(?:thumbnail|s?crop)/[^/]*\{height\}[^/]*")
_GRAVITY = re.compile(r"/gravity/[^/]*")

StyleName = Annotated[str, matches(STYLE_NAME, "1 to 32 of a-z 0-9 _ -")]
_FIXED: Final = "(imageMogr2|imageView2|watermark)/[!-z|~]+"
FixedStyle = Annotated[str, matches(_FIXED, "COS processing, like imageMogr2/thumbnail/300x300")]
# An original is decoded and encoded again by a rule, in its own format: it is smaller, upright and has no EXIF.
VariantFormat = Literal["original", "webp", "avif"]
Width = Annotated[int, Field(ge=1, le=9999)]
Quality = Annotated[int, Field(ge=1, le=100)]
Qualities = Annotated[dict[VariantFormat, Quality], BeforeValidator(empty_if_null)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=32)]
ErrorStatus = Annotated[int, Field(ge=400, le=599)]
Path = Annotated[str, matches(r"/[A-Za-z0-9_/-]*/", "a path that starts and ends with /")]
Formats = Annotated[tuple[VariantFormat, ...], Field(min_length=1, max_length=3)]
RATIO: Final = "[1-9][0-9]?:[1-9][0-9]?"
Ratio = Annotated[str, matches(RATIO, "width by height, like 16:9")]
Ratios = Annotated[tuple[Ratio, ...], Field(max_length=16)]


def _check_process(value: Any) -> Any:
    """Return the template if its results are valid for COS. Raises ``ValueError``."""
    if not isinstance(value, str) or not re.fullmatch(r"imageMogr2/[!-~]+", value):
        raise ValueError("must be COS processing that starts with imageMogr2/")
    for name in _PLACEHOLDER.findall(value):
        if name not in _PLACEHOLDERS:
            raise ValueError(f"has {{{name}}}, but only {', '.join(sorted(f'{{{known}}}' for known in _PLACEHOLDERS))}")
    if {"{", "}"} & set(_PLACEHOLDER.sub("", value)):
        raise ValueError("has a brace without its partner")
    if "{width}" not in value:
        raise ValueError("has no {width}; for one fixed result write the style as a string")
    if "/ignore-error/" in value:
        raise ValueError("must not have ignore-error: COS would send the original in place of the style")
    if "/format/" in value or "|" in value:
        raise ValueError("must not name a format or join rules with |: formats are those of the style")
    return value


Process = Annotated[str, BeforeValidator(_check_process)]


class StyleSettings(Section):
    """A style (named processing by COS) with widths and formats. Null values come from ``image_variants``."""

    process: Process = "imageMogr2/auto-orient/thumbnail/{width}x>/strip"
    widths: Widths | None = None
    formats: Formats | None = None
    quality: Qualities = Field(default_factory=dict)
    ratio: float | None = Field(None, ge=0.05, le=20)  # width by height, for ``{height}`` in ``process``
    ratios: Ratios = ()  # those that an address may choose for ``{height}``; without one the image keeps its own
    public: bool = False  # everybody may see the style of any image

    def _check(self) -> None:
        if self.ratios and self.ratio is not None:
            raise ValueError("ratios: a style has either ratio or ratios")
        if self.ratios and "{height}" not in self.process:
            raise ValueError("ratios: process has no {height}, such as in crop/{width}x{height}/gravity/{focus}")
        if self.ratios and "{height}" in self.process_of_own_ratio:
            raise ValueError("ratios: {height} must be that of thumbnail, crop or scrop")
        if "{height}" in self.process and self.ratio is None and not self.ratios:
            raise ValueError("ratio: process has {height}, so it needs the ratio of width to height")

    @property
    def process_of_own_ratio(self) -> str:
        """The rule for an image that keeps its ratio: it is scaled to the width where others are cut."""
        if not self.ratios:
            return self.process
        scaled = _WITH_HEIGHT.sub("/thumbnail/{width}x>", _GRAVITY.sub("", self.process), count=1)
        return _WITH_HEIGHT.sub("", scaled)


class VariantSettings(Section):
    """Defaults of styles with widths and formats, and rules for all such styles."""

    widths: Reloaded[Widths] = (160, 320, 640, 960, 1280, 1920)
    formats: Reloaded[Formats] = ("webp",)
    quality: Reloaded[Qualities] = Field(default_factory=dict)
    max_dpr: Reloaded[float] = Field(3, ge=1, le=10)
    unknown_width: Reloaded[Literal["round_up", "reject"]] = "round_up"
    negotiate: Reloaded[Literal["explicit", "accept"]] = "explicit"
    originals: Reloaded[Literal["everyone", "owner"]] = "everyone"
    max_new_per_minute: Reloaded[Count] = 600
    placeholders: Reloaded[bool] = False


# The kind is chosen first, so that a mistake is explained for the kind that was meant. The marks are pydantic's parts
# of a mistake's location; ``error_messages`` leaves them out.
FIXED_MARK: Final = "[fixed]"
SIZED_MARK: Final = "[sized]"
Style = Annotated[
    Annotated[FixedStyle, Tag(FIXED_MARK)] | Annotated[StyleSettings, Tag(SIZED_MARK)],
    Discriminator(lambda value: FIXED_MARK if isinstance(value, str) else SIZED_MARK),
]
Styles = Annotated[dict[StyleName, Style], BeforeValidator(empty_if_null)]


class FallbackSettings(Section):
    """The picture that replaces errors: its file, read when the gateway starts, and the statuses of these errors."""

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
