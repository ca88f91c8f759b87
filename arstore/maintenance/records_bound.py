"""A bound on how much the store's own records grow or shrink when content is removed.

Blobs, trees, containers and unfinished imports are freed to the byte. The graph is not: LMDB writes new pages before it
reuses old ones, so a removal can make its file larger, and never makes it smaller. `index.json` becomes shorter, a file
system may keep or free blocks of directories, and the reserve may be made again. This is bounded, not predicted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.free_space import free_space
from arstore.disk.reserve import SPARE, SPARE_SIZE
from arstore.graph.datafile import DATA
from arstore.store.layout import INDEX
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.gc import Plan
    from arstore.maintenance.remove import Disposal
    from arstore.store.store import Store

_PAGE, _BLOCK = 4096, 512
_TRANSACTIONS = 2
"""A removal writes records in one transaction, and moves files in another (`store.collect.sweep`)."""
_PATH = 5
"""Pages that the change of one record rewrites: its leaf, the branches above it (three for 10^7 records), an overflow
page."""
_ALWAYS = 24
"""Pages that a transaction writes besides: roots, and the list of free pages."""


class _Layers(NamedTuple):
    tree: list[str]


def records_bound(directories: Directories, changes: int) -> int:
    """Return the most bytes by which records can grow or shrink, if so many of them change; 0 for none.

    Raises OSError.
    """
    if not changes:
        return 0
    pages = os.stat(f"{directories.graph}/{DATA}").st_size // _PAGE
    growth = _TRANSACTIONS * (min(pages, _PATH * changes) + _ALWAYS) * _PAGE
    return growth + _files(directories) + _reserve(directories)


def removal_bound(store: Store, plan: Disposal, containers: int = 0) -> int:
    """Return the bound for the *plan* of a removal of images, and of so many containers. Raises OSError."""
    removed = plan.removed
    # Each image may have a hint.
    kinds = (removed.images, removed.images, removed.blobs, removed.layers, removed.trees, removed.attachments)
    return records_bound(store.directories, sum(map(len, kinds)) + len(plan.untagged) + containers)


def changed_by_gc(plan: Plan) -> int:
    """Return how many records the *plan* of a collection changes, with a hint for each image and each container."""
    return sum(map(len, plan.by_kind().values())) + len(plan.images) + len(plan.containers)


def changed_by_trim(store: Store, trees: Iterable[str]) -> int:
    """Return how many records change when *trees* are given up: theirs, and those that name them.

    Raises the errors of Graph.
    """
    gone = frozenset(trees)
    with store.graph.read() as snapshot:
        return len(gone) + _naming(snapshot, gone)


def _naming(snapshot: Snapshot, gone: frozenset[str]) -> int:
    layers = sum(tree in gone for _, found in snapshot.batches("layers", _Layers) for tree in found.tree)
    return layers + sum(image.cap in gone for _, image in snapshot.images())


def _files(directories: Directories) -> int:
    """Return the bytes of the indexes and of directories, which may shrink, with a block of growth for each."""
    paths = [f"{directories.root}/{INDEX}", directories.root, *directories.own(), directories.mounts]
    with suppress(FileNotFoundError):
        # `gc` may remove most of the index of contents.
        paths += [
            directories.contents,
            *(f"{directories.contents}/{name}" for name in os.listdir(directories.contents)),
        ]
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += os.stat(path).st_blocks * _BLOCK + _PAGE
    return total


def _reserve(directories: Directories) -> int:
    """Return the bytes by which the reserve may change: it is made again, as large as space permits."""
    try:
        now = os.stat(f"{directories.graph}/{SPARE}").st_blocks * _BLOCK
    except FileNotFoundError:
        now = 0
    if free_space(directories.root)[0] < 2 * SPARE_SIZE:
        return SPARE_SIZE
    return max(0, SPARE_SIZE - now)
