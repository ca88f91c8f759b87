"""Removal of a directory tree: iterative, by descriptors, never across a mount or through a symlink.

Depth is not limited: directories below a certain depth are first moved up, so that neither the stack nor the number of
open descriptors grows. A file system mounted inside stops the removal (EBUSY) before anything in it is touched.
"""

from __future__ import annotations

import errno
import os
from threading import Lock
from typing import TYPE_CHECKING

from arstore.linux.files.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.mounting.mountinfo import mount_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 512
"""Bytes of a unit of st_blocks (stat(2))."""

_DEEPEST = 32
_LINKED = Lock()
"""Held while a name of a file with several is deleted."""
_GUARD = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV

MOUNTED = "a file system is mounted in it; unmount that first"


class _Frame:
    """An open directory whose files are deleted, the subdirectories still to be removed, and the bytes freed."""

    __slots__ = ("fd", "freed", "left", "name")

    def __init__(self, parent_fd: int, name: bytes, gone: Callable[[os.stat_result], None] | None) -> None:
        self.name = name
        self.fd = _open_to_empty(parent_fd, name)
        try:
            own = os.fstat(self.fd).st_blocks * BLOCK
            self.left, freed = _unlink_all(self.fd, gone)
            self.freed = own + freed
        except BaseException:
            os.close(self.fd)
            raise


def unlink(name: str | bytes, status: os.stat_result, dir_fd: int | None = None) -> int:
    """Delete the file *name*, which has this *status*; return the bytes freed. Raises OSError."""
    if status.st_nlink <= 1:
        os.unlink(name, dir_fd=dir_fd)
        return freed_with(status)
    # Another thread may be deleting another name of the same file.
    with _LINKED:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        os.unlink(name, dir_fd=dir_fd)
        return freed_with(status)


def freed_with(status: os.stat_result) -> int:
    """Return the bytes on disk that are freed by deleting a name of the file with this *status*.

    0 as long as the file has other names.
    """
    return status.st_blocks * BLOCK if status.st_nlink == 1 else 0


def remove_tree(path: str) -> int:
    """Delete the directory *path* and everything below it, following no symlink; return the bytes freed.

    A path that does not exist is not an error. Raises OSError: EBUSY when a file system is mounted inside.
    """
    if not os.path.lexists(path):
        return 0
    parent, name = os.path.split(path)
    parent_fd = os.open(parent or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return remove_tree_at(parent_fd, os.fsencode(name))
    except OSError as error:
        # Errors inside the tree carry only the last part of the name.
        if error.errno == errno.EBUSY:
            raise OSError(errno.EBUSY, MOUNTED, path) from error
        raise
    finally:
        os.close(parent_fd)


def remove_children(path: str) -> None:
    """Delete everything in the directory *path*, but not the directory itself. Raises OSError."""
    for name in os.listdir(path):
        remove(f"{path}/{name}")


def remove(path: str) -> int:
    """Delete the file or directory tree *path*; return the bytes freed. Raises OSError: EBUSY for a mount inside."""
    if os.path.isdir(path) and not os.path.islink(path):
        return remove_tree(path)
    return unlink(path, os.lstat(path))


def remove_tree_at(parent_fd: int, name: bytes, gone: Callable[[os.stat_result], None] | None = None) -> int:
    """Delete the directory *name* in *parent_fd* and everything below it; return the bytes freed.

    *gone* is called with the status of each file before it is deleted. Raises OSError: FileNotFoundError when the
    directory does not exist, EBUSY for a mount point.
    """
    freed = 0
    stack = [_Frame(parent_fd, name, gone)]
    try:
        while stack:
            top = stack[-1]
            if not top.left:
                os.rmdir(top.name, dir_fd=stack[-2].fd if len(stack) > 1 else parent_fd)
                freed += top.freed
                os.close(stack.pop().fd)
            elif len(stack) < _DEEPEST:
                stack.append(_Frame(top.fd, top.left.pop(), gone))
            else:
                _move_up(top, stack[0], b".removed-%b-" % os.urandom(12).hex().encode())
    finally:
        for frame in stack:
            os.close(frame.fd)
    return freed


def _move_up(frame: _Frame, top: _Frame, fresh: bytes) -> None:
    """Move the remaining subdirectories of *frame* to *top*, under numbered names that begin with *fresh*."""
    while frame.left:
        name = frame.left[-1]
        moved = fresh + b"%d" % len(frame.left)
        os.close(_open_to_empty(frame.fd, name))
        os.rename(name, moved, src_dir_fd=frame.fd, dst_dir_fd=top.fd)
        frame.left.pop()
        top.left.append(moved)


def _unlink_all(fd: int, gone: Callable[[os.stat_result], None] | None) -> tuple[list[bytes], int]:
    """Delete all files in *fd*; return the names of the subdirectories, and the bytes freed."""
    directories = []
    freed = 0
    with os.scandir(fd) as listing:
        names = [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in listing]
    for name, is_directory in names:
        if is_directory:
            directories.append(name)
            continue
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if gone is not None:
            gone(status)
        freed += unlink(name, status, fd)
    return directories, freed


def _open_to_empty(parent_fd: int, name: bytes) -> int:
    """Open a directory that will be emptied; add the owner's permissions where they are missing."""
    try:
        fd = _open_here(parent_fd, name)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent_fd)
        fd = _open_here(parent_fd, name)
    if os.geteuid() and os.fstat(fd).st_mode & 0o700 != 0o700:
        os.fchmod(fd, 0o700)
    return fd


def _open_here(parent_fd: int, name: bytes) -> int:
    """Open *name* unless it is on another mount. Raises OSError: EBUSY for a mount point."""
    try:
        return openat2(parent_fd, name, DIRECTORY, _GUARD)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(errno.EBUSY, "a file system is mounted there", name) from error
        if error.errno not in {errno.ENOSYS, errno.EPERM}:
            raise
    fd = os.open(name, DIRECTORY, dir_fd=parent_fd)
    try:
        if mount_id_of(fd) != mount_id_of(parent_fd):
            raise OSError(errno.EBUSY, "a file system is mounted there", name)
    except BaseException:
        os.close(fd)
        raise
    return fd
