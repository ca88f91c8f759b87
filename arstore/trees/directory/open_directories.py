"""Open directories: the only way by which extraction reaches a name.

Every directory is opened from its parent's descriptor, one component at a time, never through a symlink. So neither the
content of an archive nor changes by another process can lead out of the root. The number of open directories is
limited.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from arstore.linux.files.opening import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.trees.skeleton import DirectoryNode

CAPACITY = 64
"""Directories kept open, in addition to roots."""

BUILDING_MODE = 0o700
"""Mode of a directory until its own mode is applied: private, and its owner can fill it."""


class Descriptors:
    """The descriptors of a shape's directories; the least recently used is closed first.

    A directory is created on disk when it is first opened, after a call of *making*. If something is in the way,
    *clear* removes it, given the parent's descriptor and the name, and the directory is `fresh`. Roots belong to the
    caller, who sets their `fd` before; they are never closed here.
    """

    def __init__(
        self, clear: Callable[[int, bytes], None], making: Callable[[], None], capacity: int = CAPACITY
    ) -> None:
        self._clear = clear
        self._making = making
        self._capacity = capacity
        self._open: OrderedDict[DirectoryNode, None] = OrderedDict()
        self._last: DirectoryNode | None = None

    def open(self, node: DirectoryNode, keep: DirectoryNode | None = None) -> int:
        """Return a descriptor of *node*, valid until the next call; *keep* stays valid too. Raises OSError."""
        if node is self._last:
            return node.fd
        chain = []
        up = node
        while up.fd < 0 and up.parent is not None:
            chain.append(up)
            up = up.parent
        if up in self._open:
            self._open.move_to_end(up)
        if keep is not None and keep in self._open:
            self._open.move_to_end(keep)
        for below in reversed(chain):
            below.fd = self._open_child(up.fd, below)
            self._open[below] = None
            if len(self._open) > self._capacity:
                self._close_oldest(keep)
            up = below
        self._last = node
        return node.fd

    def forget(self, node: DirectoryNode) -> None:
        """Close *node* and everything open below it, before it is removed."""
        for one in [one for one in self._open if one.is_below(node)]:
            self._close(one)

    def close(self) -> None:
        """Close all descriptors."""
        for one in list(self._open):
            self._close(one)

    def _open_child(self, parent_fd: int, node: DirectoryNode) -> int:
        if not node.made:
            self._making()
            try:
                os.mkdir(node.name, BUILDING_MODE, dir_fd=parent_fd)
            except FileExistsError:
                self._clear(parent_fd, node.name)
                node.fresh = True
                os.mkdir(node.name, BUILDING_MODE, dir_fd=parent_fd)
            node.made = True
        return os.open(node.name, DIRECTORY, dir_fd=parent_fd)

    def _close_oldest(self, keep: DirectoryNode | None) -> None:
        for one in self._open:
            if one is not keep:
                self._close(one)
                return

    def _close(self, node: DirectoryNode) -> None:
        del self._open[node]
        if self._last is node:
            self._last = None
        os.close(node.fd)
        node.fd = -1
