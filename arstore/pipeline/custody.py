"""The images that a pipeline left, kept out of reach of every container while they are listed, imported and deleted.

    <root>/<image name>/images/     the container's directory; other containers may have descriptors of it by now
    <root>/<image name>/.taken/     its files during the import: made by the host, 0700, in no container

A container can pass descriptors of its images directory, and of directories and files in it, to another container,
which continues to write after the first one has ended. Renaming a directory does not revoke them. So every file is
renamed, one by one, into directories that the host has made; the container's directories stay behind, empty. After that
no other process can make, change or remove a name. The content of a file can still change through a descriptor. So
content is verified in the same pass that stores it, and a file that has changed since it was opened is moved back at
the end, and not deleted.

Files are moved back if the import fails, or if they are to stay. After a kill they are in `.taken`, and the next `load`
moves them back first. If the images directory is a separate file system, files cannot be moved out of it, and are
imported in place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Self

from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.rename import rename_new
from arstore.linux.mounting.mountinfo import mount_id_of
from arstore.pipeline.leavings import (
    ELSEWHERE,
    MAX_DEPTH,
    MAX_ENTRIES,
    Leaving,
    Seen,
    find_leavings,
    opened_directory,
    sorted_names,
    too_deep,
)
from arstore.pipeline.place import TAKEN
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_IN_THE_WAY = frozenset({errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EISDIR})
_OTHER_FILE_SYSTEM = frozenset({errno.EXDEV, errno.EBUSY})

Parts = tuple[bytes, ...]


class Custody:
    """The files of one images directory, taken over during the context.

    *place_fd* is the pipeline's directory, *images_fd* the images directory in it. `fd` is where the files are now.
    """

    def __init__(self, place_fd: int, images_fd: int) -> None:
        self._place_fd = place_fd
        self._images_fd = images_fd
        self._refused: list[Leaving] = []
        self._directories: list[Parts] = []
        self.fd = -1

    def __enter__(self) -> Self:
        """Take over the files. Raises LimitError for too many entries, which are moved back then; OSError."""
        if not _can_move(self._place_fd, self._images_fd):
            self.fd = os.dup(self._images_fd)
            return self
        self.fd = _opened(self._place_fd)
        try:
            self._take()
        except BaseException:
            self._end()
            raise
        reached("load.gathered")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def leavings(self, seen: Seen) -> list[Leaving]:
        """Return everything that was left, sorted by path, including entries that could not be taken.

        Raises LimitError, OSError.
        """
        return sorted([*find_leavings(self.fd, seen), *self._refused], key=lambda leaving: leaving.parts)

    def clear(self, seen: Seen) -> None:
        """Delete, durably, the files that are as they were *seen*; move the others back. Raises OSError."""
        seen.remove(self.fd)
        give_back(self._place_fd, self._images_fd)
        for parts in sorted(self._directories, reverse=True):
            _remove_empty(self._images_fd, parts)
        os.fsync(self._images_fd)
        os.fsync(self._place_fd)

    def _take(self) -> None:
        count = 0
        todo: list[Parts] = [()]
        while todo:
            parts = todo.pop()
            gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)
            with gone, opened_directory(self._images_fd, parts) as source, opened_directory(self.fd, parts) as target:
                names = sorted_names(source, MAX_ENTRIES - count)
                count += len(names)
                for name in names:
                    below = (*parts, name)
                    if self._take_one(source, target, below):
                        todo.append(below)
                        self._directories.append(below)

    def _take_one(self, source: int, target: int, parts: Parts) -> bool:
        """Take one entry; return whether it is a directory whose entries have to be taken."""
        name = parts[-1]
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            # A subvolume (btrfs) can move only as a whole; for another file system the rename is refused.
            if not stat.S_ISDIR(status.st_mode) or status.st_dev != os.fstat(source).st_dev:
                rename_new(name, name, source, target)
                return False
            if len(parts) > MAX_DEPTH:
                self._refused.append(Leaving(parts, refusal=too_deep(len(parts) - 1)))
                return False
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=target)
        except OSError as error:
            if error.errno in _OTHER_FILE_SYSTEM:
                self._refused.append(Leaving(parts, refusal=ELSEWHERE))
            elif error.errno not in {*_IN_THE_WAY, errno.ENOENT}:
                raise
            return False
        return True

    def _end(self) -> None:
        """Move back the files that are still here, and close."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
            give_back(self._place_fd, self._images_fd)


