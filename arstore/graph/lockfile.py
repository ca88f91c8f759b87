"""LMDB's lock file, which every process maps and writes to: it is allocated completely before LMDB opens it.

If a full disk has no space for a page of the file, writing to it is a SIGBUS. So the whole file is allocated. A file
system that writes each changed page to a new place (btrfs) gets a flag to write in place, so that the allocation is
used. That flag can be set on an empty file only. A file made by an older arstore is emptied for it when it is not in
use.

LMDB locks byte 0 of the file: exclusively while it sets the file up, shared as long as it is open. These locks belong
to processes, and a process drops all of them when it closes its first descriptor of the file. So a file that is set up
here is locked as LMDB does it, and stays open as long as LMDB has it open: a waiting process finds it as LMDB leaves
it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING

from arstore.builtin import suppress
from arstore.disk.access import give_to_owner
from arstore.errors import from_os_error
from arstore.trace import reached

if TYPE_CHECKING:
    from arstore.disk.reserve import Spare

FILE = "lock.mdb"

READERS = 2048
"""Transactions that may read at the same time, over all processes."""

_SLOT = 64
SIZE = (READERS + 80) * _SLOT
"""Bytes: a slot for each reader, and more than the two that LMDB's header takes. Older arstores made shorter files."""

_GETFLAGS, _SETFLAGS, _NOCOW = 0x80086601, 0x40086602, 0x00800000
"""From linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_NOCOW_FL."""
_FLAGS = struct.Struct("@l")


def prepare(directory: str, spare: Spare) -> int:
    """Allocate the lock file in *directory*; return a descriptor to close after LMDB's environment, or -1.

    The environment must not be open in this process. If the disk is full, *spare* provides the space. Raises
    NoSpaceError and HostError.
    """
    path = f"{directory}/{FILE}"
    with suppress(FileNotFoundError, PermissionError):
        if os.stat(path).st_size >= SIZE:
            return -1
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1  # LMDB reports the error
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
    """Lock byte 0 as LMDB does; return False if the file is in use, or another process has just set it up."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0, os.SEEK_SET)
    except OSError:
        return False
    return os.fstat(fd).st_size < SIZE


def _set_up(fd: int, spare: Spare) -> None:
    os.ftruncate(fd, 0)
    with suppress(OSError):  # only copy-on-write file systems have this flag
        (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GETFLAGS, bytes(_FLAGS.size)))
        fcntl.ioctl(fd, _SETFLAGS, _FLAGS.pack(flags | _NOCOW))
    spare.allocated(fd, SIZE)
