"""Superblocks: whether a file system is alive anywhere, asked by its device number, ustat(2).

A superblock lives as long as something holds it: a mount in any mount namespace, a detached mount, an open file. So the
answer is the same in every namespace, and needs no privileges. Anonymous device numbers are reused: a live one may
belong to another file system by now. The number of free inodes helps to find out: an overlay reports that of its upper
directory's file system, or of its topmost layer's.
"""

from __future__ import annotations

import errno
import os
import sys

from arstore.linux.syscall import c_string, libc, syscall
from arstore.values import NamedTuple

OVERLAY = 0x794C7630
"""OVERLAYFS_SUPER_MAGIC, from magic.h."""

_KERNELS = frozenset(
    {
        *(0x9FA0, 0x62656572, 0x27E0EB, 0x63677270, 0x1CD1, 0x19800202),  # proc, sysfs, cgroup, cgroup2, devpts, mqueue
        *(0x64626720, 0x74726163, 0x73636673, 0xCAFE4A11, 0x6165676C),  # debugfs, tracefs, securityfs, bpf, pstore
        *(0xDE5E81E4, 0x62656570, 0x42494E4D, 0xF97CFF8C),  # efivarfs, configfs, binfmt_misc, selinuxfs
    }
)
_USTAT = {"x86_64": 136, "s390x": 62, "ppc64le": 62, "ppc64": 62}.get(os.uname().machine, 0) if sys.maxsize >> 32 else 0
"""The system call's number; newer architectures lack it. glibc has had no function for it since 2.28."""

_INODES_AT = 8
"""Offset of f_tinode in struct ustat."""
_SIZE = 256
"""Bytes that are enough for struct ustat or struct statfs."""
_ENDLESS = 1 << 62


class Live(NamedTuple):
    """A file system that exists, and its number of free inodes, as in statfs(2)."""

    free_inodes: int

    @property
    def sign(self) -> int:
        """The number of free inodes if it never changes: almost 2^64, as of read-only formats such as EROFS; else 0."""
        return self.free_inodes if self.free_inodes >= _ENDLESS else 0


def look(device: int) -> Live | bool | None:
    """Return the file system with this st_dev; False if it does not exist, None if the kernel does not answer.

    None means an architecture without the call, or a filter (seccomp) that forbids it.
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
    """Return the number of the file system type of *path* (f_type of statfs(2)). Raises OSError."""
    import ctypes

    buffer = ctypes.create_string_buffer(_SIZE)
    libc("statfs", c_string(path), ctypes.addressof(buffer), what=path)
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)


def is_kernels(fd: int) -> bool:
    """Return whether the directory *fd* shows the kernel's objects, not files: proc, sysfs and others of magic.h.

    Raises OSError.
    """
    import ctypes

    buffer = ctypes.create_string_buffer(_SIZE)
    libc("fstatfs", fd, ctypes.addressof(buffer))
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) in _KERNELS


def _encoded(device: int) -> int:
    """Encode *device* in the kernel's 32 bits (`new_encode_dev`), which differ from those of st_dev."""
    major, minor = os.major(device), os.minor(device)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
