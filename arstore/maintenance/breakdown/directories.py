"""The directories of a tree as parts: large ones by name, the others as one part of their parent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.paths import opened
from arstore.maintenance.breakdown.part import Part, sorted_parts

if TYPE_CHECKING:
    from arstore.maintenance.breakdown.part import Limits
    from arstore.trees.folders import Folder
    from arstore.trees.format import TreeFormat

_LONGEST = 240
"""Characters of a path that are kept."""


def divided_tree(form: TreeFormat, path: str, size: int, least: int, limits: Limits) -> list[Part]:
    """Return the directories of the tree at *path* that takes *size* bytes on disk, as parts with this sum.

    Directories of fewer than *least* bytes are not told apart. Raises StoreDamagedError, OSError.
    """
    with opened(path) as fd:
        root = form.folders(fd)
    divider = _Divider(root, size, least, limits.depth)
    parts = divider.below(root, 0) or divider.alone(root)
    rest = size - sum(part.size for part in parts)
    return [*parts, Part("overhead", "", rest)] if rest else parts


class _Divider:
    def __init__(self, root: Folder, size: int, least: int, depth: int) -> None:
        self._totals = root.totals()
        # Holes, and compression by the file system, can make the files larger than what they take.
        self._scale = min(1.0, size / max(1, self._totals[id(root)]))
        self._least = least
        self._depth = depth

    def _size(self, folder: Folder) -> int:
        return int(self._totals[id(folder)] * self._scale)

    def alone(self, folder: Folder) -> list[Part]:
        """Return one part for all files of *folder*, if there are any."""
        size = self._size(folder)
        return [Part("files", "", size, count=len(folder.folders))] if size else []

    def below(self, folder: Folder, depth: int) -> list[Part]:
        """Return parts for the content of *folder*, with the sum of its size."""
        parts = []
        if depth < self._depth:
            for name, child in folder.folders.items():
                if self._size(child) >= max(1, self._least):
                    parts.append(self._directory(name, child, depth))
        rest = self._size(folder) - sum(part.size for part in parts)
        if parts and rest > 0:
            parts.append(Part("files", "", rest, count=len(folder.folders) - len(parts)))
        return sorted_parts(parts)

    def _directory(self, name: bytes, folder: Folder, depth: int) -> Part:
        path = name
        # A directory with nothing but a directory is shown together with it.
        while len(folder.folders) == 1 and not folder.size:
            ((below, folder),) = folder.folders.items()
            if len(path) <= _LONGEST:
                path += b"/" + below
        return Part("directory", os.fsdecode(path)[:_LONGEST], self._size(folder), self.below(folder, depth + 1))
