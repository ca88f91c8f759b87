"""What a layer needs from its parents, answered when a chain is put together.

Two answers. A *cap* is a tree of directories only, laid on top of a stack, that shows them with the metadata that
extraction of the layers one onto the other would have given them. An *adaptation* puts a layer's members and marks
where extraction onto the lower layers would put them (`relocation`), and turns hard links to files of lower layers into
copies; the tree built from that stream belongs to the chain, no longer to the diff ID alone.
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
    """What the layer of a tree has: the tree's form, its open directory, and what it implies."""

    def __init__(self, form: TreeFormat, fd: int, implied: Collection[bytes]) -> None:
        self._form = form
        self._fd = fd
        self._implied = implied

    def replaces(self, path: bytes) -> bool:
        """See `Own`. Raises OSError."""
        node = self._form.lookup(self._fd, path)
        # The tree has all directories that marks are in, but those of marks that were dropped because it hides them.
        if node is None or node.whiteout or node.entry.kind is not Kind.DIRECTORY:
            return True
        return path not in self._implied


def is_straight(needs: Needs, lower: Below) -> bool:
    """Whether the layer with these *needs* belongs on *lower* as it is. Raises OSError."""
    if needs.absent_links or any(lower.link(path) is not None for path in (*needs.implied, *needs.passed) if path):
        return False
    return all(lower.is_directory(path) for path in needs.marked)


def plan(needs: Needs, lower: MergedView, own: Own) -> Adaptation | None:
    """How the layer with these *needs* has to be changed to stand on *lower*; None when it serves as it is.

    Raises OSError.
    """
    return None if is_straight(needs, lower) else Adaptation(lower, own)


class Adaptation(Relocation):
    """A relocation for trees, those of the parents have to stay open: hard links to their files become copies."""

    def __init__(self, lower: MergedView, own: Own) -> None:
        super().__init__(lower, own)
        self._view = lower

    def pay(self, steps: Steps, limits: Limits) -> None:
        """Take from *steps* what this, and looking into the lower layers, costs from now on, within *limits*."""
        super().pay(steps, limits)
        self._view.allowance = Allowance(steps=steps)

    def attach(self, builder: TreeBuilder) -> None:
        """Follow *builder*, and answer its hard links whose targets the layer lacks.

        It gets TarError for one that no layer has the target of, or that is to a directory.
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
    return [view.directory(path).replaced(path=path) for path in sorted(wanted)]


def _shows_other(view: MergedView, path: bytes) -> bool:
    """Whether the directory *path* shows metadata that are not its own."""
    if not view.layers_of(path):
        return False
    node = view.lookup(path)
    return node is not None and node.entry != view.directory(path)
