"""Disk usage: where every byte under the root is, and the size of each image.

The parts add up to the total, and the total equals that of du(1). Content without a record in the graph is shown as
`orphans`, and content that the collector would delete, as `reclaimable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.dataclass import dataclass, field
from arstore.maintenance.clutter import find_clutter, strays
from arstore.maintenance.scan.totals import Known
from arstore.maintenance.scan.walk import Parts, freed
from arstore.maintenance.shares import Shares
from arstore.store.collect.holders import roots
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import planned
from arstore.store.last_use import last_uses
from arstore.values import NamedTuple
from arstore.workers.pool import divided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.maintenance.scan.totals import Survey
    from arstore.maintenance.shares import ImageUsage
    from arstore.store.store import Store, StoredImage


class Basis(NamedTuple):
    """The data behind the figures. The tables of `found` do not have the bytes of files that several owners share."""

    shares: Shares
    found: Survey


@dataclass(slots=True, frozen=True)
class Usage:
    """Bytes allocated on disk; `total` is the sum of `parts`."""

    blobs: int
    trees: int
    containers: int
    volumes: int
    metadata: int
    ingest: int
    orphans: int
    reclaimable: int
    images: tuple[ImageUsage, ...]
    strays: dict[str, int] = field(default_factory=dict)
    """The part of `orphans` that is not the store's, by name below the root."""
    basis: Basis | None = field(default=None, repr=False, compare=False)
    """Kept alive for a process that ends soon: freeing it takes a while for a large store."""

    def parts(self) -> dict[str, int]:
        """Return the parts of the total, in the order in which `du` prints them."""
        return {
            "blobs": self.blobs,
            "trees": self.trees,
            "containers": self.containers,
            "volumes": self.volumes,
            "metadata": self.metadata,
            "ingest": self.ingest,
            "orphans": self.orphans,
        }

    @property
    def total(self) -> int:
        """Bytes of everything below the root."""
        return sum(self.parts().values())


def measure(store: Store, images: Sequence[StoredImage] | None = None) -> Usage:
    """Measure the whole store; itemise only *images* (all by default).

    Directories through which pipelines hand over images count as containers. Raises OSError and the errors of Graph.
    """
    with store.graph.read():
        pass  # opening a graph for the first time makes its files, which count
    store.close()
    parts = Parts(store.directories)
    with divided(parts.survey, parts.COUNT) as surveyed:
        with store.graph.read() as snapshot:
            reach = Reach(snapshot)
            known = Known.of(snapshot, blobs=reach.blobs.recorded, trees=reach.trees.recorded)
            doomed = planned(snapshot, reach, roots(store.directories, snapshot, reach.names, store.protects)).removed
            shares = Shares(reach, last_uses(snapshot))
        found, *others = surveyed()
    for other in others:
        found.add(other)
    parts.remember(found)
    clutter = find_clutter(store, found, known)
    wanted = reach.images if images is None else [i.digest for i in images if i.digest in reach.images]
    lost = clutter.unrecorded
    blobs = sum(map(found.blobs.__getitem__, lost.blobs))
    trees = sum(map(found.trees.__getitem__, lost.trees))
    containers = sum(map(found.containers.__getitem__, lost.containers))
    blobs_kept, trees_kept = found.blobs.total - blobs, found.trees.total - trees
    # From here on, files that blobs and trees share count in neither.
    shares.weigh(found)
    return Usage(
        blobs=blobs_kept,
        trees=trees_kept,
        containers=found.containers.total - containers + found.exchange,
        volumes=found.volumes.total,
        metadata=found.frame,
        ingest=found.ingests.total,
        orphans=blobs + trees + containers + found.strange.total,
        reclaimable=freed(store.directories, [*doomed.places(), *clutter.places()]).total,
        images=tuple(map(shares.item, wanted)),
        strays={name: found.strange[name] for name in strays(found)},
        basis=Basis(shares, found),
    )
