"""Writing: all of some bytes, and atomic replacement of files."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of *data*, in as many calls as needed. Raises OSError."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def replace_file(
    path: str,
    data: bytes,
    temporary: str,
    *,
    durable: bool = False,
    dir_fd: int | None = None,
    written: Callable[[], object] = lambda: None,
    mode: int = 0o600,
) -> None:
    """Replace the file *path* by one with *data* and *mode*, through *temporary*, on the same file system.

    At every moment *path* has the old or the new content. *durable* syncs the new file before the rename, but not the
    directory; *written* is called in between. Paths are relative to *dir_fd*, if given. After an error *temporary* is
    removed. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(temporary, flags, 0o600, dir_fd=dir_fd)
        try:
            os.fchmod(fd, mode)
            write_all(fd, data)
            if durable:
                os.fdatasync(fd)
        finally:
            os.close(fd)
        written()
        os.rename(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise
