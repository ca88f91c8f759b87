"""Removal of what dead processes left in a store, done by the next process that brings something in.

A process that is killed leaves its ingest, with everything read so far. If it dies while it publishes or deletes, it
also leaves files that were moved to their place, or whose records were deleted, and that are now unrecorded; the file
`places` of the ingest lists them. It may also leave an unfinished `index.json`. Looking for all this costs one listing
of `ingest/` and one of the root.

A process claims an ingest by renaming it to its own name before deleting it. So only one of several processes deletes
it, and if that one dies too, the rest is found again under the name of a dead owner. Files listed in `places` are moved
away only inside a write transaction whose graph does not record them, so that nothing goes that another process has
recorded since.

Out of scope: leftovers that no list names. A power cut can lose the list and keep the files; `gc` compares all files
with the graph.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.disk.free_space import default_reserve, free_space
from arstore.disk.owner import Owner
from arstore.disk.partial import drop_oldest, keep_fetched
from arstore.disk.rmtree import freed_with, remove_tree
from arstore.disk.staging import PLACES
from arstore.errors import ArstoreError
from arstore.store.ingest.need import NO_NEED, Need
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from arstore.digest import Digest
    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.graph.write import Change

UNFINISHED = ("index.json.", "oci-layout.")
"""Starts of the names of files in the root that are to replace a document; an owner's name follows."""

_FULL, _TIGHT = 64, 8
"""Space is scarce when less than 1/64 of the file system is free, or less than 8 times the bytes to come."""

_STEP = 64 << 20
"""Bytes that are freed at a time for a stream, whose size is not known."""

_RESERVE = 64 << 20
"""Bytes that have to be free in addition to the bytes to come."""

_HEX = frozenset("0123456789abcdef")


