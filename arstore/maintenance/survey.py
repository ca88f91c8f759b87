"""A survey of the root: every file and directory below it, and what it belongs to.

Sizes are bytes allocated on disk (`st_blocks` of 512), as `du -B1` counts them, and like there a file with several hard
links counts once, where it is first met. The walk follows no symlink and stays on the root's file system. It only
looks at names and inodes and opens no file, above all not `graph/lock.mdb` (to close that would drop LMDB's locks).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS, is_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arstore.store.directories import Directories

BLOCK = 512
"""Bytes of a unit of st_blocks (stat(2))."""

_LONG = 700
"""Characters of a path from which on paths start anew: four bytes each, and a name more, are what the kernel takes."""

_NAME = attrgetter("name")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Survey:
    """Bytes by what they belong to; `frame` is the directories and files of the layout itself, the graph among them."""

    frame: int = 0
    blobs: dict[str, int] = field(default_factory=dict)
    trees: dict[str, int] = field(default_factory=dict)
    containers: dict[str, int] = field(default_factory=dict)
    ingests: dict[str, int] = field(default_factory=dict)
    exchange: int = 0
    strange: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of it: what `du -sxB1 ROOT` says."""
        tables = (self.blobs, self.trees, self.containers, self.ingests, self.strange)
        return self.frame + self.exchange + sum(sum(table.values()) for table in tables)


def survey(directories: Directories) -> Survey:
    """Look at everything below the root. What vanishes meanwhile is passed over. Raises OSError."""
    return _Surveyor(directories.root).run()


def outline(directories: Directories) -> Survey:
    """The same names, quickly: nothing is measured, all sizes are 0. Raises OSError."""
    return _Outliner(directories.root).run()


def weigh(directories: Directories, names: Iterable[str]) -> int:
    """Bytes of these files and directories below the root, with all that is in them. Raises OSError."""
    return _Surveyor(directories.root).weigh(names)


class _Surveyor:
    def __init__(self, root: str) -> None:
        self._root = root
        self._device = os.lstat(root).st_dev
        self._linked: set[int] = set()
        self._found = Survey()

    def run(self) -> Survey:
        found = self._found
        found.frame += self._own(os.lstat(self._root))
        for entry in _scan(self._root):
            match entry.name:
                case "oci-layout" | "index.json":
                    found.frame += self._all(entry)
                case "graph":
                    found.frame += self._all(entry)
                case "blobs":
                    self._blobs(entry)
                case "trees":
                    self._children(entry, found.trees, self._tree_key)
                case "containers":
                    self._children(entry, found.containers, lambda name: name)
                case "ingest":
                    self._children(entry, found.ingests, lambda name: name)
                case _:
                    self._other(entry)
        return found

    def weigh(self, names: Iterable[str]) -> int:
        total = 0
        for name in names:
            path = f"{self._root}/{name}"
            with suppress(FileNotFoundError, NotADirectoryError):
                status = os.lstat(path)
                if status.st_dev == self._device:
                    total += self._own(status) + (self._below(path) if stat.S_ISDIR(status.st_mode) else 0)
        return total

    def _blobs(self, blobs: os.DirEntry[str]) -> None:
        self._found.frame += self._own_of(blobs)
        for algorithm in _scan(blobs.path):
            if algorithm.name in HEX_LENGTHS and algorithm.is_dir(follow_symlinks=False):
                self._children(algorithm, self._found.blobs, partial("{}:{}".format, algorithm.name), files=True)
            else:
                self._found.strange[f"blobs/{algorithm.name}"] = self._all(algorithm)

    def _children(
        self, parent: os.DirEntry[str], table: dict[str, int], key: Callable[[str], str], files: bool = False
    ) -> None:
        self._found.frame += self._own_of(parent)
        for entry in _scan(parent.path):
            name = key(entry.name)
            right = entry.is_file(follow_symlinks=False) if files else entry.is_dir(follow_symlinks=False)
            if right and name and (not files or is_digest(name)):
                table[name] = self._all(entry)
            else:
                self._found.strange[os.path.relpath(entry.path, self._root)] = self._all(entry)

    @staticmethod
    def _tree_key(name: str) -> str:
        for algorithm, length in HEX_LENGTHS.items():
            if len(name) == length and is_digest(f"{algorithm}:{name}"):
                return f"{algorithm}:{name}"
        return ""

    def _other(self, entry: os.DirEntry[str]) -> None:
        """What is not the layout's: the directories through which pipelines hand images over, or nothing we know."""
        if entry.is_dir(follow_symlinks=False):
            self._found.exchange += self._all(entry)
        else:
            self._found.strange[entry.name] = self._all(entry)

    def _all(self, entry: os.DirEntry[str]) -> int:
        """Bytes of *entry* and everything below it."""
        return self._own_of(entry) + (self._below(entry.path) if entry.is_dir(follow_symlinks=False) else 0)

    def _below(self, top: str) -> int:
        """Bytes of everything in the directory *top*, however deep: a container may have made paths of any length."""
        base = _Base()
        total, below = self._level(top)
        todo = [(base, path) for path in below]
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
        below = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(top) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status.st_dev != self._device:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif status.st_nlink > 1:
                    total += self._own(status)
                    continue
                total += status.st_blocks * BLOCK
        return total, below

    def _own_of(self, entry: os.DirEntry[str]) -> int:
        status = _status(entry)
        return 0 if status is None or status.st_dev != self._device else self._own(status)

    def _own(self, status: os.stat_result) -> int:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in self._linked:
                return 0
            self._linked.add(status.st_ino)
        return status.st_blocks * BLOCK


class _Outliner(_Surveyor):
    """Passes over what it would have to look at for its size alone."""

    def _below(self, top: str) -> int:
        return 0

    def _own_of(self, entry: os.DirEntry[str]) -> int:
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


def _scan(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from sorted(entries, key=_NAME)
    except (FileNotFoundError, NotADirectoryError):
        return


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
