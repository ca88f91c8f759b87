"""Trees that the index of contents lacks: they are read themselves, into temporary segments."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.paths import opened
from arstore.errors import ArstoreError
from arstore.store.contents.segment import Segment, tree_id, write
from arstore.trees.contents.page import pages
from arstore.trees.needs import read_needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.store.ingest.inventory import Inventory
    from arstore.trees.contents.file_digests import FileDigests
    from arstore.trees.contents.page import Page
    from arstore.trees.format import TreeFormat

_TOGETHER = 64 << 20
"""Bytes of pages that are kept in memory before a segment is written."""


def read_tree(inventory: Inventory, key: str) -> list[Page]:
    """Return the pages of a trusted tree, without digests; empty if there is none, or if it cannot be read."""
    with suppress(ArstoreError, OSError):
        if inventory.trusted_records([key]) is not None:
            form, path = inventory.tree_place(key)
            return list(pages_of(form, path, None))
    return []


def pages_of(form: TreeFormat, path: str, digests: FileDigests | None) -> Iterator[Page]:
    """Yield the pages of the tree in the directory *path*. Raises StoreDamagedError, OSError."""
    implied = frozenset(read_needs(path).implied)
    with opened(path) as fd:
        yield from pages(form.rows(fd), digests, implied)


def segments(inventory: Inventory, keys: Iterable[str]) -> Iterator[tuple[Segment | None, list[str]]]:
    """Yield segments in unnamed temporary files with these trees, and the keys of those that could not be read.

    Raises OSError.
    """
    group: list[tuple[bytes, list[Page]]] = []
    lost: list[str] = []
    size = 0
    for key in keys:
        found = read_tree(inventory, key)
        if not found:
            lost.append(key)
            continue
        group.append((tree_id(key), found))
        size += sum(len(page.names) + len(page.keys) for page in found)
        if size > _TOGETHER:
            yield _temporary(group), lost
            group, lost, size = [], [], 0
    yield _temporary(group) if group else None, lost


def _temporary(group: list[tuple[bytes, list[Page]]]) -> Segment:
    with tempfile.TemporaryFile() as file:
        write(file.fileno(), [], group)
        return Segment(os.dup(file.fileno()))
