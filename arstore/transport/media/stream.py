"""Streams that can be read only once: looking at how one begins, and reading one from a descriptor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import naming
from arstore.transport.media.magic import HEAD

if TYPE_CHECKING:
    from arstore.digest import Reader


def head_of(stream: Reader) -> bytes:
    """The first `HEAD` bytes, or all there are."""
    head = b""
    while len(head) < HEAD and (more := stream.read(HEAD - len(head))):
        head += more
    return head


class Resumed:
    """A stream with the bytes that were read from it to look at put back."""

    def __init__(self, head: bytes, rest: Reader) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            data, self._head = self._head + self._rest.read(-1), b""
        else:
            data, self._head = self._head[:size], self._head[size:]
        return data


class DescriptorReader:
    """A stream that is read from a descriptor, such as a FIFO's."""

    def __init__(self, fd: int, what: str) -> None:
        self._fd = fd
        self._what = what

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        with naming(self._what):
            return os.read(self._fd, size)
