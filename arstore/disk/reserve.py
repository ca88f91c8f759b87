"""Space that is set aside for the day when the disk is full: a file that holds nothing else.

Even a removal has to write new pages of the graph, and a full disk must not be a reason not to remove.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

SPARE, SPARE_SIZE = "spare", 512 << 10
"""The file's name beside the graph's own, and its bytes."""

_SMALLEST = 16 << 10


class Spare:
    """The file at *path*."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_given_up = False

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """For the length of the context: the space is free, and is not set aside again."""
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
        """Make the file where it is missing or short, as large as there is room for, unless it was given up."""
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
        """Have *size* bytes of another file allocated, out of this one where there is no other room. Raises OSError."""
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
            os.posix_fallocate(fd, 0, size)


def _reserve(fd: int) -> None:
    """Have as much of the file allocated as there is room for: a full disk still gives a few pages of it back."""
    size = SPARE_SIZE
    while size >= _SMALLEST:
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            # Some file systems keep what they had allocated by then.
            os.ftruncate(fd, 0)
            size //= 2
        else:
            return
