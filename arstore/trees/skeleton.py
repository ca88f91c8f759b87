"""The shape of a layer: its directories and symlinks, kept in memory while its entries are read.

Files are on disk, or in the tar; paths that later entries can run through are here. A path is followed as in a chroot:
`..` stops at the root, an absolute target starts there. If the layer has only a part of a path, the rest is kept by
name, because a parent may have it. Memory grows with directories and symlinks, never with files or content; both are
counted, and so are the steps through symlinks (`memory_quota`).

Not here: the disk, metadata, and what lower layers have.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from arstore.errors import LimitError, UnsafePathError
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.steps import ENTRY
from arstore.trees.format import DEFAULT_DIRECTORY_MODE
from arstore.trees.memory_quota import Allowance

if TYPE_CHECKING:
    from collections.abc import Iterator, Set
    from typing import TypeAlias

MAX_SYMLINKS = 40
"""Symlinks followed in one path: the kernel's MAXSYMLINKS."""
MAX_PATH = 4096
"""Bytes of a directory's path in a tree, after following all symlinks: the kernel's PATH_MAX."""
MAX_NAME = 255
"""Bytes of one component: the kernel's NAME_MAX."""

_NONE: frozenset[bytes] = frozenset()


class Missing(Enum):
    """Placeholder for a member that the tree does not have yet."""

    LINK = "link"
    """A hard link whose target only a lower layer has."""


class DirectoryNode:
    """One directory: implied by its members as long as it has no `entry`. It is small, because there may be very many.

    `children` has the directories, the symlinks (as their targets) and the missing links in it, by name. `opaque` hides
    everything that lower layers have here; `whiteouts` has the names that are hidden one by one. A `marked` directory
    has no members, only marks. A `fresh` one replaced something else that the layer had there. `fd` and `made` belong
    to the module that creates directories on disk: an open descriptor or -1, and whether it exists there.
    """

    __slots__ = (
        "children",
        "entry",
        "fd",
        "fresh",
        "length",
        "made",
        "marked",
        "name",
        "opaque",
        "parent",
        "whiteouts",
    )

    def __init__(self, parent: DirectoryNode | None, name: bytes) -> None:
        self.parent = parent
        self.name = name
        self.children: dict[bytes, Child] = {}
        self.entry: Entry | None = None
        self.opaque = False
        self.marked = False
        self.fresh = False
        self.whiteouts: Set[bytes] = _NONE
        self.length: int = parent.length + 1 + len(name) if parent is not None else 0
        self.fd = -1
        self.made = parent is None

    @property
    def path(self) -> bytes:
        """The path from the root; b"" for the root."""
        names = []
        node = self
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return b"/".join(reversed(names))

    @property
    def depth(self) -> int:
        """Number of directories between it and the root, itself included."""
        depth = 0
        node = self
        while node.parent is not None:
            depth += 1
            node = node.parent
        return depth

    def add(self, name: bytes) -> DirectoryNode:
        """Add an implied directory, replacing what the shape has there.

        Raises LimitError when the name or the path is longer than the kernel permits.
        """
        child = DirectoryNode(self, name)
        if len(name) > MAX_NAME or child.length > MAX_PATH:
            raise LimitError(shown(child.path[:120]), "the path of a directory is longer than the kernel permits")
        child.fresh = name in self.children
        self.children[name] = child
        return child

    def hide(self, name: bytes) -> None:
        """Add *name* to the whiteouts."""
        if isinstance(self.whiteouts, set):
            self.whiteouts.add(name)
        else:
            self.whiteouts = {name}

    def show(self, name: bytes) -> None:
        """Remove *name* from the whiteouts, if it is one."""
        if isinstance(self.whiteouts, set):
            self.whiteouts.discard(name)

    def directories(self) -> Iterator[DirectoryNode]:
        """Yield the directories directly in this one."""
        return (child for child in self.children.values() if isinstance(child, DirectoryNode))

    def is_below(self, other: DirectoryNode) -> bool:
        """Return whether this is *other* or is anywhere below it."""
        node: DirectoryNode | None = self
        while node is not None and node is not other:
            node = node.parent
        return node is other


