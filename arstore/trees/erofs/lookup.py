"""Lookups in a tree of the index form without mounting it: nodes by path, and the place of files' content."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.tar.entry import Entry, Kind
from arstore.trees.erofs.reader import IndexReader, walk
from arstore.trees.format import FileRange, Node
from arstore.trees.forms import TAR
from arstore.trees.inode_entry import KINDS, OPAQUE, OVERLAY

if TYPE_CHECKING:
    from arstore.trees.erofs.reader import FoundInode

_NO_NAMES = frozenset({b"", b".", b".."})


def lookup(tree_fd: int, path: bytes) -> Node | None:
    """Return the node at *path*, or the file that ends the path early. Raises StoreDamagedError, OSError."""
    _check_path(path)
    with IndexReader(tree_fd) as index:
        found, inode = list(walk(index, path))[-1]
        if found != path and inode.is_directory:
            return None
        return _node(index, inode, found)


def open_file(tree_fd: int, path: bytes) -> FileRange:
    """Return the content of the regular file at *path*. Raises FileNotFoundError, StoreDamagedError, OSError."""
    _check_path(path)
    with IndexReader(tree_fd) as index:
        found, inode = list(walk(index, path))[-1]
        if found != path or not stat.S_ISREG(inode.mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file of the tree", path)
        in_tar, start = index.extent(inode)
        if not in_tar:
            return FileRange(os.dup(index.fd), start, inode.size)
    tar = os.open(TAR, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=tree_fd)
    return FileRange(tar, start, inode.size)


def _check_path(path: bytes) -> None:
    if path and not _NO_NAMES.isdisjoint(path.split(b"/")):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)


def _node(index: IndexReader, inode: FoundInode, path: bytes) -> Node:
    kind = KINDS[stat.S_IFMT(inode.mode)]
    major, minor = index.device(inode)
    if kind is Kind.CHARACTER and not major and not minor:
        return Node(Entry(path, kind), whiteout=True)
    attributes = index.attributes(inode)
    entry = Entry(
        path,
        kind,
        mode=stat.S_IMODE(inode.mode),
        uid=inode.uid,
        gid=inode.gid,
        mtime=inode.mtime,
        size=inode.size if kind is Kind.FILE else 0,
        link=index.target(inode) if kind is Kind.SYMLINK else b"",
        major=major,
        minor=minor,
        xattrs={name: value for name, value in attributes.items() if not name.startswith(OVERLAY)},
    )
    return Node(entry, opaque=attributes.get(OPAQUE) == b"y")
