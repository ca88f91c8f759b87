"""Copying between files: shared extents first, then copy_file_range(2), then read and write."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FICLONE, _FICLONERANGE = 0x40049409, 0x4020940D
_ALIGNMENT = 4096
_STEP = 64 << 20
_BUFFER = 1 << 20

# Some kernel or file system returns each of these for "not between these two files"; EPERM comes from seccomp filters.
_CANNOT = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EPERM, errno.ETXTBSY, errno.EBADF}
)


def reflink(source_fd: int, target_fd: int) -> bool:
    """Make *target_fd* share all data of *source_fd* (ioctl_ficlone(2)); return False if these files cannot.

    Raises OSError for other failures (ENOSPC, EIO).
    """
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def copy_range(source_fd: int, source_offset: int, target_fd: int, length: int, target_offset: int = 0) -> int:
    """Copy *length* bytes by the cheapest way that works; return the bytes copied, fewer only if the source ends.

    The file positions of the descriptors are neither used nor changed. Raises OSError.
    """
    if _share(source_fd, source_offset, target_fd, length, target_offset):
        return length
    done = _copy_in_kernel(source_fd, source_offset, target_fd, length, target_offset)
    # The kernel may have stopped at the source's end, or given up: only read(2) shows which.
    return done + _copy_by_hand(source_fd, source_offset + done, target_fd, length - done, target_offset + done)


def copy_sparse(source_fd: int, target_fd: int, coming: Callable[[int], None] = lambda _count: None) -> None:
    """Copy a whole file into the empty file *target_fd*, keeping its holes (lseek(2), SEEK_HOLE).

    *coming* is called with the number of bytes about to be written, before each step; an exception from it ends the
    copy. The file positions of the descriptors are not used. Raises OSError.
    """
    size = os.fstat(source_fd).st_size
    os.ftruncate(target_fd, size)
    for start, end in data_runs(source_fd, size):
        at = start
        while at < end:
            step = min(end - at, _STEP)
            coming(step)
            done = copy_range(source_fd, at, target_fd, step, at)
            if not done:
                return
            at += done


def data_runs(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each run of data in the first *size* bytes of a file; the rest are holes.

    The file's position changes. Raises OSError.
    """
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                raise
            start, end = at, size
        if start >= size:
            return
        yield start, end
        at = end


def _share(source_fd: int, source_offset: int, target_fd: int, length: int, target_offset: int) -> bool:
    if length == 0 or (source_offset | length | target_offset) % _ALIGNMENT:
        return False
    try:
        request = struct.pack("=qQQQ", source_fd, source_offset, length, target_offset)
        fcntl.ioctl(target_fd, _FICLONERANGE, request)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _copy_in_kernel(source_fd: int, source_offset: int, target_fd: int, length: int, target_offset: int) -> int:
    done = 0
    while done < length:
        step = min(length - done, _STEP)
        try:
            count = os.copy_file_range(source_fd, target_fd, step, source_offset + done, target_offset + done)
        except OSError as error:
            if error.errno in _CANNOT:
                break
            raise
        if count == 0:
            break
        done += count
    return done


def _copy_by_hand(source_fd: int, source_offset: int, target_fd: int, length: int, target_offset: int) -> int:
    done = 0
    while done < length:
        data = os.pread(source_fd, min(length - done, _BUFFER), source_offset + done)
        if not data:
            break
        view = memoryview(data)
        while view:
            count = os.pwrite(target_fd, view, target_offset + done)
            view = view[count:]
            done += count
    return done
