"""Strays: mounts that the kernel has in a store's own directories, and that nobody answers for.

    <runroot>/mounts/<id>                an overlay whose record is gone, because somebody cleared the runroot
    <root>/…/.mounted-<owner>            a tree that a process attached for a moment (before Linux 6.15), and was killed

A mount is made after its record and ends before it, so one that is in the kernel's table and has no record afterwards
is nobody's. Only the mount namespace of whoever asks is looked at. Out of scope: targets that users chose themselves;
without a record nothing tells which store they belong to.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from arstore.linux import mount
from arstore.linux.mountinfo import read_mounts
from arstore.store.erofs.mounting import ATTACHED_PREFIX
from arstore.store.mountrecord import SOURCE_PREFIX, record_ids
from arstore.store.owner import Owner

if TYPE_CHECKING:
    from arstore.linux.mountinfo import MountInfo
    from arstore.store.directories import Directories


def stray_mounts(directories: Directories) -> list[str]:
    """Where they are, what lies deeper first. Raises OSError."""
    root, mounts = (os.path.realpath(path) for path in (directories.root, f"{directories.runroot}/mounts"))
    found = read_mounts()
    recorded = set(record_ids(mounts))
    strays = [info.mount_point for info in found if _is_unrecorded(info, mounts, recorded) or _is_left(info, root)]
    return sorted(strays, reverse=True)


def remove_stray(path: str) -> bool:
    """Unmount what is at *path*, and remove the directory; whether that could be done: something may use it still."""
    try:
        mount.umount(path, mount.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            return False
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return True


def _is_unrecorded(info: MountInfo, mounts: str, recorded: set[str]) -> bool:
    parent, name = os.path.split(info.mount_point)
    ours = info.fs_type == "overlay" and info.source.startswith(f"{SOURCE_PREFIX}{name}")
    return ours and parent == mounts and name not in recorded


def _is_left(info: MountInfo, root: str) -> bool:
    name = os.path.basename(info.mount_point)
    if not info.mount_point.startswith(f"{root}/") or not name.startswith(ATTACHED_PREFIX):
        return False
    owner = Owner.of_directory(name.removeprefix(ATTACHED_PREFIX))
    return owner is None or not owner.is_alive(f"{root}/graph")
