"""Rows of an index: every name in it, directory by directory, without a mount and without the tar.

The index is read as a whole, and decoded with few calls for each name: there may be a million of them.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

from arstore.trees.contents.row import DIRECTORY, FILE, OPAQUE, OTHER, SYMLINK, WHITEOUT, Row
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.reader import IndexReader
from arstore.trees.erofs.superblock import damaged
from arstore.trees.inode_entry import OPAQUE as OPAQUE_MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trees.erofs.reader import FoundInode

_COMPACT = struct.Struct("<H2xHHI8xI")
"""Format, mode, links, size, number."""
_EXTENDED = struct.Struct("<H2xH2xQ4xI20xI")
"""Format, mode, size, number, links."""
_KINDS = {layout.REGULAR: FILE, layout.DIRECTORY: DIRECTORY, layout.SYMLINK: SYMLINK}


def rows(tree_fd: int) -> Iterator[Row]:
    """Yield the rows of the index in the tree directory *tree_fd*. Raises StoreDamagedError, OSError."""
    with IndexReader(tree_fd, whole=True) as index:
        root = index.inode(index.super.root_nid)
        yield Row(b"", _directory(index, root), 0, 0)
        todo = [(b"", root)]
        seen = {root.nid}
        while todo:
            path, directory = todo.pop()
            below: list[tuple[bytes, FoundInode]] = []
            prefix = path + b"/" if path else b""
            for number in range(layout.blocks(directory.size)):
                yield from _block(index, prefix, directory, number, below)
            for _, child in below:
                if child.nid in seen:
                    damaged(index.what, f"its inode {child.nid} is a directory with two parents")
                seen.add(child.nid)
            todo += reversed(below)


def _block(
    index: IndexReader, prefix: bytes, directory: FoundInode, number: int, below: list[tuple[bytes, FoundInode]]
) -> Iterator[Row]:
    """Yield the rows of one block of a directory; add its subdirectories to *below*."""
    data, count = index.directory_block(directory, number)
    first = count * layout.DIRENT.size
    heads = _dirents(count).unpack_from(data)
    starts = heads[1::4]
    ends = (*starts[1:], len(data))
    inode_at, inodes = index.inode_at, index.bytes
    for nid, start, end, kind in zip(heads[::4], starts, ends, heads[2::4], strict=True):
        name = data[start:end]
        if end == len(data):
            name = name.rstrip(b"\0")
        if name in (b".", b".."):
            continue
        if not name or start < first or b"/" in name or b"\0" in name:
            damaged(index.what, f"its inode {directory.nid} is a directory with a broken name")
        path = prefix + name
        if kind == layout.DIRECTORY:
            child = index.inode(nid)
            if not child.is_directory:
                damaged(index.what, f"its inode {nid} has another type than its directory entry")
            below.append((path, child))
            yield Row(path, _directory(index, child), 0, 0)
            continue
        at = inode_at(nid)
        if inodes[at] & layout.IS_EXTENDED:
            _, _, size, made, links = _EXTENDED.unpack_from(inodes, at)
        else:
            _, _, links, size, made = _COMPACT.unpack_from(inodes, at)
        if kind == layout.REGULAR:
            yield Row(path, FILE, size, made, links)
        elif kind == layout.CHARACTER:
            yield Row(path, WHITEOUT if index.inode(nid).address == 0 else OTHER, 0, made)
        else:
            yield Row(path, _KINDS.get(kind, OTHER), 0, made)


def _directory(index: IndexReader, inode: FoundInode) -> int:
    return OPAQUE if inode.tail != inode.body and OPAQUE_MARK in index.attributes(inode) else DIRECTORY


@functools.cache
def _dirents(count: int) -> struct.Struct:
    return struct.Struct("<" + "QHBB" * count)
