"""The words of the pictures of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.pictures.markup import iec_size
from arstore.cli.terminal.output import short_digest

if TYPE_CHECKING:
    from arstore.cli.pictures.layer_graph import LayerGraph, Row


def facts(graph: LayerGraph) -> str:
    """Return the numbers of layers and images of the graph, and the size of the layers, in words."""
    return (
        f"{_counted(graph.layers, 'layer')} · {_counted(graph.images, 'image')} · "
        f"{iec_size(graph.size)} of uncompressed tars"
    )


def row_name(row: Row) -> str:
    """Return the name of a row."""
    return f"{_counted(row.summed, 'smaller layer')}" if row.summed else short_digest(row.chain_id)


def needed_by(row: Row) -> str:
    """Return how many images have the layer."""
    return "" if row.summed else _counted(row.uses, "image") if row.uses else "no image"


def shown_names(row: Row, most: int) -> list[str]:
    """Return the names of images whose top layer it is, and how many more there are."""
    names = list(row.tops[:most])
    return [*names, f"and {len(row.tops) - most:,} more"] if len(row.tops) > most else names


def row_label(row: Row, most: int) -> str:
    """Return all that a row shows, as one text."""
    return ", ".join(filter(None, [row_name(row), iec_size(row.size), needed_by(row), *shown_names(row, most)]))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
