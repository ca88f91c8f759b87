"""Locks on single bytes of a file that belong to an open file description: fcntl(2), "Open file description locks".

A lock lasts as long as a descriptor of that open file description is open in any process, and is visible in all
namespaces. Linux 3.15; a file system without them returns EINVAL, ENOLCK or EOPNOTSUPP.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock: type, whence, start, length, pid; the pid of these locks has to be 0."""


def lock_byte(fd: int, offset: int) -> None:
    """Lock the byte at *offset*, which need not exist. Raises OSError: EAGAIN or EACCES if it is locked already."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))


def wait_for_byte(fd: int, offset: int) -> None:
    """Lock the byte at *offset*, after waiting for the present holder of the lock. Raises OSError."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))


def unlock_byte(fd: int, offset: int) -> None:
    """Unlock the byte at *offset*. Raises OSError."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, offset, 1, 0))


def is_locked(fd: int, offset: int, length: int = 1) -> bool:
    """Return whether another open file description has a lock on one of the *length* bytes from *offset* on.

    Raises OSError.
    """
    found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, length, 0))
    kind: int = _FLOCK.unpack(found)[0]
    return kind != fcntl.F_UNLCK
