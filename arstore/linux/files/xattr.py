"""Extended attributes of a name in an open directory; a final symlink is never followed.

The kernel has no such calls before 6.13, so the name goes through /proc/self/fd: *name* has to be one component, or b""
for what the descriptor itself has open (O_PATH descriptors too). Names and values are bytes. Raises OSError.

A name's attributes are set by setxattrat(2) where the kernel has it, and so also where /proc is out of reach.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import struct

from arstore.linux.syscall import c_string, syscall

DEFAULT_ACL, ACCESS_ACL = "system.posix_acl_default", "system.posix_acl_access"
"""The attributes that hold the ACL for what is made in a directory, and an inode's own."""


_SETXATTRAT = 463
_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000


def get_xattr(dir_fd: int, name: bytes, attribute: bytes) -> bytes:
    """The value of *attribute*; ENODATA when there is none."""
    return os.getxattr(_path(dir_fd, name), attribute, follow_symlinks=not name)


def list_xattrs(dir_fd: int, name: bytes) -> list[bytes]:
    """The names of all attributes that this process may see, in the kernel's order."""
    return [os.fsencode(a) for a in os.listxattr(_path(dir_fd, name), follow_symlinks=not name)]


def read_xattrs(dir_fd: int, name: bytes) -> dict[bytes, bytes]:
    """Every attribute with its value; one that is taken away meanwhile is left out."""
    found: dict[bytes, bytes] = {}
    for attribute in list_xattrs(dir_fd, name):
        try:
            found[attribute] = get_xattr(dir_fd, name, attribute)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
    return found


def set_xattr(dir_fd: int, name: bytes, attribute: bytes, value: bytes) -> None:
    """Set *attribute*, whether it is there already or not."""
    path = _path(dir_fd, name)
    if not name or not has_calls_by_descriptor():
        os.setxattr(path, attribute, value, follow_symlinks=not name)
        return
    import ctypes

    buffer = ctypes.create_string_buffer(value, len(value)) if value else None
    address = ctypes.addressof(buffer) if buffer is not None else 0
    arguments = struct.pack("=QII", address, len(value), 0)
    syscall(_SETXATTRAT, dir_fd, name, _AT_SYMLINK_NOFOLLOW, c_string(attribute), arguments, len(arguments), what=name)


@functools.cache
def has_calls_by_descriptor() -> bool:
    """Whether the kernel has setxattrat(2) (Linux 6.13)."""
    try:
        syscall(_SETXATTRAT, -1, b"", _AT_EMPTY_PATH, b"user.none", bytes(16), 16)
    except OSError as error:
        return error.errno == errno.EBADF
    return True


def has_default_acl(path: str) -> bool:
    """Whether what is made in the directory *path* gets an ACL from it (acl(5), "OBJECT CREATION AND DEFAULT ACLs")."""
    try:
        return bool(os.getxattr(path, DEFAULT_ACL))
    except OSError:
        return False


def remove_acls(directory: int | str) -> None:
    """Take a directory's ACLs away, given by path or descriptor: its own, and the one that what is made in it gets.

    What the file system does not have, or does not let this user remove, is left.
    """
    for attribute in (DEFAULT_ACL, ACCESS_ACL):
        with contextlib.suppress(OSError):
            os.removexattr(directory, attribute)


def _path(dir_fd: int, name: bytes) -> bytes:
    """With a name, the last component is the file itself; without, /proc's own link is the one thing to be followed."""
    if not name:
        return b"/proc/self/fd/%d" % dir_fd
    if b"/" in name or b"\0" in name or name in {b".", b".."}:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    return b"/proc/self/fd/%d/%b" % (dir_fd, name)
