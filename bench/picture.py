"""The results as a picture: a bar for each ratio, with the goal, in SVG."""

import math
from collections.abc import Sequence
from html import escape

from bench.results import Result, Run, value

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _GAP, _BOTTOM = 920, 172, 312, 92, 22, 10, 48
_MOST = 4.0  # the largest ratio on the scale; longer bars end there
_STYLE = """
  .page, .beyond { fill: #ffffff } .own { fill: #1f6fb5 } .below { fill: #b4541a }
  .goal { stroke: #17202b; stroke-width: 2.5 }
  .even { stroke: #5b6573; stroke-dasharray: 4 4 } .scale { stroke: #dfe4ea }
  .name { fill: #17202b } .note { fill: #45505e } .title { fill: #17202b; font-weight: 600 }
  text { font: 13px system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif }
  .title { font-size: 18px } .middle { text-anchor: middle } .end { text-anchor: end }
  @media (prefers-color-scheme: dark) {
    .page, .beyond { fill: #12171d } .own { fill: #4f9fe6 } .below { fill: #e08a4f } .goal { stroke: #f1f4f8 }
    .even { stroke: #8d99a8 } .scale { stroke: #2a333e }
    .name, .title { fill: #f1f4f8 } .note { fill: #b9c3cf }
  }
"""


def svg(run: Run, found: Sequence[Result]) -> str:
    """Return the picture: rows in the order of the results, a gap between two modes; raises ``ValueError`` for none."""
    if not found:
        raise ValueError("there are no results to draw")
    scale = _Scale(max(max(result.ratio, result.comparison.goal or 0) for result in found))
    rows, y = [], float(_TOP)
    for number, result in enumerate(found):
        if number and result.comparison.mode != found[number - 1].comparison.mode:
            y += _GAP
        rows += _row(result, y, scale)
        y += _ROW
    height = int(y) + _BOTTOM
    title = "image-gateway beside the servers named at the right: ratio of the rates, more is better"
    second = "a second of processor time" if run.per_cpu else "a second"
    method = (
        f"medians of {run.rounds} rounds of {run.seconds} s, requests (batch: images) {second}, server on one core; "
        "mark: goal; orange: below it"
    )
    machine = f"{run.date[:10]}, Python {run.python}, {run.kernel}, nginx {run.nginx}, {run.processor}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">',
            f"  <title>{title}</title>",
            f"  <style>{_STYLE}  </style>",
            f'  <rect class="page" width="{_WIDTH}" height="{height}" rx="12"/>',
            f'  <text class="title" x="20" y="32">{title}</text>',
            f'  <text class="note" x="20" y="54">{method}</text>',
            *scale.lines(_TOP - 6, y + 2),
            *rows,
            f'  <text class="note" x="20" y="{height - 16}">{escape(machine)}</text>',
            "</svg>",
            "",
        ]
    )


class _Scale:
    """Where a ratio is, from 0 to the largest one or ``_MOST``."""

    def __init__(self, largest: float) -> None:
        self._largest = max(1.0, min(_MOST, math.ceil(largest * 2) / 2))
        self._step = 0.5 if self._largest <= _MOST / 2 else 1.0

    def is_beyond(self, ratio: float) -> bool:
        return ratio > self._largest

    def x(self, ratio: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(ratio, self._largest) / self._largest

    def lines(self, top: float, bottom: float) -> list[str]:
        lines = []
        for number in range(int(self._largest / self._step) + 1):
            ratio = number * self._step
            kind = "even" if ratio == 1 else "scale"
            x = f"{self.x(ratio):.1f}"
            lines.append(f'  <line class="{kind}" x1="{x}" y1="{top}" x2="{x}" y2="{bottom:.0f}"/>')
            lines.append(f'  <text class="note middle" x="{x}" y="{top - 6}">{ratio:g}</text>')
        return lines


def _row(result: Result, y: float, scale: _Scale) -> list[str]:
    what = result.comparison
    name = escape(" ".join(filter(None, (what.mode, what.size))))
    unit = f" {what.unit}" if what.less_is_better else "/s"
    theirs = f"{what.baseline} {value(result.baseline_median, what.unit)}{unit}"
    numbers = escape(f"{result.ratio:.2f} · {value(result.median, what.unit)}{unit} · {theirs}")
    colour = "below" if result.is_met is False else "own"
    width = f"{scale.x(result.ratio) - _LEFT:.1f}"
    middle = y + _ROW / 2 + 4
    drawn = [
        f'  <text class="name end" x="{_LEFT - 10}" y="{middle:.0f}">{name}</text>',
        f'  <rect class="{colour}" x="{_LEFT}" y="{y + 3:.0f}" width="{width}" height="{_ROW - 6}" rx="2"/>',
        f'  <text class="note" x="{_WIDTH - _RIGHT + 12}" y="{middle:.0f}">{numbers}</text>',
    ]
    if scale.is_beyond(result.ratio):
        drawn.append(f'  <text class="beyond end" x="{scale.x(result.ratio) - 6:.0f}" y="{middle:.0f}">»</text>')
    if what.goal is not None:
        x = f"{scale.x(what.goal):.1f}"
        drawn.append(f'  <line class="goal" x1="{x}" y1="{y:.0f}" x2="{x}" y2="{y + _ROW:.0f}"/>')
    return drawn
