"""Claims: of several processes that want to take one layer, one does and the others wait for it.

A claim is a lock on one byte of the file `graph/claims`, at an offset that the blob's digest tells: nothing to clean
up, and gone with its process however that ends (open file description locks, fcntl(2), Linux 3.15). Whoever finds one
of several layers claimed lets go of all of them before it waits, so that no two wait for each other. That two digests
share an offset is as good as impossible, and would only make one wait for the other.

Claims save work and protect nothing: what happens to a store that is used without them is `store.ingest.publish`'s
business.
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
"""Hexadecimal digits of a digest that make an offset: 60 bits, which are a file offset."""

_UNKNOWN = frozenset({errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP})
"""How a file system without such locks answers: everybody then does the work."""


class Claims:
    """The claims of one piece of work, in the file at *path*; a context manager that lets go of them."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: list[int] = []

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        # Not by closing alone: workers that were forked meanwhile share the descriptor.
        self.release()
        os.close(self._fd)

    def take(self, digests: Iterable[Digest]) -> bool:
        """Claim all of *digests*; when one is somebody else's, wait until it is not, and hold none. Raises OSError."""
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
        """Let go of everything."""
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
