"""One page with the same pictures, as the libraries for images write it: a wide picture, and cards below.

Every row has the same format in the same quality, so that only the choice of widths and the order of requests differ.
next/image, Nuxt Image and unpic are not run. Their markup is written here by the rules in their documents, with the
addresses that the loaders of ``@image-gateway/web`` make; the JavaScript of React, Next, Vue and Nuxt is left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

STYLE: Final = "card"
FORMATS: Final = ("avif", "webp", "original")
FORMAT: Final = "avif"  # of each row
WIDTHS: Final = (160, 320, 640, 960, 1280, 1920)  # the default of image_variants
# The default imageSizes and deviceSizes of Next.js
_NEXT: Final = (32, 48, 64, 96, 128, 256, 384, 640, 750, 828, 1080, 1200, 1920, 2048, 3840)
_SMALLEST_DEVICE: Final = 640
# The default resolutions of unpic
_UNPIC: Final = (640, 750, 828, 960, 1080, 1280, 1668, 1920, 2048, 2560, 3200, 3840, 4480, 5120, 6016)
_LAYOUT: Final = "body{margin:0}main{display:grid;gap:16px;justify-items:start}p{margin:0;height:20px}"


@dataclass(frozen=True)
class Picture:
    """A picture of the page: its id, and its box in CSS pixels."""

    image_id: str
    width: int
    height: int
    hero: bool = False
    placeholder: str = ""

    @property
    def box(self) -> str:
        """The attributes of the size."""
        return f'width="{self.width}" height="{self.height}"'

    def address(self, base: str, width: int | None = None, image_format: str | None = None) -> str:
        """Return the address of the style, as it stands in an attribute."""
        rest = "".join(f"&amp;{name}={value}" for name, value in (("w", width), ("format", image_format)) if value)
        return f"{base}/i/{self.image_id}?style={STYLE}{rest}"


@dataclass(frozen=True)
class Markup:
    """How a library writes the page: what precedes the pictures, and each picture."""

    name: str
    head: Callable[[str, str, Picture], str]
    picture: Callable[[str, Picture], str]


def page(markup: Markup, base: str, config: str, pictures: Sequence[Picture]) -> str:
    """Return the page. ``config`` is the gateway's ``config.json``."""
    cards = "".join(f"{markup.picture(base, picture)}<p>A line of text</p>" for picture in pictures)
    head = markup.head(base, config, pictures[0])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Pictures</title><style>{_LAYOUT}</style>{head}<main>{cards}</main></html>"
    )


def plain(base: str, picture: Picture) -> str:
    """``<img>`` as a careful person writes it: the widths of the style, and what the layout needs."""
    how = 'fetchpriority="high"' if picture.hero else 'loading="lazy"'
    sizes, srcset = _sizes(picture), _candidates(picture, base, WIDTHS, FORMAT)
    style, src = "max-width:100%;height:auto", picture.address(base, picture.width, FORMAT)
    return f'<img alt="" {how} {picture.box} style="{style}" sizes="{sizes}" srcset="{srcset}" src="{src}">'


def ours(base: str, picture: Picture) -> str:
    """``<smart-image>`` alone: widths, formats and sizes come from the style and the box."""
    del base
    how = "priority" if picture.hero else "lazy"
    return f'<smart-image image-id="{picture.image_id}" alt="" {picture.box} style-name="{STYLE}" {how}></smart-image>'


def ours_with_img(base: str, picture: Picture) -> str:
    """``<smart-image>`` whose wide picture has an ``<img>`` inside, as a server renders it."""
    if not picture.hero:
        return ours(base, picture)
    sizes = _sizes(picture)
    avif, webp, original = (_candidates(picture, base, WIDTHS, image_format) for image_format in FORMATS)
    img = f'<img alt="" {picture.box} fetchpriority="high" sizes="{sizes}" srcset="{original}"'
    inner = (
        f'<picture><source type="image/avif" sizes="{sizes}" srcset="{avif}">'
        f'<source type="image/webp" sizes="{sizes}" srcset="{webp}">{img} src="{picture.address(base)}"></picture>'
    )
    return ours(base, picture).replace("></smart-image>", f">{inner}</smart-image>")


