"""Make a table of the members of a tar archive: from its headers alone if it can be read in place, else in one pass.

An uncompressed regular file is indexed by seeking from header to header; its content is neither read nor copied. A
stream, or anything compressed, is read once, and the content of its regular members goes to spool files inside the
store: each large member to its own file, which the store may later take over by a link, and all small ones to one file.
Nothing is written elsewhere, and only the table is in memory.

Not in scope: which members make an image, and whether their content is right.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.free_space import EVERY, Room
from arstore.errors import LimitError, TruncatedError, UnknownFormatError
from arstore.tar.entry import Kind, shown
from arstore.tar.limits import DEFAULT_LIMITS, Limits, raising
from arstore.tar.reader import TarReader
from arstore.transport.media.blob import Extent, OpenFile
from arstore.transport.media.members import Member, Members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.digest import Reader
    from arstore.tar.entry import Entry
    from arstore.transport.source import Spool

LOOK = 1000
"""Members after which an archive without any sign of an image is given up."""

MAX_SPARSE = 1 << 36
"""Bytes of a sparse member including its holes: holes cost nothing to send, but time to read."""

OWN_FILE = 1 << 20
"""Size in bytes from which a spooled member gets its own file."""

MAX_FILES = 256
"""Spool files of one archive, well below the usual limit of 1024 descriptors; further members share one."""

_ALIGNMENT = 4096
_BLOCK = 512
"""Bytes of the blocks in which the kernel counts the space of a file."""
_ROOT_SUFFIXES = (b".json", b".tar", b".tar.gz", b".tar.zst", b".tgz")
_ROOT_NAMES = frozenset({b"oci-layout", b"repositories", b"version"})


def indexed(file: OpenFile, size: int, what: str, spool: Spool, limits: Limits = DEFAULT_LIMITS) -> Members:
    """The members of an uncompressed archive of *size* bytes in the regular file *file*, which the table then owns.

    Raises TarError, UnsafePathError, LimitError, TruncatedError, UnknownFormatError. Only sparse members are spooled,
    because their bytes are not in the archive in one piece.
    """
    members = Members(what)
    try:
        members.own(file)
        # The size of a sparse file can be anything at no cost, so allocated blocks count.
        members.stored = min(size, os.fstat(file.fd).st_blocks * _BLOCK)
        reader = TarReader(Extent(file, 0, size, what), what, limits, seekable=True)
        count = _Count(members, limits)
        spooler = _Spooler(members, spool, limits)
        end = 0
        for entry in reader:
            count.add(entry)
            end = _end(entry)
            if entry.sparse is not None:
                members.add(entry.path, spooler.take(entry, reader.chunks()))
                continue
            if entry.kind is Kind.FILE and entry.offset + entry.size > size:
                raise _cut(what, size, entry)
            members.add(entry.path, Member(entry.kind, file, entry.offset, entry.size, entry.link))
        members.complete = reader.offset > end
    except BaseException:
        members.close()
        raise
    return members


def spooled(stream: Reader, what: str, spool: Spool, limits: Limits = DEFAULT_LIMITS) -> Members:
    """The members of an archive that can be read only once, their content in spool files; *stream* is read to its end.

    Raises TarError, UnsafePathError, LimitError, TruncatedError, CompressionError, UnknownFormatError, and NoSpaceError
    before the file system is full.
    """
    members = Members(what)
    try:
        reader = TarReader(stream, what, limits)
        count = _Count(members, limits)
        spooler = _Spooler(members, spool, limits)
        end = 0
        for entry in reader:
            count.add(entry)
            end = _end(entry)
            if entry.kind is Kind.FILE:
                members.add(entry.path, spooler.take(entry, reader.chunks()))
            else:
                members.add(entry.path, Member(entry.kind, link=entry.link))
        members.complete = reader.offset > end
        members.stored = reader.offset
        reader.drain(limits.trailing)
    except BaseException:
        members.close()
        raise
    return members


class _Spooler:
    """Writes members into spool files that the table owns."""

    def __init__(self, members: Members, spool: Spool, limits: Limits) -> None:
        self._members = members
        self._limits = limits
        self._room: Room | None = None
        self._spool = spool
        self._files = 0
        self._shared: OpenFile | None = None
        self._end = 0

    def take(self, entry: Entry, chunks: Iterable[bytes | memoryview]) -> Member:
        if entry.sparse is not None and entry.size > MAX_SPARSE:
            raise LimitError(self._members.what, f"{shown(entry.path)} is a sparse file of {entry.size} bytes")
        file, offset = self._place(entry.size)
        runs = [(0, entry.size)] if entry.sparse is None else entry.sparse
        if self._room is None:
            self._room = Room(file.fd, self._limits, self._members.what, relief=self._spool.relieve)
        stored = sum(length for _, length in runs)
        self._room.expect(stored)
        if stored >= EVERY:
            self._room.check()
        _write_runs(file.fd, offset, runs, chunks, self._room)
        if entry.sparse is not None:
            os.ftruncate(file.fd, offset + entry.size)
        return Member(Kind.FILE, file, offset, entry.size)

    def _place(self, size: int) -> tuple[OpenFile, int]:
        if size >= OWN_FILE and self._files < MAX_FILES:
            self._files += 1
            return self._members.own(OpenFile(self._spool.create())), 0
        if self._shared is None:
            self._shared = self._members.own(OpenFile(self._spool.create()))
        offset = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._end = offset + size
        return self._shared, offset


def _write_runs(
    fd: int, base: int, runs: list[tuple[int, int]], chunks: Iterable[bytes | memoryview], room: Room
) -> None:
    """Write the stored bytes of a member to the file *fd*, run by run, from the offset *base* on."""
    places = iter(runs)
    at = left = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            while not left:
                at, left = next(places, (-1, -1))
                if left < 0:
                    return
            written = os.pwrite(fd, rest[:left], base + at)
            room.came(written)
            room.note(written)
            rest = rest[written:]
            at += written
            left -= written


def _end(entry: Entry) -> int:
    """Position at which the blocks of *entry* end, as far as it is known without its sparse map."""
    size = entry.size if entry.kind is Kind.FILE and entry.sparse is None else 0
    return entry.offset + -(-size // 512) * 512


class _Count:
    """Counts the entries of a table, and refuses an archive that is too large or does not look like an image."""

    def __init__(self, members: Members, limits: Limits) -> None:
        self._members = members
        self._limits = limits
        self._entries = 0
        self._names = 0

    def add(self, entry: Entry) -> None:
        """Count *entry*, before it is in the table. Raises LimitError, UnknownFormatError."""
        what, limits = self._members.what, self._limits
        if self._entries >= limits.members:
            why = f"has more than {limits.members} members, too many for an archive of images"
            raise LimitError(what, why, raising("members"))
        if self._entries == LOOK and not any(map(_promising, self._members.names())):
            raise UnknownFormatError(what, "is a tar archive, but its members are not those of an image")
        self._entries += 1
        self._names += len(entry.path) + len(entry.link)
        if self._names > limits.member_names:
            why = f"the names of its members have more than {limits.member_names} bytes"
            raise LimitError(what, why, raising("member-names"))


def _promising(name: bytes) -> bool:
    """Whether archives of images have members with names like this; one of the first thousand must be one."""
    if b"/" in name:
        return name.startswith(b"blobs/") or name.endswith(b"/layer.tar")
    return name in _ROOT_NAMES or name.endswith(_ROOT_SUFFIXES)


def _cut(what: str, size: int, entry: Entry) -> TruncatedError:
    end = entry.offset + entry.size
    return TruncatedError(what, f"ends at byte {size}, within {shown(entry.path)}, which extends to byte {end}")
