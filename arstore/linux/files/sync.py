"""Durability of a whole file system at once."""

from __future__ import annotations

from arstore.linux.syscall import libc


def syncfs(fd: int) -> None:
    """syncfs(2): write all of the file system that *fd* lies on to its disk. O_PATH descriptors will not do (EBADF).

    Raises OSError; since Linux 5.8 also when an earlier write-back failed after *fd* was opened.
    """
    libc("syncfs", fd)
