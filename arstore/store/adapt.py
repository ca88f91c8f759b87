"""What a layer needs from its parents, answered when a chain is put together.

Two answers. A *cap* is a tree of directories only, laid on top of a stack, that shows them with the metadata that
extraction of the layers one onto the other would have given them. An *adaptation* moves a layer's members to where a
symlink of a lower layer leads, and turns hard links to files of lower layers into copies; the tree built from that
stream belongs to the chain, no longer to the diff ID alone.

Moves are found in the lower layers as they are before this layer changes them, so what a layer does at the far end of
such a symlink does not change where the symlink leads. The result is always inside the root.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from typing import TYPE_CHECKING, Protocol

from arstore.digest import CHUNK
from arstore.errors import TarError
from arstore.store.shape import Directory, Shape, joined
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.whiteout import PREFIX, Mark, classify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.store.merged import MergedView
    from arstore.store.tree import Content, EntryReader, FileRange, Needs


class Below(Protocol):
    """What lower layers show: as much of it as moves depend on."""

    def is_link(self, path: bytes) -> bool:
        """Whether *path* itself is a symlink."""

    def resolve(self, path: bytes) -> bytes:
        """Where *path* leads inside the root."""


class Moves:
    """Directories of a layer that lower layers have elsewhere."""

    __slots__ = ("_moves",)

    def __init__(self, implied: Iterable[bytes], below: Below) -> None:
        """Find them among the *implied* directories. Raises UnsafePathError for symlinks without an end."""
        self._moves: dict[bytes, bytes] = {}
        for path in sorted(implied):
            place = self.place(path)
            if path and below.is_link(place):
                self._moves[path] = below.resolve(place)

    def __bool__(self) -> bool:
        return bool(self._moves)

    def place(self, path: bytes) -> bytes:
        """Where the directory *path* of the layer belongs."""
        if not self._moves:
            return path
        known = path
        while known:
            moved = self._moves.get(known)
            if moved is not None:
                rest = path[len(known) + 1 :]
                return joined(moved, [rest] if rest else [])
            known = known.rpartition(b"/")[0]
        return path

    def touch(self, path: bytes) -> bool:
        """Whether the directory *path* of the layer, or one in it, belongs elsewhere than what it lies in."""
        return any(moved == path or moved.startswith(path + b"/") for moved in self._moves)


def plan(needs: Needs, lower: MergedView) -> Adaptation | None:
    """How the layer with these *needs* has to be changed to stand on *lower*; None when it serves as it is.

    Raises UnsafePathError for symlinks of lower layers that lead nowhere, OSError.
    """
    moves = Moves(needs.implied, lower)
    if not moves and not needs.absent_links:
        return None
    return Adaptation(moves, needs.absent_links, lower)


class Adaptation:
    """A change to the entries of one layer, for one stack of parents, whose trees have to stay open."""

    def __init__(self, moves: Moves, absent_links: Iterable[tuple[bytes, bytes]], lower: MergedView) -> None:
        self._moves = moves
        self._absent = frozenset(absent_links)
        self._lower = lower

    def entries(self, reader: EntryReader) -> Iterator[tuple[Entry, Content]]:
        """The entries of *reader* under their new paths, each with the content to read before the next is taken.

        Marks come last, which does not change their meaning. Raises TarError for a hard link that no layer has the
        target of, UnsafePathError, LimitError, OSError.
        """
        shape = Shape()
        marks: list[Entry] = []
        for entry in reader:
            mark = classify(entry.path)[0] if PREFIX in entry.path else Mark.NONE
            if mark in (Mark.WHITEOUT, Mark.OPAQUE):
                marks.append(entry)
            elif mark is not Mark.IGNORED:
                yield from self._member(shape, entry, reader)
        for entry in marks:
            parent, _, name = entry.path.rpartition(b"/")
            yield dataclasses.replace(entry, path=joined(self._place(shape, parent), [name])), _NOTHING

    def _member(self, shape: Shape, entry: Entry, reader: EntryReader) -> Iterator[tuple[Entry, Content]]:
        parent, _, name = entry.path.rpartition(b"/")
        if not name:
            yield entry, reader
            return
        node = shape.directory(parent)
        path = joined(self._moves.place(node.path), [name])
        if entry.kind is Kind.HARDLINK:
            yield from self._link(shape, node, entry, path, reader)
            return
        child = node.children.get(name)
        if entry.kind is not Kind.DIRECTORY:
            node.children.pop(name, None)
            if entry.kind is Kind.SYMLINK:
                node.children[name] = entry.link
        elif not isinstance(child, Directory):
            node.add(name)
        yield dataclasses.replace(entry, path=path), reader

    def _link(
        self, shape: Shape, node: Directory, entry: Entry, path: bytes, reader: EntryReader
    ) -> Iterator[tuple[Entry, Content]]:
        parent, _, last = entry.link.rpartition(b"/")
        source, missing = shape.walk(parent)
        target = None if missing else source.children.get(last)
        name = entry.path.rpartition(b"/")[2]
        if (source, last) != (node, name) or missing:
            node.children.pop(name, None)
        if isinstance(target, bytes):
            node.children[name] = target
        link = joined(self._place(shape, parent), [last])
        if (entry.path, entry.link) in self._absent:
            yield from self._copy(entry, path, link)
        else:
            yield dataclasses.replace(entry, path=path, link=link), reader

    def _copy(self, entry: Entry, path: bytes, link: bytes) -> Iterator[tuple[Entry, Content]]:
        """The lower layers' file at *link* as a member of this layer."""
        parent, _, last = link.rpartition(b"/")
        found = joined(self._lower.resolve(parent), [last])
        node = self._lower.lookup(found)
        if node is None or node.entry.path != found:
            raise no_target(entry)
        if node.entry.kind is Kind.DIRECTORY:
            raise TarError(shown(entry.path), "a hard link to a directory")
        copy = dataclasses.replace(node.entry, path=path)
        if copy.kind is not Kind.FILE:
            yield copy, _NOTHING
            return
        with self._lower.open_file(found) as opened:
            file = _LowerFile(opened)
            copy.sparse = file.runs
            yield copy, file

    def _place(self, shape: Shape, path: bytes) -> bytes:
        """Where the directory *path*, as the archive names it, belongs; it need not be in the layer."""
        node, missing = shape.walk(path)
        return self._moves.place(joined(node.path, missing))


