"""renameat2(2): renames that rename(2) cannot do."""

from __future__ import annotations

import errno
import os

from arstore.builtin import suppress
from arstore.linux.syscall import AT_FDCWD, c_string, libc

_NOREPLACE, _EXCHANGE = 1, 2
_MISSING = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV})
"""EXDEV: an overlay does not move directories of its lower layers."""


def exchange(one: str, other: str) -> bool:
    """Exchange two existing names atomically; return False if the file system or the C library cannot do that.

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


def rename_new(source: bytes, target: bytes, source_fd: int, target_fd: int) -> None:
    """Rename *source* in the directory *source_fd* to *target* in *target_fd*, which must not exist yet.

    If the file system cannot do that atomically, check first. Raises FileExistsError, OSError.
    """
    try:
        libc("renameat2", source_fd, c_string(source), target_fd, c_string(target), _NOREPLACE, what=source)
    except OSError as error:
        if error.errno not in {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}:
            raise
        with suppress(FileNotFoundError):
            os.stat(target, dir_fd=target_fd, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
