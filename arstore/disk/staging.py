"""Work in flight: one private directory per piece of work, which is garbage once its process has ended.

The directory's name identifies the process, as `<pid>-<start time>-<boot>-<random>`, so that a directory always has a
known owner. Everything that was not renamed out of it is deleted when the context ends. If the process dies instead,
the next import or the collector finds that no process with this pid, start time and boot is alive, and deletes it
(`leftovers`).
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.access import require_writable
from arstore.disk.owner import Owner
from arstore.disk.partial import keep_fetched
from arstore.disk.rmtree import MOUNTED, remove, remove_tree
from arstore.errors import REGISTRY_TROUBLE, HostError
from arstore.linux.mounting.filesystem import is_overlay
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from arstore.disk.paths import Directories

PLACES = "places"
"""A file in an ingest that lists the places below the root where its work will put something, or remove something."""


class Ingest:
    """A directory `ingest/<owner>-<random>/`, as a context manager. It is also the `Spool` of a transport."""

    def __init__(self, directories: Directories) -> None:
        self._parent = directories.ingest
        require_writable(directories.root)
        self.path = f"{self._parent}/{Owner.announced(directories.graph).directory_name()}"
        self._spooled: dict[tuple[int, int], str] = {}
        self._overlay: bool | None = None
        self.relief: Callable[[int], int] | None = None
        """Frees so many bytes on the file system, if that is possible, and returns the bytes freed."""
        self.freed = 0
        """Bytes on disk that were freed by deleting files in it; complete when the context has ended."""

    def __enter__(self) -> Ingest:
        try:
            os.mkdir(self.path, 0o700)
            reached("ingest.made")
            return self
        except KeyboardInterrupt:
            # It may have come when the directory had been made.
            with suppress(FileNotFoundError):
                os.rmdir(self.path)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._leave(kind)
        except KeyboardInterrupt:
            # Otherwise the next command would report what was left by a killed one.
            self._leave(KeyboardInterrupt)
            raise

    def _leave(self, kind: type[BaseException] | None) -> None:
        reached("ingest.leaving")
        if kind is not None and (not issubclass(kind, Exception) or issubclass(kind, REGISTRY_TROUBLE)):
            # An interrupt, or trouble with the registry: the bytes that arrived are still good.
            keep_fetched(self._parent, self.path)
        self.freed += _empty(self.path)
        remove_tree(self.path)
        reached("ingest.removed")

    def create(self) -> int:
        """Return a descriptor of a new file in this directory, open for reading and writing. Raises OSError."""
        path = f"{self.path}/spool-{len(self._spooled)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        status = os.fstat(fd)
        self._spooled[status.st_dev, status.st_ino] = path
        reached("ingest.spool-made")
        return fd

    def relieve(self, lacking: int) -> int:
        """Free *lacking* bytes by `relief`, if there is one, and return how many were freed."""
        return 0 if self.relief is None else self.relief(lacking)

    def spooled(self, fd: int) -> str | None:
        """Return the path of the file that `create` opened as *fd* (or a duplicate of it); None for any other file."""
        status = os.fstat(fd)
        return self._spooled.get((status.st_dev, status.st_ino))

    def note_places(self, names: Iterable[str]) -> None:
        """List places, relative to the root, where unrecorded files may be left if this process dies now.

        The list is not durable: a power cut may lose it. On a full disk it is not written: removal must work there.
        """
        with suppress(OSError), open(f"{self.path}/{PLACES}", "a", encoding="ascii") as file:
            file.writelines(f"{name}\n" for name in names)
        reached("ingest.places-noted")

    def forget_places(self) -> None:
        """Delete the list: everything in these places is final. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self.path}/{PLACES}")

    def file(self, name: str) -> str:
        """Return a path for a file called *name* in this directory."""
        return f"{self.path}/{name}"

    def place(self, staged: str, path: str) -> None:
        """Rename the file or directory *staged*, which is in here, to *path* (rename(2)).

        Raises HostError when *path* is on another mount or in another subvolume, and OSError.
        """
        try:
            os.rename(staged, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            why = "is a separate mount or subvolume, and files cannot be renamed into it from the rest of the store"
            hint = "keep the whole store on one mount, and in one subvolume"
            raise HostError(os.path.dirname(path), why, hint) from error

    def take(self, path: str, name: str) -> None:
        """Move what is at *path* into this directory, as *name*, to be deleted when the context ends.

        On an overlay, files are deleted at once, because a move would copy them; so are directories of a lower layer,
        which the overlay cannot move. Raises OSError: FileNotFoundError when *path* does not exist, EBUSY for a mount
        point.
        """
        if self._is_on_overlay() and not os.path.isdir(path):
            self.freed += remove(path)
            return
        try:
            os.rename(path, self.file(name))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise OSError(errno.EBUSY, MOUNTED, path) from error
            if error.errno != errno.EXDEV:
                raise
            self.freed += remove_tree(path)

    def _is_on_overlay(self) -> bool:
        if self._overlay is None:
            self._overlay = is_overlay(self._parent)
        return self._overlay

    def directory(self, name: str) -> str:
        """Create an empty directory called *name* in this directory; return its path. Raises OSError."""
        path = f"{self.path}/{name}"
        os.mkdir(path, 0o700)
        return path


def _empty(path: str) -> int:
    """Delete everything in *path*, on all processors: the kernel is slow to free the pages of large files.

    Return the bytes freed. Files that cannot be deleted are left: the deletion of *path* then reports why.
    """
    freed: list[int] = []
    with suppress(FileNotFoundError):
        names = os.listdir(path)
        # list.pop is atomic among threads.
        more = min(len(names), len(os.sched_getaffinity(0))) - 1

        def work() -> None:
            with suppress(IndexError):
                while True:
                    name = names.pop()
                    with suppress(OSError):
                        freed.append(remove(f"{path}/{name}"))

        threads = []
        if more > 0:
            from threading import Thread

            threads = [Thread(target=work) for _ in range(more)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
    return sum(freed)
