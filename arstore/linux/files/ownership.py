"""Giving a directory tree to a user: by descriptors, following no symlink, and never onto another mount.

Depth needs neither stack nor descriptors: the walk goes down by names and up by `..`, whose identity is checked. Names
that vanish meanwhile are skipped.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from arstore.linux.files.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.mounting.mountinfo import mount_id_of
from arstore.linux.syscall import libc

_AT_EMPTY_PATH = 0x1000
_HERE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_GUARD = RESOLVE_BENEATH | RESOLVE_NO_XDEV

Identity = tuple[int, int]


def give_tree(path: str, uid: int, gid: int) -> None:
    """Give *path*, and everything below it on the same mount, to *uid* and *gid*.

    *path* itself may be a file, but not a symlink. Entries that have the owner already are not touched. Raises OSError:
    ESTALE when another process moves directories of the tree meanwhile.
    """
    top = os.open(path, _HERE)
    try:
        status = os.fstat(top)
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        _give(top, status, uid, gid)
        if not stat.S_ISDIR(status.st_mode):
            return
        here = os.open(".", DIRECTORY, dir_fd=top)
    finally:
        os.close(top)
    above: list[tuple[Identity, list[str]]] = []
    pending = [*_entries(here, uid, gid)]
    try:
        while True:
            if pending:
                below = _opened(here, pending.pop(), DIRECTORY)
                if below is not None:
                    above.append((_identity(here), pending))
                    os.close(here)
                    here = below
                    pending = [*_entries(here, uid, gid)]
            elif above:
                identity, pending = above.pop()
                parent = os.open("..", DIRECTORY, dir_fd=here)
                os.close(here)
                here = parent
                if _identity(here) != identity:
                    raise OSError(errno.ESTALE, "a directory was moved while its owner was changed", path)
            else:
                return
    finally:
        os.close(here)


def _entries(directory: int, uid: int, gid: int) -> list[str]:
    """Give the entries of the open *directory*; return the names of those that are directories."""
    directories = []
    for name in os.listdir(directory):
        fd = _opened(directory, name, _HERE)
        if fd is None:
            continue
        try:
            status = os.fstat(fd)
            _give(fd, status, uid, gid)
            if stat.S_ISDIR(status.st_mode):
                directories.append(name)
        finally:
            os.close(fd)
    return directories


def _opened(directory: int, name: str, flags: int) -> int | None:
    """Open the entry *name*; return None if it is on another mount, or gone, or no directory any more."""
    try:
        # Without O_NOFOLLOW a symlink would be refused; with O_PATH and O_NOFOLLOW it is opened itself.
        guard = _GUARD if flags & os.O_PATH else _GUARD | RESOLVE_NO_SYMLINKS
        return openat2(directory, name, flags, guard)
    except OSError as error:
        if error.errno in {errno.EXDEV, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        if error.errno not in {errno.ENOSYS, errno.EPERM}:
            raise
    with suppress(FileNotFoundError, NotADirectoryError):
        fd = os.open(name, flags, dir_fd=directory)
        if mount_id_of(fd) == mount_id_of(directory):
            return fd
        os.close(fd)
    return None


def _give(fd: int, status: os.stat_result, uid: int, gid: int) -> None:
    if (status.st_uid, status.st_gid) != (uid, gid):
        libc("fchownat", fd, b"", uid, gid, _AT_EMPTY_PATH)


def _identity(fd: int) -> Identity:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
