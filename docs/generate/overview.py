"""``docs/overview.svg``: the picture of the README, which follows the colour scheme of the reader's system."""

from collections.abc import Iterator
from dataclasses import dataclass

_WIDTH, _HEIGHT = 920, 420

# The background belongs to the picture, so that the text is legible whatever the page around it looks like.
_STYLE = """
  .page { fill: #ffffff } .box { fill: #f3f5f8; stroke: #5b6573 } .own { fill: #dcebfb; stroke: #1f6fb5 }
  .name { fill: #17202b; font-weight: 600 } .note { fill: #45505e } .line { stroke: #45505e; fill: none }
  .tip { fill: #45505e } .other { stroke-dasharray: 6 5 }
  text { font: 15px system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; text-anchor: middle }
  .note { font-size: 13px }
  .box, .own, .line { stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #12171d } .box { fill: #1f2731; stroke: #8d99a8 } .own { fill: #173a5a; stroke: #6ab0f0 }
    .name { fill: #f1f4f8 } .note { fill: #b9c3cf } .line { stroke: #b9c3cf } .tip { fill: #b9c3cf }
  }
"""


@dataclass(frozen=True)
class Box:
    """A participant: ``note`` is the line below its name."""

    name: str
    note: str
    left: int
    top: int
    width: int = 170
    height: int = 70
    style: str = "box"

    @property
    def middle(self) -> int:
        """The x of its centre."""
        return self.left + self.width // 2

    def draw(self) -> Iterator[str]:
        """Yield the rectangle and both lines of text."""
        size = f'width="{self.width}" height="{self.height}"'
        yield f'<rect class="{self.style}" x="{self.left}" y="{self.top}" {size} rx="8"/>'
        yield _text("name", self.middle, self.top + 31, self.name)
        yield _text("note", self.middle, self.top + 51, self.note)


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
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" rx="12"/>',
        *(part for box in _BOXES for part in box.draw()),
        *_arrow(_BROWSER, _NGINX, "GET /i/{id}"),
        *_arrow(_NGINX, _GATEWAY, "on a miss"),
        *_arrow(_GATEWAY, _COS, "presigned URL"),
        *_arc(_NGINX, _COS, 20, 100, "accel: nginx fetches the bytes"),
        *_arc(_BROWSER, _COS, 45, 36, "redirect: the browser fetches the bytes"),
        *_down(_GATEWAY, _REDIS, -30),
        *_down(_GATEWAY, _POSTGRES, 30),
    ]
    body = "\n".join(f"  {part}" for part in parts)
    title = "A browser asks nginx or a CDN, which asks the gateway, which reads COS, Redis and Postgres"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">\n'
        f"  <title>{title}</title>\n"
        f"  <style>{_STYLE}  </style>\n"
        '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path class="tip" d="M0 0 10 5 0 10z"/></marker></defs>\n'
        f"{body}\n</svg>\n"
    )


def _arrow(start: Box, end: Box, label: str) -> Iterator[str]:
    """A horizontal arrow between neighbours, with its label above."""
    left, right, y = start.left + start.width + 3, end.left - 3, start.top + start.height // 2
    yield _line(f"M{left} {y} H{right}")
    yield _text("note", (left + right) // 2, y - 9, label)


def _arc(start: Box, end: Box, shift: int, peak: int, label: str) -> Iterator[str]:
    """A dashed arrow over the row, ``shift`` right of the end's centre; ``peak`` is the y of its horizontal part."""
    x, y, right = start.middle, start.top - 3, end.middle - 40 + shift
    yield _line(f"M{x} {y} V{peak + 12} q0 -12 12 -12 H{right - 12} q12 0 12 12 V{y}", "line other")
    yield _text("note", (x + right) // 2, peak - 9, label)


def _down(start: Box, end: Box, shift: int) -> Iterator[str]:
    """An arrow to a box in the row below, from ``shift`` right of the start's centre."""
    x, y, middle = start.middle + shift, start.top + start.height + 3, (start.top + start.height + end.top) // 2
    yield _line(f"M{x} {y} V{middle} H{end.middle} V{end.top - 3}")


def _line(path: str, style: str = "line") -> str:
    return f'<path class="{style}" marker-end="url(#tip)" d="{path}"/>'


def _text(style: str, x: int, y: int, text: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{text}</text>'
