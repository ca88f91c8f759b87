"""Owner, mode, attributes and times: from an entry onto an inode, in the order that keeps all of them.

chown clears setuid bits and file capabilities, so owners come first; a write-protected file takes no `user.` attribute
from an ordinary user, so modes come after those; times come last. Without privilege, what only root may set is left out
and counted.

Attributes: `trusted.overlay.*` and `user.overlay.*` would be orders to overlayfs and are never taken from an archive;
names outside Linux's four namespaces (archives made on other systems have them) mean nothing here and are dropped.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.errors import HostError, TarError
from arstore.linux.chmod import chmod_node
from arstore.linux.xattr import set_xattr
from arstore.store.answers import answer
from arstore.tar.entry import Entry, Kind, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MODE_BITS = 0o7777
LARGEST_ID = (1 << 32) - 2
"""The largest user or group id; the next one means `no change` to chown(2)."""

_NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.")
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_PRIVILEGED = (b"trusted.", b"security.")
_LABEL = b"security.selinux"
_NOT_AN_ATTRIBUTE = frozenset({errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.ENAMETOOLONG})
_FIRST = 5


@answer
@dataclass(slots=True)
class Skipped:
    """How many entries something was left out of, and the paths of the first few."""

    count: int = 0
    paths: list[bytes] = field(default_factory=list)

    def note(self, path: bytes) -> None:
        """Count *path*."""
        self.count += 1
        if len(self.paths) < _FIRST:
            self.paths.append(path)


class Metadata:
    """Sets metadata as one process may: *privileged* to give files away and to make devices, or not."""

    def __init__(self, privileged: bool) -> None:
        self.privileged = privileged
        self.owners = Skipped()
        self.devices = Skipped()
        self.attributes = Skipped()
        self._uid = os.geteuid()
        self._gid = os.getegid()
        self._masked = _umask() | 0o7000

    def creation_mode(self, entry: Entry) -> int:
        """The mode to open a new file with, so that in the common case it need not be set again."""
        mode = entry.mode & 0o777
        return mode | 0o200 if entry.xattrs else mode

    def apply(self, fd: int, entry: Entry, created: bool = False) -> None:
        """Set all of *entry*'s metadata on an open file or directory; *created* with `creation_mode` just now.

        Raises TarError for what no inode can have, OSError.
        """
        if entry.uid != self._uid or entry.gid != self._gid or not created:
            self._give(fd, entry)
        if entry.xattrs:
            self._set_attributes(fd, b"", entry)
        mode = entry.mode & MODE_BITS
        if not created or mode & self._masked or entry.xattrs:
            os.fchmod(fd, mode)
        try:
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        except OverflowError as error:
            raise TarError(shown(entry.path), "its time is out of range") from error

    def apply_to_name(self, dir_fd: int, name: bytes, entry: Entry) -> None:
        """Set the metadata of a symlink, device or FIFO that was just made as *name* in *dir_fd*. Raises as `apply`."""
        if entry.uid != self._uid or entry.gid != self._gid:
            check_owner(entry)
            if self.privileged:
                os.chown(name, entry.uid, entry.gid, dir_fd=dir_fd, follow_symlinks=False)
            else:
                self.owners.note(entry.path)
        if entry.xattrs:
            self._set_attributes(dir_fd, name, entry)
        mode = entry.mode & MODE_BITS
        if entry.kind is not Kind.SYMLINK and mode & self._masked:
            chmod_node(dir_fd, name, mode)
        try:
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=dir_fd, follow_symlinks=False)
        except OverflowError as error:
            raise TarError(shown(entry.path), "its time is out of range") from error

    def _give(self, fd: int, entry: Entry) -> None:
        check_owner(entry)
        if self.privileged:
            os.fchown(fd, entry.uid, entry.gid)
        elif entry.uid != self._uid or entry.gid != self._gid:
            self.owners.note(entry.path)

    def _set_attributes(self, fd: int, node: bytes, entry: Entry) -> None:
        """Set *entry*'s attributes on what *fd* has open, or on the name *node* in it."""
        skipped = False
        for name, value in attributes(entry):
            if not self.privileged and name.startswith(_PRIVILEGED):
                skipped = True
                continue
            skipped |= not self._set_attribute(fd, node, name, value, entry)
        if skipped:
            self.attributes.note(entry.path)

    def _set_attribute(self, fd: int, node: bytes, name: bytes, value: bytes, entry: Entry) -> bool:
        """Set one attribute; False when it had to be left out for lack of privilege or support."""
        try:
            if node:
                set_xattr(fd, node, name, value)
            else:
                os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno in _NOT_AN_ATTRIBUTE:
                why = f"the extended attribute {shown(name[:80])} is not valid"
                raise TarError(shown(entry.path), why) from error
            if error.errno == errno.ENOSPC and _has_space(fd):
                why = f"the file system has no room in one inode for its extended attribute {shown(name[:80])}"
                raise HostError(shown(entry.path), f"{why}, of {len(value)} bytes") from error
            if error.errno == errno.ENOTSUP and name == _LABEL:
                return True
            if self.privileged or error.errno not in {errno.ENOTSUP, errno.EPERM}:
                raise
            return False
        return True


def _has_space(fd: int) -> bool:
    """Whether the file system has a block left, so that it is the inode that is full."""
    return os.fstatvfs(fd).f_bavail > 0


def check_owner(entry: Entry) -> None:
    """Raises TarError when no inode can have *entry*'s owner."""
    if not (0 <= entry.uid <= LARGEST_ID and 0 <= entry.gid <= LARGEST_ID):
        raise TarError(shown(entry.path), f"no file can have the owner {entry.uid}:{entry.gid}")


def attributes(entry: Entry) -> Iterator[tuple[bytes, bytes]]:
    """The extended attributes that a tree takes from *entry*.

    Raises TarError for a name that no kernel takes there.
    """
    for name, value in entry.xattrs.items():
        if name.startswith(_OVERLAY) or not name.startswith(_NAMESPACES):
            continue
        if b"\0" in name:
            raise TarError(shown(entry.path), "an extended attribute's name contains a NUL")
        if name.startswith(b"user.") and entry.kind not in (Kind.FILE, Kind.DIRECTORY):
            raise TarError(shown(entry.path), f"only files and directories can have the attribute {shown(name)}")
        yield name, value


def _umask() -> int:
    """This process's umask; all bits where an old kernel does not tell."""
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        # No /proc, as in a confined worker: umask(2) changes it for all threads, of which none makes files meanwhile.
        umask = os.umask(0o777)
        os.umask(umask)
        return umask
    return 0o777
