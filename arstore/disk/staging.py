"""What is in flight: one private directory a piece of work, which dies with the process that made it.

The directory's name tells the process, as `<pid>-<start time>-<boot>-<random>`, so that there is no moment at which it
exists and cannot be attributed. Whatever is not renamed out of it by the time the context ends goes with it; when the
process dies instead, the next import and the collector find that nobody of that pid, start time and boot is alive, and
take it (`leftovers`).
"""

from __future__ import annotations

import errno
import os
import threading
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
    from collections.abc import Iterable
    from types import TracebackType

    from arstore.disk.paths import Directories

PLACES = "places"
"""A file in an ingest that lists what its work is about to move to a place below the root, or to take away there."""


class Ingest:
    """A directory `ingest/<lease>/` for the length of a context. It is also the `Spool` of a transport."""

    def __init__(self, directories: Directories) -> None:
        self._parent = directories.ingest
        require_writable(directories.root)
        self.path = f"{self._parent}/{Owner.announced(directories.graph).directory_name()}"
        self._spooled: dict[tuple[int, int], str] = {}
        self._overlay: bool | None = None
        self.freed = 0
        """Bytes on disk that were freed by deleting what was in here; complete when the context has ended."""

    def __enter__(self) -> Ingest:
        os.mkdir(self.path, 0o700)
        reached("ingest.made")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reached("ingest.leaving")
        if kind is not None and (not issubclass(kind, Exception) or issubclass(kind, REGISTRY_TROUBLE)):
            # An interrupt, or the registry's trouble: what had come is as good as before.
            keep_fetched(self._parent, self.path)
        self.freed += _empty(self.path)
        remove_tree(self.path)
        reached("ingest.removed")

    def create(self) -> int:
        """A descriptor of a new file in this directory, open for reading and writing."""
        path = f"{self.path}/spool-{len(self._spooled)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        status = os.fstat(fd)
        self._spooled[status.st_dev, status.st_ino] = path
        reached("ingest.spool-made")
        return fd

    def spooled(self, fd: int) -> str | None:
        """The path of the file that `create` gave as *fd* (or a duplicate of it); None for any other file."""
        status = os.fstat(fd)
        return self._spooled.get((status.st_dev, status.st_ino))

    def note_places(self, names: Iterable[str]) -> None:
        """List places, relative to the root, in which something unrecorded may be left if this process dies now.

        Not durable: a power cut may lose the list. On a full disk there is none, because a removal must work there.
        """
        with suppress(OSError), open(f"{self.path}/{PLACES}", "a", encoding="ascii") as file:
            file.writelines(f"{name}\n" for name in names)
        reached("ingest.places-noted")

    def forget_places(self) -> None:
        """Drop the list: everything in these places is as it is to stay."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self.path}/{PLACES}")

    def file(self, name: str) -> str:
        """A path for a file called *name* in this directory."""
        return f"{self.path}/{name}"

    def place(self, staged: str, path: str) -> None:
        """Give the file or directory *staged*, which is in here, the name *path*: rename(2).

        Raises HostError where *path* is on another mount or in another subvolume, OSError.
        """
        try:
            os.rename(staged, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            why = "is mounted apart from the rest of the store, and nothing can be moved there from another mount"
            hint = "have the whole store on one mount, and in one subvolume"
            raise HostError(os.path.dirname(path), why, hint) from error

    def take(self, path: str, name: str) -> None:
        """Take what is at *path* out of its place: into this directory, as *name*, to be deleted when the context ends.

        On an overlay it is deleted at once where it would have to be copied for that: the overlay does not move
        directories of its lower layers, and copies their files. Raises OSError: FileNotFoundError when nothing is
        there, EBUSY for a mount point.
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
        """A new empty directory called *name* in this directory."""
        path = f"{self.path}/{name}"
        os.mkdir(path, 0o700)
        return path


def _empty(path: str) -> int:
    """As `remove_children`, on all processors: the kernel takes its time to let go of the pages of large files.

    Returns the bytes that this freed. What cannot be deleted is left for whoever deletes the directory, and learns why.
    """
    freed: list[int] = []
    with suppress(FileNotFoundError):
        names = os.listdir(path)
        # The popping of a list is one step for all threads.
        more = min(len(names), len(os.sched_getaffinity(0))) - 1

        def work() -> None:
            with suppress(IndexError):
                while True:
                    name = names.pop()
                    with suppress(OSError):
                        freed.append(remove(f"{path}/{name}"))

        threads = [threading.Thread(target=work) for _ in range(more)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
    return sum(freed)
