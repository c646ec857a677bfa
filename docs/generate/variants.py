"""``docs/variants.svg``: from an address to a variant, and what replaces one that COS does not make."""

from docs.generate.drawing import Box, arrow, picture, text

_WIDTH, _HEIGHT = 920, 330
_TOP, _BELOW = 50, 210

_ADDRESS = Box("style=card&amp;w=320&amp;dpr=2", "format=auto, and Accept", 20, _TOP, 245)
_NAME = Box("card@640.avif", "in the allow-list", 365, _TOP, 150, style="own")
_CACHES = Box("URL, entry, bytes", "each of its own", 570, _TOP, 190, style="own")
_COS = Box("COS", "imageMogr2", 810, _TOP, 90)

_AVIF = Box("card@640.avif", "image/avif", 20, _BELOW, 170, style="own")
_WEBP = Box("card@640.webp", "image/webp", 270, _BELOW, 170, style="own")
_SMALL = Box("card@640.original", "its own format", 520, _BELOW, 170, style="own")
_ORIGINAL = Box("original", "for 60 s", 770, _BELOW, 130)


def variants() -> str:
    """Return the picture."""
    boxes = (_ADDRESS, _NAME, _CACHES, _COS, _AVIF, _WEBP, _SMALL, _ORIGINAL)
    parts = [
        *(part for box in boxes for part in box.draw()),
        *arrow(_ADDRESS, _NAME, "rounded up"),
        *arrow(_NAME, _CACHES, "key"),
        *arrow(_CACHES, _COS, "rule"),
        text("note", _WIDTH // 2, _BELOW - 28, "where COS does not make the variant:"),
        *arrow(_AVIF, _WEBP, "refused"),
        *arrow(_WEBP, _SMALL, "refused"),
        *arrow(_SMALL, _ORIGINAL, "refused"),
    ]
    title = "An address becomes a name of the allow-list, the key of all caches; COS's refusals lead to the next format"
    return picture(title, _WIDTH, _HEIGHT, parts)
