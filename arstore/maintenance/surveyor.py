"""A walk through the root: every file and directory below it, its size, and what it belongs to.

It follows no symlink and stays on the root's file system. It only looks at names and inodes and opens no file, above
all not `graph/lock.mdb` (to close that would drop LMDB's locks).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.maintenance.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from arstore.maintenance.survey import Known
    from arstore.store.directories import Directories

BLOCK = 512
"""Bytes of a unit of st_blocks (stat(2))."""

_LONG = 700
"""Characters of a path from which on paths start anew: four bytes each, and a name more, are what the kernel takes."""

_HEX = "0123456789abcdef"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def survey(directories: Directories) -> Survey:
    """Look at everything below the root. What vanishes meanwhile is passed over. Raises OSError."""
    return _Surveyor(directories.root).run()


def survey_from_within(directories: Directories, trees: bool) -> Survey:
    """The same of *trees* alone, or of all the rest, for a process that may change its working directory.

    The shorter a path, the sooner it is found.
    """
    os.chdir(directories.root)
    surveyor = _Surveyor(".")
    return surveyor.trees() if trees else surveyor.run(but=("trees",))


def outline(directories: Directories, known: Known) -> Survey:
    """What there is besides what is *known*, quickly: nothing is measured, all sizes are 0. Raises OSError."""
    return _Outliner(directories.root, known.names()).run()


def weigh(directories: Directories, names: Iterable[str]) -> int:
    """Bytes of these files and directories below the root, with all that is in them. Raises OSError."""
    return _Surveyor(directories.root).weigh(names)


class _Surveyor:
    def __init__(self, root: str, known: Mapping[str, frozenset[str]] = MappingProxyType({})) -> None:
        self._root = root
        self._known = known
        self._device = os.lstat(root).st_dev
        self._found = Survey()
        self._at = "frame", ""
        """The table and key for which something is looked at."""

    def run(self, but: Container[str] = ()) -> Survey:
        """Everything, *but* what has one of these names in the root."""
        found = self._found
        found.frame += self._own(os.lstat(self._root))
        for name in _names(self._root):
            if name in but:
                continue
            path = f"{self._root}/{name}"
            match name:
                case "oci-layout" | "index.json" | "graph":
                    self._at = "frame", ""
                    found.frame += self._whole(path)
                case "blobs":
                    self._blobs(path)
                case "trees":
                    self.trees()
                case "containers":
                    self._children(path, "containers", lambda name: name, stat.S_ISDIR)
                case "ingest":
                    self._children(path, "ingests", lambda name: name, stat.S_ISDIR)
                case _:
                    self._other(name, path)
        return found

    def trees(self) -> Survey:
        """The trees alone, with the directory that they are in."""
        self._children(f"{self._root}/trees", "trees", _tree_key, stat.S_ISDIR)
        return self._found

    def weigh(self, names: Iterable[str]) -> int:
        return sum(self._whole(f"{self._root}/{name}") for name in names)

    def _blobs(self, blobs: str) -> None:
        self._found.frame += self._size(blobs, os.lstat(blobs), alone=True)
        for algorithm in _names(blobs):
            path = f"{blobs}/{algorithm}"
            if algorithm in HEX_LENGTHS and _is_directory(path):
                self._children(path, "blobs", partial(_blob_digest, algorithm), stat.S_ISREG)
            else:
                self._at = "strange", f"blobs/{algorithm}"
                self._found.strange[f"blobs/{algorithm}"] = self._whole(path)

    def _children(
        self, parent: str, table: str, key: Callable[[str], str], is_right: Callable[[int], bool]
    ) -> None:
        """Enter into the table of this name what the directory *parent* holds and is as it should be, by its *key*."""
        sizes: dict[str, int] = getattr(self._found, table)
        self._found.frame += self._size(parent, os.lstat(parent), alone=True)
        for name in _names(parent, self._known.get(table, frozenset())):
            path = f"{parent}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            what = key(name)
            if what and is_right(status.st_mode):
                self._at = table, what
                sizes[what] = self._size(path, status)
            else:
                strange = path[len(self._root) + 1 :]
                self._at = "strange", strange
                self._found.strange[strange] = self._size(path, status)

    def _other(self, name: str, path: str) -> None:
        """What is not the layout's: the directories through which pipelines hand images over, or nothing we know."""
        if _is_directory(path):
            self._at = "exchange", ""
            self._found.exchange += self._whole(path)
        else:
            self._at = "strange", name
            self._found.strange[name] = self._whole(path)

    def _whole(self, path: str) -> int:
        """Bytes of what lies at *path* and everything below it; 0 for nothing."""
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return self._size(path, status)

    def _size(self, path: str, status: os.stat_result, alone: bool = False) -> int:
        """The same for what has this *status*; *alone*, without what is below."""
        if status.st_dev != self._device:
            return 0
        if alone or not stat.S_ISDIR(status.st_mode):
            return self._own(status)
        return status.st_blocks * BLOCK + self._below(path)

    def _below(self, top: str) -> int:
        """Bytes of everything in the directory *top*."""
        total, below = self._level(top)
        return total + self._far_below(below) if below else total

    def _far_below(self, paths: list[str]) -> int:
        """Bytes of everything in these directories, however deep: a container may have made paths of any length."""
        base = _Base()
        total = 0
        todo = [(base, path) for path in paths]
        while todo:
            base, path = todo.pop()
            moved = None
            if len(path) > _LONG:
                try:
                    moved = base.moved(path)
                except FileNotFoundError:
                    continue
            for name, status in _listed(base, path):
                if status.st_dev != self._device:
                    continue
                total += self._own(status)
                if stat.S_ISDIR(status.st_mode):
                    todo.append((moved, name) if moved is not None else (base, f"{path}/{name}"))
        return total

    def _level(self, top: str) -> tuple[int, list[str]]:
        """Bytes of what is in the directory *top* itself, and the directories there.

        Most trees are two files, and there are many of them: this has to be quick.
        """
        total = 0
        below: list[str] = []
        try:
            names = os.listdir(top)
        except (FileNotFoundError, NotADirectoryError):
            return 0, below
        for name in names:
            path = f"{top}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            if status.st_dev != self._device:
                continue
            if status.st_nlink == 1 and not stat.S_ISDIR(status.st_mode):
                total += status.st_blocks * BLOCK
                continue
            total += self._own(status)
            if stat.S_ISDIR(status.st_mode):
                below.append(path)
        return total, below

    def _own(self, status: os.stat_result) -> int:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in self._found.linked:
                return 0
            self._found.linked[status.st_ino] = (*self._at, status.st_blocks * BLOCK)
        return status.st_blocks * BLOCK


