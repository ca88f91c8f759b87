"""The merged view of a stack of trees, by overlayfs' own rules and without a mount.

Documentation/filesystems/overlayfs.rst, "Merged directories" and "whiteouts and opaque directories": the topmost layer
that has a name decides. Directories are merged down to a whiteout, an opaque directory, or a file that is not a
directory. In addition, the view knows which directories a layer only implies, and so the correct metadata of a
directory (`directory`), where overlayfs shows those of the topmost layer.

Not here: correcting the mount (`adaptation`). Directories that were asked for stay in memory.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from arstore.errors import UnsafePathError
from arstore.tar.entry import Entry, Kind, shown
from arstore.trees.memory_quota import Allowance
from arstore.trees.skeleton import MAX_SYMLINKS, default_entry
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from arstore.trees.format import FileRange, Node, TreeFormat


class _Merged(NamedTuple):
    """One path: the visible node, the layers that a directory has content from, and its correct metadata."""

    node: Node | None = None
    layer: int = -1
    layers: tuple[int, ...] = ()
    entry: Entry | None = None


class MergedView:
    """The view of an overlay of *layers*, top first; each is a form, an open directory, and its implied directories.

    The descriptors belong to the caller. Lookups are charged to *allowance*. Every method may raise OSError, and
    LimitError when the allowance is used up.
    """

    def __init__(
        self, layers: Sequence[tuple[TreeFormat, int, Collection[bytes]]], allowance: Allowance | None = None
    ) -> None:
        self.allowance = allowance or Allowance()
        self._layers = layers
        self._known: dict[bytes, _Merged] = {}

    def lookup(self, path: bytes) -> Node | None:
        """Return the node at *path*, following no symlink; if a parent is not a directory, return that node."""
        for end in [i for i, byte in enumerate(path) if byte == ord("/")]:
            node = self._merged(path[:end]).node
            if node is None or node.entry.kind is not Kind.DIRECTORY:
                return node
        return self._merged(path).node

    def link(self, path: bytes) -> bytes | None:
        """Return the target of the symlink at *path* itself; None if there is none."""
        node = self._merged(path).node
        return node.entry.link if node is not None and node.entry.kind is Kind.SYMLINK else None

    def is_directory(self, path: bytes) -> bool:
        """Return whether there is a directory at *path* itself, following no symlink."""
        return bool(self._merged(path).layers)

    def resolve(self, path: bytes) -> bytes:
        """Return where *path* leads in a chroot, following all symlinks; missing components are kept.

        Raises UnsafePathError for more symlinks than the kernel follows.
        """
        real: list[bytes] = []
        todo = path.split(b"/")
        todo.reverse()
        links = 0
        while todo:
            name = todo.pop()
            if name == b"..":
                del real[-1:]
            elif name not in (b"", b"."):
                node = self._merged(b"/".join([*real, name])).node
                if node is None or node.entry.kind is not Kind.SYMLINK:
                    real.append(name)
                    continue
                links += 1
                if links > MAX_SYMLINKS:
                    raise UnsafePathError(shown(path), "more symbolic links in the path than the kernel follows")
                if node.entry.link.startswith(b"/"):
                    real.clear()
                todo.extend(reversed(node.entry.link.split(b"/")))
        return b"/".join(real)

    def directory(self, path: bytes) -> Entry:
        """Return the correct metadata of the directory *path*: of the topmost layer with an entry, else the default.

        An opaque mark ends the content of a directory; a layer with a mark but no entry does not change the metadata.
        """
        return self._merged(path).entry or default_entry(path)

    def open_file(self, path: bytes) -> FileRange:
        """Return the content of the regular file at *path*, following no symlink. Raises FileNotFoundError."""
        found = self._merged(path)
        if found.node is None:
            raise FileNotFoundError(errno.ENOENT, "no layer has this file", path)
        form, fd, _ = self._layers[found.layer]
        return form.open_file(fd, path)

    def implied(self) -> set[bytes]:
        """Return all directories that some layer implies."""
        return {path for _, _, implied in self._layers for path in implied}

    def layers_of(self, path: bytes) -> tuple[int, ...]:
        """Return the layers (indexes from the top) that have content in the directory *path*; none for other files."""
        return self._merged(path).layers

    def mounted(self) -> int:
        """Return how many layers, from the top, an overlay should consist of.

        Overlayfs merges the roots of all its layers, whatever their marks are. So a layer with an opaque root, which
        hides everything below, has to be the last one.
        """
        return len(self.layers_of(b""))

    def _merged(self, path: bytes) -> _Merged:
        known = self._known.get(path)
        if known is not None:
            return known
        if path:
            missing = []
            parent = path.rpartition(b"/")[0]
            while parent and parent not in self._known:
                missing.append(parent)
                parent = parent.rpartition(b"/")[0]
            for one in reversed(missing):
                self._known[one] = self._merge(one)
        found = self._merge(path)
        if found.layers:
            self._known[path] = found
        return found

    def _merge(self, path: bytes) -> _Merged:
        """Merge one path, whose parent is known."""
        candidates: Sequence[int] = range(len(self._layers))
        if path:
            candidates = self._merged(path.rpartition(b"/")[0]).layers
        top: Node | None = None
        top_layer = -1
        layers: list[int] = []
        entry: Entry | None = None
        ended = False
        for index in candidates:
            form, fd, implied = self._layers[index]
            self.allowance.look_up(path, 1)
            node = form.lookup(fd, path)
            if node is None or node.entry.path != path:
                continue
            if node.whiteout or (top is not None and node.entry.kind is not Kind.DIRECTORY):
                break
            if top is None:
                top, top_layer = node, index
                if node.entry.kind is not Kind.DIRECTORY:
                    break
            if not ended:
                layers.append(index)
            if entry is None and path not in implied:
                entry = node.entry
            ended = ended or node.opaque
            if ended and entry is not None:
                break
        return _Merged(top, top_layer, tuple(layers), entry)
