"""Claims: when several processes want to take the same layer, one takes it and the others wait.

A claim is a lock on one byte of the file `graph/claims`; the blob's digest gives the offset. Nothing has to be cleaned
up: the lock goes with its process, however that ends (open file description locks, fcntl(2), Linux 3.15). A process
that finds one of several layers claimed releases all its claims before it waits, so that no two processes wait for each
other. Two digests with the same offset are extremely unlikely, and would only make one process wait for the other.

Claims save work but protect nothing: `store.ingest.publish` keeps the store consistent without them.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from arstore.linux.files.filelock import lock_byte, unlock_byte, wait_for_byte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arstore.digest import Digest

_DIGITS = 15
"""Hexadecimal digits of a digest that make an offset: 60 bits, which fit into a file offset."""

_UNKNOWN = frozenset({errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP})
"""Errors of a file system without such locks: every process then does the work."""


class Claims:
    """Claims of one piece of work, in the file at *path*: a context manager that releases them."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: list[int] = []

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone is not enough: workers forked in the meantime share the descriptor.
        self.release()
        os.close(self._fd)

    def take(self, digests: Iterable[Digest]) -> bool:
        """Claim all of *digests* and return True. Raises OSError.

        If another process has claimed one, release all claims, wait until that one is free, and return False.
        """
        for offset in sorted({int(digest.hex[:_DIGITS], 16) for digest in digests}):
            if self._try(offset):
                self._held.append(offset)
                continue
            self.release()
            self._set(wait_for_byte, offset)
            self._set(unlock_byte, offset)
            return False
        return True

    def release(self) -> None:
        """Release all claims. Raises OSError."""
        for offset in self._held:
            self._set(unlock_byte, offset)
        self._held.clear()

    def _try(self, offset: int) -> bool:
        try:
            self._set(lock_byte, offset)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                return False
            raise
        return True

    def _set(self, call: Callable[[int, int], None], offset: int) -> None:
        try:
            call(self._fd, offset)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
