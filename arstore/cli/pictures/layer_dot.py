"""`layers --dot`: the graph of layers in the language of Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.pictures.markup import iec_size
from arstore.cli.terminal.output import printable, short_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.cli.pictures.layer_graph import LayerGraph

_MOST_NAMES = 20


def layer_dot(graph: LayerGraph) -> Iterator[str]:
    """Yield the lines. Layers that several images have are drawn with a bold, dashed border."""
    yield "digraph layers {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, fontname="monospace", fontsize=10];'
    for place, row in enumerate(graph.rows):
        if row.summed:
            name = f"{row.summed} smaller layers"
            yield f"  n{place} [label={_text(name, iec_size(row.size))}, style=dotted];"
        else:
            uses = f"{row.uses} image{'' if row.uses == 1 else 's'}"
            style = ', style="bold,dashed"' if row.uses > 1 else ""
            yield f"  n{place} [label={_text(short_digest(row.chain_id), iec_size(row.size), uses)}{style}];"
        if row.parent >= 0:
            yield f"  n{row.parent} -> n{place};"
        if row.tops:
            names = list(row.tops[:_MOST_NAMES])
            if len(row.tops) > _MOST_NAMES:
                names.append(f"and {len(row.tops) - _MOST_NAMES} more")
            yield f"  i{place} [label={_text(*names)}, shape=plaintext];"
            yield f"  n{place} -> i{place} [arrowhead=none, style=dotted];"
    yield "}"


def _text(*lines: str) -> str:
    """Return a quoted label of these lines (The DOT Language, "ID"): in it, only quotes and backslashes are special."""
    shown = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(shown) + '"'
