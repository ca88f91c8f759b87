"""Owner, mode, attributes and times: from an entry onto an inode, in an order that keeps all of them.

chown clears setuid bits and file capabilities, so owners come first. A write-protected file takes no `user.` attribute
from an ordinary user, so modes come after attributes; times come last. Without privileges, settings that only root may
make are left out and counted.

Not here: which attributes a tree takes (`attributes`). Attributes that the host refuses are left out and counted, too,
unless it refuses because the disk is full.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.errors import TarError
from arstore.linux.files.chmod import chmod_node
from arstore.linux.files.xattr import set_xattr
from arstore.linux.isolation.user_namespace import current, is_initial
from arstore.tar.entry import Kind, shown
from arstore.trees.attributes import Attributes
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from arstore.tar.entry import Entry

MODE_BITS = 0o7777
LARGEST_ID = (1 << 32) - 2
"""The largest user or group id; for chown(2), the next number means `no change`."""

_PRIVILEGED = (b"trusted.", b"security.")
_TOO_LARGE = "it is too large for this file system"
_INVALID = "this host does not take its value"
_DENIED = "this process may not set it"
_REFUSALS = {
    errno.ENOTSUP: "this file system does not keep such attributes",
    errno.EPERM: _DENIED,
    errno.EACCES: _DENIED,
    errno.EINVAL: _INVALID,
    errno.ERANGE: _TOO_LARGE,
    errno.E2BIG: _TOO_LARGE,
    errno.ENOSPC: _TOO_LARGE,
}
"""Reasons by errno. ext4, tmpfs and btrfs return ENOSPC for an attribute that does not fit into an inode."""
_FULL = 1 << 20
"""With so many bytes free, ENOSPC does not mean that the whole file system is full."""
_FIRST = 5


@answer
@dataclass(slots=True)
class SkippedEntries:
    """Number of entries of which something was left out, and the paths of the first few."""

    count: int = 0
    paths: list[bytes] = field(default_factory=list)

    def note(self, path: bytes) -> None:
        """Count *path*."""
        self.count += 1
        if len(self.paths) < _FIRST:
            self.paths.append(path)


class Metadata:
    """Sets metadata as far as the process may; *privileged*: it may change owners and make devices."""

    def __init__(self, privileged: bool, attributes: Attributes | None = None) -> None:
        self.privileged = privileged
        self.attributes = attributes or Attributes()
        self.owners = SkippedEntries()
        self.devices = SkippedEntries()
        self._maps = None if is_initial() else current()
        self._uid = os.geteuid()
        self._gid = os.getegid()
        self._masked = _umask() | 0o7000

    @property
    def makes_devices(self) -> bool:
        """Whether this process may make device nodes."""
        return self.privileged and is_initial()

    substitutes_devices = False
    """Whether an empty file takes the place of a device (`substitute`)."""

    def has_marked(self, entry: Entry) -> bool:
        """Whether the file of *entry* has attributes that are not the entry's."""
        del entry
        return False

    def substitute(self, entry: Entry) -> Entry:
        """Return the entry of the file that takes the place of the device *entry*."""
        raise NotImplementedError

    def creation_mode(self, entry: Entry) -> int:
        """Return the mode for creating a new file; in the common case it need not be changed later."""
        mode = entry.mode & 0o777
        return mode | 0o200 if entry.xattrs else mode

    def apply(self, fd: int, entry: Entry, created: bool = False) -> None:
        """Set all metadata of *entry* on an open file or directory; *created*: just now, with `creation_mode`.

        Raises TarError for values that an inode cannot have, OSError.
        """
        if entry.uid != self._uid or entry.gid != self._gid or not created:
            self._give(fd, entry)
        if entry.xattrs:
            self._set_attributes(fd, b"", entry)
            # `creation_mode` added write permission for this, and an access control list changes the mode.
            created = False
        mode = entry.mode & MODE_BITS
        if not created or mode & self._masked:
            os.fchmod(fd, mode)
        try:
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        except OverflowError as error:
            raise TarError(shown(entry.path), "its time is out of range") from error

    def apply_to_name(self, dir_fd: int, name: bytes, entry: Entry) -> None:
        """Set the metadata of a new symlink, device or FIFO *name* in *dir_fd*. Raises TarError, OSError."""
        if entry.uid != self._uid or entry.gid != self._gid:
            check_owner(entry)
            if self.privileged and self._may_own(entry):
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
        if self.privileged and self._may_own(entry):
            os.fchown(fd, entry.uid, entry.gid)
        elif entry.uid != self._uid or entry.gid != self._gid:
            self.owners.note(entry.path)

    def _may_own(self, entry: Entry) -> bool:
        """Whether a file can have *entry*'s owner: not if the ids do not exist in this process's user namespace."""
        return self._maps is None or (self._maps.has_uid(entry.uid) and self._maps.has_gid(entry.gid))

    def _set_attributes(self, fd: int, node: bytes, entry: Entry) -> None:
        """Set *entry*'s attributes on *fd*, or on the name *node* in it; keep in *entry* those that were set.

        Raises TarError if the attributes are strict, OSError for errors that do not concern the attribute.
        """
        kept = {}
        for name, value in entry.xattrs.items():
            why = _DENIED
            if self.privileged or not name.startswith(_PRIVILEGED):
                why = _set_attribute(fd, node, name, value)
            if why is _INVALID and self._maps is not None and name.startswith(b"system."):
                why = "an id in it does not exist in this user namespace"
            if why:
                self.attributes.drop(entry, name, why)
            else:
                kept[name] = value
        entry.xattrs = kept


def _set_attribute(fd: int, node: bytes, name: bytes, value: bytes) -> str:
    """Set one attribute; return why the host refuses it, or "". Raises OSError."""
    try:
        if node:
            set_xattr(fd, node, name, value)
        else:
            os.setxattr(fd, name, value)
    except OSError as error:
        why = _REFUSALS.get(error.errno or 0)
        if why is None or (error.errno == errno.ENOSPC and _is_full(fd)):
            raise
        return why
    return ""


def _is_full(fd: int) -> bool:
    status = os.fstatvfs(fd)
    return status.f_bavail * status.f_frsize < _FULL or (status.f_files > 0 and not status.f_ffree)


def check_owner(entry: Entry) -> None:
    """Raise TarError if an inode cannot have *entry*'s owner."""
    if not (0 <= entry.uid <= LARGEST_ID and 0 <= entry.gid <= LARGEST_ID):
        raise TarError(shown(entry.path), f"a file cannot have the owner {entry.uid}:{entry.gid}")


def _umask() -> int:
    """Return this process's umask; all bits set if an old kernel does not show it."""
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        # Without /proc, as in a confined worker. umask(2) changes all threads; no other one creates files meanwhile.
        umask = os.umask(0o777)
        os.umask(umask)
        return umask
    return 0o777
