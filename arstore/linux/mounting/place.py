"""The place of a file in its file system, independent of the mount: a bind mount only gives it another path.

Not here: overlays, where a file of a lower or upper directory is also a file of the overlay.
"""

from __future__ import annotations

import os

from arstore.linux.mounting.mountinfo import mount_id_of, read_mounts
from arstore.values import NamedTuple


class Place(NamedTuple):
    """A file system, by its device number, and a path in it."""

    device: tuple[int, int]
    path: str


def place_of(path: str) -> Place:
    """Return the place of *path*, which is absolute and resolved, and need not exist. Raises OSError."""
    missing = ""
    while not os.path.lexists(path):
        path, name = os.path.split(path)
        missing = f"/{name}{missing}"
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        mount_id, status = mount_id_of(fd), os.fstat(fd)
    finally:
        os.close(fd)
    for mount in read_mounts():
        if mount.mount_id == mount_id and _is_below(path, mount.mount_point):
            inner = path[len(mount.mount_point.rstrip("/")) :]
            return Place((mount.major, mount.minor), f"{mount.root.rstrip('/')}{inner}{missing}" or "/")
    # On a mount that this process cannot see, or without /proc.
    return Place((os.major(status.st_dev), os.minor(status.st_dev)), f"{path.rstrip('/')}{missing}")


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
