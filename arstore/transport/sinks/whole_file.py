"""Replace a file atomically: the new file appears when it is complete, and is removed if it is never completed.

If the file system supports it, the new file has no name until then (O_TMPFILE), so the kernel removes it however the
process ends. Otherwise it is `.FILE.partial-…` next to FILE, locked while its process lives; the next copy to FILE
removes such files that are not locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import calling
from arstore.linux.files.sync import sync_directory, syncfs
from arstore.transport.sinks.files import create

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS, errno.ENOENT})
"""Errors of file systems and kernels without O_TMPFILE. ENOENT is also a missing directory, which fails right after."""
_LONGEST = 200
"""Bytes of FILE's name that are used in the name of a partial file: a name may have 255 bytes."""


class WholeFile:
    """The new content of *path*, a resolved path; *what* is the path as the user wrote it."""

    def __init__(self, path: str, what: str) -> None:
        """Create the new file. Raises OSError."""
        self._path = path
        self._what = what
        self._directory = os.path.dirname(path)
        self._stem = b"." + os.fsencode(os.path.basename(path))[:_LONGEST] + b".partial-"
        self._partial = b""
        with calling(what):
            for stale in self._stale():
                with suppress(FileNotFoundError):
                    os.unlink(stale)
            self.fd = self._nameless()
            if self.fd < 0:
                self.fd = self._named()
            with suppress(FileNotFoundError, PermissionError):
                # The new file keeps the mode of the old one, if the file system has modes.
                os.fchmod(self.fd, stat.S_IMODE(os.stat(path).st_mode))

    def finish(self) -> None:
        """Give the file its name, durably. Raises OSError."""
        with calling(self._what):
            os.fsync(self.fd)
            if not self._partial and not self._link(os.fsencode(self._path)):
                self._partial = self._new_name()
                self._link(self._partial)
            if self._partial:
                os.rename(self._partial, self._path)
                self._partial = b""
            try:
                sync_directory(self._directory)
            except PermissionError:
                # A directory that is writable may not be readable.
                syncfs(self.fd)

    def close(self) -> None:
        """Close the file; it is removed unless it was finished."""
        os.close(self.fd)
        if self._partial:
            with suppress(FileNotFoundError):
                os.unlink(self._partial)

    def _nameless(self) -> int:
        """A descriptor of a nameless file; -1 if the file system cannot make one, or it could not be given a name."""
        try:
            fd = os.open(self._directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno in _NO_TMPFILE:
                return -1
            raise
        if not os.path.exists(f"/proc/self/fd/{fd}"):
            os.close(fd)
            return -1
        _lock(fd)
        return fd

    def _named(self) -> int:
        while True:
            partial = self._new_name()
            fd = create(partial)
            _lock(fd)
            if os.fstat(fd).st_nlink:
                self._partial = partial
                return fd
            # Before it was locked, another copy took it for the file of a dead process.
            os.close(fd)

    def _link(self, name: bytes) -> bool:
        """Give the nameless file this name; False if the name exists already."""
        try:
            # With a directory descriptor, Python calls linkat(2), which follows the link in /proc.
            os.link(os.fsencode(f"/proc/self/fd/{self.fd}"), name, dst_dir_fd=self.fd, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def _new_name(self) -> bytes:
        return os.path.join(os.fsencode(self._directory), self._stem + os.urandom(8).hex().encode())

    def _stale(self) -> Iterator[bytes]:
        """The partial files that dead copies to this path left behind."""

        import re

        partial = re.compile(re.escape(self._stem) + rb"[0-9a-f]{16}")
        directory = os.fsencode(self._directory)
        try:
            names = os.listdir(directory)
        except PermissionError:
            return
        for name in names:
            path = os.path.join(directory, name)
            if partial.fullmatch(name) and _is_free(path):
                yield path


def _is_free(path: bytes) -> bool:
    """Whether *path* is a regular file that is not locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX)
