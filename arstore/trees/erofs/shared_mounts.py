"""Mounts of trees that live processes hold, for others to clone: they share one superblock, and one page cache.

    <runroot>/shared/<hex of the tree's key>/<mount id>.<pid>.<fd>
                                           -> "<boot>.<pid namespace>.<device>.<inode>.<file system>"

Each entry is a dangling symlink, created and removed in one call each, so there are no locks and no incomplete entries.
It says that process *pid* has a detached mount open as *fd*, made from the index file with this *device* and *inode*;
see `format.Origin`. The process holds the mount for its own use. The mount ends with the process and with its clones;
the entry does not keep it. An entry that a killed process leaves behind is removed by the next process that finds it.

A clone is certain to come from that mount: the mount id is used once per boot, so neither another process with that pid
nor another file at that descriptor can be mistaken for it. And while a mount of the index lives, no other file has that
inode: so the mount shows the tree that is in the place now, or the entry does not count. Entries are trusted only in a
runroot that no other user can write to. Even then a clone must be of a file system with the index's uuid, which is a
digest of it.

Two processes that mount the same tree at the same moment may each make a superblock; from then on all take the older
one. Not here: trees of the directory form, whose files are in the page cache of their file system only once anyway.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.linux.isolation import namespace
from arstore.linux.mounting import mount
from arstore.linux.mounting.mountid import unique_mount_id
from arstore.linux.process import boot_id
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.trees.format import Origin

_UUID_OFFSET = 1024 + 48
"""Offset of the uuid in an index, merged or not."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_ATTEMPTS = 3

SHARED = "shared"
"""The directory's name below the runroot."""


def file_system(index_fd: int) -> int:
    """Return the id that statfs(2) shows for a mount of this index (`uuid_to_fsid` in the kernel). Raises OSError."""
    uuid = os.pread(index_fd, 16, _UUID_OFFSET)
    return int.from_bytes(uuid[:8], "little") ^ int.from_bytes(uuid[8:], "little")


class _Entry(NamedTuple):
    """The fields in the name of an entry."""

    mount_id: int
    pid: int
    fd: int

    @classmethod
    def of(cls, name: str) -> _Entry | None:
        """Parse the entry *name*; None for any other name."""
        parts = name.split(".")
        if len(parts) != len(cls._fields) or not all(part.isdecimal() and part.isascii() for part in parts):
            return None
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.mount_id}.{self.pid}.{self.fd}"


class SharedMounts:
    """The mounts that processes which use *runroot* hold."""

    def __init__(self, runroot: str) -> None:
        self._runroot = runroot
        self._directory = f"{runroot}/{SHARED}"

    def clone(self, origin: Origin) -> int | None:
        """Return a detached mount of *origin* that shares the superblock of a live one; None if that is not possible.

        Raises nothing: after any error, the tree can still be mounted without a clone.
        """
        place = f"{self._directory}/{origin.tree}"
        with suppress(OSError):
            names = os.listdir(place)
            if not all(map(_is_ours, (self._runroot, self._directory, place))):
                return None
            wanted = _source_text(origin)
            for entry in sorted(filter(None, map(_Entry.of, names))):
                path = f"{place}/{entry}"
                with suppress(OSError):
                    if os.readlink(path) != wanted or os.lstat(path).st_uid != os.geteuid():
                        continue
                    clone = _clone(entry)
                    if clone is None:
                        os.unlink(path)
                    elif os.fstatvfs(clone).f_fsid == origin.file_system:
                        return clone
                    else:
                        os.close(clone)
        return None

    @contextmanager
    def offered(self, mounts: Iterable[tuple[int, Origin]]) -> Iterator[None]:
        """Let others clone *mounts*, which this very process has open, during the context."""
        made = []
        try:
            for fd, origin in mounts:
                with suppress(OSError):
                    number = unique_mount_id(fd)
                    if number:
                        made.append(self._put_origin(_Entry(number, os.getpid(), fd), origin))
            yield
        finally:
            for path in made:
                with suppress(OSError):
                    os.unlink(path)
                    os.rmdir(os.path.dirname(path))

    def stale(self) -> list[str]:
        """Return the entries that processes which have died left behind, as names below the runroot. Raises OSError."""
        found = []
        beginning = _beginning()
        for tree in _mount_names(self._directory):
            place = f"{self._directory}/{tree}"
            for name in _mount_names(place):
                entry = _Entry.of(name)
                with suppress(OSError):
                    text = os.readlink(f"{place}/{name}")
                    # Entries of another pid namespace of this boot cannot be judged from here.
                    boot = text.partition(".")[0]
                    if boot != boot_id() or (text.startswith(beginning) and (entry is None or not _lives(entry))):
                        found.append(f"{SHARED}/{tree}/{name}")
        return found

    def _put_origin(self, entry: _Entry, origin: Origin) -> str:
        place = f"{self._directory}/{origin.tree}"
        path = f"{place}/{entry}"
        for attempt in range(_ATTEMPTS):
            os.makedirs(place, mode=0o700, exist_ok=True)
            try:
                os.symlink(_source_text(origin), path)
            except FileNotFoundError:
                # The last holder before us has just removed the directory.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
        return path


def _beginning() -> str:
    return f"{boot_id()}.{namespace.identity('pid')}."


def _source_text(origin: Origin) -> str:
    return f"{_beginning()}{origin.device}.{origin.inode}.{origin.file_system}"


def _is_ours(path: str) -> bool:
    status = os.lstat(path)
    private = status.st_uid == os.geteuid() and not status.st_mode & _WRITABLE_BY_OTHERS
    return private and stat.S_ISDIR(status.st_mode)


def _mount_names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _held(entry: _Entry) -> Iterator[int | None]:
    """Open the mount that *entry* names; yield None if its process no longer holds it."""
    try:
        fd = os.open(f"/proc/{entry.pid}/fd/{entry.fd}", os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        yield None
        return
    try:
        yield fd if unique_mount_id(fd) == entry.mount_id else None
    finally:
        os.close(fd)


def _lives(entry: _Entry) -> bool:
    with _held(entry) as fd:
        return fd is not None


def _clone(entry: _Entry) -> int | None:
    with _held(entry) as fd:
        return None if fd is None else mount.open_tree("", fd, mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH)
