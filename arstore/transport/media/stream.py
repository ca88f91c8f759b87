"""A stream that is read once from a descriptor."""

from __future__ import annotations

import os

from arstore.digest import CHUNK
from arstore.errors import naming


class DescriptorReader:
    """A stream that is read from a descriptor, such as that of a FIFO."""

    def __init__(self, fd: int, what: str) -> None:
        self._fd = fd
        self._what = what

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        with naming(self._what):
            return os.read(self._fd, size)
