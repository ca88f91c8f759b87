"""Clutter: leftovers of dead processes, and files without a record in the graph.

`gc` removes it, `du` counts it, and `check` reports it. Images that nothing holds are in `store.collect`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.disk.paths import RESERVED
from arstore.mounts.leftovers import left_in, leftovers
from arstore.mounts.table import MountState, MountTable
from arstore.mounts.unrecorded import stray_mounts
from arstore.store.collect.launcher_files import left_by_launchers
from arstore.store.containers import holds_files, read_record
from arstore.store.leftovers import listed_places, places_of
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from arstore.maintenance.scan.size_table import Sizes
    from arstore.maintenance.scan.totals import Known, Survey
    from arstore.store.store import Store


class Unrecorded(NamedTuple):
    """Keys of blobs, trees and containers that are in place but have no record in the graph."""

    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    containers: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Containers in which something was written, and which no process is just adding or removing. Not clutter."""

    def places(self) -> Iterator[str]:
        """Return their places, below the root."""
        return chain(places_of(self.blobs, self.trees), (f"containers/{name}" for name in self.containers))


@dataclass(slots=True, frozen=True)
class Clutter:
    """Names by kind; nothing in here belongs to an image, a live process or the user.

    `orphans` are places below the root: those of *unrecorded* content, and unfinished files. `of_launchers` are such
    places too, in containers that stay. `mounts` are ids of stale records, and paths of mounts without a record.
    `leftovers` are names below the runroot.
    """

    unrecorded: Unrecorded
    orphans: tuple[str, ...]
    of_launchers: tuple[str, ...]
    containers: tuple[str, ...]
    ingests: tuple[str, ...]
    mounts: tuple[str, ...]
    leftovers: tuple[str, ...]

    def places(self) -> Iterator[str]:
        """Yield the files and directories below the root that it consists of."""
        yield from self.orphans
        yield from self.of_launchers
        yield from (f"ingest/{name}" for name in self.ingests)
        yield from (f"containers/{name}" for name in self.containers)


def find_clutter(store: Store, found: Survey, known: Known) -> Clutter:
    """Return the clutter in a *found* survey of the root.

    *known* is the content of the graph before the survey. Raises OSError and the errors of Graph.
    """
    unrecorded = find_unrecorded(store, found, known)
    stale = (entry for entry in MountTable(store.directories).list() if entry.state is MountState.STALE)
    return Clutter(
        unrecorded=unrecorded,
        orphans=(
            *unrecorded.places(),
            *(f"mounts/{name}" for name in left_in(store.directories.mounts)),
            *(name for name in found.strange if _is_ours(name, store.graph.path)),
        ),
        of_launchers=left_by_launchers(store),
        containers=tuple(container.id for container in store.containers.list() if container.abandoned),
        ingests=tuple(name for name in found.ingests if _is_dead(name, store.graph.path)),
        mounts=(*(entry.record.id for entry in stale), *stray_mounts(store.directories)),
        leftovers=tuple(leftovers(store.directories.runroot)),
    )


def find_unrecorded(store: Store, found: Survey, known: Known) -> Unrecorded:
    """Return the content of *found* that is not *known*, and is still unrecorded now.

    New content is recorded by the transaction that also puts it in place. Raises the errors of Graph.
    """
    with store.graph.read() as snapshot:

        def besides(table: str, sizes: Sizes, keys: Collection[str]) -> tuple[str, ...]:
            return tuple(key for key in sizes.besides(keys) if not snapshot.has(table, key))

        blobs = besides("blobs", found.blobs, known.blobs)
        trees = besides("trees", found.trees, known.trees)
        containers = besides("containers", found.containers, known.containers)
    kept = _written_in(store, containers) if containers else ()
    return Unrecorded(blobs, trees, tuple(name for name in containers if name not in kept), kept)


def _written_in(store: Store, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of these unrecorded containers that have been written in, and that no process is removing.

    A removal lists the container's place until the directory is gone. A power cut may lose the list; so the record next
    to the container's files announces the removal beforehand (`Containers.remove`). A container of a dead `run` is
    removed, too. The record of a permanent one is durable: without a readable record it was never finished.
    """
    listed = listed_places(store.directories)
    found = []
    for name in names:
        path = store.directories.container(name)
        if f"containers/{name}" in listed or not holds_files(path):
            continue
        record = read_record(path, name)
        if record is not None and not record.ephemeral:
            found.append(name)
    if not found:
        return ()
    with store.graph.read() as snapshot:
        return tuple(name for name in found if not snapshot.has("containers", name))


def strays(found: Survey) -> list[str]:
    """Return the names below the root that are not part of the store; the collector leaves them alone."""
    return [name for name in found.strange if "/" not in name and _writer(name) is None]


def _is_dead(ingest_name: str, graph: str) -> bool:
    owner = Owner.of_directory(ingest_name)
    return owner is None or not owner.is_alive(graph)


def _is_ours(name: str, graph: str) -> bool:
    """Whether an unexpected file may be deleted: one in our own directories, or an unfinished document.

    A live process may be writing its `index.json.<owner>` (or one for `oci-layout` or `store.json`) at this moment.
    """
    owner = _writer(name)
    return "/" in name or (owner is not None and not owner.is_alive(graph))


def _writer(name: str) -> Owner | None:
    """Return the process that writes, or has written, the unfinished document *name* below the root."""
    for own in RESERVED:
        if name.startswith(f"{own}."):
            return Owner.of_directory(name.removeprefix(f"{own}."))
    return None
