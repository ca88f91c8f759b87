"""The directories of an index with the bytes of their files, without a mount."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.trees.erofs import format as layout
from arstore.trees.erofs.reader import IndexReader
from arstore.trees.erofs.superblock import damaged
from arstore.trees.folders import Folders

if TYPE_CHECKING:
    from arstore.trees.erofs.reader import FoundInode
    from arstore.trees.folders import Folder

_BLOCK = 512
"""Content takes whole blocks in a tar, with a block for its header before it."""
_SELF = frozenset({b".", b".."})


def folders(tree_fd: int) -> Folder:
    """Return the root directory; files count their blocks in the tar. Raises StoreDamagedError, OSError."""
    with IndexReader(tree_fd, whole=True) as index:
        return _Reader(index).run()


class _Reader:
    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._folders = Folders()
        self._seen: set[int] = set()
        """Directories, and files with several names."""

    def run(self) -> Folder:
        index = self._index
        todo = [(index.inode(index.super.root_nid), self._folders.root)]
        while todo:
            directory, folder = todo.pop()
            if directory.nid in self._seen:
                damaged(index.what, f"its inode {directory.nid} is a directory with two parents")
            self._seen.add(directory.nid)
            for number in range(layout.blocks(directory.size)):
                for name, nid, kind in index.entries(directory, number):
                    if kind == layout.REGULAR:
                        folder.size += self._size(index.inode(nid))
                    elif kind == layout.DIRECTORY and name not in _SELF:
                        found = index.inode(nid)
                        if found.is_directory:
                            todo.append((found, self._folders.below(folder, name)))
        return self._folders.root

    def _size(self, inode: FoundInode) -> int:
        if inode.links > 1:
            if inode.nid in self._seen:
                return 0
            self._seen.add(inode.nid)
        return _BLOCK + inode.size + -inode.size % _BLOCK
