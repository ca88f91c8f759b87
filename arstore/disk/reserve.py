"""Reserved space for a full disk: a file without content, which is deleted when its space is needed.

Even a removal has to write new pages of the graph, and it must work on a full disk.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import contextmanager, suppress
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

SPARE, SPARE_SIZE = "spare", 512 << 10
"""The file's name, in the directory of the graph, and its size in bytes."""

_SMALLEST = 16 << 10


class Spare:
    """The reserve file at *path*."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_given_up = False

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Free the space during the context, and reserve it again afterwards."""
        self._is_given_up = True
        with suppress(FileNotFoundError):
            os.unlink(self._path)
            reached("store.spare-given-up")
        try:
            yield
        finally:
            self._is_given_up = False
            self.set_aside()

    def set_aside(self) -> None:
        """Create the file if it is missing or short, as large as space permits. Does nothing while it is given up."""
        if self._is_given_up:
            return
        with suppress(FileNotFoundError):
            if os.stat(self._path).st_size == SPARE_SIZE:
                return
        with suppress(OSError):
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            reached("store.spare-made")
            try:
                _reserve(fd)
            finally:
                os.close(fd)

    def allocated(self, fd: int, size: int) -> None:
        """Allocate *size* bytes of the open file *fd*, from the reserve if nothing else is free. Raises OSError."""
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
            os.posix_fallocate(fd, 0, size)


def _reserve(fd: int) -> None:
    """Allocate as much of the file as there is space for: a full disk still has a few pages."""
    size = SPARE_SIZE
    while size >= _SMALLEST:
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            # Some file systems keep what they had allocated so far.
            os.ftruncate(fd, 0)
            size //= 2
        else:
            return
