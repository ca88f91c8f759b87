"""openat2(2): opening a name with the kernel's control over how it is resolved (Linux 5.6).

Where the call is missing it raises OSError with ENOSYS; then the caller has to walk the components one by one.
"""

from __future__ import annotations

import errno
import os
import struct

from arstore.linux.syscall import c_string, syscall

_OPENAT2 = 437

RESOLVE_NO_XDEV = 0x01
"""Do not cross mount points, neither up nor down."""
RESOLVE_NO_MAGICLINKS = 0x02
"""Do not follow magic links such as /proc/PID/fd."""
RESOLVE_NO_SYMLINKS = 0x04
"""Do not follow symlinks in any component (ELOOP)."""
RESOLVE_BENEATH = 0x08
"""Stay below the directory: a name that would leave it, including absolute ones, is EXDEV."""
RESOLVE_IN_ROOT = 0x10
"""Take the directory as the root, as chroot(2) would."""
RESOLVE_CACHED = 0x20
"""Succeed only from the kernel's name cache (EAGAIN otherwise)."""

_ATTEMPTS = 128


def openat2(dir_fd: int, path: str | bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """Open *path* relative to *dir_fd*; O_CLOEXEC is always added. *mode* only with O_CREAT or O_TMPFILE.

    Raises OSError. A rename elsewhere can make `..` unsafe to resolve (EAGAIN): this is retried a limited number of
    times.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    name = c_string(path)
    for _ in range(_ATTEMPTS):
        try:
            return syscall(_OPENAT2, dir_fd, name, how, len(how), what=path)
        except OSError as error:
            if error.errno != errno.EAGAIN or resolve & RESOLVE_CACHED:
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
