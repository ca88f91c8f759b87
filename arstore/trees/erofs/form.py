"""The tree form `erofs`: `layer.tar`, the uncompressed layer, and `layer.erofs`, the index that is mounted over it.

The tar is written by whoever builds the tree, beside this builder. A whiteout is a character device 0:0 in the index,
an opaque directory has the attribute `trusted.overlay.opaque=y`, as in the form `directory`; a tree of either form may
stand in a stack with the other.

What only looks into trees, or makes them, is imported when it is used: most commands only mount.

Whoever may mount EROFS can use such a tree; nobody can in a user namespace, where the kernel refuses to mount it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_tree_at
from arstore.tar.limits import ACCEPTED, Limits
from arstore.trees.erofs.mounting import forget_attached, lower_directory
from arstore.trees.forms import EROFS, INDEX, TAR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from arstore.tar.steps import Steps
    from arstore.trees.erofs.builder import ErofsBuilder
    from arstore.trees.erofs.shared_mounts import SharedMounts
    from arstore.trees.format import FileRange, LowerDirectory, Made, Node
    from arstore.workers.shared_budget import Account


class ErofsFormat:
    """Trees that are indexes over tars, mounted anew unless a mount in *shared* can be cloned."""

    name = EROFS.name
    properties = EROFS
    modules: tuple[str, ...] = ("arstore.trees.erofs.builder", "arstore.trees.erofs.lookup")

    def __init__(self, shared: SharedMounts | None = None) -> None:
        self._shared = shared

    def builder(
        self,
        tree_fd: int,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> ErofsBuilder:
        """A builder that makes the index in the directory *tree_fd*. Raises OSError."""
        from arstore.trees.erofs.builder import ErofsBuilder

        return ErofsBuilder(tree_fd, limits, account, steps)

    def lower(self, tree_path: str) -> AbstractContextManager[LowerDirectory]:
        """The tree as a layer of an overlay: a detached mount, where the kernel takes these. Raises OSError."""
        return lower_directory(tree_path, shared=self._shared)

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        """The node at *path*, or the one that stands in the way to it. Raises StoreDamagedError, OSError."""
        from arstore.trees.erofs.lookup import lookup

        return lookup(tree_fd, path)

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        """The regular file at *path*. Raises FileNotFoundError, StoreDamagedError, OSError."""
        from arstore.trees.erofs.lookup import open_file

        return open_file(tree_fd, path)

    def glance(self, parent_fd: int, name: str, sums: Mapping[str, str]) -> tuple[str, int]:
        """One of the two files missing, or an index without a byte; and the size of the tar. Raises OSError."""
        size = 0
        try:
            size = os.lstat(f"{name}/{TAR}", dir_fd=parent_fd).st_size
            index = os.lstat(f"{name}/{INDEX}", dir_fd=parent_fd).st_size
        except FileNotFoundError as error:
            return f"{os.path.basename(error.filename)} is missing", size
        return "" if index else f"{INDEX} is empty", size

    def fault(self, tree_fd: int, made: Made, report: Callable[[int], None]) -> str:
        """A tar that is not the layer's, or an index that is not what was written over it. Raises OSError."""
        from arstore.trees.erofs.verification import fault

        return fault(tree_fd, made.diff_id, made.tar_size, report)

    def remove(self, parent_fd: int, name: str) -> None:
        """Delete the tree directory *name* and all that is in it. Raises OSError."""
        forget_attached(f"/proc/self/fd/{parent_fd}/{name}")
        remove_tree_at(parent_fd, os.fsencode(name))
