"""Digests of the content of files, computed while a layer is read.

An import may spend a tenth of its processor time on them. SHA-256 of everything takes more than twice that, so files of
at most `SMALL` bytes, most files of most images, get a SHA-256, and larger files a BLAKE3, in a quarter of the time.
The size alone decides, so equal files have equal digests, whatever layer they are in. `sha256` adds the SHA-256 of the
larger files. Empty files and sparse files have no digest.

Only the first 16 bytes are kept: that identifies a file in half the space.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from hashlib import sha256
from typing import TYPE_CHECKING

from blake3 import blake3

from arstore.tar.entry import Kind
from arstore.trees.contents import ALL, AUTO
from arstore.trees.contents.row import BLAKE3, SHA256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.tar.entry import Entry
    from arstore.tar.reader import TarReader
    from arstore.trees.format import Content, TreeBuilder

SMALL = 16 << 10
"""Bytes up to which a file gets a SHA-256 in any case."""
LENGTH = 16
"""Bytes of a digest that are kept."""

_FILE = Kind.FILE


class FileDigests:
    """The digests of one layer's files, by inode number in the tree."""

    def __init__(self, mode: str = AUTO) -> None:
        self._all = mode == ALL
        self._inodes = array("Q")
        self._flags = bytearray()
        self._found = bytearray()
        self._order: list[int] | None = None
        self._starts = array("Q")
        self._last = -1
        self._is_sorted = True

    def feed(self, builder: TreeBuilder, entries: Iterable[tuple[Entry, Content]], reader: TarReader | None) -> None:
        """Pass *entries* to *builder*, and hash the content of each file that it makes.

        *reader* is the source of the entries, if the builder leaves their content unread: most of it is in memory then,
        and is hashed in place. Raises the errors of both.
        """
        add, put = builder.add, self._put
        most = SMALL if self._all else 1 << 62
        for entry, content in entries:
            size = entry.size
            if entry.kind is not _FILE or not size or entry.sparse is not None:
                add(entry, content)
                continue
            builder.latest = -1
            data = reader.buffered() if content is reader and size <= most else None
            if data is None:
                seen = _Seen(content, size, self._all)
                add(entry, seen)
                if (inode := builder.latest) >= 0:
                    put(inode, *seen.digests())
                continue
            add(entry, content)
            if (inode := builder.latest) < 0:
                continue
            if size <= SMALL:
                put(inode, SHA256, sha256(data).digest()[:LENGTH])
            else:
                put(inode, BLAKE3, blake3(data).digest(LENGTH))

    def add(self, inode: int, size: int, content: Content) -> None:
        """Hash the *content* of a file of *size* bytes, outside of an import."""
        self._put(inode, *_Seen(content, size, self._all).digests())

    def _put(self, inode: int, flags: int, digests: bytes) -> None:
        if inode <= self._last:
            self._is_sorted = False
        self._last = inode
        self._inodes.append(inode)
        self._flags.append(flags)
        self._starts.append(len(self._found))
        self._found += digests

    def of(self, inode: int) -> tuple[int, bytes]:
        """Return the flags of the digests of this inode, and the digests, in the order of the flags."""
        if self._is_sorted:
            at = bisect_right(self._inodes, inode) - 1
        else:
            # An inode number that was freed may have come again: the last file with it counts.
            if self._order is None:
                self._order = sorted(range(len(self._inodes)), key=self._inodes.__getitem__)
            found = bisect_right(self._order, inode, key=self._inodes.__getitem__) - 1
            at = self._order[found] if found >= 0 else -1
        if at < 0 or self._inodes[at] != inode:
            return 0, b""
        start, flags = self._starts[at], self._flags[at]
        return flags, bytes(self._found[start : start + LENGTH * count(flags)])


class _Seen:
    """The content of one file on its way to a builder, which may leave it unread."""

    __slots__ = ("_content", "_hashers", "_size", "_wants_all")

    def __init__(self, content: Content, size: int, wants_all: bool) -> None:
        self._content = content
        self._size = size
        self._wants_all = wants_all
        self._hashers: tuple[tuple[int, _Hash], ...] = ()

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the content, and hash it."""
        size = self._size
        for chunk in self._content.chunks():
            for _, hasher in self._hashers or self._start(size):
                hasher.update(chunk)
            yield chunk

    def _start(self, size: int) -> tuple[tuple[int, _Hash], ...]:
        if size <= SMALL:
            self._hashers = ((SHA256, sha256()),)
        elif self._wants_all:
            self._hashers = ((SHA256, sha256()), (BLAKE3, blake3()))
        else:
            self._hashers = ((BLAKE3, blake3()),)
        return self._hashers

    def digests(self) -> tuple[int, bytes]:
        """Return flags and digests, after reading what the builder has left."""
        for _ in self.chunks():
            pass
        flags, found = 0, b""
        for flag, hasher in self._hashers:
            flags |= flag
            found += hasher.digest()[:LENGTH]
        return flags, found


if TYPE_CHECKING:
    from typing import Protocol

    class _Hash(Protocol):
        def update(self, data: bytes | memoryview, /) -> object: ...

        def digest(self) -> bytes: ...


def count(flags: int) -> int:
    """Return how many digests a row with these *flags* has."""
    return (flags & (SHA256 | BLAKE3)).bit_count()
