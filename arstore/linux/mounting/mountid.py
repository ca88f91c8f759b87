"""Mount ids that are unique within a boot, statx(2) STATX_MNT_ID_UNIQUE (Linux 6.8).

The ids in /proc/PID/mountinfo are reused. Not here: what is mounted.
"""

from __future__ import annotations

import struct

from arstore.linux.syscall import libc

_EMPTY_PATH, _DONT_SYNC = 0x1000, 0x4000
_UNIQUE = 0x4000
_MOUNT_ROOT = 0x2000
_SIZE = 256
_MASK_AT, _ATTRIBUTES_AT, _MOUNT_AT = 0, 8, 0x90
"""Offsets in struct statx (linux/stat.h)."""


def unique_mount_id(root_fd: int) -> int:
    """Return the id of the mount whose root is open as *root_fd*; 0 if it is not a root, or the kernel is older.

    Raises OSError.
    """
    import ctypes

    buffer = ctypes.create_string_buffer(_SIZE)
    libc("statx", root_fd, b"", _EMPTY_PATH | _DONT_SYNC, _UNIQUE, ctypes.addressof(buffer))
    (mask,) = struct.unpack_from("=I", buffer, _MASK_AT)
    (attributes,) = struct.unpack_from("=Q", buffer, _ATTRIBUTES_AT)
    if not (mask & _UNIQUE and attributes & _MOUNT_ROOT):
        return 0
    (number,) = struct.unpack_from("=Q", buffer, _MOUNT_AT)
    return int(number)
