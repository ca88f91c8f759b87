"""Differences between two root file systems, each a stack of overlay layers, found without mounting the stacks.

Both are walked together, directory by directory. A name that comes from the same layers on both sides is the same, and
a directory whose content comes from the same layers is not entered. So the cost depends on the layers that the stacks
do not share. Layers are merged as overlayfs does (see `trees.merged_view`), including implied directories.

Files of equal size are compared byte by byte even when their times are equal, since reproducible images have one time
for all files. Not here: which names are hard links to one inode.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.linux.files.opening import DIRECTORY
from arstore.rootfs.commit import image_view
from arstore.rootfs.upper import opened_below, read_node, unused_mount_points
from arstore.tar.entry import Kind
from arstore.trees.needs import read_needs
from arstore.trees.skeleton import default_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from arstore.store.containers import Container
    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.tar.entry import Entry
    from arstore.trees.format import Node

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})


class DiffKind(Enum):
    """Kind of change of a path; the values are the letters that `docker diff` prints."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


@dataclass(slots=True, frozen=True)
class Difference:
    """One path; *what* changed: type, mode, owner, size, content, target, device, mtime, xattrs.

    *before* and *after* are bytes of regular files, if sizes were asked for: of a file, or of everything in a deleted
    or replaced directory. The content of an added directory has its own paths.
    """

    path: bytes
    change: DiffKind
    what: tuple[str, ...] = ()
    before: int = 0
    after: int = 0


