"""Completion of the index of contents: trees that it lacks, and digests that no import computed.

An import adds what it builds. What is left are trees that an older arstore built, trees whose import computed no
digests, and all trees if the index was lost. Their files are read and hashed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.access import require_writable
from arstore.disk.paths import opened
from arstore.errors import ArstoreError
from arstore.maintenance.find.loose import pages_of
from arstore.maintenance.find.stacks import Stacks
from arstore.store.contents.segment import tree_id
from arstore.store.contents.shelf import Shelf
from arstore.trees.contents import OFF
from arstore.trees.contents.file_digests import FileDigests
from arstore.trees.contents.missing_digests import add_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.contents.shelf import Index
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.trees.contents.page import Page

_TOGETHER = 64 << 20
"""Bytes of pages that are added at once."""
_WHAT = "layers"


def update(store: Store, progress: Progress) -> int:
    """Add what the index lacks; return the number of trees added. Trees of additional stores are left out.

    Raises PermissionDeniedError, HostError for a store that cannot be written, OSError (also when the disk is full) and
    the errors of Graph.
    """
    require_writable(store.directories.root)
    shelf = Shelf(store.directories.contents)
    shelf.clear([fault.name for fault in shelf.faults(deep=True)])
    with store.graph.read() as snapshot:
        stacks = Stacks(snapshot)
    with shelf.opened() as index:
        trees = [tree for tree in stacks.trees if tree not in index.trees]
        if store.file_digests != OFF:
            trees += [tree for tree in _unhashed(index) if tree in stacks.trees]
    missing = [key for _, key in stacks.keys_of(store.graph, trees)]
    with store.graph.read() as snapshot:
        sizes = {key: tree.size for key in missing if (tree := snapshot.tree(key)) is not None}
    progress.start(_WHAT, _WHAT, sum(sizes.get(key, 0) for key in missing))
    count = size = 0
    group: list[tuple[bytes, list[Page]]] = []
    for key in missing:
        found = _pages(store, key)
        if found:
            group.append((tree_id(key), found))
            count += 1
            size += sum(len(page.names) + len(page.digests) for page in found)
        if size > _TOGETHER:
            shelf.put(group)
            group, size = [], 0
        progress.advance(_WHAT, sizes.get(key, 0))
    shelf.put(group)
    progress.finish(_WHAT)
    return count


def _unhashed(index: Index) -> Iterator[bytes]:
    """Yield the trees that have files, and no digest of any."""
    for number, segment in enumerate(index.segments):
        found: dict[bytes, bool] = {}
        for page in map(segment.page, index.pages(number)):
            if page.head.files:
                found[page.tree] = found.get(page.tree, False) or bool(page.head.digests)
        yield from (tree for tree, has_some in found.items() if not has_some)


def _pages(store: Store, key: str) -> list[Page]:
    """Return the pages of a trusted tree of this store, with digests; empty if it cannot be read."""
    inventory = store.inventory(own_trees=True)
    with suppress(ArstoreError, OSError):
        if inventory.trusted_records([key]) is not None:
            form, path = inventory.tree_place(key)
            digests = None
            if store.file_digests != OFF:
                digests = FileDigests(store.file_digests)
                with opened(path) as fd:
                    add_missing(form, fd, digests)
            return list(pages_of(form, path, digests))
    return []
