"""Segments: files with the pages of many trees, by part.

    header     magic; length and BLAKE3 (16 bytes) of each of the four sections; CRC-32 of all that
    directory  for each page: the first 16 bytes of its tree's key, and its head
    keys       of all pages, in the order of the directory
    digests    likewise
    names      likewise

A segment never changes. The pages of one tree are adjacent. Sections that are read whole are verified whole; names, of
which a search often reads few, have a checksum for each page. A segment of trees that were built by other rules has
another magic, and is ignored.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from blake3 import blake3

from arstore.graph.records import RULES
from arstore.linux.files.writing import write_all
from arstore.trees.contents.file_digests import LENGTH
from arstore.trees.contents.page import HEAD, KEY, PageError, PageHead, check_digests, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arstore.trees.contents.page import Names, Page

_MAGIC = f"arstore contents 1 {RULES}\n".encode().ljust(32, b"\0")
_SECTION = struct.Struct("<Q16s")
_SECTIONS = 4
_SIZE = len(_MAGIC) + _SECTIONS * _SECTION.size + 4
_ID = 16
_ENTRY = _ID + HEAD
_CHUNK = 1 << 20
DIRECTORY, KEYS, DIGESTS, NAMES = range(_SECTIONS)


class SegmentError(ValueError):
    """A file that is not a sound segment; the index does without it."""


def tree_id(key: str) -> bytes:
    """Return the first 16 bytes of a tree's key."""
    return bytes.fromhex(key.partition(":")[2][: 2 * _ID])


class Place(NamedTuple):
    """A page in a segment: its tree, its head, and the positions of its parts in their sections."""

    tree: bytes
    head: PageHead
    keys: int
    digests: int
    names: int


class Segment:
    """An open segment; a context manager that closes it."""

    def __init__(self, fd: int, path: str = "") -> None:
        """Take over the open file *fd*, and read its directory. Raises SegmentError, OSError."""
        self.path = path
        self._fd = fd
        try:
            self.size = os.fstat(self._fd).st_size
            self._sections = self._read_header()
            self.pages = self._read_directory()
        except BaseException:
            os.close(self._fd)
            raise

    @classmethod
    def open(cls, path: str) -> Segment:
        """Open *path*. Raises SegmentError, OSError."""
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), path)

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _read_header(self) -> list[tuple[int, int, bytes]]:
        data = os.pread(self._fd, _SIZE, 0)
        if len(data) != _SIZE or not data.startswith(_MAGIC):
            raise SegmentError("not a segment")
        if crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
            raise SegmentError("its header has another checksum")
        found = []
        start = _SIZE
        for number in range(_SECTIONS):
            length, digest = _SECTION.unpack_from(data, len(_MAGIC) + number * _SECTION.size)
            found.append((start, length, digest))
            start += length
        if start != self.size:
            raise SegmentError(f"has {self.size} bytes instead of {start}")
        return found

    def _read_directory(self) -> list[Place]:
        data = b"".join(self.section(DIRECTORY))
        try:
            heads = [
                (data[at : at + _ID], PageHead.unpack(data[at + _ID : at + _ENTRY]))
                for at in range(0, len(data), _ENTRY)
            ]
        except PageError as error:
            raise SegmentError("its directory has impossible sizes") from error
        keys = accumulate((KEY * head.rows for _, head in heads), initial=0)
        digests = accumulate((LENGTH * head.digests for _, head in heads), initial=0)
        names = accumulate((head.stored for _, head in heads), initial=0)
        found = [Place(*both, *at) for both, *at in zip(heads, keys, digests, names, strict=False)]
        sums = [sum(sizes) for sizes in zip(*map(_lengths, (head for _, head in heads)), strict=True)] or [0, 0, 0]
        if sums != [length for _, length, _ in self._sections[1:]]:
            raise SegmentError("its directory does not match its sections")
        return found

    def section(self, number: int, size: int = _CHUNK) -> Iterator[bytes]:
        """Yield a section in pieces of *size* bytes, and verify it. Raises SegmentError at its end, OSError."""
        start, length, digest = self._sections[number]
        found = blake3()
        end = start + length
        while start < end:
            data = os.pread(self._fd, min(size, end - start), start)
            if not data:
                raise SegmentError("is cut short")
            found.update(data)
            start += len(data)
            yield data
        if found.digest(_ID) != digest:
            raise SegmentError("has a section with another checksum")

    def read(self, number: int, place: int, length: int) -> bytes:
        """Return *length* bytes from *place* of a section, which are not verified. Raises OSError."""
        return os.pread(self._fd, length, self._sections[number][0] + place)

    def names(self, page: Place) -> Names:
        """Return the names of a page. Raises SegmentError, OSError."""
        try:
            return names_of(page.head, self.read(NAMES, page.names, page.head.stored))
        except PageError as error:
            raise SegmentError(f"has a page that {error}") from error

    def digests(self, page: Place) -> bytes:
        """Return the digests of a page. Raises SegmentError, OSError."""
        data = self.read(DIGESTS, page.digests, LENGTH * page.head.digests)
        try:
            check_digests(page.head, data)
        except PageError as error:
            raise SegmentError(f"has a page that {error}") from error
        return data

    def length(self, number: int) -> int:
        """Return the length of a section in bytes."""
        return self._sections[number][1]


