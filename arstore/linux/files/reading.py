"""Reading files that nobody is going to read again soon."""

from __future__ import annotations

import os

RWF_DONTCACHE = 0x80
"""preadv2(2), Linux 6.14: pages that this read brings in are dropped after it, and those that were there stay."""


def read_uncached(fd: int, buffer: bytearray | memoryview, offset: int) -> int:
    """Read from byte *offset* into *buffer* without filling the page cache; how many bytes that were.

    Raises OSError: EOPNOTSUPP or EINVAL where kernel or file system do not know how.
    """
    return os.preadv(fd, [buffer], offset, RWF_DONTCACHE)


def drop_from_cache(fd: int) -> None:
    """Let the kernel forget the pages of the file that *fd* has open, whoever else reads them. Raises OSError."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
