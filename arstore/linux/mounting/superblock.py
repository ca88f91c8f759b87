"""Superblocks: whether a file system is alive anywhere, asked by its device number, ustat(2).

A superblock lives as long as something holds it: a mount in any mount namespace, a detached mount, an open file. So
the answer is the same in every namespace, and needs no privilege. Anonymous device numbers are given out again: that
one is alive does not say that it is still the same file system. The free inodes that it claims tell more: an overlay
claims what its upper directory's file system does, or that of its topmost layer.
"""

from __future__ import annotations

import errno
import os
import sys

from arstore.linux.syscall import c_string, libc, syscall
from arstore.values import NamedTuple

OVERLAY = 0x794C7630
"""OVERLAYFS_SUPER_MAGIC, of magic.h."""

_USTAT = {"x86_64": 136, "s390x": 62, "ppc64le": 62, "ppc64": 62}.get(os.uname().machine, 0) if sys.maxsize >> 32 else 0
"""The system call's number; newer architectures do not have it. glibc has had no function for it since 2.28."""

_INODES_AT = 8
"""Place of f_tinode in struct ustat."""
_SIZE = 256
"""Bytes that hold struct ustat or struct statfs."""
_ENDLESS = 1 << 62


class Live(NamedTuple):
    """A file system that exists, and the free inodes that it claims, as statfs(2) has them."""

    free_inodes: int

    @property
    def sign(self) -> int:
        """That number where it never changes: of a read-only format that claims almost 2^64, as EROFS does; else 0."""
        return self.free_inodes if self.free_inodes >= _ENDLESS else 0


def look(device: int) -> Live | bool | None:
    """The file system with this st_dev; False when there is none, None where the kernel does not say.

    None means an architecture without the call, or a filter (seccomp) that does not let it through.
    """
    if not _USTAT:
        return None
    import ctypes

    buffer = ctypes.create_string_buffer(_SIZE)
    try:
        syscall(_USTAT, _encoded(device), ctypes.addressof(buffer))
    except OSError as error:
        return False if error.errno == errno.EINVAL else None
    return Live(int.from_bytes(buffer.raw[_INODES_AT : _INODES_AT + 8], sys.byteorder))


def magic(path: str) -> int:
    """The number that tells the type of the file system that *path* lies on (f_type of statfs(2)). Raises OSError."""
    import ctypes

    buffer = ctypes.create_string_buffer(_SIZE)
    libc("statfs", c_string(path), ctypes.addressof(buffer), what=path)
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)


def _encoded(device: int) -> int:
    """*device* in the kernel's 32 bits (`new_encode_dev`), which are not those of st_dev."""
    major, minor = os.major(device), os.minor(device)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
