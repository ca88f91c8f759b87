"""Visibility: whether an image shows a path of a layer, or which layer above hides it.

These are the rules of overlayfs (Documentation/filesystems/overlayfs.rst): the uppermost name wins, directories are
merged, and a whiteout, an opaque directory or another kind of file hides what is below it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from arstore.maintenance.find.query import parents
from arstore.trees.contents.row import DIRECTORIES, OPAQUE, WHITEOUT
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from arstore.maintenance.find.scan import Entry, Occurrences


class How(enum.Enum):
    """How a layer hides what lower layers have."""

    WHITEOUT = "whiteout"
    OPAQUE = "opaque"
    """It has an opaque directory there, or above."""
    REPLACED = "replaced"
    """It has something else there, or a file in place of a directory above."""


class Hidden(NamedTuple):
    """The tree that hides a path, and how."""

    tree: bytes
    how: How


def shown(path: bytes, stack: Sequence[bytes], found: Occurrences) -> Iterator[tuple[bytes, Hidden | None]]:
    """Yield the trees of *stack* (top first) that have *path*, each with what hides it; None if the image shows it."""
    own = found.own.get(path, {})
    above = [kinds for parent in parents(path) if (kinds := found.hiding.get(parent))]
    hidden: Hidden | None = None
    directory: bytes | None = None
    for tree in stack:
        entry = own.get(tree)
        if entry is not None and entry.kind != WHITEOUT:
            is_directory = entry.kind in DIRECTORIES
            if hidden is None and directory is not None and not is_directory:
                hidden = Hidden(directory, How.REPLACED)
            yield tree, hidden
            if hidden is None and is_directory:
                directory = tree
        hidden = hidden or _hides(tree, entry, above)


def _hides(tree: bytes, entry: Entry | None, above: Sequence[Mapping[bytes, int]]) -> Hidden | None:
    """Return how *tree* hides what is below it, if it does."""
    if entry is not None:
        if entry.kind == WHITEOUT:
            return Hidden(tree, How.WHITEOUT)
        if entry.kind == OPAQUE:
            return Hidden(tree, How.OPAQUE)
        if entry.kind not in DIRECTORIES:
            return Hidden(tree, How.REPLACED)
    for kinds in above:
        kind = kinds.get(tree)
        if kind is not None:
            how = How.WHITEOUT if kind == WHITEOUT else How.OPAQUE if kind == OPAQUE else How.REPLACED
            return Hidden(tree, how)
    return None
