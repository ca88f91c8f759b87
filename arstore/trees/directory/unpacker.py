"""Unpacking: the layers of an image, one onto the other, in a plain directory, without a mount.

The first layer is extracted in place. Every other one is first extracted on its own, in a private directory inside the
target, and then moved over the existing files by renames: first everything that it hides is removed, then everything
that it adds is moved to its place. If paths of a layer run through symlinks of lower layers, it is read and extracted a
second time, each entry where it belongs (`relocation`). So marks apply first, wherever they are in the archive, and the
result is what an overlay of the layers' trees shows.

Directories stay private until `finish`, which sets their metadata. Without privileges, owners, devices and privileged
attributes are left out and counted; everything else is exact. After a crash the directory contains an unfinished copy;
the caller has to remove it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import contextmanager
from arstore.dataclass import dataclass
from arstore.disk.rmtree import remove_tree_at
from arstore.errors import ConflictError, TarError
from arstore.linux.files.opening import DIRECTORY
from arstore.tar.entry import Entry, Kind, shown
from arstore.trees.adaptation import is_straight, no_target
from arstore.trees.attributes import Attributes, Dropped
from arstore.trees.directory.extraction import Extraction, link_name
from arstore.trees.directory.open_directories import BUILDING_MODE
from arstore.trees.format import Needs
from arstore.trees.metadata import Metadata, SkippedEntries
from arstore.trees.relocation import Relocation
from arstore.trees.skeleton import DirectoryNode, Shape, joined
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from arstore.trees.format import EntryReader


@answer
@dataclass(slots=True, frozen=True)
class UnpackReport:
    """Counts of what was unpacked: layers, members (with marks), bytes of content; and of what could not be set."""

    layers: int
    members: int
    size: int
    owners: SkippedEntries
    devices: SkippedEntries
    attributes: Dropped

    @property
    def is_exact(self) -> bool:
        """Whether nothing was left out."""
        return not (self.owners.count or self.devices.count or self.attributes.count)


class Unpacker:
    """Fills the empty directory *directory_fd*; *privileged*: owners are set, and devices are made.

    If *strict*, an extended attribute that cannot be kept is an error. Raises ConflictError when the directory is not
    empty, OSError.
    """

    def __init__(self, directory_fd: int, privileged: bool, strict: bool = False) -> None:
        if any(True for _ in _names_in(directory_fd)):
            raise ConflictError("the directory to unpack into", "is not empty")
        self._root = directory_fd
        self._metadata = Metadata(privileged, Attributes(strict))
        self._target = Extraction(directory_fd, self._metadata)
        self._layers = 0
        self._members = 0
        self._size = 0

    def layer(self, opened: Callable[[], AbstractContextManager[EntryReader]]) -> None:
        """Put one layer over the previous ones; *opened* reads it from its beginning, and may be called twice.

        Raises the errors of reading (SourceError), UnsafePathError, TarError, LimitError, OSError.
        """
        self._layers += 1
        if self._layers == 1:
            self._extract_entries(self._target, opened)
            self._target.drop_marked(self._target.decide_marks())
            if self._target.absent_links:
                path, link = self._target.absent_links[0]
                raise no_target(Entry(path, Kind.HARDLINK, link=link))
            return
        below = _ShapeBelow(self._target.shape)
        with self._staging() as (staged, name):
            self._extract_entries(staged, opened)
            over = _Overlaying(self._target, staged, name)
            if is_straight(over.needs, below):
                over.run()
                return
            relocation = Relocation(below, _OwnShape(staged))
            relocation.resolve(staged.marks)
        with self._staging(relocation) as (staged, name), opened() as reader:
            relocation.follow(staged)
            for entry, content in relocation.entries(reader):
                staged.add(entry, content)
            _Overlaying(self._target, staged, name).run()

    def finish(self) -> UnpackReport:
        """Set the metadata of the directories, and return the counts. Raises TarError, OSError."""
        self._target.apply_directories(self._target.shape.all())
        metadata = self._metadata
        return UnpackReport(
            self._layers, self._members, self._size, metadata.owners, metadata.devices, metadata.attributes.dropped
        )

    def close(self) -> None:
        """Close all descriptors except that of the directory."""
        self._target.close()

    def _extract_entries(
        self, extraction: Extraction, opened: Callable[[], AbstractContextManager[EntryReader]]
    ) -> None:
        with opened() as reader:
            for entry in reader:
                extraction.add(entry, reader)
                self._members += 1
                self._size += entry.size

    @contextmanager
    def _staging(self, relocation: Relocation | None = None) -> Iterator[tuple[Extraction, bytes]]:
        """Start a separate extraction inside the target, so that its files can be renamed."""
        name = b".arstore-" + os.urandom(12).hex().encode()
        os.mkdir(name, BUILDING_MODE, dir_fd=self._root)
        fd = os.open(name, DIRECTORY, dir_fd=self._root)
        staged: Extraction | None = None
        try:
            staged = Extraction(fd, self._metadata)
            staged.answer = _LowerLinks(self._target, staged, relocation)
            yield staged, name
        finally:
            if staged is not None:
                staged.close()
            os.close(fd)
            remove_tree_at(self._root, name)


class _LowerLinks:
    """Creates the hard links of a *staged* layer whose targets only the layers below have."""

    def __init__(self, target: Extraction, staged: Extraction, relocation: Relocation | None) -> None:
        self._target = target
        self._staged = staged
        self._relocation = relocation

    def __call__(self, entry: Entry, node: DirectoryNode, name: bytes) -> bool:
        if self._relocation is None:
            # Only the clear cases: if others are left, the layer is read a second time.
            parent, _, last = entry.link.rpartition(b"/")
            source, missing = self._staged.shape.walk(parent)
            return self._link(entry, joined(source.path, [*missing, last]), node, name)
        for place in self._relocation.candidates(entry.link):
            if self._link(entry, place, node, name):
                return True
        raise no_target(entry)

    def _link(self, entry: Entry, place: bytes, node: DirectoryNode, name: bytes) -> bool:
        """Link *name* to what the target has at *place*; return whether it has anything there."""
        parent, _, last = place.rpartition(b"/")
        below = self._target.shape.find(parent)
        if not isinstance(below, DirectoryNode) or not below.made:
            return False
        child = below.children.get(last)
        if isinstance(child, DirectoryNode):
            raise TarError(shown(entry.path), "a hard link to a directory")
        try:
            link_name(self._target.descriptors.open(below), last, self._staged.descriptors.open(node), name)
        except FileNotFoundError:
            return False
        if child is not None:
            node.children[name] = child
        if isinstance(child, bytes) and self._relocation is not None:
            self._relocation.linked(child)
        return True


class _Overlaying:
    """Moves one staged layer over the target. `needs` is what it still needs from there."""

    def __init__(self, target: Extraction, staged: Extraction, staging: bytes) -> None:
        self._target = target
        self._staged = staged
        self._staging = staging
        self._nodes = staged.decide_marks()
        implied = [node.path for node in self._nodes if node.entry is None]
        # A directory with marks only is not created here, whatever the target has.
        self.needs = Needs(implied, staged.absent_links, passed=staged.passed)

    def run(self) -> None:
        """Remove what the layer hides, and move what it adds to its place. Raises OSError."""
        for node in self._nodes:
            if node.opaque or node.whiteouts:
                self._hide(node)
        self._staged.drop_marked(self._nodes)
        todo = [self._staged.shape.root]
        while todo:
            todo.extend(self._put_in_place(todo.pop()))

    def _hide(self, node: DirectoryNode) -> None:
        """Remove from the target what *node*'s marks hide."""
        place = self._target.shape.find(node.path)
        if not isinstance(place, DirectoryNode):
            return
        if node.opaque:
            fd = self._target.descriptors.open(place)
            hidden = {name for name, _ in _names_in(fd)} | place.children.keys()
            hidden.discard(self._staging if place.parent is None else b"")
        else:
            hidden = set(node.whiteouts)
        for name in sorted(hidden):
            self._target.discard(place, name)

    def _put_in_place(self, node: DirectoryNode) -> list[DirectoryNode]:
        """Move the content of *node* to its place; return the subdirectories that have to be merged."""
        place = self._target.shape.exact(node.path)
        if node.entry is not None:
            place.entry = node.entry
        self._put_files(node, place)
        left = []
        for child in list(node.directories()):
            if isinstance(place.children.get(child.name), DirectoryNode):
                left.append(child)
            else:
                self._put_whole(node, child, place)
        return left

    def _put_files(self, node: DirectoryNode, place: DirectoryNode) -> None:
        source = self._staged.descriptors.open(node)
        names = [name for name, is_directory in _names_in(source) if not is_directory]
        if not names:
            return
        for name in names:
            if isinstance(place.children.get(name), DirectoryNode):
                self._target.discard(place, name)
        parent = self._target.descriptors.open(place)
        for name in names:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=parent)
            link = node.children.get(name)
            if link is not None:
                place.children[name] = link
            else:
                place.children.pop(name, None)

    def _put_whole(self, node: DirectoryNode, child: DirectoryNode, place: DirectoryNode) -> None:
        """Move a directory that the target does not have, with everything in it."""
        self._target.discard(place, child.name)
        self._staged.descriptors.forget(child)
        source = self._staged.descriptors.open(node)
        parent = self._target.descriptors.open(place)
        os.rename(child.name, child.name, src_dir_fd=source, dst_dir_fd=parent)
        child.parent = place
        place.children[child.name] = child


class _ShapeBelow:
    """The target as the layers below (`relocation.Below`)."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def link(self, path: bytes) -> bytes | None:
        found = self._shape.find(path)
        return found if isinstance(found, bytes) else None

    def is_directory(self, path: bytes) -> bool:
        return isinstance(self._shape.find(path), DirectoryNode)

    def resolve(self, path: bytes) -> bytes:
        node, missing = self._shape.walk(path)
        return joined(node.path, missing)


class _OwnShape:
    """A staged layer, after all its entries are applied, as its own content (`relocation.Own`)."""

    def __init__(self, staged: Extraction) -> None:
        self._staged = staged

    def replaces(self, path: bytes) -> bool:
        node = self._staged.shape.root
        for name in path.split(b"/"):
            if node.opaque or name in node.whiteouts:
                return True
            child = node.children.get(name)
            if not isinstance(child, DirectoryNode):
                return self._staged.has(node, name)
            node = child
        return node.entry is not None


def _names_in(fd: int) -> Iterator[tuple[bytes, bool]]:
    """Return the names in an open directory, and whether each is a directory."""
    with os.scandir(fd) as listing:
        found = [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in listing]
    return iter(found)
