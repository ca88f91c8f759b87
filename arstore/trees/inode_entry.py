"""Inodes as entries: the result of stat(2) for an open file, in the form of a tar member."""

from __future__ import annotations

import os
import stat

from arstore.linux.isolation.user_namespace import is_initial
from arstore.tar.entry import Entry, Kind

KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
"""Kinds by file type (stat.S_IFMT of a mode). Sockets are missing, because a tar member cannot be one."""


OVERLAY = b"trusted.overlay."
"""Prefix of overlayfs's own attributes, which are not attributes of a layer."""
USER_OVERLAY = b"user.overlay."
"""The same for mounts in user namespaces, which cannot have `trusted.` attributes (overlayfs.rst, "userxattr")."""
OPAQUE = OVERLAY + b"opaque"
"""The attribute that, with the value `y`, hides what lower layers have in a directory (overlayfs.rst)."""
USER_OPAQUE = USER_OVERLAY + b"opaque"


def overlay_prefix() -> bytes:
    """Return the prefix of overlayfs's attributes in mounts that this process makes."""
    return OVERLAY if is_initial() else USER_OVERLAY


def inode_entry(fd: int, path: bytes, kind: Kind, status: os.stat_result, xattrs: dict[bytes, bytes]) -> Entry:
    """Return the entry of the inode open as *fd* (O_PATH will do), which is of this *kind*. Raises OSError."""
    is_device = kind in (Kind.CHARACTER, Kind.BLOCK)
    return Entry(
        path,
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns,
        size=status.st_size if kind is Kind.FILE else 0,
        link=os.readlink(b"", dir_fd=fd) if kind is Kind.SYMLINK else b"",
        major=os.major(status.st_rdev) if is_device else 0,
        minor=os.minor(status.st_rdev) if is_device else 0,
        xattrs=xattrs,
    )
