"""Whether the graph's file can be relied on, found out without LMDB: what deletes asks before it does.

A graph of which a page is damaged may look well and know less than it should. Whatever it does not know is garbage to
those who delete, so they read all its pages first: about a millisecond for 300 records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError
from arstore.graph.datafile import DAMAGE_HINT, DATA, MAP_SIZE
from arstore.graph.lmdb_pages import moment, walk
from arstore.graph.record_checksum import BrokenSealError, unsealed
from arstore.graph.snapshot import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.graph.graph import Graph

_ATTEMPTS = 5


def examined(graph: Graph, is_well: Callable[[bytes, bytes], bool]) -> tuple[list[str], list[bytes]]:
    """The faults of the graph's pages, and the keys of the records that are not *well*, at one moment.

    A writer may change pages under the walk: what it finds counts when it was undisturbed, or was done while a reader
    kept LMDB from using pages again. Raises OSError and the errors of Graph.
    """
    path = f"{graph.path}/{DATA}"

    def look() -> tuple[list[str], list[bytes]]:
        broken: list[bytes] = []

        def visit(key: bytes, value: bytes) -> None:
            if not is_well(key, value):
                broken.append(key)

        return walk(path, MAP_SIZE, visit).faults, broken

    for _ in range(_ATTEMPTS):
        before = moment(path)
        faults, broken = look()
        if not (faults or broken) or moment(path) == before:
            return faults, broken
    with graph.read():
        return look()


def require_sound(graph: Graph) -> None:
    """Raise StoreDamagedError when a page or a record of *graph* is damaged; also OSError and the errors of Graph."""
    faults, broken = examined(graph, _is_sealed)
    if faults:
        raise StoreDamagedError(f"{graph.path}/{DATA}", faults[0], DAMAGE_HINT)
    if broken:
        raise unreadable(broken[0])


def _is_sealed(key: bytes, value: bytes) -> bool:
    try:
        unsealed(key, value)
    except BrokenSealError:
        return False
    return True
