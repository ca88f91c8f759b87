"""Mounts: the new API (fsopen(2) and its companions, Linux 5.2) and the old one (mount(2), umount2(2)).

A descriptor from `fsopen` is a file system being configured; `fsmount` turns it into a *detached* mount, which lives as
long as its descriptor, or until it is unmounted from the place that `move_mount` gives it. Not here: what is mounted
where, and why.
"""

from __future__ import annotations

import errno
import os
import struct

from arstore.linux.syscall import AT_FDCWD, c_string, libc, syscall

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_BIND, MS_REC = 0x1000, 0x4000
MS_PRIVATE, MS_SLAVE = 1 << 18, 1 << 19

MNT_DETACH, UMOUNT_NOFOLLOW = 0x2, 0x8

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8

OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 0x1, os.O_CLOEXEC
AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW = 0x1000, 0x8000, 0x100

MAX_STRING = 255
"""Bytes that `fsconfig_string` can pass; a longer value is EINVAL, without a message in the log."""

_CLOEXEC = 0x1
_SET_FLAG, _SET_STRING, _SET_FD, _CREATE = 0, 1, 5, 6
_F_EMPTY_PATH, _T_EMPTY_PATH = 0x4, 0x40
_LONGEST_MESSAGE = 1 << 16


def fsopen(fs_type: str) -> int:
    """Open a new file system of this type, to be configured (Linux 5.2); return its descriptor.

    Raises OSError: ENODEV for a type that the kernel lacks, EPERM without CAP_SYS_ADMIN, ENOSYS on older kernels.
    """
    return syscall(_FSOPEN, c_string(fs_type), _CLOEXEC, what=fs_type)


def fsconfig_flag(fs_fd: int, key: str) -> None:
    """Set the option *key*, which has no value. Raises OSError."""
    syscall(_FSCONFIG, fs_fd, _SET_FLAG, c_string(key), None, 0, what=key)


def fsconfig_string(fs_fd: int, key: str, value: str | bytes) -> None:
    """Set *key* to *value*, at most MAX_STRING bytes; nothing in it has to be escaped. Raises OSError."""
    syscall(_FSCONFIG, fs_fd, _SET_STRING, c_string(key), c_string(value), 0, what=value)


def fsconfig_fd(fs_fd: int, key: str, value_fd: int) -> None:
    """Set *key* to the file *value_fd* (overlay layers: Linux 6.13; O_PATH, detached mounts: 6.15). Raises OSError."""
    syscall(_FSCONFIG, fs_fd, _SET_FD, c_string(key), None, value_fd, what=key)


def fsconfig_create(fs_fd: int) -> None:
    """Create the superblock from the configuration. Raises OSError."""
    syscall(_FSCONFIG, fs_fd, _CREATE, None, None, 0)


def fsconfig_known() -> bool:
    """Return whether the kernel has the new API and no filter forbids it; needs no privileges."""
    try:
        syscall(_FSCONFIG, -1, _CREATE, None, None, 0)
    except OSError as error:
        return error.errno not in {errno.ENOSYS, errno.EPERM}
    return True


def fsmount(fs_fd: int, attributes: int = 0) -> int:
    """Return a detached mount of the superblock, usable like an O_PATH descriptor; *attributes*: MOUNT_ATTR_ flags."""
    return syscall(_FSMOUNT, fs_fd, _CLOEXEC, attributes)


def move_mount(mount_fd: int, target_fd: int, what: str | bytes | None = None) -> None:
    """Attach the detached mount *mount_fd* to the open *target_fd* (O_PATH will do). Raises OSError, naming *what*."""
    syscall(_MOVE_MOUNT, mount_fd, b"", target_fd, b"", _F_EMPTY_PATH | _T_EMPTY_PATH, what=what)


def open_tree(path: str | bytes, dir_fd: int = AT_FDCWD, flags: int = OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW) -> int:
    """Open *path*; with OPEN_TREE_CLONE, return a detached bind mount of it (Linux 5.2). Raises OSError."""
    return syscall(_OPEN_TREE, dir_fd, c_string(path), flags | OPEN_TREE_CLOEXEC, what=path)


def mount_setattr(
    mount_fd: int, *, add: int = 0, remove: int = 0, propagation: int = 0, userns_fd: int = 0, recursive: bool = False
) -> None:
    """Change MOUNT_ATTR_ flags and the propagation (MS_PRIVATE…) of a mount, given by its root (Linux 5.12)."""
    attributes = struct.pack("=QQQQ", add, remove, propagation, userns_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall(_MOUNT_SETATTR, mount_fd, b"", flags, attributes, len(attributes))


def mount(source: str | bytes, target: str | bytes, fs_type: str = "", flags: int = 0, data: str | bytes = b"") -> None:
    """Call mount(2); *data* has to fit in one page, with its terminating NUL. Raises OSError."""
    options = c_string(data)
    libc("mount", c_string(source), c_string(target), c_string(fs_type), flags, options or None, what=target)


def umount(target: str | bytes, flags: int = UMOUNT_NOFOLLOW) -> None:
    """Call umount2(2). Raises OSError: EBUSY while it is used, EINVAL when *target* is not a mount point."""
    libc("umount2", c_string(target), flags, what=target)


def messages(fs_fd: int) -> list[str]:
    """Return the kernel's new log messages for this `fsopen` descriptor, without the severity letters."""
    found: list[str] = []
    while True:
        try:
            line = os.read(fs_fd, _LONGEST_MESSAGE)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
            return found
        if not line:
            return found
        text = line.decode("utf-8", "backslashreplace").strip()
        found.append(text[2:] if text[1:2] == " " else text)
