"""Relocation: where extraction onto the lower layers would put a layer's entries.

Members go where symlinks of lower layers lead, and marks go into directories that the layer or the lower layers have. A
layer has to be read twice, because marks apply before the members, wherever they are in the archive:

1. The place of a mark is determined in the lower layers as they are before this layer changes them. The mark is moot if
   its path runs through a symlink that its own layer replaces or hides. For example, `lib/.wh..wh..opq` next to `lib/`
   does not affect the target of a lower `lib -> usr/lib`. Overlayfs makes each directory opaque that replaces a
   symlink, and docker writes such marks as it finds them.
2. The members follow in their order. Each goes where the symlinks lead that exist by then and that no mark hides.

Paths are followed as in a chroot; missing components are kept by name. Not here: which layers need a relocation
(`adaptation`), and content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import Protocol
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
    """View of the lower layers, as much of it as the places of members and marks depend on."""

    def link(self, path: bytes) -> bytes | None:
        """Return the target of the symlink at *path* itself; None if there is none."""

    def is_directory(self, path: bytes) -> bool:
        """Return whether there is a directory at *path* itself."""

    def resolve(self, path: bytes) -> bytes:
        """Return where *path* leads inside the root."""


class Own(Protocol):
    """A layer's own content, after all of its entries are applied."""

    def replaces(self, path: bytes) -> bool:
        """Return whether it replaces what lower layers have at *path*, or hides that.

        *path* is a parent of a mark of the layer.
        """


class Built(Protocol):
    """The result of the entries so far."""

    def covers(self, path: bytes) -> bool:
        """Return whether the entries replace or cover what lower layers have at *path*."""


class Relocation:
    """A change to the entries of one layer, for one stack of parents.

    Call `survey` or `resolve` first, then `entries`; pass each entry to the builder before the next one is taken. *own*
    is used only by the former.
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
        """Charge the work to *steps* from now on, and stay within the memory of *limits*."""
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
        """Find the places of these *marks*: directories, and the names that are hidden in them, None for all.

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
        """Return where lower layers have *directory*; None if the mark is moot."""
        for end in (*(i for i, byte in enumerate(directory) if byte == ord("/")), len(directory)):
            path = directory[:end]
            if path and self._lower.link(path) is not None:
                self._allowance.look_up(directory, 1)
                return None if self._own.replaces(path) else self._resolved(directory)
            if not self._lower.is_directory(path):
                break
        return directory

    def _resolved(self, path: bytes) -> bytes | None:
        """Return where *path* leads in the lower layers; None for an endless loop of symlinks."""
        try:
            return self._lower.resolve(path)
        except UnsafePathError:
            return None

    def _is_hidden(self, path: bytes) -> bool:
        """Return whether a mark of the layer hides what lower layers have at *path*."""
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
        """Use *built*, which gets the entries, to find out what this layer has at a path so far."""
        self._built = built

    def entries(self, reader: EntryReader) -> Iterator[tuple[Entry, Content]]:
        """Yield the entries of *reader* with their new paths, each with its content, to be read before the next entry.

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
        """Follow *path* through this layer and those below; return this layer's last directory, and the names after it.

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
                raise UnsafePathError(shown(path), "more symbolic links in the path than the kernel follows")
            if target.startswith(b"/"):
                node, missing = self._shape.root, []
            more = target.split(b"/")
            self._shape.allowance.step(len(more))
            todo.extend(reversed(more))
        return node, missing

    def _target_below(self, node: DirectoryNode, missing: list[bytes], name: bytes) -> bytes | None:
        """Return the target of a symlink of the lower layers, unless this layer hides or replaces it."""
        path = joined(node.path, [*missing, name])
        target = self._lower.link(path)
        if target is None or self._is_hidden(path):
            return None
        return None if self._built is not None and self._built.covers(path) else target

    # --- hard links -------------------------------------------------------------------------------------------------

    def candidates(self, link: bytes) -> Iterator[bytes]:
        """Yield where lower layers may have the target *link* of the hard link that `entries` yielded last.

        A target that this layer hides is included: the position of a link in the archive is unrelated to marks. Raises
        OSError.
        """
        if not self._is_hidden(link):
            yield link
        parent, _, last = self._link[0].rpartition(b"/")
        if (found := self._resolved(parent)) is not None:
            yield joined(found, [last])

    def linked(self, target: bytes) -> None:
        """Note that the hard link that `entries` yielded last is a symlink of lower layers, with this *target*."""
        _, node, name = self._link
        node.children[name] = target


class _Nothing:
    """Empty content."""

    def chunks(self) -> tuple[bytes, ...]:
        return ()


NOTHING = _Nothing()
