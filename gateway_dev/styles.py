"""The styles of the development stack, and a query to try on each sample image."""

from typing import Any, Final

STYLES: Final[dict[str, Any]] = {
    "thumb": "imageMogr2/auto-orient/thumbnail/160x160>/strip",
    "card": {"widths": [320, 640, 960], "formats": ["avif", "webp"], "quality": {"avif": 50, "webp": 75}},
    "square": {
        "process": "imageMogr2/auto-orient/crop/{width}x{height}/gravity/{focus}/strip",
        "ratio": 1,
        "widths": [96, 192],
        "formats": ["webp"],
    },
    "cover": {
        "process": "imageMogr2/auto-orient/crop/{width}x{height}/gravity/{focus}/strip",
        "ratios": ["16:9", "1:1"],
        "widths": [320, 640],
        "formats": ["webp"],
    },
    "hero": {"widths": [1280, 1920], "formats": ["avif", "webp"]},
    # So small that it shows only colours: everybody may see it, also of private images.
    "teaser": {"widths": [24], "formats": ["webp"], "public": True},
}

# Of public images, in turn.
EXAMPLES: Final = (
    "style=card&w=640&format=avif",
    "style=thumb",
    "style=cover&w=640&r=16:9&format=webp",
    "style=card&w=320&dpr=2&format=webp",
    "style=hero&w=1280&format=avif",
)
TEASER: Final = "style=teaser"
