"""Copies of directory trees for volumes: complete, by descriptors, within a limit and the disk's reserve.

Modes, owners, times, xattrs (including file capabilities and ACLs), hard links, devices and holes are kept. No name of
the image is ever resolved as a path of the host. Depth needs neither stack nor descriptors: the walk goes down by names
and up by `..`, which leads back unless another process changes the trees; that is checked.

An inode with several names is copied once for all trees of one `TreeCopy`. Meanwhile it has a name in a directory of
links, because a path to its first name may be too long for the kernel.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import LimitError, NoSpaceError
from arstore.linux.files.copying import copy_sparse, reflink
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.xattr import read_xattrs, set_xattr
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from arstore.disk.free_space import Room

MOST_ENTRIES = 250_000
"""Maximum number of files and directories in all initial volumes of a container; copying one takes about 30 µs."""

_SMALLEST = 4096
"""Minimum number of bytes counted for an entry."""
_INODES_EVERY, _INODES_RESERVE = 1000, 20
"""Entries between two checks of the inodes; the part of all inodes that is left for others, as a divisor."""

Identity = tuple[int, int]
"""Device and inode."""


def identity_of(status: os.stat_result) -> Identity:
    """Return a value that identifies an inode."""
    return status.st_dev, status.st_ino


class _Level(NamedTuple):
    """A directory on the way down: the source's status, the target's identity, and the directories still to copy."""

    status: os.stat_result
    target: Identity
    left: list[str]


class TreeCopy:
    """Copies several trees.

    *links_fd* is an empty directory of the target's file system, for temporary links; *room* checks the free space of
    that file system. Directories of the source that are in *apart* are made empty wherever they occur below a tree's
    top, because they are copied separately.
    """

    def __init__(self, links_fd: int, room: Room, apart: AbstractSet[Identity] = frozenset()) -> None:
        self._links_fd = links_fd
        self._room = room
        self._apart = apart
        self._links: dict[Identity, str] = {}
        self._entries = 0
        self._source = self._target = -1
        self._levels: list[_Level] = []

    def copy(self, source_fd: int, target_fd: int) -> None:
        """Copy the content of the directory *source_fd*, and its metadata, into the empty directory *target_fd*.

        Raises LimitError, NoSpaceError, OSError.
        """
        self._source, self._target = os.dup(source_fd), os.dup(target_fd)
        self._levels = []
        try:
            self._enter()
            while self._levels:
                if self._levels[-1].left:
                    self._down(self._levels[-1].left.pop())
                else:
                    self._up()
        finally:
            os.close(self._source)
            os.close(self._target)

    def _enter(self) -> None:
        """Copy the entries of the current directory, except directories, which are left for later."""
        directories: list[str] = []
        with os.scandir(self._source) as listing:
            # Only names are kept, and the limit applies before they take much memory.
            for entry in listing:
                self._count()
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                else:
                    self._member(entry.name)
        status = os.fstat(self._source)
        self._levels.append(_Level(status, identity_of(os.fstat(self._target)), directories))

    def _count(self) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            why = f"hold more than {MOST_ENTRIES} files and directories"
            raise LimitError("the image's volumes", why, "mount a directory of the host there with -v")
        self._room.note(_SMALLEST)
        if self._entries % _INODES_EVERY == 0:
            status = os.fstatvfs(self._target)
            if status.f_files and status.f_favail < status.f_files // _INODES_RESERVE:
                why = f"no inodes left: {status.f_favail} of {status.f_files} are free, and 5% are reserved"
                raise NoSpaceError("the image's volumes", why, "remove some files, or run `arstore gc`")

    def _down(self, name: str) -> None:
        """Make the directory *name* in the current one, and enter it."""
        os.mkdir(name, 0o700, dir_fd=self._target)
        source = os.open(name, DIRECTORY, dir_fd=self._source)
        try:
            if identity_of(status := os.fstat(source)) in self._apart:
                _metadata(self._source, os.fsencode(name), self._target, os.fsencode(name), status)
                os.close(source)
                return
            target = os.open(name, DIRECTORY, dir_fd=self._target)
        except BaseException:
            os.close(source)
            raise
        self._go(source, target)
        self._enter()

    def _up(self) -> None:
        """Finish the current directory, and return to its parent."""
        done = self._levels.pop()
        _metadata(self._source, b"", self._target, b"", done.status)
        if self._levels:
            above = self._levels[-1]
            source = _parent(self._source, identity_of(above.status))
            try:
                target = _parent(self._target, above.target)
            except BaseException:
                os.close(source)
                raise
            self._go(source, target)

    def _go(self, source: int, target: int) -> None:
        for fd in (self._source, self._target):
            os.close(fd)
        self._source, self._target = source, target

    def _member(self, name: str) -> None:
        about = os.stat(name, dir_fd=self._source, follow_symlinks=False)
        identity = identity_of(about)
        if about.st_nlink > 1 and identity in self._links and self._linked(self._links[identity], name):
            return
        if stat.S_ISREG(about.st_mode):
            self._file(name, about)
        elif stat.S_ISLNK(about.st_mode):
            os.symlink(os.readlink(name, dir_fd=self._source), name, dir_fd=self._target)
        else:
            os.mknod(name, about.st_mode, about.st_rdev, dir_fd=self._target)
        _metadata(self._source, os.fsencode(name), self._target, os.fsencode(name), about)
        if about.st_nlink > 1:
            self._links[identity] = kept = str(self._entries)
            os.link(name, kept, src_dir_fd=self._target, dst_dir_fd=self._links_fd, follow_symlinks=False)

    def _linked(self, kept: str, name: str) -> bool:
        """Give the copied inode another name; return False if the file system does not allow more."""
        try:
            os.link(kept, name, src_dir_fd=self._links_fd, dst_dir_fd=self._target, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EMLINK:
                return False
            raise
        return True

    def _file(self, name: str, about: os.stat_result) -> None:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._source)
        try:
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._target)
            try:
                if about.st_size and not reflink(source, target):
                    copy_sparse(source, target, self._coming)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _coming(self, count: int) -> None:
        """Refuse *count* bytes that are about to be written if they do not fit. Raises NoSpaceError."""
        self._room.expect(count)
        self._room.note(count)
        self._room.expect(0)


def _parent(fd: int, identity: Identity) -> int:
    """Open the parent of the directory *fd*. Raises OSError (ESTALE) if its identity is not *identity*."""
    parent = os.open("..", DIRECTORY, dir_fd=fd)
    if identity_of(os.fstat(parent)) != identity:
        os.close(parent)
        raise OSError(errno.ESTALE, "a directory was moved while it was copied")
    return parent


def _metadata(source_fd: int, source: bytes, target_fd: int, target: bytes, about: os.stat_result) -> None:
    """Copy metadata: owner first, because chown clears setuid bits and file capabilities; times last."""
    name: int | bytes = target or target_fd
    directory = target_fd if target else None
    if target:
        os.chown(name, about.st_uid, about.st_gid, dir_fd=directory, follow_symlinks=False)
    else:
        os.fchown(target_fd, about.st_uid, about.st_gid)
    _xattrs(source_fd, source, target_fd, target)
    if not stat.S_ISLNK(about.st_mode):
        os.chmod(name, stat.S_IMODE(about.st_mode), dir_fd=directory)
    times = (about.st_atime_ns, about.st_mtime_ns)
    if target:
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
    else:
        os.utime(target_fd, ns=times)


def _xattrs(source_fd: int, source: bytes, target_fd: int, target: bytes) -> None:
    try:
        found = read_xattrs(source_fd, source)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return
        raise
    for name, value in found.items():
        set_xattr(target_fd, target, name, value)
