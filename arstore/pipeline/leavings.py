"""What a pipeline left in its images directory: found, opened and in the end deleted without trusting any of it.

The convention, which `docs/pipelines.md` tells users: anywhere below the images directory, every regular file is an
image archive, and every directory that holds `oci-layout`, or `index.json` and `blobs` (an OCI layout), or `version`
and `manifest.json` (a `dir:`), is an image directory as a whole. Other directories only group. Whatever is none of
these is reported and never followed: symlinks, FIFOs, devices, sockets, other file systems.

The directory belonged to a container that may have been hostile, so every step goes from one open directory to an
entry in it, nothing follows a symlink, and a name is shown escaped. The container is dead by then and can change
nothing any more.
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

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 64
"""Directories within directories below the images directory."""

MAX_ENTRIES = 100_000
"""Files and directories that are looked at."""

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


def find_leavings(directory_fd: int) -> list[Leaving]:
    """Everything below *directory_fd*, sorted by path. Raises LimitError, OSError."""
    device = os.fstat(directory_fd).st_dev
    found: list[Leaving] = []
    seen = 0
    todo: list[tuple[bytes, ...]] = [()]
    while todo:
        parts = todo.pop()
        with opened_directory(directory_fd, parts) as fd:
            names = _names(fd, MAX_ENTRIES - seen)
            if parts and _is_image_directory(names):
                found.append(Leaving(parts, is_directory=True))
                continue
            seen += len(names)
            for name in names:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and status.st_dev == device and len(parts) < MAX_DEPTH:
                    todo.append((*parts, name))
                else:
                    found.append(Leaving((*parts, name), refusal=_refusal(status, device, len(parts))))
    return sorted(found, key=lambda leaving: leaving.parts)


def _names(fd: int, most: int) -> list[bytes]:
    """The names in the directory *fd*, sorted. Raises LimitError for more than *most*, before they take much memory."""
    with os.scandir(fd) as listing:
        names = [os.fsencode(entry.name) for entry in islice(listing, most + 1)]
    if len(names) > most:
        raise LimitError("images directory", f"holds more than {MAX_ENTRIES} entries")
    return sorted(names)


def _is_image_directory(names: list[bytes]) -> bool:
    found = set(names)
    return b"oci-layout" in found or {b"index.json", b"blobs"} <= found or {b"version", b"manifest.json"} <= found


def _refusal(status: os.stat_result, device: int, depth: int) -> str:
    kind = stat.S_IFMT(status.st_mode)
    if kind in _KINDS:
        return f"is {_KINDS[kind]}, not an image"
    if status.st_dev != device:
        return "lies on another file system"
    if kind == stat.S_IFDIR:
        return f"lies more than {depth} directories deep"
    return ""


@contextlib.contextmanager
def opened_directory(directory_fd: int, parts: tuple[bytes, ...]) -> Iterator[int]:
    """The directory that *parts* lead to, opened component by component through no symlink. Raises OSError."""
    fd = os.dup(directory_fd)
    try:
        for part in parts:
            child = os.open(part, _OPEN_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = child
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def opened_leaving(directory_fd: int, leaving: Leaving) -> Iterator[int]:
    """The file or directory *leaving*, open for reading; OSError (ELOOP, ENXIO …) when it has become something else."""
    with opened_directory(directory_fd, leaving.parts[:-1]) as parent:
        fd = os.open(leaving.parts[-1], _OPEN_DIRECTORY if leaving.is_directory else _OPEN_FILE, dir_fd=parent)
    try:
        if not leaving.is_directory and not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield fd
    finally:
        os.close(fd)


def clear(directory_fd: int) -> None:
    """Delete everything in the directory, and not the directory itself. Raises OSError; follows no symlink."""
    for name in os.listdir(directory_fd):
        _delete(directory_fd, os.fsencode(name))


def _delete(parent_fd: int, name: bytes) -> None:
    from arstore.store.removal import remove_tree

    if stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
        remove_tree(parent_fd, name)
    else:
        os.unlink(name, dir_fd=parent_fd)
