"""Removal of cached trees, least recently used first. The next use of an image builds its trees again.

A tree is kept if a container, a mount or a reading process uses it, or if it could not be built again because its
layer's blob is not in this store. Blobs, names and images are always kept. Records are deleted first, then files, as in
every removal (`store.collect.sweep`). A layer without a tree is like one whose tree was never built.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arstore.disk.staging import Ingest
from arstore.graph.soundness import require_sound
from arstore.maintenance.scan.walk import freed
from arstore.store.collect.holders import tree_holders
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import Removed, Sweep, note_removal, sweep, take_files
from arstore.store.last_use import last_uses
from arstore.store.leftovers import places_of
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.graph.snapshot import Snapshot
    from arstore.graph.write import Change
    from arstore.store.store import Store


class Goal(NamedTuple):
    """The limits to reach; without any, every tree that is not in use is given up."""

    total: int | None = None
    """Bytes that the store may take on disk afterwards."""
    freed: int | None = None
    """Bytes to free at least."""
    unused_since: float | None = None
    """Give up only trees whose last use was before this time, in seconds since the epoch."""
    least: int = 0
    """Give up nothing if that would free fewer bytes."""
    sparing: frozenset[str] = frozenset()
    """Keys of trees that are kept in any case."""


@dataclass(slots=True, frozen=True)
class Trim:
    """Keys of trees that are given up, and digests of the images that they belong to.

    `freed` counts bytes on disk, and `short` the bytes by which the goal was missed.
    """

    trees: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    freed: int = 0
    short: int = 0


def plan_trim(store: Store, goal: Goal) -> Trim:
    """Return what `trim` would do now. Raises OSError and the errors of Graph."""
    wanted = _wanted(store, goal)
    with store.graph.read() as snapshot:
        return _planned(store, snapshot, goal, wanted)


def trim(store: Store, goal: Goal) -> Trim:
    """Give up trees until *goal* is reached, and return what was done; `freed` counts as it was deleted.

    Raises StoreDamagedError if the graph is damaged, OSError and the errors of Graph.
    """
    wanted = _wanted(store, goal)
    with store.graph.spare_given_up(), Ingest(store.directories) as ingest:
        with store.graph.read() as snapshot:
            plan = _planned(store, snapshot, goal, wanted)
        if not plan.trees or plan.freed < goal.least:
            return Trim(short=wanted)
        require_sound(store.graph)
        reached("trim.planned")
        with store.graph.write() as change:
            # Mounts are made while holding the writer's lock: what is not held now stays so until the commit.
            held = _held(store, change) | goal.sparing
            removed = Removed(
                trees=tuple(key for key in plan.trees if key not in held and change.tree(key) is not None)
            )
            note_removal(ingest, Sweep(removed))
            _forget(change, frozenset(removed.trees))
            sweep(change, Sweep(removed))
        reached("trim.recorded")
        gone = take_files(store.directories, store.graph, ingest, removed)
        ingest.forget_places()
    return replace(plan, trees=gone.trees, freed=ingest.freed, short=max(0, wanted - ingest.freed))


def _wanted(store: Store, goal: Goal) -> int:
    """Return the bytes to free."""
    if goal.freed is not None:
        return goal.freed
    if goal.total is None:
        return 0
    from arstore.maintenance.disk_usage import measure

    return max(0, measure(store, []).total - goal.total)


def _planned(store: Store, snapshot: Snapshot, goal: Goal, wanted: int) -> Trim:
    if not wanted and (goal.freed is not None or goal.total is not None):
        return Trim()
    reach = Reach(snapshot)
    uses = _uses(snapshot, reach)
    held = _held(store, snapshot) | goal.sparing
    again = _buildable(store, snapshot)
    chosen: list[str] = []
    count = 0
    for key, used in sorted(uses.items(), key=lambda item: (item[1], item[0])):
        if goal.unused_since is not None and used >= goal.unused_since:
            break
        if key in held or key not in again:
            continue
        chosen.append(key)
        if wanted:
            count += freed(store.directories, places_of((), [key])).total
            if count >= wanted:
                break
    chosen += _runs_over(snapshot, frozenset(chosen), held)
    # Only all together: a file with names in two trees is freed with the second one.
    count = freed(store.directories, places_of((), chosen)).total
    gone = frozenset(chosen)
    images = tuple(digest for digest in reach.images if not gone.isdisjoint(_trees_of(reach, digest)))
    return Trim(tuple(chosen), images, count, max(0, wanted - count))


def _uses(snapshot: Snapshot, reach: Reach) -> dict[str, float]:
    """Return the time of the last use of each tree of an image: that of the image which was used last."""
    noted = last_uses(snapshot)
    uses: dict[str, float] = {}
    for digest in reach.images:
        record = snapshot.image(digest)
        if record is None or record.is_index:
            continue
        used = max(record.imported, noted.get(digest, 0.0))
        for key in _trees_of(reach, digest):
            uses[key] = max(used, uses.get(key, 0.0))
    return {key: used for key, used in uses.items() if snapshot.tree(key) is not None}


def _trees_of(reach: Reach, digest: str) -> Iterator[str]:
    needs = reach.of(digest)
    keys = reach.trees.keys
    return (keys[number] for number in needs.trees) if needs is not None else iter(())


def _held(store: Store, snapshot: Snapshot) -> frozenset[str]:
    """Return the trees that containers, mounts and processes use, and the merged indexes over these."""
    held = tree_holders(store.directories, snapshot).keys()
    return frozenset((*held, *(key for key, record in snapshot.runs() if held >= set(record.members))))


def _buildable(store: Store, snapshot: Snapshot) -> frozenset[str]:
    """Return the trees that can be built again from what this store has: from a blob, or from other trees."""
    caps = {image.cap for _, image in snapshot.images() if image.cap}
    found = {key for key, record in snapshot.trees() if record.members or key in caps}
    for _, layer in snapshot.layers():
        if layer.tree and any(_is_there(store, snapshot, digest) for digest in layer.blobs):
            found.add(layer.tree)
    return frozenset(found)


def _is_there(store: Store, snapshot: Snapshot, digest: str) -> bool:
    record = snapshot.blob(digest)
    if record is None:
        return False
    try:
        return os.stat(store.directories.blob(digest), follow_symlinks=False).st_size == record.size
    except OSError:
        return False


def _runs_over(snapshot: Snapshot, gone: frozenset[str], held: frozenset[str]) -> list[str]:
    """Return the merged indexes over trees that go, besides these: they show nothing without them."""
    return [
        key
        for key, record in snapshot.runs()
        if key not in gone and key not in held and not gone.isdisjoint(record.members)
    ]


def _forget(change: Change, gone: frozenset[str]) -> None:
    """Take the trees *gone* from the records of layers and images."""
    for chain_id, layer in list(change.layers()):
        if layer.tree in gone:
            change.put_layer(chain_id, layer._replace(tree=""))
    for digest, image in list(change.images()):
        if image.cap and image.cap in gone:
            change.put_image(digest, image._replace(cap=None))
