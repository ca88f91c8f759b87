"""A survey of the root: every file and directory below it, and what it belongs to.

Sizes are bytes allocated on disk (`st_blocks` of 512), as `du -B1` counts them, and like there a file with several hard
links counts once, where it is first met. The walk follows no symlink and stays on the root's file system. It only
looks at names and inodes and opens no file, above all not `graph/lock.mdb` (to close that would drop LMDB's locks).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS, is_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.store.directories import Directories

BLOCK = 512
"""Bytes of a unit of st_blocks (stat(2))."""


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
        total = self._own_of(entry)
        todo = [entry.path] if entry.is_dir(follow_symlinks=False) else []
        while todo:
            for child in _scan(todo.pop()):
                status = _status(child)
                if status is None or status.st_dev != self._device:
                    continue
                total += self._own(status)
                if stat.S_ISDIR(status.st_mode):
                    todo.append(child.path)
        return total

    def _own_of(self, entry: os.DirEntry[str]) -> int:
        status = _status(entry)
        return 0 if status is None or status.st_dev != self._device else self._own(status)

    def _own(self, status: os.stat_result) -> int:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in self._linked:
                return 0
            self._linked.add(status.st_ino)
        return status.st_blocks * BLOCK


def _scan(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
