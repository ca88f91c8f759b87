"""Streams that can be read only once: look at the beginning, then read from the beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arstore.digest import Reader


def head_of(stream: Reader, size: int) -> bytes:
    """Return the first *size* bytes, or all there are."""
    head = b""
    while len(head) < size and (more := stream.read(size - len(head))):
        head += more
    return head


class Resumed:
    """A stream that returns first the bytes that were read from it for a look."""

    def __init__(self, head: bytes, rest: Reader) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, b"" at the end."""
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            data, self._head = self._head + self._rest.read(-1), b""
        else:
            data, self._head = self._head[:size], self._head[size:]
        return data