Child: TypeAlias = DirectoryNode | bytes | Missing


class Shape:
    """The tree of directories under one root, charged to *allowance*.

    `crossed` has the paths that a symlink's `..` went back from, where the layer has nothing: a lower layer may have a
    symlink there.
    """

    __slots__ = ("allowance", "crossed", "root")

    def __init__(self, allowance: Allowance | None = None) -> None:
        self.root = DirectoryNode(None, b"")
        self.crossed: set[bytes] = set()
        self.allowance = allowance or Allowance()

    def walk(self, path: bytes) -> tuple[DirectoryNode, list[bytes]]:
        """Follow *path* and a final symlink; return the last existing directory, and the names after it.

        Raises UnsafePathError for more than MAX_SYMLINKS symlinks, LimitError past the layer's steps.
        """
        node = self.root
        missing: list[bytes] = []
        todo = path.split(b"/")
        self.allowance.step(len(todo))
        todo.reverse()
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if missing:
                    self._cross(joined(node.path, missing))
                    missing.pop()
                else:
                    node = node.parent or node
                continue
            child = None if missing else node.children.get(name)
            if isinstance(child, DirectoryNode):
                node = child
            elif isinstance(child, bytes):
                links += 1
                if links > MAX_SYMLINKS:
                    raise UnsafePathError(shown(path), "more symbolic links in the path than the kernel follows")
                if child.startswith(b"/"):
                    node = self.root
                more = child.split(b"/")
                self.allowance.step(len(more))
                todo.extend(reversed(more))
            else:
                missing.append(name)
        return node, missing

    def _cross(self, path: bytes) -> None:
        if path not in self.crossed:
            self.allowance.hold_passed(path)
            self.crossed.add(path)

    def directory(self, path: bytes) -> DirectoryNode:
        """Return the directory that *path* leads to; missing directories are added as implied ones.

        Raises UnsafePathError, LimitError, and UnrepresentableError (see `Allowance.hold`).
        """
        node, missing = self.walk(path)
        return self.imply(node, missing) if missing else node

    def imply(self, node: DirectoryNode, names: list[bytes]) -> DirectoryNode:
        """Add the directories *names* below *node* as implied; return the last. Raises the errors of `directory`."""
        depth = node.depth
        for name in names:
            node = node.add(name)
            depth += 1
            self.allowance.hold_directory(node.length)
            self.allowance.hold_implied(node.length, depth)
            self.allowance.step(ENTRY)
        return node

    def find(self, path: bytes) -> Child | None:
        """Return what the shape has at *path* itself, following no symlink; None for files."""
        child: Child | None = self.root
        for name in path.split(b"/") if path else []:
            if not isinstance(child, DirectoryNode):
                return None
            child = child.children.get(name)
        return child

    def exact(self, path: bytes) -> DirectoryNode:
        """Return the directory at *path* itself; replace other files, and add missing directories, as implied ones."""
        node = self.root
        for name in path.split(b"/") if path else []:
            child = node.children.get(name)
            node = child if isinstance(child, DirectoryNode) else node.add(name)
        return node

    def all(self) -> list[DirectoryNode]:
        """Return every directory, parents first."""
        found = []
        todo = [self.root]
        while todo:
            node = todo.pop()
            found.append(node)
            todo.extend(node.directories())
        return found


def joined(directory: bytes, names: list[bytes]) -> bytes:
    """Return the path of *names* below *directory*."""
    return b"/".join([directory, *names] if directory else names)


def default_entry(path: bytes) -> Entry:
    """Return the entry of a directory that no layer has an entry for."""
    return Entry(path, Kind.DIRECTORY, mode=DEFAULT_DIRECTORY_MODE)
