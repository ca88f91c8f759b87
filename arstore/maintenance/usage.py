"""The bill: where every byte under the root is, and what each image costs.

The parts add up to the total, and the total is what du(1) says. What nothing in the graph accounts for is shown as
`orphans`, and what the collector would take, as `reclaimable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.maintenance.gc import plan_collection
from arstore.maintenance.survey import survey
from arstore.store.disposal import with_members
from arstore.store.sweep import mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.maintenance.survey import Survey
    from arstore.store.graph import Snapshot
    from arstore.store.store import Store, StoredImage


@dataclass(slots=True, frozen=True)
class ImageUsage:
    """Bytes allocated for an image's blobs and trees: `unique` would be freed with it, `shared` is others' too."""

    digest: str
    names: tuple[str, ...]
    size: int
    unique: int
    shared: int


@dataclass(slots=True, frozen=True)
class Usage:
    """Bytes allocated on disk; `total` is the sum of the first six."""

    blobs: int
    trees: int
    containers: int
    metadata: int
    ingest: int
    orphans: int
    reclaimable: int
    images: tuple[ImageUsage, ...]

    @property
    def total(self) -> int:
        """Everything below the root."""
        return self.blobs + self.trees + self.containers + self.metadata + self.ingest + self.orphans


def measure(store: Store, images: Sequence[StoredImage] | None = None) -> Usage:
    """The bill of the whole store; of *images* only those listed are itemised, all of them by default.

    Directories through which pipelines hand images over count as containers'. Raises OSError and the errors of Graph.
    """
    with store.graph.read():
        pass  # a graph that is opened for the first time gets its files now, and they count
    found = survey(store.directories)
    with store.graph.read() as snapshot:
        known_blobs = {digest for digest, _ in snapshot.blobs()}
        known_trees = {key for key, _ in snapshot.trees()}
        known_containers = {container_id for container_id, _ in snapshot.containers()}
        itemised = _itemise(snapshot, found, images if images is not None else store.images(), store.images())
    blobs, lost_blobs = _split(found.blobs, known_blobs)
    trees, lost_trees = _split(found.trees, known_trees)
    containers, lost_containers = _split(found.containers, known_containers)
    return Usage(
        blobs=blobs,
        trees=trees,
        containers=containers + found.exchange,
        metadata=found.frame,
        ingest=sum(found.ingests.values()),
        orphans=lost_blobs + lost_trees + lost_containers + sum(found.strange.values()),
        reclaimable=plan_collection(store, found).bytes,
        images=itemised,
    )


def _split(table: dict[str, int], known: set[str]) -> tuple[int, int]:
    inside = sum(size for key, size in table.items() if key in known)
    return inside, sum(table.values()) - inside


def _itemise(
    snapshot: Snapshot, found: Survey, wanted: Iterable[StoredImage], every: Iterable[StoredImage]
) -> tuple[ImageUsage, ...]:
    holders: dict[str, set[str]] = {}
    for image in every:
        if not image.record.is_index:
            for part in _parts(snapshot, image.digest):
                holders.setdefault(part, set()).add(image.digest)
    items = []
    for image in wanted:
        own = with_members(snapshot, [image.digest]) if image.record.is_index else {image.digest}
        sizes = {part: _size_of(found, part) for part in _parts(snapshot, image.digest)}
        size = sum(sizes.values())
        unique = sum(count for part, count in sizes.items() if holders.get(part, set()) <= own)
        items.append(ImageUsage(image.digest, image.names, size, unique, size - unique))
    return tuple(items)


def _parts(snapshot: Snapshot, digest: str) -> set[str]:
    reachable = mark(snapshot, [digest])
    return {f"blob {blob}" for blob in reachable.blobs} | {f"tree {key}" for key in reachable.trees}


def _size_of(found: Survey, part: str) -> int:
    kind, _, key = part.partition(" ")
    return (found.blobs if kind == "blob" else found.trees).get(key, 0)
