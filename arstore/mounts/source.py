"""Mounts that arstore made and that no record tells of, by what the kernel's table says: their place and their source.

For when the disk of the store has gone, or its records have. Which of a store's own places hold such mounts is found by
`unrecorded`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import mount_at, read_mounts
from arstore.mounts.record import SOURCE_PREFIX, STORE_MARK

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.linux.mounting.mountinfo import MountInfo


def store_mark(root: str) -> str:
    """What tells this store from every other on this host, and from its own copies, as long as the host is up."""
    try:
        status = os.stat(root)
    except FileNotFoundError:
        return ""
    return f"{status.st_dev:x}.{status.st_ino:x}"


def orphaned_mounts(directories: Directories) -> list[str]:
    """The mounts at their default places below the runroot when the store that has their records is not there.

    What lies deeper comes first. Raises OSError.
    """
    if os.path.isdir(directories.graph):
        return []
    found = (info.mount_point for info in read_mounts() if is_below(info, directories.targets, None))
    return sorted(found, reverse=True)


def unrecorded_at(path: str, directories: Directories) -> str | None:
    """The place of a mount at *path* that arstore made and no record tells of; None where there is no such mount.

    One of another store counts only when this store is not there, because then nothing else can end it.
    """
    try:
        shown = mount_at(path)
    except OSError:
        return None
    if shown is None or shown.fs_type != "overlay" or not shown.source.startswith(SOURCE_PREFIX):
        return None
    mark = shown.source.partition(STORE_MARK)[2]
    is_other = mark not in {"", store_mark(directories.root)} and os.path.isdir(directories.graph)
    return None if is_other else shown.mount_point


def remove_stray(path: str, lazy: bool = False) -> bool:
    """Unmount what is at *path*, and remove the directory; whether that could be done: something may use it still."""
    try:
        mount.umount(path, mount.UMOUNT_NOFOLLOW | (mount.MNT_DETACH if lazy else 0))
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            return False
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return True


def is_below(info: MountInfo, targets: str, marks: set[str] | None) -> bool:
    """Whether this is a mount that arstore made at its default place below *targets*, for a store of these *marks*."""
    parent, name = os.path.split(info.mount_point)
    source, _, mark = info.source.partition(STORE_MARK)
    ours = info.fs_type == "overlay" and source.startswith(f"{SOURCE_PREFIX}{name}")
    return ours and parent == targets and (marks is None or mark in marks)
