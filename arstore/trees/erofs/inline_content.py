"""Content inside an index, because it is not in a tar at a place that the index could point at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.trees.directory.content import write_content
from arstore.trees.erofs import format as layout
from arstore.trees.format import UnrepresentableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.tar.entry import Entry
    from arstore.trees.format import Content

MOST_CONTENT = 1 << 30
"""Bytes of content, holes included, that an index can contain."""


class OwnContent:
    """The content at the beginning of the index *fd*; `end` is the number of the first block after it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.end = layout.FIRST_BLOCK

    def take(self, entry: Entry, content: Content) -> int:
        """Write the content of *entry*; return the number of its first block.

        Raises UnrepresentableError when *entry* was read from a tar, or is too large; TarError, LimitError, OSError.
        """
        if entry.offset:
            why = "is sparse" if entry.sparse is not None else "does not begin at a block of the tar"
            raise UnrepresentableError(entry.path, why)
        first = self.end
        end = first + layout.blocks(entry.size)
        if (end - layout.FIRST_BLOCK) * layout.BLOCK > MOST_CONTENT:
            raise UnrepresentableError(entry.path, "is too large to be copied")
        write_content(self._fd, entry, content, first * layout.BLOCK)
        self.end = end
        return first


class FilePart:
    """Content in the file *fd*: *size* bytes from byte *start* on."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        self._fd = fd
        self._start = start
        self._end = start + size

    def chunks(self) -> Iterator[bytes]:
        """Yield the content, in order. Raises OSError."""
        offset = self._start
        while data := os.pread(self._fd, min(CHUNK, self._end - offset), offset):
            offset += len(data)
            yield data
