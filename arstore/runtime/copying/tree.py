"""A directory tree, or one file, as a source: read only through descriptors, below the place where it begins.

The tree may change meanwhile, and by an enemy: directories become symlinks, files become devices and FIFOs, names come
and go. So no symlink is followed, an inode is opened for reading only after a look at its type, nothing waits, and what
has gone is left out. Mount points inside the tree are entered, as volumes have to be, except for the kernel's file
systems (proc, sysfs and others), whose content is left out. The number of entries is bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import InUseError, LimitError
from arstore.linux.files.copying import copy_sparse, data_runs
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.xattr import read_xattrs
from arstore.linux.mounting.superblock import is_kernels
from arstore.rootfs.upper import opened_below
from arstore.runtime.copying.entries import Copied
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.header import BLOCK
from arstore.trees.inode_entry import KINDS, OVERLAY, inode_entry
from arstore.trees.substitutes import meant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trees.metadata import SkippedEntries

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})
_OF_THIS_HOST = (b"security.selinux", b"security.evm", b"security.ima")
MOST_ENTRIES = 5_000_000
"""Entries of one copy."""
_MOST_READ = 64 << 20
"""Bytes of a file whose size is not known, such as one in /proc."""


class Tree:
    """The source. Iterating yields `Copied` values; the content of one is valid until the next."""

    def __init__(self, fd: int, name: bytes, skipped: SkippedEntries, most: int = MOST_ENTRIES) -> None:
        """Read the inode open as *fd* (O_PATH will do), whose entry gets the path *name*.

        Sockets and other inodes that cannot be copied are counted in *skipped*.
        """
        self._fd = fd
        self._name = name
        self._skipped = skipped
        self._left = most
        self._most = most
        self._links: dict[tuple[int, int], bytes] = {}

    def __iter__(self) -> Iterator[Copied]:
        """Raises LimitError, OSError."""
        about = os.fstat(self._fd)
        if not stat.S_ISDIR(about.st_mode):
            found = self._copied(self._fd, self._name)
            if found is not None:
                yield found
            return
        todo = [b""]
        inside_kernels = is_kernels(self._fd)
        while todo:
            path = todo.pop()
            try:
                with opened_below(self._fd, path, DIRECTORY) as fd:
                    yield Copied(_entry(fd, self._path(path), Kind.DIRECTORY))
                    if path and not inside_kernels and is_kernels(fd):
                        self._skipped.note(self._path(path) + b"/*")
                        continue
                    below: list[bytes] = []
                    yield from self._directory(fd, path, below)
            except OSError as error:
                if not path or error.errno not in _GONE:
                    raise
                continue
            todo.extend(reversed(below))

    def _path(self, path: bytes) -> bytes:
        return b"/".join(part for part in (self._name, path) if part)

    def _directory(self, fd: int, path: bytes, below: list[bytes]) -> Iterator[Copied]:
        """Yield the members of one directory, and add the paths of its subdirectories to *below*."""
        with os.scandir(fd) as names:
            for one in names:
                self._left -= 1
                if self._left < 0:
                    raise LimitError(shown(self._name) or "/", f"has more than {self._most} entries")
                name = os.fsencode(one.name)
                child = path + b"/" + name if path else name
                try:
                    member = os.open(name, _LOOK, dir_fd=fd)
                except OSError as error:
                    if error.errno in _GONE:
                        continue
                    raise
                try:
                    if stat.S_ISDIR(os.fstat(member).st_mode):
                        below.append(child)
                    elif (found := self._copied(member, self._path(child))) is not None:
                        yield found
                finally:
                    os.close(member)

    def _copied(self, fd: int, path: bytes) -> Copied | None:
        """Return the entry of an inode other than a directory; None if it cannot be copied."""
        about = os.fstat(fd)
        kind = KINDS.get(stat.S_IFMT(about.st_mode))
        if kind is None:
            self._skipped.note(path)
            return None
        entry = _entry(fd, path, kind)
        content = FileContent(fd, entry) if entry.kind is Kind.FILE else None
        if about.st_nlink > 1:
            first = self._links.setdefault((about.st_dev, about.st_ino), path)
            if first != path:
                mode = stat.S_IMODE(about.st_mode)
                link = Entry(path, Kind.HARDLINK, mode, entry.uid, entry.gid, entry.mtime, link=first)
                return Copied(link, content)
        return Copied(entry, content)


def _entry(fd: int, path: bytes, kind: Kind) -> Entry:
    about = os.fstat(fd)
    xattrs: dict[bytes, bytes] = {}
    with suppress(OSError):
        xattrs = read_xattrs(fd, b"")
    kept = {name: value for name, value in sorted(xattrs.items()) if not name.startswith((OVERLAY, *_OF_THIS_HOST))}
    return meant(inode_entry(fd, path, kind, about, kept))


class FileContent:
    """The content of the regular file open as *fd* (O_PATH)."""

    def __init__(self, fd: int, entry: Entry) -> None:
        self._fd = fd
        self._entry = entry
        self._data: bytes | None = None

    def _open(self) -> int:
        # The link in our own /proc opens exactly the inode whose type was seen.
        return os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def copy_to(self, fd: int) -> None:
        """See Content."""
        source = self._open()
        try:
            if os.fstat(source).st_size:
                copy_sparse(source, fd)
            else:
                # Files of the kernel have no size. Others end at once.
                _copy_stream(source, fd, self._entry.path)
        finally:
            os.close(source)

    def prepared(self) -> Entry:
        """Return the entry with the size and the runs that a tar needs. Raises OSError, LimitError."""
        source = self._open()
        try:
            entry = self._entry
            about = os.fstat(source)
            if not entry.size:
                self._data = _read_stream(source, entry.path)
                entry.size = len(self._data)
            elif about.st_blocks * BLOCK < entry.size:
                entry.sparse = _aligned(data_runs(source, entry.size), entry.size)
            return entry
        finally:
            os.close(source)

    def chunks(self, entry: Entry) -> Iterator[bytes | memoryview]:
        """See Content. Raises InUseError if the file became shorter."""
        if self._data is not None:
            yield self._data
            return
        source = self._open()
        try:
            for offset, length in [(0, entry.size)] if entry.sparse is None else entry.sparse:
                at, end = offset, offset + length
                while at < end:
                    data = os.pread(source, min(end - at, CHUNK), at)
                    if not data:
                        raise InUseError(shown(entry.path), "became shorter while it was read")
                    at += len(data)
                    yield data
        finally:
            os.close(source)


def _aligned(runs: Iterator[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Return runs of data as offsets and lengths that a tar can store: whole blocks, except at the end."""
    found: list[tuple[int, int]] = []
    for start, end in runs:
        start -= start % BLOCK
        end = min(size, -(-end // BLOCK) * BLOCK)
        if found and start <= sum(found[-1]):
            start = found.pop()[0]
        found.append((start, end - start))
    return found


def _copy_stream(source: int, target: int, path: bytes) -> None:
    done = 0
    while data := os.read(source, CHUNK):
        done += len(data)
        if done > _MOST_READ:
            raise LimitError(shown(path), f"has no size, and more than {_MOST_READ >> 20} MiB")
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


def _read_stream(source: int, path: bytes) -> bytes:
    found = bytearray()
    while data := os.read(source, CHUNK):
        found += data
        if len(found) > _MOST_READ:
            raise LimitError(shown(path), f"has no size, and more than {_MOST_READ >> 20} MiB")
    return bytes(found)
