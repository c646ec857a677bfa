"""``docs/overview.svg``: the picture of the README, which follows the colour scheme of the reader's system."""

from collections.abc import Iterator

from docs.generate.drawing import Box, arrow, line, picture, text

_WIDTH, _HEIGHT = 920, 420

_ROW, _BELOW = 190, 325
_BROWSER = Box("browser", "or any HTTP client", 20, _ROW, 150)
_NGINX = Box("nginx or CDN", "TLS, limits, cache", 250, _ROW, 150)
_GATEWAY = Box("gateway", "checks access", 480, _ROW, 150, style="own")
_COS = Box("Tencent COS", "private bucket", 750, _ROW, 150)
_REDIS = Box("Redis", "presigned URLs, queue", 370, _BELOW, 175)
_POSTGRES = Box("Postgres", "rows of the images", 565, _BELOW, 175)
_BOXES = (_BROWSER, _NGINX, _GATEWAY, _COS, _REDIS, _POSTGRES)


def overview() -> str:
    """Return the picture."""
    parts = [
        *(part for box in _BOXES for part in box.draw()),
        *arrow(_BROWSER, _NGINX, "GET /i/{id}"),
        *arrow(_NGINX, _GATEWAY, "on a miss"),
        *arrow(_GATEWAY, _COS, "presigned URL"),
        *_arc(_NGINX, _COS, 20, 100, "accel: nginx fetches the bytes"),
        *_arc(_BROWSER, _COS, 45, 36, "redirect: the browser fetches the bytes"),
        *_down(_GATEWAY, _REDIS, -30),
        *_down(_GATEWAY, _POSTGRES, 30),
    ]
    title = "A browser asks nginx or a CDN, which asks the gateway, which reads COS, Redis and Postgres"
    return picture(title, _WIDTH, _HEIGHT, parts)


def _arc(start: Box, end: Box, shift: int, peak: int, label: str) -> Iterator[str]:
    """A dashed arrow over the row, ``shift`` right of the end's centre; ``peak`` is the y of its horizontal part."""
    x, y, right = start.middle, start.top - 3, end.middle - 40 + shift
    yield line(f"M{x} {y} V{peak + 12} q0 -12 12 -12 H{right - 12} q12 0 12 12 V{y}", "line other")
    yield text("note", (x + right) // 2, peak - 9, label)


def _down(start: Box, end: Box, shift: int) -> Iterator[str]:
    """An arrow to a box in the row below, from ``shift`` right of the start's centre."""
    x, y, middle = start.middle + shift, start.top + start.height + 3, (start.top + start.height + end.top) // 2
    yield line(f"M{x} {y} V{middle} H{end.middle} V{end.top - 3}")
