"""Clutter: what processes that died have left in the store, and what is on disk without a record in the graph.

`gc` removes it, `du` counts it, and `check` reports it. Not here: images that nothing holds (`store.collect`).
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
from arstore.store.containers import holds_files, read_record
from arstore.store.leftovers import listed_places, places_of
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from arstore.maintenance.scan.size_table import Sizes
    from arstore.maintenance.scan.totals import Known, Survey
    from arstore.store.store import Store


class Unrecorded(NamedTuple):
    """Keys of what has its place in the store and no record in the graph."""

    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    containers: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Containers in which something was written, and which no process is just bringing or removing: no clutter."""

    def places(self) -> Iterator[str]:
        """Where they are, below the root."""
        return chain(places_of(self.blobs, self.trees), (f"containers/{name}" for name in self.containers))


@dataclass(slots=True, frozen=True)
class Clutter:
    """Names by kind; nothing in here belongs to an image, a living process or the user.

    `orphans` are places below the root: those of what is *unrecorded*, and files that were never finished. `mounts` are
    ids of records that nothing is mounted for, and paths of mounts that have no record. `leftovers` are names below the
    runroot.
    """

    unrecorded: Unrecorded
    orphans: tuple[str, ...]
    containers: tuple[str, ...]
    ingests: tuple[str, ...]
    mounts: tuple[str, ...]
    leftovers: tuple[str, ...]

    def places(self) -> Iterator[str]:
        """The files and directories below the root that it consists of."""
        yield from self.orphans
        yield from (f"ingest/{name}" for name in self.ingests)
        yield from (f"containers/{name}" for name in self.containers)


def find_clutter(store: Store, found: Survey, known: Known) -> Clutter:
    """Return the clutter in what was *found* below the root.

    *known* is what the graph knew before the look at the root. Raises OSError and the errors of Graph.
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
        containers=tuple(container.id for container in store.containers.list() if container.abandoned),
        ingests=tuple(name for name in found.ingests if _is_dead(name, store.graph.path)),
        mounts=(*(entry.record.id for entry in stale), *stray_mounts(store.directories)),
        leftovers=tuple(leftovers(store.directories.runroot)),
    )


def find_unrecorded(store: Store, found: Survey, known: Known) -> Unrecorded:
    """Return what of *found* is not *known*, and is still not recorded now.

    Everything is recorded before the transaction ends that gives it its place. Raises the errors of Graph.
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
    """Of these containers without a record those that hold what somebody has written, and that none is removing.

    Whoever removes one lists its place until the directory has gone, which a power cut may lose; so the record beside
    its files says beforehand that it goes (`Containers.remove`). One of a `run` whose process has died goes, too. The
    record of one that is to stay is durable: without a record that can be read it was never finished.
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
    """Names below the root of what was *found* there and is not the store's: the collector leaves it alone."""
    return [name for name in found.strange if "/" not in name and _writer(name) is None]


def _is_dead(ingest_name: str, graph: str) -> bool:
    owner = Owner.of_directory(ingest_name)
    return owner is None or not owner.is_alive(graph)


def _is_ours(name: str, graph: str) -> bool:
    """Whether something strange may be taken: below our own directories, or a file that was never finished.

    Another process may be writing its `index.json.<owner>` (or one for `oci-layout` or `store.json`) at this moment.
    """
    owner = _writer(name)
    return "/" in name or (owner is not None and not owner.is_alive(graph))


def _writer(name: str) -> Owner | None:
    """The process that writes, or has written, what is called *name* below the root until it is finished."""
    for own in RESERVED:
        if name.startswith(f"{own}."):
            return Owner.of_directory(name.removeprefix(f"{own}."))
    return None
