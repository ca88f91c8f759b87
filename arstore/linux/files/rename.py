"""renameat2(2): what rename(2) cannot do."""

from __future__ import annotations

import errno
import os

from arstore.linux.syscall import AT_FDCWD, c_string, libc

_EXCHANGE = 2
_MISSING = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV})
"""EXDEV: an overlay does not move directories of its lower layers."""


def exchange(one: str, other: str) -> bool:
    """Let two existing names change places, at once; False where the file system, or the C library, cannot do that.

    Raises OSError.
    """
    try:
        libc("renameat2", AT_FDCWD, c_string(one), AT_FDCWD, c_string(other), _EXCHANGE, what=one)
    except OSError as error:
        if error.errno in _MISSING:
            return False
        error.filename2 = os.fspath(other)
        raise
    return True
