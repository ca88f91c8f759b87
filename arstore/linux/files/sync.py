"""Durability: of a whole file system at once, and of the names in a directory."""

from __future__ import annotations

import os

from arstore.linux.syscall import libc


def syncfs(fd: int) -> None:
    """Call syncfs(2): write the whole file system of *fd* to its disk. O_PATH descriptors do not work (EBADF).

    Raises OSError; since Linux 5.8 also when an earlier write-back failed after *fd* was opened.
    """
    libc("syncfs", fd)


def sync_directory(path: str) -> None:
    """Make the names in the directory *path* durable (fsync(2), "Calling fsync() does not necessarily ensure ...")."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
