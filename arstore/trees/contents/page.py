"""Pages: up to 4,096 rows of one tree as bytes, in parts that a search reads one without the other.

    keys      a word of four bytes for each row: 29 bits of the CRC-32 of its path, and 3 of its kind
    digests   16 bytes each, in the order of the rows
    names     the rows' bytes (kind and flags), their sizes, and their paths between zero bytes; as a zlib stream

A search for paths compares keys first, and reads names only where one is equal, so that a name that was chosen to
collide costs time, and never gives a wrong answer. A search by digest reads the digests, a search by pattern the names.

Pages come from a confined worker or from a file, so a reader must expect anything.
"""

from __future__ import annotations

import functools
import importlib
import struct
import sys
import zlib
from array import array
from contextlib import suppress
from operator import add, le
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from arstore.trees.contents.file_digests import LENGTH, FileDigests
from arstore.trees.contents.row import AGAIN, KIND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import ModuleType

    from arstore.trees.contents.row import Row

_ISAL = "isal.isal_zlib"
ROWS = 4096
"""Most rows in a page."""
KEY = 4
"""Bytes of a key."""
_LARGEST = ROWS * (4096 + 256 + 10)
"""Most bytes of a page's names: the longest path of a directory, with the longest name in it."""
_ABOVE_KIND = ~KIND & 0xFFFFFFFF
_HEAD = struct.Struct("<9I")


class PageError(ValueError):
    """Bytes that are not a page."""


class PageHead(NamedTuple):
    """Sizes of a page: rows, bytes of its names as stored and as they are, and the CRC-32 of names and of digests.

    `files` counts files with content, `bare` those without a digest, `sha256` and `blake3` the digests of each kind;
    other names of a file count too.
    """

    rows: int
    stored: int
    length: int
    crc: int
    digests_crc: int
    files: int
    bare: int
    sha256: int
    blake3: int

    @property
    def digests(self) -> int:
        """The number of digests."""
        return self.sha256 + self.blake3

    @classmethod
    def unpack(cls, data: bytes) -> PageHead:
        """Return the head in *data*. Raises PageError for numbers that no page has."""
        if len(data) != _HEAD.size:
            raise PageError("cut short")
        head = cls(*_HEAD.unpack(data))
        if not are_possible([head.rows], [head.length], [head.digests]):
            raise PageError("has impossible sizes")
        return head

    def pack(self) -> bytes:
        """Return the head as bytes."""
        return _HEAD.pack(*self)


def are_possible(rows: Sequence[int], lengths: Sequence[int], digests: Sequence[int]) -> bool:
    """Whether pages can have these numbers of rows, lengths of names and numbers of digests."""
    return (
        min(rows, default=1) > 0
        and max(rows, default=0) <= ROWS
        and max(lengths, default=0) <= _LARGEST
        and all(map(le, digests, map(add, rows, rows)))
    )


HEAD = _HEAD.size
"""Bytes of a head."""


class Page(NamedTuple):
    """The parts of a page."""

    head: PageHead
    keys: bytes
    digests: bytes
    names: bytes

    def parts(self) -> tuple[bytes, ...]:
        """Return the page as in a file of pages: its head, then its parts."""
        return self.head.pack(), self.keys, self.digests, self.names


class Names(NamedTuple):
    """The names of a page: `kinds` has the byte of each row, `text` the paths, each between two zero bytes."""

    kinds: bytes
    sizes: array[int]
    text: bytes

    def paths(self) -> list[bytes]:
        """Return the paths by row."""
        return self.text[1:-1].split(b"\0")

    def digest_rows(self) -> Iterator[tuple[int, int]]:
        """Yield the row and the flag of each digest of the page, in their order."""
        from arstore.trees.contents.row import BLAKE3, SHA256

        for row, kind in enumerate(self.kinds):
            if kind & SHA256:
                yield row, SHA256
            if kind & BLAKE3:
                yield row, BLAKE3


def key_of(path: bytes, kind: int) -> int:
    """Return the key of a row."""
    return crc32(path) & _ABOVE_KIND | kind & KIND


