"""Locks on single bytes of a file that belong to an open file description: fcntl(2), "Open file description locks".

They are there as long as a descriptor of that opening is open in any process, and the kernel tells of them alike in
all namespaces. Linux 3.15; a file system without them answers EINVAL, ENOLCK or EOPNOTSUPP.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock: type, whence, start, length, pid; the pid of such a lock has to be 0."""


def lock_byte(fd: int, offset: int) -> None:
    """Lock the byte at *offset*, which need not exist. Raises OSError: EAGAIN or EACCES when another opening has it."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))


def wait_for_byte(fd: int, offset: int) -> None:
    """Lock the byte at *offset*, waiting for whoever has it. Raises OSError."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))


def unlock_byte(fd: int, offset: int) -> None:
    """Let go of the byte at *offset*. Raises OSError."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, offset, 1, 0))


def is_locked(fd: int, offset: int) -> bool:
    """Whether another opening of the file has a lock on the byte at *offset*. Raises OSError."""
    found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))
    kind: int = _FLOCK.unpack(found)[0]
    return kind != fcntl.F_UNLCK
