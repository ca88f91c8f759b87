"""Numbers of mounts that the kernel uses once in a boot, statx(2) STATX_MNT_ID_UNIQUE (Linux 6.8).

The ids of /proc/PID/mountinfo are used again. Out of scope: what is mounted.
"""

from __future__ import annotations

import struct

from arstore.linux.syscall import libc

_EMPTY_PATH, _DONT_SYNC = 0x1000, 0x4000
_UNIQUE = 0x4000
_MOUNT_ROOT = 0x2000
_SIZE = 256
_MASK_AT, _ATTRIBUTES_AT, _MOUNT_AT = 0, 8, 0x90
"""Places in struct statx (linux/stat.h)."""


def unique_mount_id(root_fd: int) -> int:
    """The number of the mount whose root *root_fd* has open; 0 when it is no root, or the kernel has no such numbers.

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
