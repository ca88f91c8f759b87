"""Durability of a whole file system at once."""

from __future__ import annotations

from arstore.linux.syscall import libc


def syncfs(fd: int) -> None:
    """Call syncfs(2): write the whole file system of *fd* to its disk. O_PATH descriptors do not work (EBADF).

    Raises OSError; since Linux 5.8 also when an earlier write-back failed after *fd* was opened.
    """
    libc("syncfs", fd)
