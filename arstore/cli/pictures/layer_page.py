"""The page of `layers --html`: the graph of layers as rows with lanes, bars and names, to search and to fold.

All rows are in the page without a script, which only adds moving by keys, folding and searching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.pictures.markup import iec_size, tag, text
from arstore.cli.pictures.page import page
from arstore.cli.pictures.words import facts, needed_by, row_label, row_name, shown_names
from arstore.cli.terminal.output import short_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.cli.pictures.layer_graph import LayerGraph, Row

_MOST_NAMES = 12
_BAR = 100


def layer_page(graph: LayerGraph, root: str) -> bytes:
    """Return the page. The same store gives the same bytes."""
    head = tag(
        "header",
        {},
        tag("h1", {}, "Layers of ", tag("bdi", {}, text(root))),
        tag("ul", {"class": "facts"}, *(tag("li", {}, text(fact)) for fact in facts(graph).split(" · "))),
    )
    key = tag(
        "ul",
        {"class": "legend", "aria-label": "Legend"},
        tag("li", {}, tag("span", {"class": "swatch own"}), "one image has it"),
        tag("li", {}, tag("span", {"class": "swatch shared"}), "several images have it"),
    )
    words = (
        "Each row is a layer, below its parent. Sizes are those of uncompressed tars. "
        "The arrow keys move; Left and Right fold and unfold the layers that need this one."
    )
    search = tag(
        "p",
        {"class": "search", "hidden": "hidden"},
        '<label for="search">Search </label><input id="search" type="search" autocomplete="off" spellcheck="false"> ',
        tag("span", {"id": "matches", "aria-live": "polite"}),
    )
    rows = "\n".join(_rows(graph))
    tree = tag("ol", {"id": "graph", "role": "tree", "aria-label": "Layers", "class": "graph"}, "\n", rows, "\n")
    body = tag("main", {}, head, key, tag("p", {"class": "help"}, text(words)), search, tree)
    data = {"parents": [row.parent for row in graph.rows]}
    return page(f"Layers of {root}", body, data, ("page.css", "layers.css"), ("layers.js",))


def _rows(graph: LayerGraph) -> Iterator[str]:
    largest = max((row.size for row in graph.rows), default=0)
    depths: list[int] = []
    for place, row in enumerate(graph.rows):
        depths.append(depths[row.parent] + 1 if row.parent >= 0 else 1)
        yield tag(
            "li",
            {
                "role": "treeitem",
                "aria-level": depths[place],
                "aria-label": row_label(row, _MOST_NAMES),
                "class": "rest" if row.summed else "shared" if row.uses > 1 else "own",
            },
            tag("span", {"class": "lanes", "aria-hidden": "true"}, *_lanes(row)),
            tag("span", {"class": "what"}, _what(row)),
            tag("span", {"class": "size"}, iec_size(row.size)),
            _bar(row, largest),
            tag("span", {"class": "uses"}, text(needed_by(row))),
        )


def _lanes(row: Row) -> Iterator[str]:
    """Yield a cell for each lane: a line that passes, a fork, or the layer's dot with the lines that meet there."""
    for lane in range(row.lane):
        yield tag("i", {"class": "pass fork" if row.forks and lane == row.lane - 1 else "pass"})
    ends = [word for word, is_so in (("up", row.parent >= 0 and not row.forks), ("down", row.goes_on)) if is_so]
    yield tag("i", {"class": " ".join(["dot", *ends, *(["left"] if row.forks else [])])})


def _what(row: Row) -> str:
    names = (tag("b", {}, tag("bdi", {}, text(name))) for name in shown_names(row, _MOST_NAMES))
    digest = row_name(row) if row.summed else tag("code", {"title": row.chain_id}, short_digest(row.chain_id))
    return " ".join((digest, *names))


def _bar(row: Row, largest: int) -> str:
    width = max(1.0, _BAR * row.size / largest) if row.size else 0.0
    box = {"class": "bar", "viewBox": f"0 0 {_BAR} 10", "preserveAspectRatio": "none", "aria-hidden": "true"}
    if row.uses <= 1:
        return tag("svg", box, f'<rect width="{width:.1f}" height="10"/>')
    stripes = "".join(f"M{x} 10L{x + 3} 0" for x in range(1, int(width) - 3, 4))
    return tag("svg", box, f'<rect width="{width:.1f}" height="10"/>', f'<path d="{stripes}"/>' if stripes else "")
