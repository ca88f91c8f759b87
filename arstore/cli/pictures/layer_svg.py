"""`layers --svg`: the graph of layers as an image: a row for each layer, with lanes, a bar for its size, and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.pictures.markup import iec_size, tag, text
from arstore.cli.pictures.words import facts, needed_by, row_label, row_name, shown_names
from arstore.cli.terminal.output import printable
from arstore.cli.terminal.tree import cut

if TYPE_CHECKING:
    from arstore.cli.pictures.layer_graph import LayerGraph, Row

_WIDTH, _HEIGHT, _TOP, _LANE, _LEFT = 960, 26, 92, 16, 20
_DIGIT = 7.3
"""Width of a character of the names: 12 pixels, of a font with one width."""
_BAR = 150
_STYLE = """
svg { color-scheme: light dark; background: #fbfbfa; }
text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1c2430; }
.title { font: 600 18px system-ui, sans-serif; } .soft { fill: #59636f; }
.band { fill: #f1f3f5; } .line { stroke: #77818c; stroke-width: 2; fill: none; }
.own { fill: #3f7fc4; } .shared { fill: #c98a16; } .dot { stroke: #fbfbfa; stroke-width: 2; } .rest { fill: #8b949e; }
.name { font-weight: 600; }
@media (prefers-color-scheme: dark) {
svg { background: #14181d; } text { fill: #e6e9ed; } .soft { fill: #a3adb8; }
.band { fill: #1b2027; } .line { stroke: #77818c; } .dot { stroke: #14181d; }
.own { fill: #6aa5e6; } .shared { fill: #e2ab44; }
}
"""
_HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="shared" width="6" height="6"/><rect width="1.6" height="6" fill="#000" fill-opacity=".4"/></pattern>'
)


def layer_svg(graph: LayerGraph, root: str) -> bytes:
    """Return the image. The same store gives the same bytes."""
    height = _TOP + _HEIGHT * len(graph.rows) + 16
    largest = max((row.size for row in graph.rows), default=0)
    lanes = _LEFT + _LANE * graph.lanes
    title = f"Layers of {printable(root)}"
    head = [
        tag("title", {}, text(title)),
        tag(
            "desc",
            {},
            text(f"{facts(graph)}. Each row is a layer, below its parent. A hatched bar has several images."),
        ),
        tag("style", {}, _STYLE),
        tag("defs", {}, _HATCH),
        tag("text", {"class": "title", "x": _LEFT - 8, "y": 32}, text(cut(title, 90, "…"))),
        tag("text", {"class": "soft", "x": _LEFT - 8, "y": 54}, text(facts(graph))),
        _key(),
    ]
    rows = [_row(place, row, lanes, largest) for place, row in enumerate(graph.rows)]
    size = {"width": _WIDTH, "height": height, "viewBox": f"0 0 {_WIDTH} {height}"}
    image = {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria-label": f"{title}: {facts(graph)}", **size}
    markup = tag("svg", image, *head, "\n", _lines(graph), "\n", *rows)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{markup}\n'.encode()


def _key() -> str:
    return (
        f'<rect class="own" x="{_LEFT - 8}" y="66" width="24" height="10" rx="2"/>'
        + tag("text", {"class": "soft", "x": _LEFT + 24, "y": 76}, "one image has it")
        + f'<rect x="{_LEFT + 164}" y="66" width="24" height="10" rx="2" fill="url(#hatch)"/>'
        + tag("text", {"class": "soft", "x": _LEFT + 196, "y": 76}, "several images have it")
    )


def _middle(place: int) -> float:
    return _TOP + _HEIGHT * (place + 0.5)


def _lines(graph: LayerGraph) -> str:
    """Return the lines from each row to its parent."""
    found = []
    for place, row in enumerate(graph.rows):
        if row.parent < 0:
            continue
        x, y, top = _LEFT + _LANE * row.lane, _middle(place), _middle(row.parent)
        if row.forks:
            found.append(f"M{x - _LANE} {top:g}V{y - 8:g}q0 8 8 8H{x}")
        else:
            found.append(f"M{x} {top:g}V{y:g}")
    return f'<path class="line" d="{"".join(found)}"/>' if found else ""


def _row(place: int, row: Row, lanes: int, largest: int) -> str:
    middle = _middle(place)
    x = _LEFT + _LANE * row.lane
    kind = "rest" if row.summed else "shared" if row.uses > 1 else "own"
    bar = max(2.0, _BAR * row.size / largest) if row.size else 0.0
    size_at, bar_at, uses_at = lanes + 210, lanes + 222, lanes + 222 + _BAR + 12
    names_at = uses_at + 92
    space = int((_WIDTH - names_at - 8) / _DIGIT)
    names = cut(printable(", ".join(shown_names(row, 50))), max(8, space), "…")
    base = {"y": f"{middle + 4:g}"}
    fill = {"fill": "url(#hatch)"} if kind == "shared" else {"class": kind}
    size = {"x": bar_at, "y": f"{middle - 6:g}", "width": f"{bar:.1f}", "height": 12, "rx": 2}
    return (
        tag(
            "g",
            {},
            tag("title", {}, text(row_label(row, 50))),
            f'<circle class="dot {kind}" cx="{x}" cy="{middle:g}" r="6"/>',
            tag("text", {"x": lanes + 8, **base}, text(row_name(row))),
            tag("text", {"x": size_at, **base, "text-anchor": "end"}, iec_size(row.size)),
            tag("rect", {**size, **fill}),
            tag("text", {"class": "soft", "x": uses_at, **base}, text(needed_by(row))),
            tag("text", {"class": "name", "x": names_at, **base}, text(names)),
        )
        + "\n"
    )
