"""Strays: mounts that the kernel has in a store's own directories, and that nobody answers for.

    <runroot>/mounts/<id>                an overlay of this store whose record is gone
    <root>/…/.mounted-<owner>            a tree that a process attached for a moment (before Linux 6.15), and was killed

A mount is made after its record and ends before it, so one that is in the kernel's table and has no record afterwards
is nobody's. Its source tells which store it is of; one that was made by an older version tells nothing, and is this
store's because of its place. Only the mount namespace of whoever asks is looked at. Out of scope: targets that users
chose themselves.
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
    """Where they are, what lies deeper first. Raises OSError."""
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