def no_target(entry: Entry) -> TarError:
    """The error for a hard link whose target is nowhere."""
    return TarError(shown(entry.path), f"a hard link to {shown(entry.link)}, which no layer has")


class _LowerFile:
    """The content of a lower layer's file: the runs that hold data, so that a copy keeps the holes."""

    def __init__(self, file: FileRange) -> None:
        self._file = file
        self.runs = _data_runs(file)

    def chunks(self) -> Iterator[bytes]:
        for start, length in self.runs:
            offset, end = start, start + length
            while offset < end and (data := self._file.read(min(CHUNK, end - offset), offset)):
                offset += len(data)
                yield data


def _data_runs(file: FileRange) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    end, last = file.start, file.start + file.size
    while end < last:
        try:
            start = os.lseek(file.fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            return [(0, file.size)]
        if start >= last:
            break
        end = min(os.lseek(file.fd, start, os.SEEK_HOLE), last)
        runs.append((start - file.start, end - start))
    return runs


class _Nothing:
    """The content of what has none."""

    def chunks(self) -> tuple[bytes, ...]:
        return ()


_NOTHING = _Nothing()


# --- the cap --------------------------------------------------------------------------------------------------------


def cap_entries(view: MergedView, masked: Iterable[bytes] = ()) -> list[Entry]:
    """The directories that a cap for *view* has to hold, parents first; empty when the stack shows all as it should.

    *masked* are the directories in which layers have whiteouts: one that a single layer has needs a second, because
    overlayfs does not hide whiteouts in directories that it has nothing to merge with. Raises OSError.
    """
    wanted = {path for path in view.implied() if _shows_other(view, path)}
    wanted.update(path for path in masked if len(view.layers_of(path)) == 1)
    for path in list(wanted):
        while path:
            path = path.rpartition(b"/")[0]
            wanted.add(path)
    return [dataclasses.replace(view.directory(path), path=path) for path in sorted(wanted)]


def _shows_other(view: MergedView, path: bytes) -> bool:
    """Whether the directory *path* shows metadata that are not its own."""
    if not view.layers_of(path):
        return False
    node = view.lookup(path)
    return node is not None and node.entry != view.directory(path)