def ours_with_placeholders(base: str, picture: Picture) -> str:
    """As above, and each picture has the tiny copy of its metadata, as a server renders it."""
    tiny = f'<img slot="placeholder" alt="" {picture.box} src="{picture.placeholder}">'
    return ours_with_img(base, picture).replace(">", f' placeholder="{picture.placeholder}">{tiny}', 1)


def next_image(base: str, picture: Picture) -> str:
    """``<Image>`` of Next.js with ``sizes``: the listed widths from the smallest device that 100vw may be."""
    how = 'fetchpriority="high"' if picture.hero else 'loading="lazy"'
    style = 'decoding="async" style="color:transparent;max-width:100%;height:auto"'
    srcset = _candidates(picture, base, [width for width in _NEXT if width >= _SMALLEST_DEVICE], FORMAT)
    src = picture.address(base, _NEXT[-1], FORMAT)
    return f'<img alt="" {how} {picture.box} {style} sizes="{_sizes(picture)}" srcset="{srcset}" src="{src}">'


def nuxt_image(base: str, picture: Picture) -> str:
    """``<NuxtImg>`` with ``sizes``: the width for one and for two pixels a CSS pixel."""
    how = 'fetchpriority="high"' if picture.hero else 'loading="lazy"'
    style = "max-width:100%;height:auto"
    srcset = _candidates(picture, base, (picture.width, 2 * picture.width), FORMAT)
    src = picture.address(base, 2 * picture.width, FORMAT)
    return f'<img alt="" {how} {picture.box} style="{style}" sizes="{_sizes(picture)}" srcset="{srcset}" src="{src}">'


def unpic(base: str, picture: Picture) -> str:
    """``<Image>`` of unpic with its layout ``constrained``."""
    widths = sorted({picture.width, 2 * picture.width, *(width for width in _UNPIC if width < 2 * picture.width)})
    how = 'fetchpriority="high" loading="eager"' if picture.hero else 'decoding="async" loading="lazy"'
    style = (
        f"object-fit:cover;max-width:{picture.width}px;max-height:{picture.height}px;"
        f"aspect-ratio:{picture.width}/{picture.height};width:100%"
    )
    srcset = _candidates(picture, base, widths, FORMAT)
    src = picture.address(base, picture.width, FORMAT)
    return f'<img alt="" {how} sizes="{_sizes(picture)}" style="{style}" srcset="{srcset}" src="{src}">'


def _nothing(base: str, config: str, hero: Picture) -> str:
    del base, config, hero
    return ""


def _component(base: str, config: str, hero: Picture) -> str:
    del hero
    return (
        f'<link rel="stylesheet" href="{base}/static/smart-image.css">'
        f'<script type="application/json" id="smart-image-config">{config}</script>'
        f'<script type="module" src="{base}/static/smart-image.js"></script>'
    )


def _preload(write: Callable[[str, Picture], str]) -> Callable[[str, str, Picture], str]:
    """Return what writes a preload of the wide picture, as ``preload`` of Next.js and Nuxt Image does."""

    def head(base: str, config: str, hero: Picture) -> str:
        del config
        srcset = write(base, hero).partition('srcset="')[2].partition('"')[0]
        how = f'imagesizes="{_sizes(hero)}" fetchpriority="high"'
        return f'<link rel="preload" as="image" imagesrcset="{srcset}" {how}>'

    return head


def _sizes(picture: Picture) -> str:
    return f"(min-width: {picture.width}px) {picture.width}px, 100vw"


def _candidates(picture: Picture, base: str, widths: Sequence[int], image_format: str) -> str:
    return ", ".join(f"{picture.address(base, width, image_format)} {width}w" for width in widths)


MARKUPS: Final = (
    Markup("plain `<img>`", _nothing, plain),
    Markup("`<smart-image>`", _component, ours),
    Markup("`<smart-image>` with an `<img>`", _component, ours_with_img),
    Markup("next/image", _preload(next_image), next_image),
    Markup("Nuxt Image", _preload(nuxt_image), nuxt_image),
    Markup("unpic", _nothing, unpic),
    Markup("`<smart-image>` with an `<img>`, and placeholders", _component, ours_with_placeholders),
)