def pages(rows: Iterable[Row], digests: FileDigests | None, implied: frozenset[bytes]) -> Iterator[Page]:
    """Yield the pages for *rows*, which are in any order. *implied* are the directories without an entry."""
    from arstore.trees.contents.row import DIRECTORY, IMPLIED

    of = (digests or FileDigests()).of
    linked: set[int] = set()
    paths: list[bytes] = []
    kinds, sizes, found = bytearray(), array("Q"), bytearray()
    for path, kind, size, inode, links in rows:
        if size:
            flags, some = of(inode, size)
            found += some
            if links > 1:
                if inode in linked:
                    flags |= AGAIN
                linked.add(inode)
            kind |= flags
        elif kind == DIRECTORY and path in implied:
            kind = IMPLIED
        paths.append(path)
        kinds.append(kind)
        sizes.append(size)
        if len(paths) == ROWS:
            yield _page(paths, bytes(kinds), sizes, bytes(found))
            paths, kinds, sizes, found = [], bytearray(), array("Q"), bytearray()
    if paths:
        yield _page(paths, bytes(kinds), sizes, bytes(found))


def _page(paths: list[bytes], kinds: bytes, sizes: array[int], digests: bytes) -> Page:
    from arstore.trees.contents.row import BLAKE3, SHA256

    above, low = _ABOVE_KIND, KIND
    keys = array("I", [crc32(path) & above | kind & low for path, kind in zip(paths, kinds, strict=True)])
    plain = b"".join((kinds, little(sizes).tobytes(), b"\0", b"\0".join(paths), b"\0"))
    # ISA-L, if it is loaded because the layer is compressed, takes a tenth of the time.
    stored = sys.modules.get(_ISAL, zlib).compress(plain, 1)
    files = bare = sha256 = 0
    for kind, size in zip(kinds, sizes, strict=True):
        if size:
            files += 1
            if kind & SHA256:
                sha256 += 1
            elif not kind & BLAKE3:
                bare += 1
    blake3 = len(digests) // LENGTH - sha256
    head = PageHead(len(paths), len(stored), len(plain), crc32(stored), crc32(digests), files, bare, sha256, blake3)
    return Page(head, little(keys).tobytes(), digests, stored)


def names_of(head: PageHead, stored: bytes) -> Names:
    """Return the names of a page. Raises PageError for bytes that `pages` did not make."""
    if len(stored) != head.stored or crc32(stored) != head.crc:
        raise PageError("has names with another checksum")
    inflating = _zlib().decompressobj()
    try:
        plain = inflating.decompress(stored, head.length + 1)
    except _zlib().error as error:
        raise PageError("has names that cannot be decompressed") from error
    rows = head.rows
    text = plain[9 * rows :]
    if len(plain) != head.length or text.count(b"\0") != rows + 1:
        raise PageError("has names that do not match its head")
    sizes = array("Q", plain[rows : 9 * rows])
    return Names(plain[:rows], little(sizes), text)


@functools.cache
def _zlib() -> ModuleType:
    """The fastest module for zlib streams."""
    with suppress(ImportError):
        return importlib.import_module(_ISAL)
    return zlib


def check_digests(head: PageHead, digests: bytes) -> None:
    """Compare the digests of a page with its head. Raises PageError."""
    if crc32(digests) != head.digests_crc:
        raise PageError("has digests with another checksum")


def keys_of(data: bytes) -> memoryview:
    """Return keys as numbers."""
    return memoryview(little(array("I", data)))


def little(numbers: array[int]) -> array[int]:
    """Return *numbers* with the other byte order on machines whose order is not that of the files."""
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers


def split(data: memoryview) -> Iterator[Page]:
    """Yield the pages of a file of pages. Raises PageError."""
    place = 0
    while place < len(data):
        head = PageHead.unpack(bytes(data[place : place + HEAD]))
        place += HEAD
        parts = []
        for length in (KEY * head.rows, LENGTH * head.digests, head.stored):
            parts.append(bytes(data[place : place + length]))
            place += length
        if place > len(data):
            raise PageError("cut short")
        yield Page(head, *parts)
