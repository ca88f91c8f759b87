"""Reading files: without filling the page cache, completely, or only the beginning."""

from __future__ import annotations

import errno
import os
import stat

RWF_DONTCACHE = 0x80
"""preadv2(2), Linux 6.14: pages that this read brings in are dropped after it; other cached pages stay."""


def read_uncached(fd: int, buffer: bytearray | memoryview, offset: int) -> int:
    """Read from byte *offset* into *buffer* without filling the page cache; return the number of bytes.

    Raises OSError: EOPNOTSUPP or EINVAL if the kernel or the file system does not support it.
    """
    return os.preadv(fd, [buffer], offset, RWF_DONTCACHE)


def drop_from_cache(fd: int) -> None:
    """Drop the cached pages of the file *fd*, also for other readers. Raises OSError."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def read_file(path: str, most: int | None = None) -> bytes:
    """Return the whole content of the regular file *path*, which may have *most* bytes.

    Raises OSError: EINVAL for other types of files (without waiting), EFBIG for a larger file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        with open(fd, "rb", closefd=False) as file:
            data = file.read() if most is None else file.read(most + 1)
        if most is not None and len(data) > most:
            raise OSError(errno.EFBIG, f"has more than {most} bytes", path)
        return data
    finally:
        os.close(fd)


def read_start(path: str, most: int, dir_fd: int | None = None) -> bytes:
    """Return the first bytes of the file *path*, at most *most*, without following a symlink or waiting for a FIFO.

    Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)
