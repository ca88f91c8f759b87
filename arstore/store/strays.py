"""Strays: mounts that the kernel has in a store's own directories, and that nobody answers for.

    <runroot>/mounts/<id>                an overlay of this store whose record is gone
    <root>/…/.mounted-<owner>            a tree that a process attached for a moment (before Linux 6.15), and was killed

A mount is made after its record and ends before it, so one that is in the kernel's table and has no record afterwards
is nobody's. Its source tells which store it is of; one that was made by an older version tells nothing, and is this
store's because of its place. Only the mount namespace of whoever asks is looked at. Out of scope: targets that users
chose themselves.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from arstore.linux import mount
from arstore.linux.mountinfo import mount_at, read_mounts
from arstore.store.erofs.mounting import ATTACHED_PREFIX
from arstore.store.mountrecord import SOURCE_PREFIX, STORE_MARK, record_ids
from arstore.store.mounts import store_mark
from arstore.store.owner import Owner

if TYPE_CHECKING:
    from arstore.linux.mountinfo import MountInfo
    from arstore.store.directories import Directories


def stray_mounts(directories: Directories) -> list[str]:
    """Where they are, what lies deeper first. Raises OSError."""
    root, targets = os.path.realpath(directories.root), directories.targets
    found = read_mounts()
    recorded = {*record_ids(directories.mounts), *record_ids(targets)}
    marks = {"", store_mark(root)}
    strays = [
        info.mount_point
        for info in found
        if (_is_below(info, targets, marks) and os.path.basename(info.mount_point) not in recorded)
        or _is_left(info, root)
    ]
    return sorted(strays, reverse=True)


def orphaned_mounts(directories: Directories) -> list[str]:
    """The mounts at their default places below the runroot when the store that has their records is not there.

    What lies deeper comes first. Raises OSError.
    """
    if os.path.isdir(directories.graph):
        return []
    found = (info.mount_point for info in read_mounts() if _is_below(info, directories.targets, None))
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


def _is_below(info: MountInfo, targets: str, marks: set[str] | None) -> bool:
    """Whether this is a mount that arstore made at its default place below *targets*, for a store of these *marks*."""
    parent, name = os.path.split(info.mount_point)
    source, _, mark = info.source.partition(STORE_MARK)
    ours = info.fs_type == "overlay" and source.startswith(f"{SOURCE_PREFIX}{name}")
    return ours and parent == targets and (marks is None or mark in marks)


def _is_left(info: MountInfo, root: str) -> bool:
    name = os.path.basename(info.mount_point)
    if not info.mount_point.startswith(f"{root}/") or not name.startswith(ATTACHED_PREFIX):
        return False
    owner = Owner.of_directory(name.removeprefix(ATTACHED_PREFIX))
    return owner is None or not owner.is_alive(f"{root}/graph")