@dataclass(slots=True, frozen=True)
class StackLayer:
    """One layer of a stack: *key* names its content, *fd* is its root directory in overlayfs' form.

    *implied* holds the directories that take their metadata from the layers below; *left_out* the paths to ignore.
    """

    key: str
    fd: int = field(compare=False)
    implied: frozenset[bytes] = field(compare=False)
    left_out: frozenset[bytes] = field(compare=False, default=frozenset())

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in the directory *path*; none if it is gone by now. Raises OSError."""
        try:
            with opened_below(self.fd, path, DIRECTORY) as fd:
                return [os.fsencode(name) for name in os.listdir(fd)]
        except OSError as error:
            if error.errno in _GONE:
                return []
            raise

    def node(self, path: bytes) -> Node | None:
        """Return the node at *path*; None if it is gone by now. Raises StoreDamagedError, OSError."""
        try:
            with opened_below(self.fd, path) as fd:
                return read_node(fd, path)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise


Stack = tuple[StackLayer, ...]
"""Layers, top first; if a layer is in the stack twice, only the upper one counts."""


class Stacks:
    """Opens the stacks of images and containers; shared layers are opened once."""

    def __init__(self, store: Store, resources: ExitStack) -> None:
        self._store = store
        self._resources = resources
        self._known: dict[str, StackLayer] = {}

    def image(self, image: StoredImage, progress: Progress | None = None) -> Stack:
        """Open all layers of *image*, and hold a lease on it.

        Raises the errors of `Store.stack` (StoreError and SourceError), NotFoundError when the image was removed,
        MountError, OSError.
        """
        self._resources.enter_context(self._store.held(image, "diff"))
        # Builds missing trees. The stack's cap is not used, because `implied` has the same information.
        self._store.stack(image, progress)
        chain = self._store.chain(self._store.ours(image))
        return tuple(self._tree(layer.tree) for _, layer in reversed(chain))

    def container(
        self, container: Container, mount_points: frozenset[bytes] = frozenset(), progress: Progress | None = None
    ) -> Stack:
        """Open the container's upper directory, without what a runtime made for mounts, and the layers of its image.

        Raises the errors of `image`: StoreError, SourceError, NotFoundError, MountError, OSError.
        """
        container.verify_whole()
        image = self._store.find(container.record.image)
        fd = os.open(container.upper, DIRECTORY)
        self._resources.callback(os.close, fd)
        layers = self.image(image, progress)
        with image_view(self._store, image) as lower:
            left_out = unused_mount_points(fd, lower, mount_points)
        upper = StackLayer(f"container {container.id}", fd, frozenset(), left_out)
        return (upper, *layers)

    def _tree(self, key: str) -> StackLayer:
        if key not in self._known:
            form, path = self._store.inventory().tree_place(key)
            lower = self._resources.enter_context(form.lower(path))
            self._known[key] = StackLayer(key, lower.fd, frozenset(read_needs(path).implied))
        return self._known[key]


@contextmanager
def opened_stacks(store: Store) -> Iterator[Stacks]:
    """Yield a Stacks object; the stacks that it opens stay open during the context."""
    with ExitStack() as resources:
        yield Stacks(store, resources)


def differences(before: Sequence[StackLayer], after: Sequence[StackLayer], sizes: bool = False) -> list[Difference]:
    """Return the changes that turn *before* into *after*, sorted by path, with *sizes* if wanted.

    Everything in an added directory is listed; a deleted or replaced directory is listed without its content. Raises
    StoreDamagedError, LimitError, OSError.
    """
    found: list[Difference] = []
    was, now = (
        _seen(tuple(layer for layer in dict.fromkeys(stack) if b"" not in layer.left_out), b"")
        for stack in (before, after)
    )
    what = _what(was or _NOTHING, now or _NOTHING)
    if what:
        found.append(Difference(b"", DiffKind.CHANGED, what))
    todo = [(b"", was.layers if was else (), now.layers if now else ())]
    while todo:
        path, old, new = todo.pop()
        if old != new:
            todo += _compare_directory(path, old, new, found.append, sizes)
    found.sort(key=lambda difference: difference.path)
    return found


@dataclass(slots=True, frozen=True)
class _Seen:
    """View of one path in a stack: metadata, the layer that it comes from, and the layers that make a directory."""

    entry: Entry
    layer: StackLayer | None = None
    layers: Stack = ()


_NOTHING = _Seen(default_entry(b""))
"""The root of a stack without layers."""


def _compare_directory(
    path: bytes, old: Stack, new: Stack, report: Callable[[Difference], None], sizes: bool
) -> list[tuple[bytes, Stack, Stack]]:
    """Compare the content of one directory; return the subdirectories to compare next."""
    names_before, names_after = _names_by_layer(old, path), _names_by_layer(new, path)
    below = []
    for name in names_before.keys() | names_after.keys():
        layers_before, layers_after = names_before.get(name, ()), names_after.get(name, ())
        if layers_before == layers_after:
            continue
        child = path + b"/" + name if path else name
        was, now = _seen(layers_before, child), _seen(layers_after, child)
        if now is None:
            if was is not None:
                report(Difference(child, DiffKind.DELETED, before=_bytes(was, child) if sizes else 0))
            continue
        if was is None:
            report(Difference(child, DiffKind.ADDED, after=_file_bytes(now) if sizes else 0))
        elif what := _what(was, now):
            before = 0 if not sizes else _file_bytes(was) if now.layers else _bytes(was, child)
            report(Difference(child, DiffKind.CHANGED, what, before, _file_bytes(now) if sizes else 0))
        if now.layers:
            below.append((child, was.layers if was else (), now.layers))
    return below


def _file_bytes(seen: _Seen) -> int:
    return seen.entry.size if seen.entry.kind is Kind.FILE else 0


def _bytes(seen: _Seen, path: bytes) -> int:
    """Return the bytes of the file at *path*, or of all files in the directory there."""
    total = _file_bytes(seen)
    todo = [(path, seen.layers)] if seen.layers else []
    while todo:
        directory, layers = todo.pop()
        for name, having in _names_by_layer(layers, directory).items():
            child = directory + b"/" + name if directory else name
            found = _seen(having, child)
            if found is not None:
                total += _file_bytes(found)
                if found.layers:
                    todo.append((child, found.layers))
    return total


def _names_by_layer(layers: Stack, path: bytes) -> dict[bytes, Stack]:
    """Return every name in the directory *path* with the layers that have it, as a file or as a whiteout."""
    found: dict[bytes, Stack] = {}
    for layer in layers:
        for name in layer.names(path):
            if layer.left_out and (path + b"/" + name if path else name) in layer.left_out:
                continue
            found[name] = (*found.get(name, ()), layer)
    return found


def _seen(layers: Stack, path: bytes) -> _Seen | None:
    """Return what is visible at *path*, where *layers* have something; *layers* all show the parent directory."""
    top: Node | None = None
    decides: StackLayer | None = None
    content: list[StackLayer] = []
    entry: Entry | None = None
    ended = False
    for layer in layers:
        node = layer.node(path)
        if node is None:
            continue
        if node.whiteout or (top is not None and node.entry.kind is not Kind.DIRECTORY):
            break
        if top is None:
            top, decides = node, layer
            if node.entry.kind is not Kind.DIRECTORY:
                return _Seen(node.entry, layer)
        if not ended:
            content.append(layer)
        if entry is None and path not in layer.implied:
            entry = node.entry
        ended = ended or node.opaque
        if ended and entry is not None:
            break
    return None if top is None else _Seen(entry or default_entry(path), decides, tuple(content))


def _what(was: _Seen, now: _Seen) -> tuple[str, ...]:
    """Return in which respects two things at one path differ."""
    a, b = was.entry, now.entry
    if was.layer == now.layer and a.kind is not Kind.DIRECTORY:
        return ()
    files = a.kind is b.kind is Kind.FILE
    differing = {
        "type": a.kind is not b.kind,
        "mode": a.mode != b.mode,
        "owner": (a.uid, a.gid) != (b.uid, b.gid),
        "size": files and a.size != b.size,
        "content": files and not _same_content(was, now),
        "target": a.link != b.link,
        "device": (a.major, a.minor) != (b.major, b.minor),
        "mtime": a.mtime != b.mtime,
        "xattrs": a.xattrs != b.xattrs,
    }
    return tuple(name for name, differs in differing.items() if differs)


def _same_content(was: _Seen, now: _Seen) -> bool:
    if was.entry.size != now.entry.size or was.layer is None or now.layer is None:
        return False
    try:
        with (
            opened_below(was.layer.fd, was.entry.path, _READ) as old,
            opened_below(now.layer.fd, now.entry.path, _READ) as new,
        ):
            while True:
                data = os.read(old, CHUNK)
                if data != _read_exactly(new, len(data) or 1):
                    return False
                if not data:
                    return True
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise


def _read_exactly(fd: int, size: int) -> bytes:
    """Read *size* bytes; fewer only at the end of the file."""
    data = os.read(fd, size)
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data
