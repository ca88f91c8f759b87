"""`layers --tree`: the graph of layers in a terminal, with sizes, and with what several images have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.terminal.output import human_size, short_digest
from arstore.cli.terminal.tree import Line, marks, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.cli.pictures.layer_graph import LayerGraph
    from arstore.cli.terminal.tree import Marks


def write_layer_tree(graph: LayerGraph) -> None:
    """Print the graph. Raises ClosedStreamError, HostError."""
    drawn = marks()
    write_tree(("LAYER", "SIZE>", "NEEDED BY"), (9, 10), _lines(graph, drawn), drawn)


def _lines(graph: LayerGraph, drawn: Marks) -> Iterator[Line]:
    for row in graph.rows:
        lanes = drawn.line * row.lane
        if row.forks:
            lanes = drawn.line * (row.lane - 1) + drawn.branch
        if row.summed:
            name, dot = f"{row.summed:,} smaller layer{'' if row.summed == 1 else 's'}", drawn.gap
        else:
            name, dot = short_digest(row.chain_id), f"{drawn.dot}  "
        if row.tops:
            name += f"  {', '.join(row.tops[:3])}" + (f" and {len(row.tops) - 3} more" if len(row.tops) > 3 else "")
        needed = "" if row.uses == 1 or row.summed else f"{row.uses} images"
        yield Line(f"{lanes}{dot}", name, (human_size(row.size), needed))
