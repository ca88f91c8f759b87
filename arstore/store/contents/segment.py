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
from array import array
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from blake3 import blake3

from arstore.graph.records import RULES
from arstore.linux.files.writing import write_all
from arstore.trees.contents.file_digests import LENGTH
from arstore.trees.contents.page import HEAD, KEY, PageError, PageHead, are_possible, check_digests, little, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arstore.trees.contents.page import Names, Page

_MAGIC = f"arstore contents 1 {RULES}\n".encode().ljust(32, b"\0")
_SECTION = struct.Struct("<Q16s")
_SECTIONS = 4
_SIZE = len(_MAGIC) + _SECTIONS * _SECTION.size + 4
ID = 16
"""Bytes of a tree's key by which it is known here."""
_ENTRY = ID + HEAD
_WORDS = _ENTRY // 4
_CHUNK = 1 << 20
DIRECTORY, KEYS, DIGESTS, NAMES = range(_SECTIONS)


class SegmentError(ValueError):
    """A file that is not a sound segment; the index does without it."""


def tree_id(key: str) -> bytes:
    """Return the first 16 bytes of a tree's key."""
    return bytes.fromhex(key.partition(":")[2][: 2 * ID])


def _read_header(fd: int, size: int) -> list[tuple[int, int, bytes]]:
    """Return start, length and digest of each section of a segment of *size* bytes. Raises SegmentError, OSError."""
    data = os.pread(fd, _SIZE, 0)
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
    if start != size:
        raise SegmentError(f"has {size} bytes instead of {start}")
    return found


def announce(fd: int, section: int) -> None:
    """Let the kernel read the directory and a *section* of a segment meanwhile. Raises SegmentError, OSError."""
    sections = _read_header(fd, os.fstat(fd).st_size)
    for number in {DIRECTORY, section}:
        start, length, _ = sections[number]
        os.posix_fadvise(fd, start, length, os.POSIX_FADV_WILLNEED)


class Place(NamedTuple):
    """A page in a segment: its tree, its head, and the positions of its parts in their sections, in bytes."""

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
            self._sections = _read_header(self._fd, self.size)
            self.trees = self._read_directory()
            """The id of each page's tree, by the number of the page."""
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

    def _read_directory(self) -> list[bytes]:
        """Read the directory into columns: a large segment has 10^5 pages, most of which no search looks at."""
        data = b"".join(self.section(DIRECTORY))
        if len(data) % _ENTRY:
            raise SegmentError("its directory is cut short")
        numbers = little(array("I", data))
        self._heads = [numbers[at::_WORDS] for at in range(ID // 4, _WORDS)]
        rows, stored, lengths = self._heads[:3]
        counts = array("I", map(add, *self._heads[-2:]))
        if not are_possible(rows, lengths, counts):
            raise SegmentError("its directory has impossible sizes")
        self.row_starts = array("Q", accumulate(rows, initial=0))
        """The number of the first row of each page; the last element is the number of all rows."""
        self.digest_starts = array("Q", accumulate(counts, initial=0))
        """The same for digests."""
        self._name_starts = array("Q", accumulate(stored, initial=0))
        sums = [KEY * self.row_starts[-1], LENGTH * self.digest_starts[-1], self._name_starts[-1]]
        if sums != [length for _, length, _ in self._sections[1:]]:
            raise SegmentError("its directory does not match its sections")
        return [data[at : at + ID] for at in range(0, len(data), _ENTRY)]

    def page(self, number: int) -> Place:
        """Return the page with this number."""
        head = PageHead(*(column[number] for column in self._heads))
        digests = LENGTH * self.digest_starts[number]
        return Place(self.trees[number], head, KEY * self.row_starts[number], digests, self._name_starts[number])

    def total(self, field: str, pages: Sequence[int]) -> int:
        """Return the sum of a field of the heads of these pages."""
        column = self._heads[PageHead._fields.index(field)]
        return sum(map(column.__getitem__, pages)) if len(pages) < len(column) else sum(column)

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
        if found.digest(ID) != digest:
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


@dataclass(slots=True)
class _Section:
    length: int = 0
    found: blake3 = field(default_factory=blake3)


def write(
    fd: int, sources: Sequence[tuple[Segment, Sequence[int]]], new: Sequence[tuple[bytes, Sequence[Page]]]
) -> None:
    """Write a segment with some pages of others, by number, and with those of *new* trees, into the empty file *fd*.

    Raises SegmentError for sources that are damaged, OSError.
    """
    sections = [_Section() for _ in range(_SECTIONS)]
    os.lseek(fd, _SIZE, os.SEEK_SET)

    def put(number: int, data: bytes) -> None:
        sections[number].found.update(data)
        sections[number].length += len(data)
        write_all(fd, data)

    for segment, pages in sources:
        some = map(segment.page, pages)
        put(DIRECTORY, b"".join(page.tree + page.head.pack() for page in some))
    put(DIRECTORY, b"".join(tree + page.head.pack() for tree, pages in new for page in pages))
    for number in (KEYS, DIGESTS, NAMES):
        for segment, pages in sources:
            _copy(segment, pages, number, put)
        for _, fresh in new:
            put(number, b"".join((page.keys, page.digests, page.names)[number - 1] for page in fresh))
    header = _MAGIC + b"".join(_SECTION.pack(one.length, one.found.digest(ID)) for one in sections)
    os.pwrite(fd, header + crc32(header).to_bytes(4, "little"), 0)


def _copy(segment: Segment, pages: Sequence[int], number: int, put: Callable[[int, bytes], None]) -> None:
    """Copy a section of these pages, adjacent ones together."""
    if len(pages) == len(segment.trees):
        # All of it: verified on the way.
        for data in segment.section(number):
            put(number, data)
        return
    for _ in segment.section(number):
        pass  # only verified
    start = end = 0
    for page in map(segment.page, pages):
        at = (page.keys, page.digests, page.names)[number - 1]
        if at != end:
            _copy_range(segment, number, start, end, put)
            start = at
        end = at + (KEY * page.head.rows, LENGTH * page.head.digests, page.head.stored)[number - 1]
    _copy_range(segment, number, start, end, put)


def _copy_range(segment: Segment, number: int, start: int, end: int, put: Callable[[int, bytes], None]) -> None:
    while start < end:
        data = segment.read(number, start, min(_CHUNK, end - start))
        if not data:
            raise SegmentError("is cut short")
        put(number, data)
        start += len(data)
