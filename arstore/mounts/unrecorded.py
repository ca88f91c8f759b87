"""Stray mounts: mounts in a store's own directories that have no record.

    <runroot>/mounts/<id>                an overlay of this store whose record is gone
    <root>/…/.mounted-<owner>            a tree that a killed process had attached for a moment (before Linux 6.15)

A record is written before its mount is made and deleted after the mount has ended. So a mount that is in the kernel's
table, and has no record after the table was read, is a stray. Its source names its store; a mount of an older version
does not, and is taken for this store's because of its place. Only the caller's mount namespace is looked at. Not here:
targets that users chose.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.linux.mounting.mountinfo import read_mounts
from arstore.mounts.record import record_ids
from arstore.mounts.source import is_below, store_mark
from arstore.trees.erofs.mounting import ATTACHED_PREFIX

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.linux.mounting.mountinfo import MountInfo


def stray_mounts(directories: Directories) -> list[str]:
    """Return the mount points of strays, deeper ones first. Raises OSError."""
    root, targets = os.path.realpath(directories.root), directories.targets
    found = read_mounts()
    recorded = {*record_ids(directories.mounts), *record_ids(targets)}
    marks = {"", store_mark(root)}
    strays = [
        info.mount_point
        for info in found
        if (is_below(info, targets, marks) and os.path.basename(info.mount_point) not in recorded)
        or _is_left(info, root)
    ]
    return sorted(strays, reverse=True)


def _is_left(info: MountInfo, root: str) -> bool:
    name = os.path.basename(info.mount_point)
    if not info.mount_point.startswith(f"{root}/") or not name.startswith(ATTACHED_PREFIX):
        return False
    owner = Owner.of_directory(name.removeprefix(ATTACHED_PREFIX))
    return owner is None or not owner.is_alive(f"{root}/graph")
