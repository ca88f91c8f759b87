"""The tree form `erofs`: `layer.tar`, the uncompressed layer, and `layer.erofs`, the index that is mounted over it.

The caller writes the tar, next to this builder. A whiteout is a character device 0:0 in the index, an opaque directory
has the attribute `trusted.overlay.opaque=y`, as in the form `directory`; trees of both forms can be in one stack.

Modules for lookups and for building are imported when they are used: most commands only mount.

Every process that may mount EROFS can use such a tree. In a user namespace the kernel refuses to mount it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_tree_at
from arstore.tar.limits import ACCEPTED, Limits
from arstore.trees.erofs.mounting import forget_attached, lower_directory
from arstore.trees.forms import EROFS, INDEX, TAR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from arstore.tar.steps import Steps
    from arstore.trees.contents.row import Row
    from arstore.trees.erofs.builder import ErofsBuilder
    from arstore.trees.erofs.shared_mounts import SharedMounts
    from arstore.trees.folders import Folder
    from arstore.trees.format import FileRange, LowerDirectory, Made, Node
    from arstore.workers.shared_budget import Account


class ErofsFormat:
    """Trees that are indexes over tars; a mount in *shared* is cloned if possible, otherwise a new one is made."""

    name = EROFS.name
    properties = EROFS
    modules: tuple[str, ...] = (
        "arstore.trees.erofs.builder",
        "arstore.trees.erofs.lookup",
        "arstore.trees.erofs.contents",
    )

    def __init__(self, shared: SharedMounts | None = None) -> None:
        self._shared = shared

    def builder(
        self,
        tree_fd: int,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> ErofsBuilder:
        """Return a builder that makes the index in the directory *tree_fd*. Raises OSError."""
        from arstore.trees.erofs.builder import ErofsBuilder

        return ErofsBuilder(tree_fd, limits, account, steps)

    def lower(self, tree_path: str) -> AbstractContextManager[LowerDirectory]:
        """Open the tree as a layer of an overlay: a detached mount, where the kernel takes these. Raises OSError."""
        return lower_directory(tree_path, shared=self._shared)

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        """Return the node at *path*, or the file that ends the path early. Raises StoreDamagedError, OSError."""
        from arstore.trees.erofs.lookup import lookup

        return lookup(tree_fd, path)

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        """Return the content of the file at *path*. Raises FileNotFoundError, StoreDamagedError, OSError."""
        from arstore.trees.erofs.lookup import open_file

        return open_file(tree_fd, path)

    def rows(self, tree_fd: int) -> Iterator[Row]:
        """Yield a row for each name in the tree. Raises StoreDamagedError, OSError."""
        from arstore.trees.erofs.contents import rows

        return rows(tree_fd)

    def folders(self, tree_fd: int) -> Folder:
        """Return the root directory, with the bytes of files in each. Raises StoreDamagedError, OSError."""
        from arstore.trees.erofs.folders import folders

        return folders(tree_fd)

    def glance(self, parent_fd: int, name: str, sums: Mapping[str, str]) -> tuple[str, int]:
        """Find a missing file, or an empty index; the second value is the size of the tar. Raises OSError."""
        size = 0
        try:
            size = os.lstat(f"{name}/{TAR}", dir_fd=parent_fd).st_size
            index = os.lstat(f"{name}/{INDEX}", dir_fd=parent_fd).st_size
        except FileNotFoundError as error:
            return f"{os.path.basename(error.filename)} is missing", size
        return "" if index else f"{INDEX} is empty", size

    def fault(self, tree_fd: int, made: Made, report: Callable[[int], None]) -> str:
        """Find a tar that is not the layer's, or an index that was altered. Raises OSError."""
        from arstore.trees.erofs.verification import fault

        return fault(tree_fd, made, report)

    def remove(self, parent_fd: int, name: str) -> None:
        """Delete the tree directory *name* and everything in it. Raises OSError."""
        forget_attached(f"/proc/self/fd/{parent_fd}/{name}")
        remove_tree_at(parent_fd, os.fsencode(name))
