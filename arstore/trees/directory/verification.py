"""Comparison of a tree of extracted files with its listing: nothing altered, nothing missing, nothing extra.

Memory grows with the number of names in the tree. Attributes that a host sets by itself (SELinux, IMA, EVM) are not
damage.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from blake3 import blake3

from arstore.disk.page_cache import chunks
from arstore.errors import StoreDamagedError
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.xattr import read_xattrs
from arstore.tar.entry import shown
from arstore.trees.attributes import ACCESS, CAPABILITY, DEFAULT
from arstore.trees.directory.checksums import DIGEST, NAME, RUN, Listed, played, unpacked
from arstore.trees.metadata import MODE_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TYPES = {
    b"f": stat.S_IFREG,
    b"s": stat.S_IFREG,
    b"d": stat.S_IFDIR,
    b"l": stat.S_IFLNK,
    b"c": stat.S_IFCHR,
    b"b": stat.S_IFBLK,
    b"p": stat.S_IFIFO,
    b"w": stat.S_IFCHR,
}
_OF_THE_HOST = frozenset({b"security.selinux", b"security.ima", b"security.evm", b"security.SMACK64"})
_CAPABILITY_SETS = slice(4, 20)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TOLD = 3
_PLAIN_TIMES = range(-(1 << 31), 1 << 31)
"""Seconds that every file system keeps exactly; others depend on the file system."""


def listing_of(tree_fd: int, digest: str) -> dict[bytes, Listed]:
    """Return the listing in the tree directory *tree_fd*, by path.

    Raises StoreDamagedError if it does not have *digest*, OSError.
    """
    fd = os.open(NAME, _READ, dir_fd=tree_fd)
    try:
        data = b"".join(bytes(chunk) for chunk in chunks(fd))
    finally:
        os.close(fd)
    if blake3(data).hexdigest(DIGEST) != digest:
        raise StoreDamagedError(NAME, "does not have its recorded digest")
    try:
        return played(data)
    except ValueError as error:
        raise StoreDamagedError(NAME, f"is not a valid listing: {error}") from error


def differences(
    tree_fd: int,
    files: str,
    listed: dict[bytes, Listed],
    report: Callable[[int], None],
    *,
    deep: bool = True,
    owners: bool = True,
    inside: bool = True,
) -> str:
    """Return what has changed below the directory *files* of *tree_fd*, in words; "" for nothing.

    Unless *deep*, no content is read, and without *owners*, these are ignored. If this process is not *inside* of the
    user namespace of the tree, ids in attributes are ignored too. Raises OSError for what cannot be read.
    """
    found = list(_Comparison(listed, report, deep, owners, inside).run(tree_fd, files))
    if not found:
        return ""
    more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return "; ".join(f"{shown(path) or '/'} {why}" for path, why in found[:_TOLD]) + more


class _Comparison:
    def __init__(
        self,
        listed: dict[bytes, Listed],
        report: Callable[[int], None],
        deep: bool,
        owners: bool,
        inside: bool,
    ) -> None:
        self._left = dict(listed)
        self._deep = deep
        self._owners = owners
        self._inside = inside
        self._report = report
        self._names: dict[int, int] = {}
        for entry in listed.values():
            self._names[id(entry)] = self._names.get(id(entry), 0) + 1
        self._inodes: dict[int, int] = {}
        self._seen: set[int] = set()

    def run(self, tree_fd: int, files: str) -> Iterator[tuple[bytes, str]]:
        todo = [b""]
        while todo:
            path = todo.pop()
            fd = _directory(tree_fd, files, path)
            try:
                if not path:
                    yield from self._look(fd, b"", b"", os.fstat(fd))
                for name in map(os.fsencode, os.listdir(fd)):
                    below = path + b"/" + name if path else name
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode) and below in self._left:
                        todo.append(below)
                    yield from self._look(fd, name, below, status)
            finally:
                os.close(fd)
        for path in self._left:
            yield path, "is missing"

    def _look(self, fd: int, name: bytes, path: bytes, status: os.stat_result) -> Iterator[tuple[bytes, str]]:
        entry = self._left.pop(path, None)
        why = self._unlike(fd, name, entry, status) if entry is not None else "is not in the listing"
        if why:
            yield path, why

    def _unlike(self, fd: int, name: bytes, entry: Listed, status: os.stat_result) -> str:
        """Return how one name differs from its entry, or ""."""
        kind = entry.kind
        if stat.S_IFMT(status.st_mode) != _TYPES[kind]:
            return "has another type"
        if kind == b"w":
            return "" if status.st_rdev == 0 else "is another device"
        why = _metadata(entry, status, self._owners)
        if why:
            return why
        if kind != b"d":
            known = self._inodes.setdefault(id(entry), status.st_ino)
            if known != status.st_ino or status.st_nlink != self._names[id(entry)]:
                return "has other hard links"
            if id(entry) in self._seen:
                return ""
            self._seen.add(id(entry))
        if self._own(read_xattrs(fd, name)) != self._own(unpacked(entry.attributes)):
            return "has other attributes"
        if kind == b"l":
            return "" if os.readlink(name, dir_fd=fd) == entry.data else "has another target"
        return self._content(fd, name, entry) if self._deep and kind in b"fs" else ""

    def _own(self, attributes: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Return *attributes* without those that hosts add."""
        found = {name: value for name, value in attributes.items() if name not in _OF_THE_HOST}
        return found if self._inside else {name: _without_ids(name, value) for name, value in found.items()}

    def _content(self, dir_fd: int, name: bytes, entry: Listed) -> str:
        fd = os.open(name, _READ, dir_fd=dir_fd)
        hasher = blake3()
        try:
            if entry.kind == b"f":
                for data in chunks(fd):
                    hasher.update(data)
                    self._report(len(data))
            elif not self._sparse(fd, entry, hasher.update):
                return "has content where it had a hole"
        finally:
            os.close(fd)
        return "" if hasher.digest(DIGEST) == entry.data[:DIGEST] else "has other content"

    def _sparse(self, fd: int, entry: Listed, seen: Callable[[memoryview], object]) -> bool:
        """Read the runs of a sparse file; return whether everything between them reads as zeros."""
        end = 0
        for start, length in [*RUN.iter_unpack(entry.data[DIGEST:]), (entry.size, 0)]:
            if not _is_blank(fd, end, start):
                return False
            for data in chunks(fd, start, start + length):
                seen(data)
                self._report(len(data))
            end = start + length
        return True


