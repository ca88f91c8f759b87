"""Whether an upper directory is in use, asked of the kernel.

Overlayfs marks the upper directory of a mount in its inode. The mark is there as long as the file system lives: in
every mount namespace, through every path that leads to the directory, and also after the mount was detached. A mount
that cannot succeed shows the mark: with `index=on` the kernel refuses an upper directory that is in use (EBUSY) before
it looks at the work directory; here that is the upper directory itself, which it refuses too (EINVAL). So nothing is
mounted and nothing is written either way; the kernel log gets one line. The order of the two checks is that of Linux
4.13 to 6.18 (`ovl_get_upper`, `ovl_get_workdir`).

The trial holds the mark for an instant, and a real mount (`index=off`) that comes in that instant stays without it. So
both are done with the graph's writer lock held.
"""

from __future__ import annotations

import errno
import os
import time

from arstore.errors import InUseError
from arstore.linux.mounting import mount

_PAUSES = (0.002, 0.02, 0.1)
"""Seconds: what ended a moment ago may still be going, in a process that is just dying."""


def is_in_use(upper: str) -> bool | None:
    """Whether the directory *upper* is the upper directory of a live overlay; None where the kernel does not say.

    None means that this process may not mount, or that the directory can be no upper directory here.
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
    """Raise InUseError, naming *what*, when the directory *upper* is one that a mount writes to, wherever that is.

    Where the kernel does not say, the caller has to go by the records of mounts.
    """
    for pause in _PAUSES:
        if not is_in_use(upper):
            return
        time.sleep(pause)
    if is_in_use(upper):
        why = "is in use by a mount: in another mount namespace, or detached and not left yet"
        raise InUseError(what, why, "end what uses it first")


def _tried(upper_fd: int) -> bool | None:
    try:
        fs_fd = mount.fsopen("overlay")
    except OSError:
        return None
    place = f"/proc/self/fd/{upper_fd}"
    try:
        # Every kernel that has fsopen(2) takes these as strings; the lower directory is never looked at.
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
