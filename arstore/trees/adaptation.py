"""Fitting a layer's tree to its parents, when a chain is put together.

There are two means. A *cap* is a tree of directories only, on top of a stack; it shows the metadata that the
directories would have if the layers were extracted one onto the other. An *adaptation* puts a layer's members and marks
where extraction onto the lower layers would put them (`relocation`), and turns hard links to files of lower layers into
copies. The tree built from that stream belongs to the chain, no longer to the diff ID alone.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import TarError
from arstore.tar.entry import Entry, Kind, shown
from arstore.trees.memory_quota import Allowance
from arstore.trees.relocation import NOTHING, Relocation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from arstore.tar.limits import Limits
    from arstore.tar.steps import Steps
    from arstore.trees.format import FileRange, Needs, TreeBuilder, TreeFormat
    from arstore.trees.merged_view import MergedView
    from arstore.trees.relocation import Below, Own


class OwnTree:
    """The content of one layer's tree: its form, its open directory, and its implied directories."""

    def __init__(self, form: TreeFormat, fd: int, implied: Collection[bytes]) -> None:
        self._form = form
        self._fd = fd
        self._implied = implied

    def replaces(self, path: bytes) -> bool:
        """See `Own`. Raises OSError."""
        node = self._form.lookup(self._fd, path)
        # The tree has all directories with marks, except those whose marks were dropped because it hides them.
        if node is None or node.whiteout or node.entry.kind is not Kind.DIRECTORY:
            return True
        return path not in self._implied


def is_straight(needs: Needs, lower: Below) -> bool:
    """Return whether the layer with these *needs* fits on *lower* unchanged. Raises OSError."""
    if needs.absent_links or any(lower.link(path) is not None for path in (*needs.implied, *needs.passed) if path):
        return False
    return all(lower.is_directory(path) for path in needs.marked)


def plan(needs: Needs, lower: MergedView, own: Own) -> Adaptation | None:
    """Return the change that the layer with these *needs* needs to fit on *lower*; None if it fits unchanged.

    Raises OSError.
    """
    return None if is_straight(needs, lower) else Adaptation(lower, own)


class Adaptation(Relocation):
    """A relocation for trees. The parents' trees must stay open: hard links to their files become copies."""

    def __init__(self, lower: MergedView, own: Own) -> None:
        super().__init__(lower, own)
        self._view = lower

    def pay(self, steps: Steps, limits: Limits) -> None:
        """Charge this, and lookups in the lower layers, to *steps* from now on, within *limits*."""
        super().pay(steps, limits)
        self._view.allowance = Allowance(steps=steps)

    def attach(self, builder: TreeBuilder) -> None:
        """Follow *builder*, and answer its hard links whose targets the layer lacks.

        The builder gets TarError for a hard link whose target is in no layer, or is a directory.
        """
        self.follow(builder)

        def answer(entry: Entry) -> bool:
            for found in self.candidates(entry.link):
                node = self._view.lookup(found)
                if node is not None and node.entry.path == found:
                    self._copy(builder, node.entry.replaced(path=entry.path), found)
                    return True
            raise no_target(entry)

        builder.answer_links(answer)

    def _copy(self, builder: TreeBuilder, copy: Entry, found: bytes) -> None:
        """Add the lower layers' file at *found* as the member *copy*."""
        if copy.kind is Kind.DIRECTORY:
            raise TarError(shown(copy.path), "a hard link to a directory")
        if copy.kind is Kind.SYMLINK:
            self.linked(copy.link)
        if copy.kind is not Kind.FILE:
            builder.add(copy, NOTHING)
            return
        with self._view.open_file(found) as opened:
            file = _LowerFile(opened)
            copy.sparse = file.runs
            builder.add(copy, file)


def no_target(entry: Entry) -> TarError:
    """Return the error for a hard link whose target exists nowhere."""
    return TarError(shown(entry.path), f"a hard link to {shown(entry.link)}, which no layer has")


class _LowerFile:
    """The content of a lower layer's file: the runs of data, so that a copy keeps the holes."""

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


# --- the cap --------------------------------------------------------------------------------------------------------


def cap_entries(view: MergedView, masked: Iterable[bytes] = ()) -> list[Entry]:
    """Return the directories that a cap for *view* must contain, parents first; none if the stack needs no cap.

    *masked* are the directories in which layers have whiteouts. If only one layer has such a directory, the cap must
    have it too, because overlayfs shows whiteouts in directories that are not merged. Raises OSError.
    """
    wanted = {path for path in view.implied() if _shows_other(view, path)}
    wanted.update(path for path in masked if len(view.layers_of(path)) == 1)
    for path in list(wanted):
        while path:
            path = path.rpartition(b"/")[0]
            wanted.add(path)
    return [view.directory(path).replaced(path=path) for path in sorted(wanted)]


def _shows_other(view: MergedView, path: bytes) -> bool:
    """Return whether the overlay shows the directory *path* with wrong metadata."""
    if not view.layers_of(path):
        return False
    node = view.lookup(path)
    return node is not None and node.entry != view.directory(path)
