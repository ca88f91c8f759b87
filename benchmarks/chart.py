"""The chart: how far each bar is passed or missed, as an SVG that is readable on light and on dark pages.

Each bar has one line, on a logarithmic scale of the score (how many times better than required). The vertical line is
the requirement. SVG 1.1 without scripts, fonts or external files. Colours follow the reader's colour scheme if the
viewer reports it, and are readable on both if it does not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Finding

_WIDTH, _NAMES, _VALUES = 1010, 420, 160
_LINE, _TOP, _BOTTOM = 22, 56, 30
_BEST, _WORST = 10.0, 0.1
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #7d8590 }
.title { font-size: 15px; font-weight: 600 }
.met { fill: #2da44e } .missed { fill: #cf5b3c } .none { fill: #8c959f }
.grid { stroke: #8c959f; stroke-opacity: .3 } .bar { stroke: #7d8590; stroke-width: 2 }
@media (prefers-color-scheme: light) { text { fill: #424a53 } .bar { stroke: #424a53 } }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } .bar { stroke: #c9d1d9 } }
"""


def chart(findings: Sequence[Finding]) -> str:
    """The SVG document."""
    height = _TOP + _LINE * len(findings) + _BOTTOM
    title = "How many times better than required"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{title}">',
        f"<style>{_STYLE}</style>",
        _text(8, 22, title, css="title"),
        *_scale(height),
    ]
    for number, finding in enumerate(findings):
        parts += _entry(finding, _TOP + _LINE * number)
    required = _place(1.0)
    parts.append(f'<line class="bar" x1="{required}" x2="{required}" y1="{_TOP - 6}" y2="{height - _BOTTOM + 4}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _place(score: float) -> float:
    """The horizontal position of a score, limited to the scale."""
    fraction = math.log(min(max(score, _WORST), _BEST) / _WORST) / math.log(_BEST / _WORST)
    return round(_NAMES + fraction * (_WIDTH - _NAMES - _VALUES), 1)


def _scale(height: int) -> list[str]:
    lines = []
    for step in _STEPS:
        x = _place(step)
        lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{height - _BOTTOM + 4}"/>')
        lines.append(_text(x, height - 10, f"{step:g}", anchor="middle"))
    return lines


def _entry(finding: Finding, y: int) -> list[str]:
    name = _text(_NAMES - 10, y + 14, _shortened(finding.bar.what), anchor="end")
    if finding.score is None:
        return [name, _text(_place(1.0) + 8, y + 14, "not measured")]
    start, end = sorted((_place(1.0), _place(finding.score)))
    css = "met" if finding.met else "missed"
    said = f"{_value(finding)} ({finding.bar.required})"
    bar = f'<rect class="{css}" x="{start}" y="{y + 3}" width="{max(end - start, 1.5):.1f}" height="14" rx="2"/>'
    return [name, bar, _text(max(end, _place(1.0)) + 6, y + 14, said)]


def _value(finding: Finding) -> str:
    value = finding.value or 0.0
    if finding.bar.at_most_more is not None:
        return f"{value:+.3g} {finding.bar.unit}"
    return f"{value:.3g}×" if finding.bar.against else f"{value:.3g} {finding.bar.unit}"


def _shortened(text: str, most: int = 68) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(x: float, y: float, text: str, anchor: str = "start", css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'
