"""Rows of a tree of extracted files."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.linux.files.opening import DIRECTORY as OPEN
from arstore.trees.contents.row import DIRECTORY, FILE, OPAQUE, OTHER, SYMLINK, WHITEOUT, Row
from arstore.trees.substitutes import DEVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONG = 2048
_KINDS = {stat.S_IFREG: FILE, stat.S_IFLNK: SYMLINK}


def rows(tree_fd: int, files: str, mark: bytes, *, has_substitutes: bool = False) -> Iterator[Row]:
    """Yield the rows of the directory *files* in the tree directory *tree_fd*. Raises OSError.

    The attribute *mark* makes a directory opaque. With *has_substitutes*, empty files may stand for devices.
    """
    root = os.open(files, OPEN, dir_fd=tree_fd)
    try:
        yield Row(b"", _directory(root, mark), 0, 0)
        todo = [b""]
        while todo:
            path = todo.pop()
            fd = _opened(root, path)
            try:
                yield from _listed(fd, path + b"/" if path else b"", todo, mark, has_substitutes)
            finally:
                os.close(fd)
    finally:
        os.close(root)


def _listed(fd: int, prefix: bytes, todo: list[bytes], mark: bytes, has_substitutes: bool) -> Iterator[Row]:
    """Yield the rows of the open directory *fd*; add its subdirectories to *todo*."""
    below = []
    for name in sorted(map(os.fsencode, os.listdir(fd))):
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        path, kind = prefix + name, stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            below.append(path)
            child = os.open(name, OPEN, dir_fd=fd)
            try:
                yield Row(path, _directory(child, mark), 0, 0)
            finally:
                os.close(child)
        elif kind == stat.S_IFREG and has_substitutes and not status.st_size and _is_substitute(fd, name):
            yield Row(path, OTHER, 0, status.st_ino)
        elif kind == stat.S_IFREG:
            yield Row(path, FILE, status.st_size, status.st_ino, status.st_nlink)
        elif kind == stat.S_IFCHR and status.st_rdev == 0:
            yield Row(path, WHITEOUT, 0, status.st_ino)
        else:
            yield Row(path, _KINDS.get(kind, OTHER), 0, status.st_ino)
    todo += reversed(below)


def _opened(root: int, path: bytes) -> int:
    """Open the directory *path* below *root*; a path may be as long as the kernel's limit, in several steps."""
    fd = os.open(".", OPEN, dir_fd=root)
    while path:
        cut = len(path) if len(path) <= _LONG else path.rindex(b"/", 0, _LONG)
        below = os.open(path[:cut], OPEN, dir_fd=fd)
        os.close(fd)
        fd, path = below, path[cut + 1 :]
    return fd


def _directory(fd: int, mark: bytes) -> int:
    with suppress(OSError):
        if os.getxattr(fd, mark) == b"y":
            return OPAQUE
    return DIRECTORY


def _is_substitute(fd: int, name: bytes) -> bool:
    """Whether the empty file *name* in the directory *fd* stands for a device. Raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    try:
        return DEVICE in map(os.fsencode, os.listxattr(file))
    finally:
        os.close(file)
