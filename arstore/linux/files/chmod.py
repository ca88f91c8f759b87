"""Setting the mode of a name in an open directory, without following a symlink."""

from __future__ import annotations

import errno
import os

from arstore.linux.syscall import c_string, syscall

_FCHMODAT2 = 452
_AT_SYMLINK_NOFOLLOW = 0x100


def chmod_node(dir_fd: int, name: bytes, mode: int) -> None:
    """Set the mode of *name* in *dir_fd*, which is not a symlink: fchmodat2(2) (Linux 6.6), before that through /proc.

    Raises OSError: EOPNOTSUPP for a symlink.
    """
    try:
        syscall(_FCHMODAT2, dir_fd, c_string(name), mode, _AT_SYMLINK_NOFOLLOW, what=name)
    except OSError as error:
        # A filter that does not know the call also returns EPERM.
        if error.errno not in {errno.ENOSYS, errno.EPERM}:
            raise
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            os.chmod(b"/proc/self/fd/%d" % fd, mode)
        finally:
            os.close(fd)