def _lengths(head: PageHead) -> tuple[int, int, int]:
    return KEY * head.rows, LENGTH * head.digests, head.stored


@dataclass(slots=True)
class _Section:
    length: int = 0
    found: blake3 = field(default_factory=blake3)


def write(fd: int, sources: Sequence[tuple[Segment, Sequence[Place]]], new: Sequence[tuple[bytes, Sequence[Page]]]) -> None:
    """Write a segment with some pages of others, and with the pages of *new* trees, into the empty file *fd*.

    Raises SegmentError for sources that are damaged, OSError.
    """
    sections = [_Section() for _ in range(_SECTIONS)]
    os.lseek(fd, _SIZE, os.SEEK_SET)

    def put(number: int, data: bytes) -> None:
        sections[number].found.update(data)
        sections[number].length += len(data)
        write_all(fd, data)

    entries = [page.tree + page.head.pack() for _, pages in sources for page in pages]
    entries += [tree + page.head.pack() for tree, pages in new for page in pages]
    put(DIRECTORY, b"".join(entries))
    for number in (KEYS, DIGESTS, NAMES):
        for segment, pages in sources:
            _copy(segment, pages, number, put)
        for _, fresh in new:
            put(number, b"".join((page.keys, page.digests, page.names)[number - 1] for page in fresh))
    header = _MAGIC + b"".join(_SECTION.pack(one.length, one.found.digest(_ID)) for one in sections)
    os.pwrite(fd, header + crc32(header).to_bytes(4, "little"), 0)


def _copy(segment: Segment, pages: Sequence[Place], number: int, put: Callable[[int, bytes], None]) -> None:
    """Copy a part of these pages, adjacent ones together."""
    start = end = 0
    if len(pages) == len(segment.pages):
        # All of it: verified on the way.
        for data in segment.section(number):
            put(number, data)
        return
    for _ in segment.section(number):
        pass  # only verified
    for page in pages:
        at, length = page[number + 1], _lengths(page.head)[number - 1]
        if at != end:
            _copy_range(segment, number, start, end, put)
            start = at
        end = at + length
    _copy_range(segment, number, start, end, put)


def _copy_range(segment: Segment, number: int, start: int, end: int, put: Callable[[int, bytes], None]) -> None:
    while start < end:
        data = segment.read(number, start, min(_CHUNK, end - start))
        if not data:
            raise SegmentError("is cut short")
        put(number, data)
        start += len(data)
