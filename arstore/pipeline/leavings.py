"""The images that a pipeline left in its images directory: found, opened and finally deleted without trusting them.

The convention, documented for users in `docs/pipelines.md`: anywhere below the images directory, every regular file is
an image archive. A directory that contains `oci-layout`, or `index.json` and `blobs` (an OCI layout), or `version` and
`manifest.json` (a `dir:`), is one image directory. Other directories only group. Everything else is reported and never
followed: symlinks, FIFOs, devices, sockets, other file systems.

The directory belonged to a container that may have been hostile. So every step goes from an open directory to an entry
in it, no symlink is followed, and names are shown escaped. The container has ended by then, and its files are in
`custody`, but a process outside may still have a descriptor of a file. So the state of each file is remembered when it
is read (`Seen`), and only unchanged files are deleted: entries that were changed or added since then stay.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.linux.mounting.mountinfo import mount_id_of
from arstore.tar.entry import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 64
"""Maximum depth of directories below the images directory."""

MAX_ENTRIES = 100_000
"""Maximum number of files and directories."""

ELSEWHERE = "is on another file system"

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_KINDS = {
    stat.S_IFLNK: "a symlink",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


@dataclass(slots=True, frozen=True)
class Leaving:
    """One entry that was left; *refusal* is the reason why it cannot be an image, or "".

    *parts* are the components of its path below the images directory. `is_directory` is set for image directories.
    """

    parts: tuple[bytes, ...]
    is_directory: bool = False
    refusal: str = ""

    @property
    def path(self) -> bytes:
        """The components, joined."""
        return b"/".join(self.parts)


class Seen:
    """The state of files when they were read: inode and last change, by the components of the path."""

    def __init__(self) -> None:
        self._entries: dict[tuple[bytes, ...], tuple[int, int]] = {}

    def put(self, parts: tuple[bytes, ...], status: os.stat_result) -> None:
        """Remember the entry with this *status*."""
        self._entries[parts] = _change_identity(status)

    def put_tree(self, parts: tuple[bytes, ...], fd: int) -> None:
        """Remember the open directory *fd*, and everything in it. Raises LimitError, OSError."""
        self.put(parts, os.fstat(fd))
        todo: list[tuple[bytes, ...]] = [()]
        seen = 0
        while todo:
            below = todo.pop()
            with opened_directory(fd, below) as directory:
                names = sorted_names(directory, MAX_ENTRIES - seen)
                seen += len(names)
                for name in names:
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    self.put((*parts, *below, name), status)
                    if stat.S_ISDIR(status.st_mode):
                        if len(below) == MAX_DEPTH:
                            raise LimitError(shown(b"/".join(parts)), f"is more than {MAX_DEPTH} directories deep")
                        todo.append((*below, name))

    def remove(self, directory_fd: int) -> None:
        """Delete the entries below *directory_fd* that are unchanged. Raises OSError; follows no symlink."""
        for parts, identity in sorted(self._entries.items(), reverse=True):
            gone = suppress(FileNotFoundError, NotADirectoryError)
            with gone, opened_directory(directory_fd, parts[:-1]) as parent:
                _remove(parent, parts[-1], identity)


def _change_identity(status: os.stat_result) -> tuple[int, int]:
    """Return inode and last change; for a directory only the inode, because deleting its entries changes it."""
    return status.st_ino, 0 if stat.S_ISDIR(status.st_mode) else status.st_ctime_ns


def _remove(parent_fd: int, name: bytes, identity: tuple[int, int]) -> None:
    status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    if _change_identity(status) != identity:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent_fd)
        return
    try:
        os.rmdir(name, dir_fd=parent_fd)
    except OSError as error:
        # It has a new entry, which stays.
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


def find_leavings(directory_fd: int, seen: Seen | None = None) -> list[Leaving]:
    """Return everything below *directory_fd*, sorted by path; directories that only group are put into *seen*.

    Raises LimitError, OSError.
    """
    device, mount_id = os.fstat(directory_fd).st_dev, mount_id_of(directory_fd)
    found: list[Leaving] = []
    count = 0
    todo: list[tuple[bytes, ...]] = [()]
    while todo:
        parts = todo.pop()
        with opened_directory(directory_fd, parts) as fd:
            names = sorted_names(fd, MAX_ENTRIES - count)
            if parts and _is_image_directory(names):
                found.append(Leaving(parts, is_directory=True))
                continue
            if parts and seen is not None:
                seen.put(parts, os.fstat(fd))
            count += len(names)
            for name in names:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                is_elsewhere = status.st_dev != device and _mount_id(fd, name) != mount_id
                if stat.S_ISDIR(status.st_mode) and not is_elsewhere and len(parts) < MAX_DEPTH:
                    todo.append((*parts, name))
                else:
                    found.append(Leaving((*parts, name), refusal=_refusal(status, is_elsewhere, len(parts))))
    return sorted(found, key=lambda leaving: leaving.parts)


def _mount_id(fd: int, name: bytes) -> int:
    """Return the mount of *name* in *fd*: on an overlay, or below a subvolume, only the device number differs."""
    child = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        return mount_id_of(child)
    finally:
        os.close(child)


def sorted_names(fd: int, most: int) -> list[bytes]:
    """Return the names in the directory *fd*, sorted. Raises LimitError, after reading *most* + 1 of them."""
    with os.scandir(fd) as listing:
        names = [os.fsencode(entry.name) for entry in islice(listing, most + 1)]
    if len(names) > most:
        raise LimitError("images directory", f"holds more than {MAX_ENTRIES} entries")
    return sorted(names)


def _is_image_directory(names: list[bytes]) -> bool:
    found = set(names)
    return b"oci-layout" in found or {b"index.json", b"blobs"} <= found or {b"version", b"manifest.json"} <= found


def _refusal(status: os.stat_result, is_elsewhere: bool, depth: int) -> str:
    kind = stat.S_IFMT(status.st_mode)
    if kind in _KINDS:
        return f"is {_KINDS[kind]}, not an image"
    if is_elsewhere:
        return ELSEWHERE
    if kind == stat.S_IFDIR:
        return too_deep(depth)
    return ""


def too_deep(depth: int) -> str:
    """Return the refusal of a directory with *depth* directories above it."""
    return f"is more than {depth} directories deep"


@contextmanager
def opened_directory(directory_fd: int, parts: tuple[bytes, ...]) -> Iterator[int]:
    """Open the directory *parts*, component by component, without following symlinks. Raises OSError."""
    # Not dup(2): btrfs lists the entries as of the open (or rewind), and later ones are missing.
    fd = os.open(b".", _OPEN_DIRECTORY, dir_fd=directory_fd)
    try:
        for part in parts:
            child = os.open(part, _OPEN_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = child
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_leaving(directory_fd: int, leaving: Leaving, seen: Seen | None = None) -> Iterator[int]:
    """Open the file or directory *leaving* for reading, and put its current state into *seen*.

    Raises OSError (ELOOP, ENXIO …) if it has become something else, LimitError.
    """
    with opened_directory(directory_fd, leaving.parts[:-1]) as parent:
        fd = os.open(leaving.parts[-1], _OPEN_DIRECTORY if leaving.is_directory else _OPEN_FILE, dir_fd=parent)
    try:
        if not leaving.is_directory and not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if seen is not None and leaving.is_directory:
            seen.put_tree(leaving.parts, fd)
        elif seen is not None:
            seen.put(leaving.parts, os.fstat(fd))
        yield fd
    finally:
        os.close(fd)
