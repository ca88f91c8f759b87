"""A tar as the source or the target of a copy: `-` on the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.linux.files.writing import write_all
from arstore.runtime.copying.entries import Copied
from arstore.runtime.copying.tree import FileContent
from arstore.tar.compression import decompressed
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import DEFAULT_LIMITS
from arstore.tar.reader import TarReader
from arstore.tar.writer import TarWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.digest import Reader


class TarSource:
    """The members of the tar *source*, which may be compressed."""

    def __init__(self, source: Reader, what: str) -> None:
        """Raises CompressionError, and what the source raises."""
        self._reader = TarReader(decompressed(source, what, limits=DEFAULT_LIMITS), what)

    def __iter__(self) -> Iterator[Copied]:
        """Raises TarError, TruncatedError, UnsafePathError, LimitError, and what the source raises."""
        for entry in self._reader:
            yield Copied(entry, _Member(self._reader, entry) if entry.kind is Kind.FILE else None)


class _Member:
    """The content of the current member."""

    def __init__(self, reader: TarReader, entry: Entry) -> None:
        self._reader = reader
        self._entry = entry

    def chunks(self, _: Entry) -> Iterator[bytes | memoryview]:
        """See Content."""
        return self._reader.chunks()

    def copy_to(self, fd: int) -> None:
        """See Content."""
        runs = [(0, self._entry.size)] if self._entry.sparse is None else self._entry.sparse
        chunks = self._reader.chunks()
        held = memoryview(b"")
        for offset, length in runs:
            at, end = offset, offset + length
            while at < end:
                if not held:
                    held = next(chunks)
                part = held[: end - at]
                held = held[len(part) :]
                os.lseek(fd, at, os.SEEK_SET)
                write_all(fd, part)
                at += len(part)
        os.ftruncate(fd, self._entry.size)


class TarTarget:
    """Writes entries as a tar, by calling *write*."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._held = bytearray()
        self._write = write
        self._writer = TarWriter(self._add)
        self.count = 0
        """Entries that were written."""

    def _add(self, data: bytes | memoryview) -> None:
        self._held += data
        if len(self._held) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        data, self._held = self._held, bytearray()
        self._write(memoryview(data))

    def add(self, copied: Copied) -> None:
        """Write one member. Raises TarError, SizeMismatchError, InUseError, OSError."""
        entry, content = copied
        if entry.kind is Kind.FILE and isinstance(content, FileContent):
            entry = content.prepared()
        is_file = entry.kind is Kind.FILE and content is not None
        self._writer.add(entry, content.chunks(entry) if is_file and content is not None else ())
        self.count += 1

    def finish(self) -> None:
        """Write the bytes held back. The caller writes the end of the archive."""
        self._flush()
