"""The meaning of `cp SRC DST`: which name the copy gets, as docker and podman define it.

The last symlink of SRC and of DST is followed, inside its own root. SRC a file: DST is a directory that gets it under
its name, or a file that is replaced, or a new name in an existing directory. SRC a directory: DST is a directory that
gets it under its name, or a new name for it; `SRC/.` is its content, which goes into DST itself. A DST that ends in a
slash has to be a directory. `-` is a tar: of SRC, or into the directory DST.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, ConflictError, NotFoundError, from_os_error
from arstore.runtime.copying.tree import Tree
from arstore.runtime.spec.image_files import RootDirectory
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from arstore.runtime.copying.entries import Copied
    from arstore.trees.metadata import SkippedEntries

    class Sink(Protocol):
        """A target of entries: `Target`, `TarTarget`."""

        def add(self, copied: Copied) -> None:
            """Take one entry."""

        def finish(self) -> None:
            """Set what has to be set last."""


_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Place(NamedTuple):
    """One end of a copy: *path* on the host, or below the container's root that is open as *root* (-1: the host)."""

    path: str
    root: int = -1
    what: str = ""
    """How the user named it, for errors."""

    @property
    def is_container(self) -> bool:
        """Return whether it is in a container."""
        return self.root >= 0

    @property
    def name(self) -> bytes:
        """The last component of the path; b"" for one that names only a directory's content, or the root."""
        last = self.path.rstrip("/").rpartition("/")[2]
        return b"" if last in {"", ".", ".."} else os.fsencode(last)

    @property
    def must_be_directory(self) -> bool:
        """Whether the path ends in a slash, or in `/.`."""
        return self.path.endswith("/") or self.is_content

    @property
    def is_content(self) -> bool:
        """Whether the path ends in a component `.`: the content of the directory is meant."""
        return self.path == "." or self.path.endswith("/.")

    def open(self, flags: int) -> int:
        """Open it, following symlinks inside its own root. Raises NotFoundError, OSError."""
        try:
            if not self.is_container:
                return os.open(self.path, flags | os.O_CLOEXEC)
            with _rooted(self.root) as root:
                return root.open(self.path, flags)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(self.what, from_os_error(error).why) from None
        except OSError as error:
            error.filename = self.what
            raise

    def real(self) -> str:
        """Return the path with symlinks resolved in its own root, as far as it exists. Raises OSError."""
        if not self.is_container:
            return os.path.realpath(self.path)
        with _rooted(self.root) as root:
            return root.canonical(self.path)

    def parent(self) -> Destination:
        """Open the directory that has it, or would have it; return that and its name there.

        Raises NotFoundError if there is no such directory, OSError.
        """
        directory, _, name = self.real().rpartition("/")
        if not name:
            raise ConflictError(self.what, "is the root directory")
        return Place(directory or "/", self.root, self.what).directory(os.fsencode(name))

    def directory(self, name: bytes = b"") -> Destination:
        """Open it as a directory in which *name* is to be made. Raises NotFoundError, OSError."""
        return Destination(self.open(_OPEN), name, self.real(), self.root)


def _rooted(fd: int) -> RootDirectory:
    return RootDirectory(f"/proc/self/fd/{fd}")


class Source:
    """The inode to copy, open."""

    def __init__(self, place: Place) -> None:
        """Raises NotFoundError, ArstoreError for a device, OSError."""
        self.place = place
        self.fd = place.open(os.O_PATH)
        mode = os.fstat(self.fd).st_mode
        self.is_directory = stat.S_ISDIR(mode)
        if place.must_be_directory and not self.is_directory:
            self.close()
            raise NotFoundError(place.what, "is not a directory")
        if not (self.is_directory or stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            self.close()
            kind = "a socket" if stat.S_ISSOCK(mode) else "a device"
            raise ArstoreError(place.what, f"is {kind}, which cannot be copied")

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)

    def tree(self, name: bytes, skipped: SkippedEntries) -> Tree:
        """Return the entries to copy; the first one gets the path *name*."""
        return Tree(self.fd, name, skipped)


class Destination(NamedTuple):
    """Where a copy goes: the open directory *fd*, and the *name* in it that the first entry gets.

    *path* is the directory's path below the container's root, open as *root*; -1 for the host.
    """

    fd: int
    name: bytes
    path: str = ""
    root: int = -1


def destination(source: Source, place: Place) -> Destination:
    """Return where the copy of *source* to *place* goes, by the rules of this module.

    Raises NotFoundError, ConflictError, OSError.
    """
    with ExitStack() as stack:
        try:
            found = place.open(os.O_PATH)
        except NotFoundError:
            return _new(source, place)
        stack.callback(os.close, found)
        if stat.S_ISDIR(os.fstat(found).st_mode):
            name = b"" if source.is_directory and source.place.is_content else source.place.name
            return place.directory(name)
        if source.is_directory:
            raise ConflictError(place.what, "is not a directory, so a directory cannot be copied to it")
        if place.must_be_directory:
            raise NotFoundError(place.what, "is not a directory")
        return place.parent()


def _new(source: Source, place: Place) -> Destination:
    if place.must_be_directory and not source.is_directory:
        raise NotFoundError(place.what, "is not an existing directory")
    return place.parent()


def directory_of(place: Place) -> Destination:
    """Open *place*, which has to be a directory. Raises NotFoundError, ConflictError, OSError."""
    fd = place.open(os.O_PATH)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise ConflictError(place.what, "is not a directory, so a tar cannot be unpacked to it")
    finally:
        os.close(fd)
    return place.directory()


def copy(entries: Iterable[Copied], sink: Sink) -> None:
    """Copy all entries. Raises the errors of both sides."""
    for one in entries:
        sink.add(one)
    sink.finish()
