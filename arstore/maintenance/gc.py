"""The collector: first a plan, which is a value, then its application.

Roots are names, containers, mounts and leases. Everything that no root reaches goes: images without a name, and what
only they need; files that the graph does not know; ingests, containers and leases of processes that have died;
records of mounts that are gone. Files go in the way that `store.collect.sweep` describes, so that an import at the same
moment loses nothing.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.disk.paths import RESERVED
from arstore.disk.staging import Ingest
from arstore.graph import hints
from arstore.graph.soundness import require_sound
from arstore.maintenance.scan.totals import Known
from arstore.maintenance.scan.walk import outline, weigh
from arstore.mounts.leftovers import left_in, leftovers, remove_leftover
from arstore.mounts.source import remove_stray
from arstore.mounts.table import MountState, MountTable
from arstore.mounts.unrecorded import stray_mounts
from arstore.rootfs.mount import remove_abandoned
from arstore.store.collect.holders import image_holders
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import Removed, Sweep, mark, note_removal, planned, sweep, take_files
from arstore.store.layout import write_layout
from arstore.store.leftovers import is_recorded, places_of, take_ingest
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.scan.size_table import Sizes
    from arstore.maintenance.scan.totals import Survey
    from arstore.store.store import Store


@dataclass(slots=True)
class Collection:
    """What nothing holds: keys of records, and names of files and directories; `bytes` is what they occupy.

    `mounts` are ids of records that nothing is mounted for, and paths of mounts that have no record; `leftovers` are
    below the runroot.
    """

    images: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    ingests: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    bytes: int = 0

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__ if name != "bytes")


def plan_collection(store: Store) -> Collection:
    """What `collect` would take now.

    Raises StoreDamagedError when the graph is damaged, OSError and the errors of Graph.
    """
    with store.graph.read() as snapshot:
        reach = Reach(snapshot)
        known = known_to(snapshot, reach)
        plan = plan_records(store, snapshot, reach)
    lost = add_files(store, plan, outline(store.directories, known), known)
    if any((plan.images, plan.layers, plan.trees, plan.blobs, *lost)):
        require_sound(store.graph)
    return plan


def known_to(snapshot: Snapshot, reach: Reach) -> Known:
    """What has records, of which *reach* has read most. Raises the errors of Graph."""
    return Known.of(snapshot, blobs=reach.blobs.recorded, trees=reach.trees.recorded)


def plan_records(store: Store, snapshot: Snapshot, reach: Reach) -> Collection:
    """The part of the plan that the graph tells. Raises OSError and the errors of Graph."""
    plan = Collection()
    keep = mark(reach, roots(store, snapshot, reach.names))
    plan.images = [digest for digest in reach.images if digest not in keep.images]
    plan.layers = reach.layers.besides(keep.layers)
    plan.trees = reach.trees.besides(keep.trees)
    plan.blobs = reach.blobs.besides(keep.blobs)
    plan.leases = [
        i for i, one in snapshot.leases() if not Owner(one.pid, one.start, one.boot).is_alive(store.graph.path)
    ]
    return plan


class Lost(NamedTuple):
    """Keys of what is there without a record."""

    blobs: list[str]
    trees: list[str]
    containers: list[str]


def add_files(store: Store, plan: Collection, found: Survey, known: Known) -> Lost:
    """Add to *plan* what processes that died have left, and what was *found* that the graph does not know by now.

    *known* is what it knew before. The latter is returned as well. Raises OSError and the errors of Graph.
    """
    lost = _unknown(store, found, known)
    plan.containers = [c.id for c in store.containers.list() if c.abandoned]
    plan.ingests = [name for name in found.ingests if _is_dead(name, store.graph.path)]
    plan.mounts = [*_dead_mounts(store), *stray_mounts(store.directories)]
    plan.leftovers = leftovers(store.directories.runroot)
    plan.orphans = [
        *(f"blobs/{digest.replace(':', '/')}" for digest in lost.blobs),
        *(f"trees/{key.partition(':')[2]}" for key in lost.trees),
        *(f"containers/{name}" for name in lost.containers),
        *(f"mounts/{name}" for name in left_in(store.directories.mounts)),
        *(name for name in found.strange if _is_ours(name, store.graph.path)),
    ]
    plan.bytes = weigh(store.directories, _names(plan))
    return lost


def _unknown(store: Store, found: Survey, known: Known) -> Lost:
    """What of *found* is without a record: not *known*, and still not recorded, which everything is first."""
    with store.graph.read() as snapshot:

        def besides(table: str) -> list[str]:
            sizes: Sizes = getattr(found, table)
            return [key for key in sizes.besides(getattr(known, table)) if not snapshot.has(table, key)]

        return Lost._make(map(besides, Lost._fields))


def collect(store: Store, clutter_only: bool = False) -> Collection:
    """Take what nothing holds, and return what that was; what came to be held meanwhile stays.

    With *clutter_only* no record of an image goes, only what processes that died have left. Raises OSError and the
    errors of Graph.
    """
    with store.graph.spare_given_up():
        return _collect(store, clutter_only)


def _collect(store: Store, clutter_only: bool) -> Collection:
    plan = plan_collection(store)
    reached("collect.planned")
    if clutter_only:
        plan.images, plan.layers, plan.blobs, plan.trees = [], [], [], []
    MountTable(store.directories).prune()
    plan.mounts = [name for name in plan.mounts if not name.startswith("/") or remove_stray(name)]
    reached("collect.mounts-pruned")
    plan.containers = remove_abandoned(store)
    reached("collect.containers-removed")
    for name in plan.leftovers:
        remove_leftover(store.directories.runroot, name)
    with Ingest(store.directories) as ingest:
        doomed = Sweep(Removed())
        if not clutter_only:
            with store.graph.read() as snapshot:
                moment, held, doomed = snapshot.number(), roots(store, snapshot), planned_sweep(store, snapshot)
        reached("collect.marked")
        with store.graph.write() as change:
            # To mark takes long on a large store, and all who change something wait for this lock. Mounts are made with
            # it held, and nothing of them is committed.
            if not (clutter_only or (change.follows(moment) and roots(store, change) <= held)):
                doomed = planned_sweep(store, change)
            note_removal(ingest, doomed)
            removed = sweep(change, doomed)
            for lease_id in plan.leases:
                change.delete("leases", lease_id)
        reached("collect.recorded")
        _drop_hints(store)
        take_files(store.directories, store.graph, ingest, removed)
        _take_orphans(store, ingest, plan)
    for name in plan.ingests:
        take_ingest(store.directories, store.graph, name)
        reached("collect.ingest-removed")
    # Last, because it needs space, of which a full disk has some only now.
    write_layout(store.directories, store.graph)
    store.settle()
    plan.images, plan.layers = removed.images, removed.layers
    plan.blobs, plan.trees = removed.blobs, removed.trees
    return plan


def _drop_hints(store: Store) -> None:
    with store.graph.read() as snapshot:
        names = hints.stale(snapshot)
    if names:
        with store.graph.write() as change:
            hints.drop(change, names)
    reached("collect.hints-dropped")


def reclaim(store: Store) -> int:
    """Take the blobs and trees that the graph does not know, and nothing else; the bytes that this frees.

    For an import that would otherwise not fit. Raises OSError and the errors of Graph.
    """
    with store.graph.read() as snapshot:
        known = Known.of(snapshot)
    lost = _unknown(store, outline(store.directories, known), known)
    with Ingest(store.directories) as ingest:
        _take_orphans(store, ingest, Collection(orphans=list(places_of(lost.blobs, lost.trees))))
        place = ingest.path.removeprefix(f"{store.directories.root}/")
        return weigh(store.directories, [f"{place}/{name}" for name in os.listdir(ingest.path)])


def planned_sweep(store: Store, snapshot: Snapshot) -> Sweep:
    """How to delete what no root reaches. Raises OSError and the errors of Graph."""
    reach = Reach(snapshot)
    return planned(snapshot, reach, roots(store, snapshot, reach.names))


def roots(store: Store, snapshot: Snapshot, named: Iterable[str] | None = None) -> set[str]:
    """Digests of the images that something holds: a name, a container, a mount, a living lease.

    *named* are those that have names, for who has read these.
    """
    if named is None:
        named = (digest for _, digest in snapshot.names())
    return {*named, *image_holders(store.directories, snapshot)}


def _take_orphans(store: Store, ingest: Ingest, plan: Collection) -> None:
    """Move what the graph still does not know out of its place; what has been recorded since the plan stays."""
    if not plan.orphans:
        return
    with store.graph.write() as change:
        for number, name in enumerate(plan.orphans):
            if not is_recorded(change, name):
                with contextlib.suppress(FileNotFoundError):
                    ingest.take(f"{store.directories.root}/{name}", f"orphan-{number}")
                    reached("collect.orphan-moved")


def _is_dead(ingest_name: str, graph: str) -> bool:
    owner = Owner.of_directory(ingest_name)
    return owner is None or not owner.is_alive(graph)


def strays(found: Survey) -> list[str]:
    """Names below the root of what was *found* there and is not the store's: the collector leaves it alone."""
    return [name for name in found.strange if "/" not in name and _writer(name) is None]


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


def _dead_mounts(store: Store) -> list[str]:
    entries = MountTable(store.directories).list()
    return [entry.record.id for entry in entries if entry.state is MountState.STALE]


def _names(plan: Collection) -> Iterator[str]:
    """The files and directories below the root that go with *plan*."""
    yield from (f"blobs/{digest.replace(':', '/')}" for digest in plan.blobs)
    yield from (f"trees/{key.partition(':')[2]}" for key in plan.trees)
    yield from (f"ingest/{name}" for name in plan.ingests)
    yield from (f"containers/{name}" for name in plan.containers)
    yield from plan.orphans
