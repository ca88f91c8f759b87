"""Verification that an index is as it was written, and points only into its own tar."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.page_cache import chunks
from arstore.errors import StoreDamagedError
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.reader import IndexReader
from arstore.trees.erofs.superblock import check_digest, damaged
from arstore.trees.forms import TAR

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.trees.erofs.reader import FoundInode
    from arstore.trees.format import Made

_NOT_IN_NAMES = (b"/", b"\0")


def fault(tree_fd: int, made: Made, report: Callable[[int], None]) -> str:
    """Return what is wrong with a tree, as TreeFormat: a tar that is not the layer's, or an altered index; or "".

    Raises OSError.
    """
    try:
        size = os.stat(TAR, dir_fd=tree_fd, follow_symlinks=False).st_size
        if size != made.tar_size:
            return f"its tar has {size} bytes, but the layer's has {made.tar_size}"
        if not made.is_blob and (found := _tar_digest(tree_fd, Digest(made.diff_id), report)) != made.diff_id:
            return f"its tar has the digest {found}"
        verify(tree_fd)
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except StoreDamagedError as error:
        return f"{error.what}: {error.why}"
    return ""


def _tar_digest(tree_fd: int, diff_id: Digest, report: Callable[[int], None]) -> Digest:
    hasher = diff_id.new_hash()
    fd = os.open(TAR, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=tree_fd)
    try:
        for data in chunks(fd):
            hasher.update(data)
            report(len(data))
    finally:
        os.close(fd)
    return Digest.finished(diff_id.algorithm, hasher)


def verify(tree_fd: int) -> int:
    """Check the tree in *tree_fd*; return the number of its inodes.

    The index must match its own digest, and have a structure that arstore and the kernel can read; the tar must have
    every byte that the index points at. That the tar is the layer's is not checked here: its diff ID shows it. Raises
    StoreDamagedError with the first fault, OSError.
    """
    with IndexReader(tree_fd) as index:
        if index.size != index.super.blocks * layout.BLOCK:
            damaged(index.what, f"has {index.size} bytes instead of {index.super.blocks * layout.BLOCK}")
        if not layout.FIRST_BLOCK <= index.super.attribute_start <= index.super.inode_start < index.super.blocks:
            damaged(index.what, "its parts overlap")
        if any(os.pread(index.fd, layout.SUPER_OFFSET, 0)):
            damaged(index.what, "does not begin with zeros")
        check_digest(index.fd, index.block, index.what)
        tar = os.stat(TAR, dir_fd=tree_fd, follow_symlinks=False)
        if not stat.S_ISREG(tar.st_mode):
            damaged(index.what, "its tar is not a regular file")
        return _Walk(index, tar.st_size).run()


class _Walk:
    """A visit to every directory entry of an index over a tar of *tar_size* bytes."""

    def __init__(self, index: IndexReader, tar_size: int) -> None:
        self._index = index
        self._tar_size = tar_size
        self._directories: set[int] = set()
        self._names: dict[int, int] = {}
        self._seen = 0

    def run(self) -> int:
        index = self._index
        root = index.inode(index.super.root_nid)
        if not root.is_directory:
            damaged(index.what, "its root is not a directory")
        todo = [(root, root.nid)]
        while todo:
            directory, parent = todo.pop()
            if directory.nid in self._directories:
                self._damaged(directory, "is a directory with two parents")
            self._directories.add(directory.nid)
            index.attributes(directory)
            todo.extend((child, directory.nid) for child in self._visit(directory, parent))
        if any(self._names.values()):
            damaged(index.what, "it counts more names of a file than exist")
        if self._seen + len(self._directories) != index.super.inodes:
            damaged(index.what, f"has {self._seen + len(self._directories)} inodes instead of {index.super.inodes}")
        return index.super.inodes

    def _visit(self, directory: FoundInode, parent: int) -> list[FoundInode]:
        """Check the content of a directory; return its subdirectories."""
        below: list[FoundInode] = []
        own = {b".": directory.nid, b"..": parent}
        last = b""
        for number in range(layout.blocks(directory.size)):
            for name, nid, kind in self._index.entries(directory, number):
                if name <= last or any(part in name for part in _NOT_IN_NAMES):
                    self._damaged(directory, "is a directory with its names out of order")
                last = name
                if name in own:
                    if own.pop(name) != nid:
                        self._damaged(directory, "is a directory with wrong entries for itself or its parent")
                    continue
                inode = self._index.inode(nid)
                if layout.FILE_TYPES[inode.mode >> 12] != kind:
                    self._damaged(inode, "has another type than its directory entry")
                if inode.is_directory:
                    below.append(inode)
                else:
                    self._check_inode(inode)
        if own:
            self._damaged(directory, "is a directory without entries for itself or its parent")
        return below

    def _check_inode(self, inode: FoundInode) -> None:
        left = self._names.get(inode.nid)
        if left is not None:
            if not left:
                self._damaged(inode, "has more names than its link count")
            self._names[inode.nid] = left - 1
            return
        if inode.links != 1:
            self._names[inode.nid] = inode.links - 1
        self._seen += 1
        self._index.attributes(inode)
        if stat.S_ISREG(inode.mode):
            in_tar, start = self._index.extent(inode)
            end = start + layout.blocks(inode.size) * layout.BLOCK
            if in_tar and end > self._tar_size:
                damaged(self._index.what, f"its tar has {self._tar_size} bytes, but a file in it ends at byte {end}")
        elif stat.S_ISLNK(inode.mode) and b"\0" in self._index.target(inode):
            self._damaged(inode, "is a symlink with an invalid target")

    def _damaged(self, inode: FoundInode, why: str) -> None:
        damaged(self._index.what, f"its inode {inode.nid} {why}")
