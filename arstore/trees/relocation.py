"""Relocation: what extraction onto the lower layers would make of a layer's entries.

Members lie where symlinks of lower layers lead, and marks stand in directories that the layer has or the lower layers
show. It takes two readings of a layer, because marks count before the members, wherever they stand:

1. Where a mark belongs is found in the lower layers as they are before this layer changes them. It is moot where its
   own layer has something in the place of a symlink that it would run through, or hides that symlink: so
   `lib/.wh..wh..opq` beside `lib/` leaves alone what a lower `lib -> usr/lib` leads to. Overlayfs makes each directory
   opaque that takes a symlink's place, and docker writes such marks as it finds them.
2. The members come in their order, each where symlinks lead that are there by then, and that no mark hides.

Paths are followed as in a chroot, by their names alone where nothing is. Not in scope: which layers need it
(`adaptation`), and content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.errors import UnsafePathError
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.whiteout import OPAQUE_NAME, PREFIX, Mark, mark_of
from arstore.trees.memory_quota import Allowance
from arstore.trees.skeleton import MAX_SYMLINKS, DirectoryNode, Shape, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.tar.limits import Limits
    from arstore.tar.steps import Steps
    from arstore.trees.format import Content, EntryReader


class Below(Protocol):
    """What lower layers show: as much of it as the places of members and marks depend on."""

    def link(self, path: bytes) -> bytes | None:
        """The target of the symlink at *path* itself; None where there is none."""

    def is_directory(self, path: bytes) -> bool:
        """Whether there is a directory at *path* itself."""

    def resolve(self, path: bytes) -> bytes:
        """Where *path* leads inside the root."""


class Own(Protocol):
    """What a layer has by itself, once all of its entries are applied."""

    def replaces(self, path: bytes) -> bool:
        """Whether it has anything at *path* in the place of what lower layers have there, or hides that.

        *path* leads to a mark of the layer.
        """


class Built(Protocol):
    """What has become of the entries so far."""

    def covers(self, path: bytes) -> bool:
        """Whether they have anything at *path*, or above it, in the place of what lower layers have there."""


class Relocation:
    """A change to the entries of one layer, for one stack of parents.

    `survey` or `resolve` comes first, then `entries`, of which each goes to the builder before the next one is taken.
    *own* is looked at in the former only.
    """

    def __init__(self, lower: Below, own: Own) -> None:
        self._lower = lower
        self._own = own
        self._built: Built | None = None
        self._allowance = Allowance()
        self._marks: list[tuple[bytes, bytes | None]] = []
        self._hidden: set[bytes] = set()
        self._emptied: set[bytes] = set()
        self._shape = Shape()
        self._link = (b"", self._shape.root, b"")

    def pay(self, steps: Steps, limits: Limits) -> None:
        """Take from *steps* what this costs from now on, and keep no more in memory than *limits* say."""
        self._allowance = Allowance(limits, steps=steps)

    # --- marks ------------------------------------------------------------------------------------------------------

    def survey(self, reader: EntryReader) -> None:
        """Find the marks among the entries of *reader*. Raises UnsafePathError, LimitError, OSError."""
        marks: list[tuple[bytes, bytes | None]] = []
        for entry in reader:
            mark, path = mark_of(entry)
            if mark in (Mark.WHITEOUT, Mark.OPAQUE):
                self._allowance.hold_passed(path)
                parent, _, name = path.rpartition(b"/")
                marks.append((parent, name) if mark is Mark.WHITEOUT else (path, None))
        self.resolve(marks)

    def resolve(self, marks: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Find where these *marks* belong: directories, and the names that are hidden in them, None for all.

        Raises LimitError, OSError.
        """
        self._marks, self._hidden, self._emptied = [], set(), set()
        places: dict[bytes, bytes | None] = {}
        for directory, name in marks:
            if directory not in places:
                places[directory] = self._place_of_mark(directory)
            place = places[directory]
            if place is None:
                continue
            self._marks.append((place, name))
            if name is None:
                self._emptied.add(place)
            else:
                self._hidden.add(joined(place, [name]))

    def _place_of_mark(self, directory: bytes) -> bytes | None:
        """Where lower layers have *directory*; None where the mark is moot."""
        for end in (*(i for i, byte in enumerate(directory) if byte == ord("/")), len(directory)):
            path = directory[:end]
            if path and self._lower.link(path) is not None:
                self._allowance.look_up(directory, 1)
                return None if self._own.replaces(path) else self._resolved(directory)
            if not self._lower.is_directory(path):
                break
        return directory

    def _resolved(self, path: bytes) -> bytes | None:
        """Where lower layers lead *path*; None for symlinks without an end."""
        try:
            return self._lower.resolve(path)
        except UnsafePathError:
            return None

    def _is_hidden(self, path: bytes) -> bool:
        """Whether a mark of the layer hides what lower layers have at *path*."""
        if not self._hidden and not self._emptied:
            return False
        while path:
            if path in self._hidden:
                return True
            path = path.rpartition(b"/")[0]
            if path in self._emptied:
                return True
        return False

    # --- members ----------------------------------------------------------------------------------------------------

    def follow(self, built: Built) -> None:
        """Know from *built*, which gets the entries, what this layer has put where by then."""
        self._built = built

    def entries(self, reader: EntryReader) -> Iterator[tuple[Entry, Content]]:
        """The entries of *reader* under their new paths, each with the content to read before the next is taken.

        Marks come last, which does not change their meaning. Raises UnsafePathError, LimitError, OSError.
        """
        self._shape = Shape(self._allowance)
        for entry in reader:
            mark = mark_of(entry)[0]
            if mark is Mark.NONE or mark is Mark.PSEUDO_LINK:
                yield self._member(entry), reader
            elif mark is Mark.IGNORED:
                yield entry, reader
        for place, name in self._marks:
            if isinstance(self._shape.find(place), DirectoryNode) or self._lower.is_directory(place):
                last = OPAQUE_NAME if name is None else PREFIX + name
                yield Entry(joined(place, [last]), Kind.FILE, mode=0), NOTHING

    def _member(self, entry: Entry) -> Entry:
        parent, _, name = entry.path.rpartition(b"/")
        if not name:
            return entry
        node, missing = self._walk(parent)
        node = self._shape.imply(node, missing) if missing else node
        path = joined(node.path, [name])
        if entry.kind is Kind.HARDLINK:
            return self._hard_link(entry, node, name, path)
        if entry.kind is Kind.DIRECTORY:
            if not isinstance(node.children.get(name), DirectoryNode):
                self._shape.allowance.hold_directory(node.add(name).length)
        else:
            node.children.pop(name, None)
            if entry.kind is Kind.SYMLINK:
                node.children[name] = entry.link
        return entry.replaced(path=path)

    def _hard_link(self, entry: Entry, node: DirectoryNode, name: bytes, path: bytes) -> Entry:
        parent, _, last = entry.link.rpartition(b"/")
        source, missing = self._walk(parent)
        target = None if missing else source.children.get(last)
        self._link = entry.link, node, name
        if (source, last) != (node, name) or missing:
            node.children.pop(name, None)
        if isinstance(target, bytes):
            node.children[name] = target
        return entry.replaced(path=path, link=joined(source.path, [*missing, last]))

    def _walk(self, path: bytes) -> tuple[DirectoryNode, list[bytes]]:
        """Follow *path* through this layer and those below: the last directory that it has, and the names from there.

        Raises UnsafePathError for more than MAX_SYMLINKS symlinks, LimitError past the layer's steps.
        """
        node, missing = self._shape.root, list[bytes]()
        todo = path.split(b"/")[::-1]
        self._shape.allowance.step(len(todo))
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if missing:
                    missing.pop()
                else:
                    node = node.parent or node
                continue
            child = None if missing else node.children.get(name)
            if isinstance(child, DirectoryNode):
                node = child
                continue
            target = self._target_below(node, missing, name) if child is None else child
            if not isinstance(target, bytes):
                missing.append(name)
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise UnsafePathError(shown(path), "more symbolic links on the way than the kernel follows")
            if target.startswith(b"/"):
                node, missing = self._shape.root, []
            more = target.split(b"/")
            self._shape.allowance.step(len(more))
            todo.extend(reversed(more))
        return node, missing

    def _target_below(self, node: DirectoryNode, missing: list[bytes], name: bytes) -> bytes | None:
        """The target of the symlink that lower layers have there, unless this layer hides or replaces it."""
        path = joined(node.path, [*missing, name])
        target = self._lower.link(path)
        if target is None or self._is_hidden(path):
            return None
        return None if self._built is not None and self._built.covers(path) else target

    # --- hard links -------------------------------------------------------------------------------------------------

    def candidates(self, link: bytes) -> Iterator[bytes]:
        """Where lower layers may have the target *link* of the hard link that `entries` has just given. Raises OSError.

        What this layer hides may still be the target: where a link stands in the archive says nothing about marks.
        """
        if not self._is_hidden(link):
            yield link
        parent, _, last = self._link[0].rpartition(b"/")
        if (found := self._resolved(parent)) is not None:
            yield joined(found, [last])

    def linked(self, target: bytes) -> None:
        """The hard link that `entries` has just given is a symlink of lower layers, with this *target*."""
        _, node, name = self._link
        node.children[name] = target


class _Nothing:
    """The content of what has none."""

    def chunks(self) -> tuple[bytes, ...]:
        return ()


NOTHING = _Nothing()
