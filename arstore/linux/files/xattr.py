"""Extended attributes of a name in an open directory; a final symlink is never followed.

The kernel has calls for this only since 6.13, so the name goes through /proc/self/fd. *name* has to be one component,
or b"" for the descriptor itself (O_PATH descriptors too). Names and values are bytes. All functions raise OSError.

Attributes of a name are set by setxattrat(2) where the kernel has it, which works even if /proc is out of reach.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from functools import cache

from arstore.linux.syscall import c_string, syscall

DEFAULT_ACL, ACCESS_ACL = "system.posix_acl_default", "system.posix_acl_access"
"""The attributes with the ACL for new files in a directory, and with an inode's own ACL."""


_SETXATTRAT = 463
_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000


def get_xattr(dir_fd: int, name: bytes, attribute: bytes) -> bytes:
    """Return the value of *attribute*. Raises OSError: ENODATA if it does not exist."""
    return os.getxattr(_path(dir_fd, name), attribute, follow_symlinks=not name)


def list_xattrs(dir_fd: int, name: bytes) -> list[bytes]:
    """Return the names of all attributes that this process may see, in the kernel's order."""
    return [os.fsencode(a) for a in os.listxattr(_path(dir_fd, name), follow_symlinks=not name)]


def read_xattrs(dir_fd: int, name: bytes) -> dict[bytes, bytes]:
    """Return every attribute with its value, without those that are removed at the same time."""
    found: dict[bytes, bytes] = {}
    for attribute in list_xattrs(dir_fd, name):
        try:
            found[attribute] = get_xattr(dir_fd, name, attribute)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
    return found


def set_xattr(dir_fd: int, name: bytes, attribute: bytes, value: bytes) -> None:
    """Set *attribute*, whether it exists or not."""
    path = _path(dir_fd, name)
    if not name or not has_calls_by_descriptor():
        os.setxattr(path, attribute, value, follow_symlinks=not name)
        return
    import ctypes

    buffer = ctypes.create_string_buffer(value, len(value)) if value else None
    address = ctypes.addressof(buffer) if buffer is not None else 0
    arguments = struct.pack("=QII", address, len(value), 0)
    syscall(_SETXATTRAT, dir_fd, name, _AT_SYMLINK_NOFOLLOW, c_string(attribute), arguments, len(arguments), what=name)


@cache
def has_calls_by_descriptor() -> bool:
    """Return whether the kernel has setxattrat(2) (Linux 6.13)."""
    try:
        syscall(_SETXATTRAT, -1, b"", _AT_EMPTY_PATH, b"user.none", bytes(16), 16)
    except OSError as error:
        return error.errno == errno.EBADF
    return True


def has_default_acl(path: str) -> bool:
    """Return whether new files in *path* inherit an ACL (acl(5), "OBJECT CREATION AND DEFAULT ACLs")."""
    try:
        return bool(os.getxattr(path, DEFAULT_ACL))
    except OSError:
        return False


def remove_acls(directory: int | str) -> None:
    """Remove a directory's ACLs, given by path or descriptor: its own, and the one for new files in it.

    ACLs that the file system does not support, or that this user may not remove, are ignored.
    """
    for attribute in (DEFAULT_ACL, ACCESS_ACL):
        with suppress(OSError):
            os.removexattr(directory, attribute)


def _path(dir_fd: int, name: bytes) -> bytes:
    """With a name, no symlink is followed at the end; without one, only the link in /proc itself is followed."""
    if not name:
        return b"/proc/self/fd/%d" % dir_fd
    if b"/" in name or b"\0" in name or name in {b".", b".."}:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    return b"/proc/self/fd/%d/%b" % (dir_fd, name)
