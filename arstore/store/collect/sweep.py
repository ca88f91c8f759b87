"""Mark and sweep: find what is reachable from a set of images, and remove the rest.

Removal has three steps, and a process may die after each:

1. One write transaction deletes the records. (An unrecorded file is garbage, never damage.) The records are found
   beforehand, from a snapshot, and found again under the writer's lock only if another process has committed since.
2. One write transaction moves the files from their places into an ingest, each only if it is still unrecorded: an
   import that brought the same content in between has recorded it again, and keeps it.
3. The ingest is deleted without holding any lock.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.store.leftovers import places_of
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from arstore.disk.paths import Directories
    from arstore.disk.staging import Ingest
    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot
    from arstore.graph.write import Change
    from arstore.store.collect.reachability import ImageNeeds, Reach


@dataclass(slots=True, frozen=True)
class Reachable:
    """The set to keep: digests of images, and the numbers that a `Reach` has given to everything else."""

    images: set[str]
    blobs: set[int]
    layers: set[int]
    trees: set[int]


@dataclass(slots=True, frozen=True)
class Removed:
    """Keys of records to be deleted, or deleted; the files of the blobs and trees go with them."""

    images: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.images or self.blobs or self.layers or self.trees or self.attachments)

    def places(self) -> Iterator[str]:
        """Yield the places of the blobs and trees, below the root."""
        return places_of(self.blobs, self.trees)


def mark(reach: Reach, images: Iterable[str]) -> Reachable:
    """Return everything that *images* (and the images of indexes among them) need; missing records are skipped."""
    every: dict[str, ImageNeeds] = {}
    todo = list(images)
    while todo:
        digest = todo.pop()
        if digest not in every and (needs := reach.of(digest)) is not None:
            every[digest] = needs
            todo.extend(needs.images)
    # One pass for each kind: a large store has a million of them, and most belong to many images.
    return Reachable(
        set(every),
        set(chain.from_iterable(needs.blobs for needs in every.values())),
        set(chain.from_iterable(needs.layers for needs in every.values())),
        set(chain.from_iterable(needs.trees for needs in every.values())),
    )


class Sweep(NamedTuple):
    """The plan of a deletion: records and names to delete, and the layers that stay, with the blobs that they keep.

    `lent` are blobs in additional stores, of which only the record here is deleted.
    """

    removed: Removed = Removed()
    names: tuple[str, ...] = ()
    lent: tuple[str, ...] = ()
    layers: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class _Layers(NamedTuple):
    blobs: list[tuple[str, ...]]


def planned(snapshot: Snapshot, reach: Reach, images: Iterable[str]) -> Sweep:
    """Plan the deletion of everything that *images* (and the images of indexes among them) do not need.

    A layer that stays loses the blobs that none of these images lists; its tree can still be rebuilt from the others.
    *reach* belongs to *snapshot*.
    """
    keep = mark(reach, images)
    layers: dict[str, tuple[str, ...]] = {}
    blobs = set(keep.blobs)
    count = 0
    for chain_ids, columns in snapshot.batches("layers", _Layers):
        for number, (chain_id, listed) in enumerate(zip(chain_ids, columns.blobs, strict=True), count):
            if number not in keep.layers:
                continue
            numbers = reach.blobs.all_of(listed)
            kept = tuple(blob for blob, one in zip(listed, numbers, strict=True) if one in keep.blobs)
            if not kept:
                blobs.update(numbers)
            elif len(kept) != len(listed):
                layers[chain_id] = kept
        count += len(chain_ids)
    gone = tuple(digest for digest in reach.images if digest not in keep.images)
    attached = reach.attached_to(keep.images)
    removed = Removed(
        images=gone,
        blobs=tuple(reach.blobs.besides(blobs)),
        layers=tuple(reach.layers.besides(keep.layers)),
        trees=tuple(reach.trees.besides(keep.trees)),
        attachments=tuple(key for key in reach.attachments if key not in attached),
    )
    names = chain.from_iterable(reach.names.get(digest, ()) for digest in gone)
    lent = tuple(digest for digest in snapshot.keys("lent") if reach.blobs.of(digest) not in blobs)
    return Sweep(removed, tuple(sorted(names)), lent, MappingProxyType(layers))


def note_removal(ingest: Ingest, plan: Sweep) -> None:
    """List in *ingest* the files that *plan* leaves unrecorded, which `take_files` will move there."""
    if plan.removed.blobs or plan.removed.trees:
        ingest.note_places(plan.removed.places())


def sweep(change: Change, plan: Sweep) -> Removed:
    """Delete the records of *plan*, which must be made from the current state; return what was deleted."""
    for chain_id, blobs in plan.layers.items():
        if (layer := change.layer(chain_id)) is not None:
            change.put_layer(chain_id, layer._replace(blobs=blobs))
    gone = plan.removed
    for table, keys in (
        ("attachments", gone.attachments),
        ("images", gone.images),
        ("layers", gone.layers),
        ("trees", gone.trees),
        ("blobs", gone.blobs),
    ):
        for key in keys:
            change.delete(table, key)
    for name in plan.names:
        change.delete("names", name)
    for digest in plan.lent:
        change.delete("lent", digest)
    return gone


def take_files(directories: Directories, graph: Graph, ingest: Ingest, removed: Removed) -> Removed:
    """Step 2: move the files of *removed* into *ingest*, which deletes them at the end of its context.

    Return *removed* without the blobs and trees that an import has recorded again in between; these stay.
    """
    if not (removed.blobs or removed.trees):
        return removed
    with graph.write() as change:
        blobs = tuple(digest for digest in removed.blobs if not change.has("blobs", digest))
        trees = tuple(key for key in removed.trees if not change.has("trees", key))
        for number, digest in enumerate(blobs):
            _take(ingest, directories.blob(digest), f"blob-{number}")
        for number, key in enumerate(trees):
            _take(ingest, directories.tree(key), f"tree-{number}")
    reached("remove.files-moved")
    return replace(removed, blobs=blobs, trees=trees)


def _take(ingest: Ingest, path: str, name: str) -> None:
    with suppress(FileNotFoundError):
        ingest.take(path, name)
        reached("remove.file-moved")
