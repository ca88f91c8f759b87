"""What processes that died have left in a store, taken by whoever brings something in next.

A process that is killed leaves its ingest, with all that it had read by then; what it had moved to its place, or had
forgotten and not yet moved away, when it died in the middle of that (the file `places` of the ingest lists this); and
an `index.json` that was not finished. All that costs one listing of `ingest/` and one of the root where there is
nothing.

An ingest is claimed by a rename: it becomes one of the process that deletes it, so of several that find it only one
does, and when that dies too, the next one finds what is left under a dead owner's name, as before. What is listed in
`places` is moved away only inside a write transaction of the graph that does not know it, so nothing goes that somebody
has recorded since.

Out of scope: what no list tells of. A power cut can lose the list and keep what it lists; `gc` compares all that is
there with the graph.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.disk.free_space import free_space
from arstore.disk.owner import Owner
from arstore.disk.partial import drop_oldest, keep_partial
from arstore.disk.rmtree import freed_with, remove_tree
from arstore.disk.staging import PLACES
from arstore.errors import ArstoreError
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.graph.write import Change

UNFINISHED = ("index.json.", "oci-layout.")
"""What the names of files in the root begin with that are to take a document's place; an owner's name follows."""

_FULL, _TIGHT = 64, 8
"""Space is scarce when less than a 64th of the file system is free, or less than eight times what is to come."""

_HEX = frozenset("0123456789abcdef")


class Clearance:
    """What one open store takes away before something comes in. `freed` counts the bytes on disk.

    *relief* compares all that is there with the graph, and returns the bytes that it has freed. It is called once, when
    space is scarce.
    """

    def __init__(self, directories: Directories, graph: Graph, relief: Callable[[], int] | None = None) -> None:
        self._directories = directories
        self._graph = graph
        self._relief = relief
        self.freed = 0

    def make(self, wanted: int = 0) -> None:
        """Take what dead processes left; *wanted* bytes are to come. What cannot be taken stays, without an error."""
        was_open = self._graph.is_open
        self.freed += take_leftovers(self._directories, self._graph)
        self.freed += drop_oldest(self._directories.ingest, lambda: self._is_scarce(wanted))
        relief = self._relief
        if relief is not None and self._is_scarce(wanted):
            self._relief = None
            with suppress(OSError, ArstoreError):
                self.freed += relief()
        if not was_open:
            # Whoever forks next must not have it open.
            self._graph.release()

    def _is_scarce(self, wanted: int) -> bool:
        with suppress(OSError):
            free, size = free_space(self._directories.root)
            return free < max(size // _FULL, wanted * _TIGHT)
        return False


def take_leftovers(directories: Directories, graph: Graph) -> int:
    """Delete what dead processes left in the store; the bytes that this has freed.

    What cannot be deleted is left, and nothing is raised.
    """
    freed = 0
    with suppress(OSError):
        for name in os.listdir(directories.ingest):
            if is_left(name, graph.path):
                with suppress(OSError, ArstoreError):
                    freed += take_ingest(directories, graph, name, keep=True) or 0
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
    """Whether *name*, in the root, is a document that a process which has died did not finish."""
    return any(name.startswith(start) and is_left(name.removeprefix(start), graph) for start in UNFINISHED)


def take_ingest(directories: Directories, graph: Graph, name: str, keep: bool = False) -> int | None:
    """Delete the ingest *name*, whose owner is dead, and what it lists; return the bytes that this has freed.

    With *keep*, the blobs that were being fetched are moved to the partial ones.
    None when another process has claimed it. Raises OSError (EBUSY for a file system that is mounted inside), and the
    errors of Graph.
    """
    claimed = Owner.announced(graph.path).directory_name()
    try:
        os.rename(f"{directories.ingest}/{name}", f"{directories.ingest}/{claimed}")
    except FileNotFoundError:
        return None
    reached("leftovers.claimed")
    place = f"{directories.ingest}/{claimed}"
    if keep:
        keep_partial(directories.ingest, place)
    _take_places(directories, graph, place)
    freed = remove_tree(place)
    reached("leftovers.removed")
    return freed


def _take_places(directories: Directories, graph: Graph, ingest: str) -> None:
    """Move what the claimed *ingest* lists, and the graph does not know, into it."""
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
    """All places that an ingest lists, of the living and the dead. Raises OSError."""
    found: set[str] = set()
    for name in os.listdir(directories.ingest):
        # It goes with its process.
        with suppress(FileNotFoundError, NotADirectoryError):
            found.update(_listed(f"{directories.ingest}/{name}/{PLACES}"))
    return found


def _listed(path: str) -> Iterator[str]:
    """The names in a list of places; a line that a power cut has spoilt is passed over."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return
    yield from filter(_is_place, lines)


def _is_place(name: str) -> bool:
    """Whether *name* is one of a blob, a tree or a container, below the root."""
    kind, _, rest = name.partition("/")
    if kind == "blobs":
        algorithm, _, rest = rest.partition("/")
        return HEX_LENGTHS.get(algorithm) == len(rest) and _HEX.issuperset(rest)
    if kind == "trees":
        return len(rest) in HEX_LENGTHS.values() and _HEX.issuperset(rest)
    return kind == "containers" and bool(rest) and "/" not in rest and rest not in {".", ".."} and "\0" not in rest


def is_recorded(change: Change, name: str) -> bool:
    """Whether the graph knows what has its place at *name*, below the root."""
    kind, _, rest = name.partition("/")
    if kind == "blobs":
        return change.has("blobs", rest.replace("/", ":", 1))
    if kind == "trees":
        return any(change.has("trees", f"{algorithm}:{rest}") for algorithm in HEX_LENGTHS)
    return kind == "containers" and change.has("containers", rest)


def places_of(blobs: Iterable[str], trees: Iterable[str]) -> Iterator[str]:
    """The places of these blobs and trees, by digest and key, as a list of places has them."""
    yield from (f"blobs/{digest.replace(':', '/', 1)}" for digest in blobs)
    yield from (f"trees/{key.partition(':')[2]}" for key in trees)


def _unlink(path: str) -> int:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return 0
    os.unlink(path)
    return freed_with(status)
