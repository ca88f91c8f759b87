"""Folders: the directories of one tree, with the bytes of the files in each, for pictures of disk usage.

Hostile layers may have millions of directories. From `MOST` on, a directory counts as part of its parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import Slotted

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 200_000
"""Directories of one tree that are told apart."""


class Folder(Slotted):
    """A directory. `size` is the bytes of files directly in it, as the form stores them; `folders` has those below."""

    __match_args__ = ("size", "folders")
    __slots__ = __match_args__

    def __init__(self, size: int = 0, folders: dict[bytes, Folder] | None = None) -> None:
        self.size = size
        self.folders = {} if folders is None else folders

    def walk(self) -> Iterator[Folder]:
        """Yield this folder and all below it, parents first."""
        todo = [self]
        while todo:
            folder = todo.pop()
            yield folder
            todo.extend(folder.folders.values())

    def totals(self) -> dict[int, int]:
        """Return the bytes of each folder with everything below it, by the `id` of the object."""
        found: dict[int, int] = {}
        for folder in reversed(list(self.walk())):
            found[id(folder)] = folder.size + sum(found[id(one)] for one in folder.folders.values())
        return found


class Folders:
    """The folders of a tree while it is read."""

    def __init__(self) -> None:
        self.root = Folder()
        self._left = MOST - 1

    def below(self, parent: Folder, name: bytes) -> Folder:
        """Return the folder *name* in *parent*; *parent* itself if there are too many."""
        if not self._left:
            return parent
        self._left -= 1
        return parent.folders.setdefault(name, Folder())