class _Outliner(_Surveyor):
    """Passes over what it would have to look at for its size alone."""

    def _size(self, path: str, status: os.stat_result, alone: bool = False) -> int:
        return 0


class _Base:
    """A directory that paths start from, open as long as one of them is still to be looked at; -1 is the process's."""

    __slots__ = ("fd",)

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd

    def moved(self, path: str) -> _Base:
        """The base at the directory *path*. Raises OSError."""
        return _Base(os.open(path, _DIRECTORY, dir_fd=self.at))

    @property
    def at(self) -> int | None:
        """What system calls take for it."""
        return None if self.fd < 0 else self.fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _listed(base: _Base, path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Names and status of what the directory *path*, relative to *base*, holds; nothing once it has gone."""
    try:
        fd = os.open(path, _DIRECTORY, dir_fd=base.at)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for name in sorted(os.listdir(fd)):
            with suppress(FileNotFoundError):
                yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
    finally:
        os.close(fd)


def _blob_digest(algorithm: str, name: str) -> str:
    """The digest of the blob whose file is called so; "" when none is."""
    return f"{algorithm}:{name}" if len(name) == HEX_LENGTHS[algorithm] and not name.strip(_HEX) else ""


def _tree_key(name: str) -> str:
    """The key of the tree whose directory is called so; "" when none is."""
    for algorithm, length in HEX_LENGTHS.items():
        if len(name) == length and not name.strip(_HEX):
            return f"{algorithm}:{name}"
    return ""


def _names(path: str, known: frozenset[str] = frozenset()) -> list[str]:
    """What the directory *path* holds, sorted, but for *known* names; nothing once it has gone."""
    try:
        return sorted(name for name in os.listdir(path) if name not in known)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
