"""A directory as a container of members, walked by file descriptors so that nothing in it can lead out of it.

The directory may come from a hostile user who is still changing it. So every component below the directory itself is
opened without following symbolic links, and only regular files are opened, so that a FIFO cannot block and devices are
not touched. The directory that the user named may itself be reached through links. Not in scope: what the members are.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import UnsafePathError, from_os_error
from arstore.oci.document import BOUNDS, Bounds
from arstore.tar.entry import shown
from arstore.transport.media.blob import Extent, OpenFile, read_all

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


class Directory:
    """An open directory, which owns *fd*. Names are made by arstore, separated by `/`, and never contain `..`."""

    stored = None
    """None: the bytes of all its files are not counted."""

    def __init__(self, fd: int, what: str) -> None:
        self.what = what
        self._file = OpenFile(fd)

    def open(self, name: str) -> Extent | None:
        """The regular file *name*, or None if it does not exist.

        Raises UnsafePathError if *name*, or a directory on the way to it, is anything else; PermissionDeniedError.
        """
        parents = name.split("/")
        last = parents.pop()
        at = self._file.fd
        opened: list[int] = []
        try:
            for parent in parents:
                at = self._step(at, parent, name)
                opened.append(at)
            return self._regular(at, last, name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise from_os_error(error, self._named(name)) from error
        finally:
            for fd in opened:
                os.close(fd)

    def read(self, name: str, bounds: Bounds = BOUNDS) -> bytes | None:
        """The whole document *name*, or None if it does not exist.

        Raises LimitError if it is longer than a document may be, UnsafePathError as `open` does.
        """
        blob = self.open(name)
        if blob is None:
            return None
        try:
            return read_all(blob, self._named(name), bounds)
        finally:
            blob.close()

    def names_in(self, name: str) -> Sequence[str]:
        """The names in the directory *name*, sorted; empty if there is no such directory.

        Raises UnsafePathError as `open` does, PermissionDeniedError.
        """
        at = self._file.fd
        opened: list[int] = []
        try:
            for part in name.split("/"):
                at = self._step(at, part, name)
                opened.append(at)
            return sorted(os.listdir(at))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise from_os_error(error, self._named(name)) from error
        finally:
            for fd in opened:
                os.close(fd)

    def close(self) -> None:
        """Close the directory; files that were opened from it stay open."""
        self._file.close()

    def _step(self, at: int, parent: str, name: str) -> int:
        try:
            return os.open(parent, _DIRECTORY, dir_fd=at)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise UnsafePathError(self._named(name), f"{parent} is not a directory") from error
            raise

    def _regular(self, at: int, last: str, name: str) -> Extent:
        # The first check keeps devices and FIFOs from being opened; the second examines what was actually opened.
        self._check_kind(os.stat(last, dir_fd=at, follow_symlinks=False).st_mode, name)
        try:
            fd = os.open(last, _FILE, dir_fd=at)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                raise UnsafePathError(self._named(name), "is not a regular file") from error
            raise
        file = OpenFile(fd)
        try:
            status = os.fstat(fd)
            self._check_kind(status.st_mode, name)
        except BaseException:
            file.close()
            raise
        return Extent(file, 0, status.st_size, self._named(name), owned=True)

    def _check_kind(self, mode: int, name: str) -> None:
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
            raise UnsafePathError(self._named(name), f"is {kind}; only regular files are read")

    def _named(self, name: str) -> str:
        return f"{self.what}/{shown(os.fsencode(name))}"
