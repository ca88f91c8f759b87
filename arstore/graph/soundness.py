"""Whether the graph's file can be relied on, checked without LMDB before anything is deleted.

A graph with a damaged page may look sound, but know less than it should. Whatever it does not know is garbage to a
deletion, so all its pages are read first: about a millisecond for 300 records.
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
    """Return the faults of the graph's pages, and the keys of the records that are not *well*, at one moment.

    A writer may change pages during the walk. The result counts if no page was changed, or if a reader kept LMDB from
    reusing pages at the same time. Raises OSError and the errors of `Graph.read`: StoreError, PermissionDeniedError,
    HostError.
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
    """Raise StoreDamagedError if a page or a record of *graph* is damaged. Raises OSError, StoreError, HostError."""
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
