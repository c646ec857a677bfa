"""Drawing of the pictures in the documents: SVG that follows the colour scheme of the reader's system."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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
        yield text("name", self.middle, self.top + 31, self.name)
        yield text("note", self.middle, self.top + 51, self.note)


def picture(title: str, width: int, height: int, parts: Iterable[str]) -> str:
    """Return the SVG; ``title`` is its text for screen readers."""
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">\n'
        f"  <title>{title}</title>\n"
        f"  <style>{_STYLE}  </style>\n"
        '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path class="tip" d="M0 0 10 5 0 10z"/></marker></defs>\n'
        f'  <rect class="page" width="{width}" height="{height}" rx="12"/>\n'
        f"{body}\n</svg>\n"
    )


def arrow(start: Box, end: Box, label: str) -> Iterator[str]:
    """A horizontal arrow between neighbours, with its label above."""
    left, right, y = start.left + start.width + 3, end.left - 3, start.top + start.height // 2
    yield line(f"M{left} {y} H{right}")
    yield text("note", (left + right) // 2, y - 9, label)


def line(path: str, style: str = "line") -> str:
    """Return a path with a tip at its end."""
    return f'<path class="{style}" marker-end="url(#tip)" d="{path}"/>'


def text(style: str, x: int, y: int, words: str) -> str:
    """Return one line of text, centred at x."""
    return f'<text class="{style}" x="{x}" y="{y}">{words}</text>'