def give_back(place_fd: int, images_fd: int) -> None:
    """Move everything in `.taken` back to its place in the images directory, and remove `.taken`.

    If a place is occupied, the file stays in `.taken` for the next `load`. Raises OSError.
    """
    try:
        taken_fd = os.open(TAKEN, DIRECTORY, dir_fd=place_fd)
    except FileNotFoundError:
        return
    try:
        directories: list[Parts] = []
        for parts in _walk(taken_fd):
            if parts:
                directories.append(parts)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), _both(taken_fd, images_fd, parts) as pair:
                _give_entries(*pair)
        for parts in sorted(directories, reverse=True):
            _remove_empty(taken_fd, parts)
    finally:
        os.close(taken_fd)
    _remove_empty(place_fd, (os.fsencode(TAKEN),))


@contextlib.contextmanager
def _both(taken_fd: int, images_fd: int, parts: Parts) -> Iterator[tuple[int, int]]:
    """Yield the directory *parts* on both sides; on the container's side it is made if missing. Raises OSError."""
    if parts:
        with opened_directory(images_fd, parts[:-1]) as parent, contextlib.suppress(FileExistsError):
            os.mkdir(parts[-1], 0o755, dir_fd=parent)
    with opened_directory(taken_fd, parts) as source, opened_directory(images_fd, parts) as target:
        yield source, target


def _give_entries(source: int, target: int) -> None:
    directories = set(_directories(source))
    with os.scandir(source) as listing:
        names = [os.fsencode(entry.name) for entry in listing]
    for name in names:
        if name in directories:
            continue
        try:
            rename_new(name, name, source, target)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise


def _walk(fd: int) -> Iterator[Parts]:
    """Yield *fd* and the directories below it, parents first. No other process changes them."""
    todo: list[Parts] = [()]
    while todo:
        parts = todo.pop()
        yield parts
        with opened_directory(fd, parts) as directory:
            todo += [(*parts, name) for name in _directories(directory)]


def _directories(fd: int) -> list[bytes]:
    """Return the directories in *fd*, without subvolumes."""
    device = os.fstat(fd).st_dev
    with os.scandir(fd) as listing:
        return [
            os.fsencode(entry.name)
            for entry in listing
            if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_dev == device
        ]


def _remove_empty(fd: int, parts: Parts) -> None:
    """Remove the directory *parts* below *fd*, unless it has entries. Raises OSError."""
    try:
        with opened_directory(fd, parts[:-1]) as parent:
            os.rmdir(parts[-1], dir_fd=parent)
    except OSError as error:
        if error.errno not in {*_IN_THE_WAY, *_OTHER_FILE_SYSTEM, errno.ENOENT}:
            raise


def _can_move(place_fd: int, images_fd: int) -> bool:
    """Whether files of the images directory can be renamed into its parent: both are on one mount and file system."""
    same_device = os.fstat(place_fd).st_dev == os.fstat(images_fd).st_dev
    return same_device and mount_id_of(place_fd) == mount_id_of(images_fd)


def _opened(place_fd: int) -> int:
    """Open `.taken`, new or left by a killed load, with access for this user only. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(TAKEN, 0o700, dir_fd=place_fd)
    fd = os.open(TAKEN, DIRECTORY, dir_fd=place_fd)
    os.fchmod(fd, 0o700)
    return fd