def _is_blank(fd: int, start: int, end: int) -> bool:
    """Return whether the bytes from *start* to *end* are zeros; holes are skipped without being read."""
    while start < end:
        try:
            data_start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:
            return True
        if data_start >= end:
            return True
        start = min(os.lseek(fd, data_start, os.SEEK_HOLE), end)
        if any(any(data) for data in chunks(fd, data_start, start)):
            return False
    return True


def _metadata(entry: Listed, status: os.stat_result, owners: bool) -> str:
    if entry.kind != b"l" and entry.mode != status.st_mode & MODE_BITS:
        return f"has mode {status.st_mode & MODE_BITS:04o} instead of {entry.mode:04o}"
    if owners and (entry.uid, entry.gid) != (status.st_uid, status.st_gid):
        return f"belongs to {status.st_uid}:{status.st_gid} instead of {entry.uid}:{entry.gid}"
    if entry.mtime != status.st_mtime_ns and entry.mtime // 1_000_000_000 in _PLAIN_TIMES:
        return "has another modification time"
    if entry.kind in b"fs" and entry.size != status.st_size:
        return f"has {status.st_size} bytes instead of {entry.size}"
    if entry.kind in b"cb" and entry.size != status.st_rdev:
        return "is another device"
    return ""


def _without_ids(name: bytes, value: bytes) -> bytes:
    """Return the value of an attribute without the ids in it, which the kernel shows as this user namespace has them.

    A file's capabilities end with the id of a root; an entry of an ACL is a tag, permissions and an id.
    """
    if name == CAPABILITY:
        return value[_CAPABILITY_SETS]
    if name in {ACCESS, DEFAULT}:
        return b"".join(value[start : start + 4] for start in range(4, len(value), 8))
    return value


def _directory(tree_fd: int, files: str, path: bytes) -> int:
    """Open the directory *path* below *files*, one component at a time, never through a symlink."""
    fd = os.open(files, DIRECTORY, dir_fd=tree_fd)
    for name in path.split(b"/") if path else []:
        try:
            below = os.open(name, DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd
