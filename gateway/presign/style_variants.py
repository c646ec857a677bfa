"""Renditions: every result of image processing that may be requested, by name, with COS's rule for each.

They are an allow-list, made from the configuration: a request chooses a name, and no text of a client reaches a rule.
A fixed style is named as itself (``thumb``), a variant by style, width, ratio and format: ``card@640.webp``, or
``card@640.16x9.webp``, since a colon separates the parts of a key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Final, NamedTuple

from gateway.catalog.record import ImageRecord
from gateway.errors import UnknownFormat, UnknownRatio, UnknownStyle, UnknownWidth
from gateway.settings import RATIO, STYLE_NAME, StyleSettings, VariantFormat, VariantSettings

_RATIO: Final = RATIO.replace(":", "x")
RENDITION_NAME: Final = rf"{STYLE_NAME}(?:@[1-9][0-9]{{0,3}}(?:\.{_RATIO})?\.(?:original|webp|avif))?"
_CENTER: Final = "center"


class ImageVariant(NamedTuple):
    """An image as stored, or its ``rendition`` (result of COS's processing) of that name. Each has its own URL."""

    image_id: str
    rendition: str | None = None


@dataclass(frozen=True, slots=True)
class Rendition:
    """One result of COS's image processing that may be requested: a style in one width, ratio and format.

    template: COS's rule, with ``{focus}`` where the rule depends on the row.
    width: in pixels, None for a fixed style.
    format: None for a fixed style.
    ratio: such as ``16:9``, None for that of the image.
    public: everybody may see this rendition of every image.
    """

    name: str
    style: str
    template: str
    width: int | None = None
    format: VariantFormat | None = None
    ratio: str | None = None
    public: bool = False

    def rule(self, record: ImageRecord) -> str:
        return self.template.replace("{focus}", record.focus or _CENTER)


class Audience(Enum):
    """Who may see an image in a rendition. ``VIEWERS``: those who may view the image, as ``access/policy.py`` says."""

    EVERYBODY = "everybody"
    VIEWERS = "viewers"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class _Sized:
    """A configured style with widths (ascending, in pixels) and formats. ``original`` is last unless configured."""

    widths: tuple[int, ...]
    ratios: tuple[str, ...]
    formats: tuple[VariantFormat, ...]
    default_format: VariantFormat


class Renditions:
    """Finds the renditions (results of image processing at COS) of the configured styles. A reload makes others.

    ``max_dpr``: a larger dpr counts as this. ``negotiates``: ``format=auto`` is allowed. ``originals_for_owner``:
    callers other than the owner of an image get only its renditions. ``makes_placeholders``: COS makes a tiny copy of
    each image, for its metadata.

    styles: only their renditions may be requested.
    defaults: apply to the keys that a style does not set.
    before: what a reload replaces. Requests in flight may still sign and count a rendition that it removes.
    """

    def __init__(
        self,
        styles: Mapping[str, str | StyleSettings],
        defaults: VariantSettings | None = None,
        before: "Renditions | None" = None,
    ) -> None:
        self._defaults = defaults = defaults or VariantSettings()
        self.max_dpr = defaults.max_dpr
        self.negotiates = defaults.negotiate == "accept"
        self.makes_placeholders = defaults.placeholders
        self.originals_for_owner = defaults.originals == "owner"
        self._sized: dict[str, _Sized] = {}
        self.by_name: dict[str, Rendition] = {}
        for style, settings in styles.items():
            made = [Rendition(style, style, settings)] if isinstance(settings, str) else self._of(style, settings)
            self.by_name.update({rendition.name: rendition for rendition in made})
        earlier = before.by_name if before is not None else {}
        self._gone = {name: rendition for name, rendition in earlier.items() if name not in self.by_name}

    def differing_from(self, other: "Renditions") -> frozenset[str | None]:
        """Return the names of the renditions that only one of both has, or whose rule or audience differs.

        A None among them stands for the original.
        """
        all_names = self.by_name.keys() | other.by_name.keys()
        names = {name for name in all_names if self.by_name.get(name) != other.by_name.get(name)}
        return frozenset(names if self.originals_for_owner == other.originals_for_owner else {*names, None})

    @property
    def styles(self) -> list[str]:
        return list(dict.fromkeys(rendition.style for rendition in self.by_name.values()))

    @property
    def names(self) -> list[str]:
        return list(self.by_name)

    def has(self, name: str | None) -> bool:
        """Return whether there is such a rendition. None is the original image."""
        return name is None or name in self.by_name

    def get(self, name: str) -> Rendition:
        """Return the rendition of that name, also if the last reload removed it. Raises ``UnknownStyle``."""
        found = self.by_name.get(name) or self._gone.get(name)
        if found is None:
            raise UnknownStyle
        return found

    def template(self, name: str) -> str:
        """Return the rule of that name, or "" for an unknown name."""
        rendition = self.by_name.get(name) or self._gone.get(name)
        return rendition.template if rendition is not None else ""

    def is_public(self, name: str) -> bool:
        """Return whether everybody may see the rendition of every image. False for an unknown name."""
        return name in self.by_name and self.by_name[name].public

    def audience(self, name: str | None, *, image_is_public: bool) -> Audience:
        """Return who may see the rendition of an image, or with None its original."""
        if name is None and self.originals_for_owner:
            return Audience.OWNER
        is_for_everybody = image_is_public or (name is not None and self.is_public(name))
        return Audience.EVERYBODY if is_for_everybody else Audience.VIEWERS

    def withholds_original(self, name: str, *, image_is_public: bool) -> bool:
        """Return whether somebody who may see the rendition of an image may not see its original."""
        return self.originals_for_owner or (self.is_public(name) and not image_is_public)

    def widths(self, style: str) -> tuple[int, ...]:
        """Return the widths of a style in pixels, ascending. Empty for a fixed style."""
        return self._sized[style].widths if style in self._sized else ()

    def formats(self, style: str) -> tuple[VariantFormat, ...]:
        """Return the formats of a style in the order of preference, ``original`` included. Empty for a fixed style."""
        return self._sized[style].formats if style in self._sized else ()

    def ratios(self, style: str) -> tuple[str, ...]:
        """Return the ratios to which a style cuts an image, such as ``16:9``."""
        return self._sized[style].ratios if style in self._sized else ()

    def describe(self, style: str) -> dict[str, tuple[int | str, ...]]:
        """Return the widths, the formats and, if there are any, the ratios of a style."""
        described: dict[str, tuple[int | str, ...]] = {"widths": self.widths(style), "formats": self.formats(style)}
        ratios = self.ratios(style)
        return {**described, "ratios": ratios} if ratios else described

    def choose(
        self, style: str, width: float | None = None, image_format: str | None = None, ratio: str | None = None
    ) -> str:
        """Return the name of a style's rendition.

        ``width``, in pixels, is rounded up to a listed one, or down to the largest, which None stands for. Without
        ``image_format``: the only one, or ``original``. Without ``ratio``: that of the image. Raises ``UnknownStyle``,
        ``UnknownWidth``, ``UnknownRatio``, ``UnknownFormat``.
        """
        sized = self._sized.get(style)
        if sized is None:
            if style not in self.by_name or "@" in style:
                raise UnknownStyle
            if width is not None:
                raise UnknownWidth("the style has no widths")
            if ratio is not None:
                raise UnknownRatio("the style has no ratios")
            if image_format is not None:
                raise UnknownFormat("the style has no formats")
            return style
        chosen = image_format or sized.default_format
        if chosen not in sized.formats:
            raise UnknownFormat
        if ratio is not None and ratio not in sized.ratios:
            raise UnknownRatio
        return _name(style, self._listed(sized, width), ratio, chosen)

    def query(self, name: str | None) -> str:
        """Return the query string of the rendition's address. Empty for the original (None)."""
        if name is None:
            return ""
        rendition = self.get(name)
        if rendition.width is None:
            return f"style={rendition.style}"
        ratio = f"&r={rendition.ratio}" if rendition.ratio is not None else ""
        return f"style={rendition.style}&w={rendition.width}{ratio}&format={rendition.format}"

    def queries(self, style: str) -> list[str]:
        """Return the query strings of all addresses of a style, each with and without a width, a ratio and a format.

        Not those with ``dpr``, ``v`` or ``download``, or in another order, which have no end.
        """
        formats = self.formats(style)
        auto = ("&format=auto",) if formats and self.negotiates else ()
        widths = ("", *(f"&w={width}" for width in self.widths(style)))
        named = ("", *(f"&format={image_format}" for image_format in formats), *auto)
        ratios = ("", *(f"&r={ratio}" for ratio in self.ratios(style)))
        return [f"style={style}{''.join(chosen)}" for chosen in product(widths, ratios, named)]

    def fallback(self, name: str) -> str | None:
        """Return what replaces a variant that COS does not make: the same width in the style's next format, or None."""
        rendition = self.get(name)
        formats = self.formats(rendition.style)
        if rendition.format not in formats[:-1]:
            return None
        next_format = formats[formats.index(rendition.format) + 1]
        other = _name(rendition.style, rendition.width or 0, rendition.ratio, next_format)
        return other if self.has(other) else None

    def _listed(self, sized: _Sized, width: float | None) -> int:
        if width is None:
            return sized.widths[-1]
        if self._defaults.unknown_width == "reject" and width not in sized.widths:
            raise UnknownWidth
        return next((listed for listed in sized.widths if listed >= width), sized.widths[-1])

    def _of(self, name: str, style: StyleSettings) -> Iterator[Rendition]:
        defaults = self._defaults
        named = style.formats or defaults.formats
        formats = tuple(dict.fromkeys((*named, "original")))
        widths = tuple(sorted(set(style.widths or defaults.widths)))
        ratios = tuple(dict.fromkeys(style.ratios))
        self._sized[name] = _Sized(widths, ratios, formats, named[0] if len(named) == 1 else "original")
        qualities = {**defaults.quality, **style.quality}
        for width, ratio, image_format in product(widths, (None, *ratios), formats):
            template = _template(style, width, ratio, image_format, qualities.get(image_format))
            variant = _name(name, width, ratio, image_format)
            yield Rendition(variant, name, template, width, image_format, ratio, public=style.public)


def _name(style: str, width: int, ratio: str | None, image_format: str) -> str:
    cut = f".{ratio.replace(':', 'x')}" if ratio is not None else ""
    return f"{style}@{width}{cut}.{image_format}"


def _template(
    style: StyleSettings, width: int, ratio: str | None, image_format: VariantFormat, quality: int | None
) -> str:
    """Return the rule of a width, ratio and format. A parameter that ``process`` does not place comes at its end."""
    process = style.process if ratio is not None else style.process_of_own_ratio
    rule = process.replace("{width}", str(width))
    if ratio is not None:
        across, down = map(int, ratio.split(":"))
        rule = rule.replace("{height}", str(max(1, round(width * down / across))))
    elif style.ratio is not None:
        rule = rule.replace("{height}", str(max(1, round(width / style.ratio))))
    if "{quality}" in rule:
        rule = rule.replace("{quality}", str(quality or _DEFAULT_QUALITY))
    elif quality is not None:
        rule += f"/quality/{quality}"
    return rule if image_format == "original" else f"{rule}/format/{image_format}"


_DEFAULT_QUALITY: Final = 75
