"""The collector: a plan of the content that nothing holds, and its execution, which returns what was removed.

Roots are names, containers, mounts and leases of live processes (`store.collect.holders.roots`). Marking finds
everything that they need (`store.collect.sweep.planned`). The sweep removes the rest: images without a name and content
that only they need, and leftovers of dead processes (`maintenance.clutter`). Files are removed in the steps of
`store.collect.sweep`, so that an import at the same moment loses nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.disk.staging import Ingest
from arstore.graph import hints
from arstore.graph.soundness import require_sound
from arstore.maintenance.clutter import find_clutter, find_unrecorded
from arstore.maintenance.scan.totals import NOTHING, Freed, Known
from arstore.maintenance.scan.walk import freed, outline
from arstore.mounts.leftovers import remove_leftover
from arstore.mounts.source import remove_stray
from arstore.mounts.table import MountTable
from arstore.rootfs.mount import remove_abandoned
from arstore.store.collect.holders import roots
from arstore.store.collect.launcher_files import remove_left
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import Removed, Sweep, note_removal, planned, sweep, take_files
from arstore.store.contents.shelf import Shelf
from arstore.store.layout import write_layout
from arstore.store.leftovers import is_recorded, places_of, take_ingest
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store


@dataclass(slots=True, frozen=True)
class Garbage:
    """Content that nothing holds: keys of records, and names of files and directories; `bytes` is their size on disk.

    `mounts` are ids of stale records, and paths of mounts without a record. `leftovers` are below the runroot; `bytes`
    counts only content below the root. `orphans` are files without a record, and those of killed launchers.
    """

    images: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    ingests: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    bytes: int = 0

    def by_kind(self) -> dict[str, tuple[str, ...]]:
        """Return the keys and names of each kind, in the order in which `gc` prints them."""
        return {
            "images": self.images,
            "attachments": self.attachments,
            "layers": self.layers,
            "blobs": self.blobs,
            "trees": self.trees,
            "orphans": self.orphans,
            "containers": self.containers,
            "ingests": self.ingests,
            "leases": self.leases,
            "mounts": self.mounts,
            "leftovers": self.leftovers,
        }

    def __bool__(self) -> bool:
        return any(self.by_kind().values())


class Marked(NamedTuple):
    """The result of marking a snapshot of the graph: the records to delete.

    `moment` is the snapshot's number, and `held` are the roots.
    """

    moment: int
    held: frozenset[str]
    doomed: Sweep


@dataclass(slots=True, frozen=True)
class Plan(Garbage):
    """The content that `collect` would remove; `marked` is None if records of images are to stay, held or not."""

    marked: Marked | None = None
    parts: Freed = NOTHING
    """`bytes` by kind."""
    of_launchers: tuple[str, ...] = ()
    """Those of `orphans` that are in the directories of containers that stay."""


@dataclass(slots=True, frozen=True)
class Collected(Garbage):
    """The content that `collect` removed. `bytes` counts files when they were deleted, so hard links count right."""


# --- roots and mark: the plan ---------------------------------------------------------------------------------------


def plan_collection(store: Store) -> Plan:
    """Return what `collect` would remove now.

    Raises StoreDamagedError when the graph is damaged, OSError and the errors of Graph.
    """
    return _plan(store, clutter_only=False)


def plan_clutter(store: Store) -> Plan:
    """Return the part of `plan_collection` without records of images. Raises the errors of `plan_collection`."""
    return _plan(store, clutter_only=True)


def _plan(store: Store, *, clutter_only: bool) -> Plan:
    with store.graph.read() as snapshot:
        reach = Reach(snapshot)
        marked = None if clutter_only else _mark(store, snapshot, reach)
        leases = _dead_leases(store, snapshot)
        known = Known.of(snapshot, blobs=reach.blobs.recorded, trees=reach.trees.recorded)
    clutter = find_clutter(store, outline(store.directories, known), known)
    doomed = marked.doomed.removed if marked else Removed()
    if doomed or any(clutter.unrecorded):
        require_sound(store.graph)
    parts = freed(store.directories, [*doomed.places(), *clutter.places()])
    return Plan(
        images=doomed.images,
        attachments=doomed.attachments,
        layers=doomed.layers,
        blobs=doomed.blobs,
        trees=doomed.trees,
        orphans=(*clutter.orphans, *clutter.of_launchers),
        of_launchers=clutter.of_launchers,
        containers=clutter.containers,
        ingests=clutter.ingests,
        leases=leases,
        mounts=clutter.mounts,
        leftovers=clutter.leftovers,
        bytes=parts.total,
        parts=parts,
        marked=marked,
    )


def _mark(store: Store, snapshot: Snapshot, reach: Reach | None = None) -> Marked:
    """Find the roots and what they need, and plan to delete the rest. Raises OSError and the errors of Graph."""
    reach = reach or Reach(snapshot)
    held = roots(store.directories, snapshot, reach.names, store.protects)
    return Marked(snapshot.number(), held, planned(snapshot, reach, held))


def _dead_leases(store: Store, snapshot: Snapshot) -> tuple[str, ...]:
    path = store.graph.path
    return tuple(key for key, one in snapshot.leases() if not Owner(one.pid, one.start, one.boot).is_alive(path))


# --- sweep: the application -----------------------------------------------------------------------------------------


def collect(store: Store, plan: Plan | None = None) -> Collected:
    """Remove the content in *plan*, by default a new plan, and return what was removed.

    Content that is held by now stays; if the graph has changed since the plan, it is marked again. Raises
    StoreDamagedError if the graph is damaged, OSError and the errors of Graph.
    """
    with store.graph.spare_given_up():
        if plan is None:
            plan = plan_collection(store)
        reached("collect.planned")
        return _apply(store, plan)


def _apply(store: Store, plan: Plan) -> Collected:
    mounts = (*MountTable(store.directories).prune(), *filter(remove_stray, _paths(plan.mounts)))
    reached("collect.mounts-pruned")
    containers = remove_abandoned(store)
    reached("collect.containers-removed")
    leftovers = tuple(name for name in plan.leftovers if remove_leftover(store.directories.runroot, name))
    left = remove_left(store, plan.of_launchers)
    with Ingest(store.directories) as ingest:
        deleted, leases = _delete_records(store, plan, ingest)
        _drop_hints(store)
        gone = take_files(store.directories, store.graph, ingest, deleted)
        ingest.forget_places()
        of_launchers = frozenset(plan.of_launchers)
        orphans = _take_orphans(store, ingest, [name for name in plan.orphans if name not in of_launchers])
    ingests = _remove_ingests(store, plan.ingests)
    # Last, because it needs space, which a full disk has only now.
    write_layout(store.directories, store.graph)
    if plan:
        # Only then, because a plan without content has a bound of 0 bytes.
        _tidy_contents(store)
    store.sync_trees()
    return Collected(
        images=gone.images,
        attachments=gone.attachments,
        layers=gone.layers,
        blobs=gone.blobs,
        trees=gone.trees,
        orphans=(*orphans, *left),
        containers=tuple(containers),
        ingests=tuple(ingests),
        leases=leases,
        mounts=mounts,
        leftovers=leftovers,
        bytes=ingest.freed + sum(containers.values()) + sum(ingests.values()) + sum(left.values()),
    )


def _paths(mounts: Iterable[str]) -> list[str]:
    """Return those of the planned *mounts* that have no record."""
    return [name for name in mounts if name.startswith("/")]


def _delete_records(store: Store, plan: Plan, ingest: Ingest) -> tuple[Removed, tuple[str, ...]]:
    """Delete the records of content that nothing holds now, and dead leases; return both as deleted."""
    marked = plan.marked
    if marked is not None:
        with store.graph.read() as snapshot:
            # Time has passed, and the containers removed on the way are changes too. Marking takes long on a large
            # store, so it is not done inside the transaction, for which all others wait.
            if snapshot.number() != marked.moment:
                marked = _mark(store, snapshot)
    reached("collect.marked")
    with store.graph.write() as change:
        doomed = Sweep()
        if marked is not None:
            # Mounts are made while holding the writer's lock, and do not change the graph.
            held = roots(store.directories, change, patterns=store.protects) if change.follows(marked.moment) else None
            still = held is not None and held <= marked.held
            doomed = marked.doomed if still else _mark(store, change).doomed
        note_removal(ingest, doomed)
        removed = sweep(change, doomed)
        leases = tuple(lease_id for lease_id in plan.leases if change.delete("leases", lease_id))
    reached("collect.recorded")
    return removed, leases


def _drop_hints(store: Store) -> None:
    with store.graph.read() as snapshot:
        names = hints.stale(snapshot)
    if names:
        with store.graph.write() as change:
            hints.drop(change, names)
    reached("collect.hints-dropped")


def _tidy_contents(store: Store) -> None:
    """Shrink the index of contents, if much of it is about trees that are gone. The bytes of a plan do not count it."""
    shelf = Shelf(store.directories.contents)
    if shelf.exists():
        with store.graph.read() as snapshot:
            keys = list(snapshot.keys("trees"))
        shelf.tidy(keys)


def _take_orphans(store: Store, ingest: Ingest, orphans: Iterable[str]) -> tuple[str, ...]:
    """Move *orphans* into *ingest*; return those that existed. Files that were recorded since the plan stay."""
    orphans = tuple(orphans)
    if not orphans:
        return ()
    taken = []
    with store.graph.write() as change:
        for number, name in enumerate(orphans):
            if not is_recorded(change, name):
                with suppress(FileNotFoundError):
                    ingest.take(f"{store.directories.root}/{name}", f"orphan-{number}")
                    taken.append(name)
                    reached("collect.orphan-moved")
    return tuple(taken)


def _remove_ingests(store: Store, names: Iterable[str]) -> dict[str, int]:
    """Delete ingests of dead processes; return those that no other process took, with the bytes that this freed."""
    freed: dict[str, int] = {}
    for name in names:
        count = take_ingest(store.directories, store.graph, name)
        if count is not None:
            freed[name] = count
        reached("collect.ingest-removed")
    return freed


def reclaim(store: Store) -> int:
    """Delete only blobs and trees without a record; return the bytes that this frees.

    For an import that would otherwise not fit. Raises OSError and the errors of Graph.
    """
    with store.graph.read() as snapshot:
        known = Known.of(snapshot)
    lost = find_unrecorded(store, outline(store.directories, known), known)
    with Ingest(store.directories) as ingest:
        _take_orphans(store, ingest, places_of(lost.blobs, lost.trees))
    return ingest.freed
