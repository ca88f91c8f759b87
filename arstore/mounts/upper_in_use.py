"""Whether an upper directory is in use, asked from the kernel.

Overlayfs marks the inode of a mount's upper directory. The mark lasts as long as the overlay file system lives: in
every mount namespace, through every path to the directory, and also after the mount was detached. A mount that cannot
succeed shows the mark. With `index=on` the kernel first refuses an upper directory that is in use (EBUSY), and only
then looks at the work directory; here the work directory is the upper directory itself, which it also refuses (EINVAL).
So nothing is mounted and nothing is written in either case; the kernel log gets one line. Linux 4.13 to 6.18 check in
this order (`ovl_get_upper`, `ovl_get_workdir`).

The trial holds the mark for an instant, and a real mount (`index=off`) made in that instant stays without it. So both
are done with the graph's writer lock held.
"""

from __future__ import annotations

import errno
import os
import time

from arstore.errors import InUseError
from arstore.linux.mounting import mount

_PAUSES = (0.002, 0.02, 0.1)
"""Seconds: a mount that was just ended may take a moment to go, in a process that is ending."""


def is_in_use(upper: str) -> bool | None:
    """Return whether the directory *upper* is the upper directory of a live overlay; None where that is unknown.

    None means that this process may not mount, or that the directory cannot be an upper directory here.
    """
    try:
        fd = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _tried(fd)
    finally:
        os.close(fd)


def require_unused(upper: str, what: str) -> None:
    """Raise InUseError, naming *what*, when a mount, wherever it is, writes to the directory *upper*.

    Where the kernel does not answer, the caller has to rely on the records of mounts.
    """
    for pause in _PAUSES:
        if not is_in_use(upper):
            return
        time.sleep(pause)
    if is_in_use(upper):
        why = "is in use by a mount that is in another mount namespace, or detached but still open"
        raise InUseError(what, why, "end the processes that use it first")


def _tried(upper_fd: int) -> bool | None:
    try:
        fs_fd = mount.fsopen("overlay")
    except OSError:
        return None
    place = f"/proc/self/fd/{upper_fd}"
    try:
        # Every kernel with fsopen(2) takes these as strings; the lower directory is never looked at.
        for key, value in (("index", "on"), ("lowerdir", "/"), ("upperdir", place), ("workdir", place)):
            mount.fsconfig_string(fs_fd, key, value)
    except OSError:
        return None
    else:
        return _answer(fs_fd)
    finally:
        os.close(fs_fd)


def _answer(fs_fd: int) -> bool | None:
    try:
        mount.fsconfig_create(fs_fd)
    except OSError as error:
        return {errno.EBUSY: True, errno.EINVAL: False}.get(error.errno or 0)
    return None
