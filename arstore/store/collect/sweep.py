"""Mark and sweep: what is reachable from a set of images, and the removal of what is not.

Removal has three steps, each safe to die after:

1. one write transaction deletes the records (what is unrecorded is garbage, never damage); which these are is found
   before, from a snapshot, and again with the writer's lock held only when somebody has committed since;
2. one write transaction moves the files out of their places into an ingest, each only if it is still unrecorded: an
   importer that brought the same content meanwhile has recorded it again and keeps it;
3. outside every lock the ingest is deleted.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.store.leftovers import places_of
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arstore.disk.paths import Directories
    from arstore.disk.staging import Ingest
    from arstore.graph.graph import Graph
    from arstore.graph.records import LayerRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.graph.write import Change
    from arstore.store.collect.reachability import Needs, Reach


@dataclass(slots=True)
class Reachable:
    """What is to stay: digests of images, and numbers that a `Reach` has given to everything else."""

    images: set[str]
    blobs: set[int]
    layers: set[int]
    trees: set[int]


@dataclass(slots=True)
class Removed:
    """Keys whose records were deleted, and whose files are to go."""

    images: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.images or self.blobs or self.layers or self.trees)


def mark(reach: Reach, images: Iterable[str]) -> Reachable:
    """Everything that the images (and the images of the indexes) among *images* need; gaps are passed over."""
    every: dict[str, Needs] = {}
    todo = list(images)
    while todo:
        digest = todo.pop()
        if digest not in every and (needs := reach.of(digest)) is not None:
            every[digest] = needs
            todo.extend(needs.images)
    # Each kind in one go: a large store has a million of them, most of which many images need.
    return Reachable(
        set(every),
        set(chain.from_iterable(needs.blobs for needs in every.values())),
        set(chain.from_iterable(needs.layers for needs in every.values())),
        set(chain.from_iterable(needs.trees for needs in every.values())),
    )


class Sweep(NamedTuple):
    """What is to be deleted at one moment: records, and names; and the layers that stay with fewer blobs."""

    removed: Removed
    names: tuple[str, ...] = ()
    layers: Mapping[str, LayerRecord] = MappingProxyType({})


def planned(snapshot: Snapshot, reach: Reach, images: Iterable[str]) -> Sweep:
    """How to delete everything that the images (and the images of the indexes) among *images* do not need.

    A layer that stays forgets the blobs that none of these images lists: they go, and the others still rebuild its
    tree. *reach* is of this *snapshot*.
    """
    keep = mark(reach, images)
    removed = Removed(
        images=[digest for digest in reach.images if digest not in keep.images],
        layers=reach.layers.besides(keep.layers),
        trees=reach.trees.besides(keep.trees),
    )
    layers: dict[str, LayerRecord] = {}
    blobs = set(keep.blobs)
    for number, (chain_id, layer) in enumerate(snapshot.layers()):
        if number not in keep.layers:
            continue
        listed = tuple(blob for blob in layer.blobs if reach.blobs.of(blob) in keep.blobs)
        if not listed:
            blobs.update(map(reach.blobs.of, layer.blobs))
        elif listed != layer.blobs:
            layers[chain_id] = layer._replace(blobs=listed)
    removed.blobs = reach.blobs.besides(blobs)
    names = chain.from_iterable(reach.names.get(digest, ()) for digest in removed.images)
    return Sweep(removed, tuple(sorted(names)), layers)


def note_removal(ingest: Ingest, plan: Sweep) -> None:
    """List in *ingest*, to which `take_files` will move them, the files that *plan* leaves unrecorded."""
    if plan.removed.blobs or plan.removed.trees:
        ingest.note_places(places_of(plan.removed.blobs, plan.removed.trees))


def sweep(change: Change, plan: Sweep) -> Removed:
    """Delete what *plan* says, which must be of this very moment; what that was."""
    for chain_id, layer in plan.layers.items():
        change.put_layer(chain_id, layer)
    gone = plan.removed
    for table, keys in (("images", gone.images), ("layers", gone.layers), ("trees", gone.trees), ("blobs", gone.blobs)):
        for key in keys:
            change.delete(table, key)
    for name in plan.names:
        change.delete("names", name)
    return gone


def take_files(directories: Directories, graph: Graph, ingest: Ingest, removed: Removed) -> None:
    """Step 2: move the files of *removed* into *ingest*, which deletes them when its context ends."""
    if not (removed.blobs or removed.trees):
        return
    with graph.write() as change:
        for number, digest in enumerate(removed.blobs):
            if change.blob(digest) is None:
                _take(ingest, directories.blob(digest), f"blob-{number}")
        for number, key in enumerate(removed.trees):
            if change.tree(key) is None:
                _take(ingest, directories.tree(key), f"tree-{number}")
    reached("remove.files-moved")


def _take(ingest: Ingest, path: str, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        ingest.take(path, name)
        reached("remove.file-moved")
