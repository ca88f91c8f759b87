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
    from collections.abc import Iterable, Iterator, Sequence

    from arstore.tar.entry import Entry
    from arstore.tar.reader import TarReader
    from arstore.trees.format import Content, TreeBuilder

SMALL = 16 << 10
"""Bytes up to which a file gets a SHA-256 in any case."""
_SPARSE = 16
"""Inode numbers for each file up to which all of them are listed."""
LENGTH = 16
"""Bytes of a digest that are kept."""

_FILE = Kind.FILE


class FileDigests:
    """The digests of one layer's files, by inode number in the tree."""

    def __init__(self, mode: str = AUTO) -> None:
        self._all = mode == ALL
        self._inodes = array("Q")
        self._found = bytearray()
        """A digest for each inode, of the kind that its size asks for."""
        self._more: dict[int, bytes] = {}
        """The SHA-256 of larger files."""
        self._places: array[int] | _Scattered | None = None
        self._first = 0

    def feed(self, builder: TreeBuilder, entries: Iterable[tuple[Entry, Content]], reader: TarReader | None) -> None:
        """Pass *entries* to *builder*, and hash the content of each file that it makes.

        *reader* is the source of the entries, if the builder leaves their content unread: most of it is in memory then,
        and is hashed in place. Raises the errors of both.
        """
        add, note, found = builder.add, self._inodes.append, self._found
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
                    self._put(inode, seen)
                continue
            add(entry, content)
            if (inode := builder.latest) >= 0:
                note(inode)
                found += sha256(data).digest()[:LENGTH] if size <= SMALL else blake3(data).digest(LENGTH)

    def add(self, inode: int, size: int, content: Content) -> None:
        """Hash the *content* of a file of *size* bytes that was not fed."""
        self._places = None
        self._put(inode, _Seen(content, size, self._all))

    def _put(self, inode: int, seen: _Seen) -> None:
        digests = seen.digests()
        self._inodes.append(inode)
        self._found += digests[-LENGTH:]
        if len(digests) > LENGTH:
            self._more[inode] = digests[:LENGTH]
        else:
            self._more.pop(inode, None)

    def of(self, inode: int, size: int) -> tuple[int, bytes]:
        """Return the flags of the digests of a file of this size, and the digests, in the order of the flags."""
        places = self._places
        if places is None:
            places = self._index()
        at = places[inode - self._first] if 0 <= inode - self._first < len(places) else -1
        if at < 0:
            return 0, b""
        found = bytes(self._found[LENGTH * at : LENGTH * (at + 1)])
        if size <= SMALL:
            return SHA256, found
        more = self._more.get(inode)
        return (BLAKE3, found) if more is None else (SHA256 | BLAKE3, more + found)

    def _index(self) -> array[int] | _Scattered:
        """Return the place of each inode's digest, the last one if it came several times, by inode number.

        The numbers of an index are nearly dense. Those of a file system may be far apart.
        """
        inodes = self._inodes
        self._first = min(inodes, default=0)
        width = max(inodes, default=-1) - self._first + 1
        if width <= _SPARSE * len(inodes):
            dense = array("q", [-1]) * width
            first = self._first
            for at, inode in enumerate(inodes):
                dense[inode - first] = at
            self._places = dense
            return dense
        scattered = self._places = _Scattered(inodes, self._first)
        return scattered


class _Scattered:
    """The same for numbers that are far apart, by binary search."""

    def __init__(self, inodes: Sequence[int], first: int) -> None:
        self._inodes = inodes
        self._first = first
        self._order = array("I", sorted(range(len(inodes)), key=inodes.__getitem__))
        self._length = max(inodes, default=-1) - first + 1

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> int:
        inode = number + self._first
        at = bisect_right(self._order, inode, key=self._inodes.__getitem__) - 1
        return self._order[at] if at >= 0 and self._inodes[self._order[at]] == inode else -1


class _Seen:
    """The content of one file on its way to a builder, which may leave it unread."""

    __slots__ = ("_content", "_hashers", "_size", "_wants_all")

    def __init__(self, content: Content, size: int, wants_all: bool) -> None:
        self._content = content
        self._size = size
        self._wants_all = wants_all
        self._hashers: tuple[_Hash, ...] = ()

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the content, and hash it."""
        size = self._size
        for chunk in self._content.chunks():
            for hasher in self._hashers or self._start(size):
                hasher.update(chunk)
            yield chunk

    def _start(self, size: int) -> tuple[_Hash, ...]:
        if size <= SMALL:
            self._hashers = (sha256(),)
        elif self._wants_all:
            self._hashers = (sha256(), blake3())
        else:
            self._hashers = (blake3(),)
        return self._hashers

    def digests(self) -> bytes:
        """Return the digests, after reading what the builder has left."""
        for _ in self.chunks():
            pass
        return b"".join(hasher.digest()[:LENGTH] for hasher in self._hashers)


if TYPE_CHECKING:
    from typing import Protocol

    class _Hash(Protocol):
        def update(self, data: bytes | memoryview, /) -> object: ...

        def digest(self) -> bytes: ...


def count(flags: int) -> int:
    """Return how many digests a row with these *flags* has."""
    return (flags & (SHA256 | BLAKE3)).bit_count()