class Clearance:
    """Deletion of leftovers by one open store, before it brings something in. `freed` counts the bytes on disk.

    *relief* compares all files with the graph, and returns the bytes that it has freed. It is called at most once, when
    space is scarce. *give_up* frees caches, and returns the bytes freed: it gets the number of bytes that are missing,
    the smallest number that is of any use, and the trees to keep.
    """

    def __init__(
        self,
        directories: Directories,
        graph: Graph,
        relief: Callable[[], int] | None = None,
        give_up: Callable[[int, int, frozenset[str]], int] | None = None,
    ) -> None:
        self._directories = directories
        self._graph = graph
        self._relief = relief
        self._give_up = give_up
        self.freed = 0

    def make(self, need: Need = NO_NEED, blobs: Collection[Digest] = ()) -> None:
        """Delete leftovers of dead processes, and make room for *need*. Errors are ignored, and the files stay.

        If these bytes do not fit, partial blobs other than *blobs* are deleted too.
        """
        was_open = self._graph.is_open
        wanted = need.bytes - need.staged
        self.freed += take_leftovers(self._directories, self._graph)
        if wanted:
            with suppress(OSError):
                lacking = wanted + _RESERVE - free_space(self._directories.root)[0]
                self.freed += drop_oldest(self._directories.ingest, lacking, blobs)
        relief = self._relief
        if relief is not None and self._is_scarce(wanted):
            self._relief = None
            with suppress(OSError, ArstoreError):
                self.freed += relief()
        if wanted or need.guess:
            with suppress(OSError):
                least = self.lacking(need)
                if least is not None and least + need.guess > 0:
                    self.give_up(least + need.guess, least if need.is_refusable else 0, need.sparing)
        if not was_open:
            # A process must not fork while it has the graph open.
            self._graph.release()

    def lacking(self, need: Need) -> int | None:
        """Return the bytes by which *need*, without its guess, exceeds the free space, or minus those that are left.

        None if the file system does not report it. Raises OSError.
        """
        free, size = free_space(self._directories.root)
        return need.bytes - need.staged + _reserved(need, size) - free if size else None

    def relieve(self, lacking: int) -> int:
        """Give up cached trees until *lacking* bytes are freed, and some more; return how many were.

        None goes if that would not free *lacking* bytes. Errors are ignored.
        """
        return self.give_up(max(lacking, _STEP), lacking)

    def give_up(self, lacking: int, least: int, sparing: frozenset[str] = frozenset()) -> int:
        """Give up cached trees until *lacking* bytes are freed, and return how many were.

        None goes if that would not free *least* bytes. Errors are ignored.
        """
        if self._give_up is None:
            return 0
        was_open = self._graph.is_open
        try:
            return self._give_up(lacking, least, sparing)
        except (OSError, ArstoreError):
            return 0
        finally:
            if not was_open:
                self._graph.release()

    def _is_scarce(self, wanted: int) -> bool:
        with suppress(OSError):
            free, size = free_space(self._directories.root)
            return free < max(size // _FULL, wanted * _TIGHT)
        return False


def _reserved(need: Need, size: int) -> int:
    """Return how many bytes of a file system of *size* bytes have to stay free."""
    if not need.is_refusable:
        return 0
    return default_reserve(size) if need.reserve is None else need.reserve


def take_leftovers(directories: Directories, graph: Graph) -> int:
    """Delete leftovers of dead processes; return the bytes that this has freed.

    Files that cannot be deleted stay, without an error.
    """
    freed = 0
    with suppress(OSError):
        for name in os.listdir(directories.ingest):
            if is_left(name, graph.path):
                with suppress(OSError, ArstoreError):
                    freed += take_ingest(directories, graph, name) or 0
    with suppress(OSError):
        for name in os.listdir(directories.root):
            if is_unfinished(name, graph.path):
                with suppress(OSError):
                    freed += _unlink(f"{directories.root}/{name}")
    return freed


def is_left(name: str, graph: str) -> bool:
    """Whether *name*, in `ingest/`, is a directory of a process that has died."""
    owner = Owner.of_directory(name)
    return owner is not None and not owner.is_alive(graph)


def is_unfinished(name: str, graph: str) -> bool:
    """Whether *name*, in the root, is an unfinished document of a process that has died."""
    return any(name.startswith(start) and is_left(name.removeprefix(start), graph) for start in UNFINISHED)


def take_ingest(directories: Directories, graph: Graph, name: str) -> int | None:
    """Delete the ingest *name*, whose owner is dead, and the files that it lists; return the bytes that this has freed.

    None if another process has claimed it. Raises OSError (EBUSY if a file system is mounted inside), and the errors of
    Graph.
    """
    claimed = Owner.announced(graph.path).directory_name()
    try:
        os.rename(f"{directories.ingest}/{name}", f"{directories.ingest}/{claimed}")
    except FileNotFoundError:
        return None
    reached("leftovers.claimed")
    place = f"{directories.ingest}/{claimed}"
    _take_places(directories, graph, place)
    keep_fetched(directories.ingest, place)
    freed = remove_tree(place)
    reached("leftovers.removed")
    return freed


def _take_places(directories: Directories, graph: Graph, ingest: str) -> None:
    """Move the files that the claimed *ingest* lists, and that the graph does not record, into it."""
    found = [name for name in _listed(f"{ingest}/{PLACES}") if os.path.lexists(f"{directories.root}/{name}")]
    if not found:
        return
    with graph.write() as change:
        for number, name in enumerate(found):
            if not is_recorded(change, name):
                with suppress(FileNotFoundError):
                    os.rename(f"{directories.root}/{name}", f"{ingest}/{PLACES}-{number}")
    reached("leftovers.places-taken")


def listed_places(directories: Directories) -> set[str]:
    """Return all places that ingests list, of live and of dead processes. Raises OSError."""
    found: set[str] = set()
    for name in os.listdir(directories.ingest):
        # It is deleted when its process ends.
        with suppress(FileNotFoundError, NotADirectoryError):
            found.update(_listed(f"{directories.ingest}/{name}/{PLACES}"))
    return found


def _listed(path: str) -> Iterator[str]:
    """Yield the names in a list of places; lines damaged by a power cut are skipped."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return
    yield from filter(_is_place, lines)


def _is_place(name: str) -> bool:
    """Whether *name* is the place of a blob, a tree or a container, below the root."""
    kind, _, rest = name.partition("/")
    if kind == "blobs":
        algorithm, _, rest = rest.partition("/")
        return HEX_LENGTHS.get(algorithm) == len(rest) and _HEX.issuperset(rest)
    if kind == "trees":
        return len(rest) in HEX_LENGTHS.values() and _HEX.issuperset(rest)
    return kind == "containers" and bool(rest) and "/" not in rest and rest not in {".", ".."} and "\0" not in rest


def is_recorded(change: Change, name: str) -> bool:
    """Whether the graph records the blob, tree or container whose place is *name*, below the root."""
    kind, _, rest = name.partition("/")
    if kind == "blobs":
        return change.has("blobs", rest.replace("/", ":", 1))
    if kind == "trees":
        return any(change.has("trees", f"{algorithm}:{rest}") for algorithm in HEX_LENGTHS)
    return kind == "containers" and change.has("containers", rest)


def places_of(blobs: Iterable[str], trees: Iterable[str]) -> Iterator[str]:
    """Yield the places of these blobs (by digest) and trees (by key), as a list of places has them."""
    yield from (f"blobs/{digest.replace(':', '/', 1)}" for digest in blobs)
    yield from (f"trees/{key.partition(':')[2]}" for key in trees)


def _unlink(path: str) -> int:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return 0
    os.unlink(path)
    return freed_with(status)
