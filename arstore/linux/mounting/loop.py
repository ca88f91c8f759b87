"""Loop devices, loop(4): files as read-only block devices, which the kernel removes itself.

The kernel detaches a device made here (LO_FLAGS_AUTOCLEAR) when its last descriptor is closed and no file system is
mounted from it. So nothing has to be cleaned up, not even after a crash.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

_CONTROL = "/dev/loop-control"
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_READ_ONLY, _AUTOCLEAR = 0x1, 0x4

# struct loop_config with its struct loop_info64 (linux/loop.h): the file, the block size, then only the flags and the
# displayed name of the information.
_CONFIG = struct.Struct("=II 8x8x8x 8x8x 4x4x4xI 64s 64x32x16x 64x")
_NAME = 63
_ATTEMPTS = 64


def attach(file_fd: int, name: str = "", block_size: int = 512) -> int:
    """Return a descriptor of a new loop device that shows the file *file_fd*, without an incomplete last block.

    Keep it open until something else, such as a mount, holds the device. *name* is what losetup(8) shows. Raises
    OSError: ENOENT if there are no loop devices, EPERM or EACCES without the right to create one, EINVAL before Linux
    5.8.
    """
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            number = fcntl.ioctl(control, _GET_FREE)
            device = _open(number)
            try:
                fcntl.ioctl(device, _CONFIGURE, _configuration(file_fd, name, block_size))
            except OSError as error:
                os.close(device)
                # Another process has taken the same one.
                if error.errno != errno.EBUSY:
                    raise
            else:
                return device
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device is available", _CONTROL)


def path_of(device_fd: int) -> str:
    """Return the path of a device from `attach`."""
    return os.readlink(f"/proc/self/fd/{device_fd}")


def _open(number: int) -> int:
    path = f"/dev/loop{number}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # The kernel does not fill this /dev, as in containers.
        with open(f"/sys/block/loop{number}/dev", encoding="ascii") as file:
            major, _, minor = file.read().strip().partition(":")
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(int(major), int(minor)))
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _configuration(file_fd: int, name: str, block_size: int) -> bytes:
    return _CONFIG.pack(file_fd, block_size, _READ_ONLY | _AUTOCLEAR, os.fsencode(name)[:_NAME])
