"""The merged view of a stack of trees, by overlayfs' own rules and without a mount.

Documentation/filesystems/overlayfs.rst, "Merged directories" and "whiteouts and opaque directories": the topmost layer
that has a name decides; directories are merged down to where a whiteout, an opaque directory or anything that is no
directory ends it. On top of that the view knows which directories a layer merely implies, and so what metadata a
directory really has (`directory`), where overlayfs only shows those of the topmost layer.

Not in scope: making the view come true (`adaptation`). Directories that were asked for stay in memory.
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
    """One path: the node that shows, the layers that a directory has content from, the metadata that it really has."""

    node: Node | None = None
    layer: int = -1
    layers: tuple[int, ...] = ()
    entry: Entry | None = None


class MergedView:
    """What an overlay of *layers*, the top one first, shows; each layer is its form, its directory, what it implies.

    The descriptors belong to the caller. What looking into the layers costs is taken from *allowance*. Every method may
    raise OSError, and LimitError when the allowance is used up.
    """

    def __init__(
        self, layers: Sequence[tuple[TreeFormat, int, Collection[bytes]]], allowance: Allowance | None = None
    ) -> None:
        self.allowance = allowance or Allowance()
        self._layers = layers
        self._known: dict[bytes, _Merged] = {}

    def lookup(self, path: bytes) -> Node | None:
        """The node at *path*, no symlink followed; where a component on the way is no directory, that one."""
        for end in [i for i, byte in enumerate(path) if byte == ord("/")]:
            node = self._merged(path[:end]).node
            if node is None or node.entry.kind is not Kind.DIRECTORY:
                return node
        return self._merged(path).node

    def link(self, path: bytes) -> bytes | None:
        """The target of the symlink at *path* itself, no symlink followed; None where there is none."""
        node = self._merged(path).node
        return node.entry.link if node is not None and node.entry.kind is Kind.SYMLINK else None

    def is_directory(self, path: bytes) -> bool:
        """Whether there is a directory at *path* itself, no symlink followed."""
        return bool(self._merged(path).layers)

    def resolve(self, path: bytes) -> bytes:
        """Where *path* leads in a chroot, symlinks followed, the last one too; components that do not exist are kept.

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
                    raise UnsafePathError(shown(path), "more symbolic links on the way than the kernel follows")
                if node.entry.link.startswith(b"/"):
                    real.clear()
                todo.extend(reversed(node.entry.link.split(b"/")))
        return b"/".join(real)

    def directory(self, path: bytes) -> Entry:
        """The metadata that the directory *path* has: of the topmost layer with an entry for it, else the default.

        An opaque mark ends what is in a directory; a layer that has no entry besides it leaves the metadata alone.
        """
        return self._merged(path).entry or default_entry(path)

    def open_file(self, path: bytes) -> FileRange:
        """The content of the regular file at *path*, no symlink followed. Raises FileNotFoundError."""
        found = self._merged(path)
        if found.node is None:
            raise FileNotFoundError(errno.ENOENT, "no layer has this file", path)
        form, fd, _ = self._layers[found.layer]
        return form.open_file(fd, path)

    def implied(self) -> set[bytes]:
        """Every directory that some layer implies."""
        return {path for _, _, implied in self._layers for path in implied}

    def layers_of(self, path: bytes) -> tuple[int, ...]:
        """The layers, by index from the top, that the directory *path* shows content of; empty for all else."""
        return self._merged(path).layers

    def mounted(self) -> int:
        """How many layers, from the top, an overlay has to be made of.

        Overlayfs merges the roots of all its layers whatever they are marked with, so an opaque root (a layer that
        hides everything below) has to be the last one.
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
