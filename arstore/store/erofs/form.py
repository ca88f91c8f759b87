"""The tree form `erofs`: `layer.tar`, the uncompressed layer, and `layer.erofs`, the index that is mounted over it.

The tar is written by whoever builds the tree, beside this builder. A whiteout is a character device 0:0 in the index,
an opaque directory has the attribute `trusted.overlay.opaque=y`, as in the form `directory`; a tree of either form may
stand in a stack with the other.

Whoever may mount EROFS can use such a tree; nobody can in a user namespace, where the kernel refuses to mount it.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest
from arstore.errors import StoreDamagedError
from arstore.store.erofs.builder import INDEX, TAR, ErofsBuilder
from arstore.store.erofs.mounting import forget_attached, lower_directory
from arstore.store.erofs.reader import Index, walk
from arstore.store.erofs.verification import verify
from arstore.store.nodes import KINDS
from arstore.store.removal import remove_tree
from arstore.store.tree import FileRange, Node
from arstore.tar.entry import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from arstore.store.erofs.reader import Inode
    from arstore.store.tree import LowerDirectory

_OPAQUE = b"trusted.overlay.opaque"
_OVERLAY = b"trusted.overlay."
_NO_NAMES = frozenset({b"", b".", b".."})


class ErofsFormat:
    """Trees that are indexes over tars."""

    name = "erofs"
    keeps_tar = True

    def builder(self, tree_fd: int) -> ErofsBuilder:
        """A builder that makes the index in the directory *tree_fd*. Raises OSError."""
        return ErofsBuilder(tree_fd)

    def lower(self, tree_path: str) -> AbstractContextManager[LowerDirectory]:
        """The tree as a layer of an overlay: a detached mount, where the kernel takes these. Raises OSError."""
        return lower_directory(tree_path)

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        """The node at *path*, or the one that stands in the way to it. Raises StoreDamagedError, OSError."""
        _check(path)
        with Index(tree_fd) as index:
            found, inode = list(walk(index, path))[-1]
            if found != path and inode.is_directory:
                return None
            return _node(index, inode, found)

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        """The regular file at *path*. Raises FileNotFoundError, StoreDamagedError, OSError."""
        _check(path)
        with Index(tree_fd) as index:
            found, inode = list(walk(index, path))[-1]
            if found != path or not stat.S_ISREG(inode.mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file of the tree", path)
            in_tar, start = index.extent(inode)
            if not in_tar:
                return FileRange(os.dup(index.fd), start, inode.size)
        tar = os.open(TAR, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=tree_fd)
        return FileRange(tar, start, inode.size)

    def fault(self, tree_fd: int, diff_id: str, tar_size: int, deep: bool, report: Callable[[int], None]) -> str:
        """A tar that is not the layer's, or an index that is not what was written over it. Raises OSError."""
        try:
            size = os.stat(TAR, dir_fd=tree_fd, follow_symlinks=False).st_size
            if size != tar_size:
                return f"its tar has {size} bytes, the layer's has {tar_size}"
            if not deep:
                os.stat(INDEX, dir_fd=tree_fd, follow_symlinks=False)
                return ""
            found = _tar_digest(tree_fd, Digest(diff_id), report)
            if found != diff_id:
                return f"its tar has the digest {found}"
            verify(tree_fd)
        except FileNotFoundError as error:
            return f"{error.filename} is missing"
        except StoreDamagedError as error:
            return f"{error.what}: {error.why}"
        return ""

    def remove(self, parent_fd: int, name: str) -> None:
        """Delete the tree directory *name* and all that is in it. Raises OSError."""
        forget_attached(f"/proc/self/fd/{parent_fd}/{name}")
        remove_tree(parent_fd, os.fsencode(name))


def _tar_digest(tree_fd: int, diff_id: Digest, report: Callable[[int], None]) -> Digest:
    hasher = diff_id.new_hash()
    fd = os.open(TAR, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=tree_fd)
    try:
        while data := os.read(fd, CHUNK):
            hasher.update(data)
            report(len(data))
    finally:
        os.close(fd)
    return Digest.finished(diff_id.algorithm, hasher)


def _check(path: bytes) -> None:
    if path and not _NO_NAMES.isdisjoint(path.split(b"/")):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)


def _node(index: Index, inode: Inode, path: bytes) -> Node:
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
        xattrs={name: value for name, value in attributes.items() if not name.startswith(_OVERLAY)},
    )
    return Node(entry, opaque=attributes.get(_OPAQUE) == b"y")
