"""Unrecorded mounts of arstore, found by place and source in the kernel's mount table.

Needed when the disk of the store, or its records, are gone. `unrecorded` finds such mounts in a store's directories.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import mount_at, read_mounts
from arstore.mounts.record import SOURCE_PREFIX, STORE_MARK

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.linux.mounting.mountinfo import MountInfo


def store_mark(root: str) -> str:
    """Return a mark that distinguishes this store from all others on this host, also from copies, until the reboot."""
    try:
        status = os.stat(root)
    except FileNotFoundError:
        return ""
    return f"{status.st_dev:x}.{status.st_ino:x}"


def orphaned_mounts(directories: Directories) -> list[str]:
    """Return the mounts at their default places below the runroot, when the store with their records is missing.

    Deeper mounts come first. Raises OSError.
    """
    if os.path.isdir(directories.graph):
        return []
    found = (info.mount_point for info in read_mounts() if is_below(info, directories.targets, None))
    return sorted(found, reverse=True)


def unrecorded_at(path: str, directories: Directories) -> str | None:
    """Return the mount point at *path* if arstore made the mount and it has no record, else None.

    A mount of another store counts only when this store is missing, because then nothing else can unmount it.
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
    """Unmount *path* and remove the directory; return False if it cannot be unmounted, perhaps because it is in use."""
    try:
        mount.umount(path, mount.UMOUNT_NOFOLLOW | (mount.MNT_DETACH if lazy else 0))
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            return False
    with suppress(OSError):
        os.rmdir(path)
    return True


def is_below(info: MountInfo, targets: str, marks: set[str] | None) -> bool:
    """Return whether arstore made this mount at its default place below *targets*, for a store with one of *marks*."""
    parent, name = os.path.split(info.mount_point)
    source, _, mark = info.source.partition(STORE_MARK)
    ours = info.fs_type == "overlay" and source.startswith(f"{SOURCE_PREFIX}{name}")
    return ours and parent == targets and (marks is None or mark in marks)
