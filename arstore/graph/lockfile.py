"""LMDB's lock file, which every process maps and writes to: all of it on disk before LMDB sees it.

A page of it that a full disk cannot give is a SIGBUS. So the file is allocated whole, and where the file system would
write each changed page to a new place (btrfs), it is told not to: with that the allocated place is the one written to.
That can be said of an empty file only. A file that an older arstore has made is emptied for it, when nobody uses it.

LMDB locks byte 0 of the file: exclusively while it sets the file up, shared as long as it is open. These are locks of
processes, and the first descriptor of the file that a process closes drops them all. So a file that is set up here is
locked as LMDB does it and stays open as long as LMDB has it: whoever waits for it finds it as LMDB leaves it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.access import give_to_owner
from arstore.errors import from_os_error
from arstore.trace import reached

if TYPE_CHECKING:
    from arstore.disk.reserve import Spare

FILE = "lock.mdb"

READERS = 2048
"""Transactions that may read at once, over all processes."""

_SLOT = 64
SIZE = (READERS + 80) * _SLOT
"""Bytes: a slot for each reader, and more than the two that LMDB's head takes. Files of older arstores are shorter."""

_GETFLAGS, _SETFLAGS, _NOCOW = 0x80086601, 0x40086602, 0x00800000
"""Of linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_NOCOW_FL."""
_FLAGS = struct.Struct("@l")


def prepare(directory: str, spare: Spare) -> int:
    """Have the lock file in *directory* whole on disk; a descriptor to close after LMDB's environment, or -1.

    The environment must not be open in this process. *spare* gives its space where the disk is full. Raises
    NoSpaceError and HostError.
    """
    path = f"{directory}/{FILE}"
    with suppress(FileNotFoundError, PermissionError):
        if os.stat(path).st_size >= SIZE:
            return -1
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1  # LMDB says what is the matter
    try:
        if _lock_alone(fd):
            give_to_owner(fd, directory)
            _set_up(fd, spare)
            reached("store.lock-file-reserved")
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(fd, 0)
        os.close(fd)
        raise from_os_error(error, path) from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock_alone(fd: int) -> bool:
    """Lock byte 0 as LMDB does; False when the file is in use, or was set up by somebody else just now."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0, os.SEEK_SET)
    except OSError:
        return False
    return os.fstat(fd).st_size < SIZE


def _set_up(fd: int, spare: Spare) -> None:
    os.ftruncate(fd, 0)
    with suppress(OSError):  # only file systems that write to new places know this
        (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GETFLAGS, bytes(_FLAGS.size)))
        fcntl.ioctl(fd, _SETFLAGS, _FLAGS.pack(flags | _NOCOW))
    spare.allocated(fd, SIZE)
