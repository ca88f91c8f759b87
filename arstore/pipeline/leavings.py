"""What a pipeline left in its images directory: found, opened and in the end deleted without trusting any of it.

The convention, which `docs/pipelines.md` tells users: anywhere below the images directory, every regular file is an
image archive, and every directory that holds `oci-layout`, or `index.json` and `blobs` (an OCI layout), or `version`
and `manifest.json` (a `dir:`), is an image directory as a whole. Other directories only group. Whatever is none of
these is reported and never followed: symlinks, FIFOs, devices, sockets, other file systems.

The directory belonged to a container that may have been hostile, so every step goes from one open directory to an
entry in it, nothing follows a symlink, and a name is shown escaped. The container is dead by then, and what it left is
in `custody`, but a process outside may still have a descriptor of a file. So what was looked at is remembered (`Seen`),
and only that is deleted: an entry that has been changed since, or has come since, stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.linux.mounting.mountinfo import mount_id_of
from arstore.tar.entry import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 64
"""Directories within directories below the images directory."""

MAX_ENTRIES = 100_000
"""Files and directories that are looked at."""

ELSEWHERE = "lies on another file system"

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
    """One thing that was left: *path* below the images directory, as bytes; *refusal* says why it can be no image.

    *parts* leads to it, one component an element. `is_directory` is set for image directories.
    """

    parts: tuple[bytes, ...]
    is_directory: bool = False
    refusal: str = ""

    @property
    def path(self) -> bytes:
        """The components, joined."""
        return b"/".join(self.parts)


class Seen:
    """What was there when it was looked at: by path, as components, the inode and its last change."""

    def __init__(self) -> None:
        self._entries: dict[tuple[bytes, ...], tuple[int, int]] = {}

    def put(self, parts: tuple[bytes, ...], status: os.stat_result) -> None:
        """Remember what has this *status*."""
        self._entries[parts] = _change_identity(status)

    def put_tree(self, parts: tuple[bytes, ...], fd: int) -> None:
        """Remember the directory that is open as *fd*, and everything in it. Raises LimitError, OSError."""
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
        """Delete below *directory_fd* what is still as it was seen. Raises OSError; follows no symlink."""
        for parts, identity in sorted(self._entries.items(), reverse=True):
            gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)
            with gone, opened_directory(directory_fd, parts[:-1]) as parent:
                _remove(parent, parts[-1], identity)


def _change_identity(status: os.stat_result) -> tuple[int, int]:
    """Inode and last change; of a directory the inode alone, because to delete what is in it changes it."""
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
        # Something has come into it, which stays.
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


def find_leavings(directory_fd: int, seen: Seen | None = None) -> list[Leaving]:
    """Everything below *directory_fd*, sorted by path; directories that only group are put into *seen*.

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
    """The mount that *name* in *fd* lies on: on an overlay, and below a subvolume, the device number is another one."""
    child = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        return mount_id_of(child)
    finally:
        os.close(child)


def sorted_names(fd: int, most: int) -> list[bytes]:
    """The names in the directory *fd*, sorted. Raises LimitError for more than *most*, before they take much memory."""
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
    """Return why a directory that has *depth* ones above it is refused."""
    return f"lies more than {depth} directories deep"


@contextlib.contextmanager
def opened_directory(directory_fd: int, parts: tuple[bytes, ...]) -> Iterator[int]:
    """The directory that *parts* lead to, opened component by component through no symlink. Raises OSError."""
    # Not a duplicate: btrfs lists what a directory held when it was opened (or rewound), and not what came since.
    fd = os.open(b".", _OPEN_DIRECTORY, dir_fd=directory_fd)
    try:
        for part in parts:
            child = os.open(part, _OPEN_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = child
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def opened_leaving(directory_fd: int, leaving: Leaving, seen: Seen | None = None) -> Iterator[int]:
    """The file or directory *leaving*, open for reading, and put into *seen* as it is then.

    Raises OSError (ELOOP, ENXIO …) when it has become something else, LimitError.
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
