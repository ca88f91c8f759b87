"""Removal of images: a name, or an image with all its names, together with everything that nothing else needs.

Every removal starts with a plan, which is a value. A name has to be spelled as it is stored: another tool's spelling of
a similar name does not match. Images held by a container, a mount or a live lease are not removed. Files are removed in
the steps of `sweep`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arstore.disk.staging import Ingest
from arstore.errors import InUseError
from arstore.graph.soundness import require_sound
from arstore.maintenance.scan.totals import NOTHING, Freed
from arstore.oci.reference import parse_query
from arstore.store.collect.holders import image_holders
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import Removed, Sweep, note_removal, planned, sweep, take_files
from arstore.store.layout import write_layout
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store, StoredImage


@dataclass(slots=True, frozen=True)
class Disposal:
    """The effect of `remove_images`: names that are removed, and content that is removed.

    `freed` counts the bytes on disk of blobs and trees; for a plan, `parts` has them by kind.
    """

    untagged: tuple[str, ...]
    removed: Removed
    freed: int
    parts: Freed = NOTHING


def plan_removal(store: Store, texts: Sequence[str], without: Container[str] = frozenset()) -> Disposal:
    """Return what `remove_images` would do now, if the containers whose ids are in *without* were removed.

    Raises the errors of `remove_images`.
    """
    from arstore.maintenance.scan.walk import freed

    with store.graph.read() as snapshot:
        plan = _planned(store, snapshot, texts, without)
    removed = plan.sweep.removed
    parts = freed(store.directories, removed.places())
    return replace(_disposal(plan, removed, parts.total), parts=parts)


def containers_in_the_way(store: Store, texts: Sequence[str]) -> list[str]:
    """Return the ids of the containers of the images that `remove_images` would remove, sorted.

    Raises the errors of `remove_images`, except for these containers.
    """
    with store.graph.read() as snapshot:
        every = {container_id: record.image for container_id, record in snapshot.containers()}
        gone = _planned(store, snapshot, texts, every).gone
    return [container_id for container_id, image in every.items() if image in gone]


def remove_images(store: Store, texts: Sequence[str]) -> Disposal:
    """Remove what *texts* mean, all of it or nothing.

    If an image has other names, only the name is removed. Removing the last name, or giving a digest, removes the
    image. An index is removed with those of its images that have no other name and are in no other index. Raises the
    errors of `Store.find`, and InUseError.
    """
    with store.graph.spare_given_up():
        return _dispose(store, texts)


class _Plan(NamedTuple):
    """A plan for one moment: names to remove, the *doomed* images, all images that go with them, and the sweep."""

    untagged: list[str]
    doomed: dict[str, StoredImage]
    gone: set[str]
    sweep: Sweep


def _dispose(store: Store, texts: Sequence[str]) -> Disposal:
    with Ingest(store.directories) as ingest:
        with store.graph.read() as snapshot:
            moment, plan = snapshot.number(), _planned(store, snapshot, texts)
        if plan.doomed:
            require_sound(store.graph)
        reached("remove.planned")
        with store.graph.write() as change:
            # Names cannot change while the lock is held. Marking takes long on a large store, and other writers would
            # wait: so the earlier plan is used if no other process has committed since.
            if not change.follows(moment):
                plan = _planned(store, change, texts)
            # Mounts are made while holding the lock, and commit nothing.
            _require_unheld(store, change, plan.gone, plan.doomed)
            for name in plan.untagged:
                change.delete("names", name)
            note_removal(ingest, plan.sweep)
            removed = sweep(change, plan.sweep)
        reached("remove.recorded")
        gone = take_files(store.directories, store.graph, ingest, removed)
        ingest.forget_places()
    # Last, because it needs space, which a full disk has only now.
    write_layout(store.directories, store.graph)
    return _disposal(plan, gone, ingest.freed)


def _disposal(plan: _Plan, removed: Removed, freed: int) -> Disposal:
    names = [name for name in plan.sweep.names if name not in plan.untagged]
    return Disposal((*plan.untagged, *names), removed, freed)


def _planned(store: Store, snapshot: Snapshot, texts: Sequence[str], without: Container[str] = frozenset()) -> _Plan:
    untagged, doomed = _meant(store, texts)
    if not doomed:
        return _Plan(untagged, doomed, set(), Sweep())
    reach = Reach(snapshot)
    members = Membership(reach, frozenset(untagged))
    gone = members.gone_with(doomed)
    _require_unheld(store, snapshot, gone, doomed, without)
    if (listed := members.listed_elsewhere(gone)) is not None:
        raise InUseError(_label(listed[0], doomed), f"is part of the index {listed[1]}", "remove that")
    keep = [digest for digest in reach.images if digest not in gone]
    return _Plan(untagged, doomed, gone, planned(snapshot, reach, keep))


def _meant(store: Store, texts: Sequence[str]) -> tuple[list[str], dict[str, StoredImage]]:
    """Return the names that are only removed, and the images that are removed with theirs."""
    untagged: list[str] = []
    doomed: dict[str, StoredImage] = {}
    for text in texts:
        image = store.find(text, exact=True)
        name = _name_meant(text, image)
        left = [n for n in image.names if n != name and n not in untagged]
        if name and name in untagged:
            continue
        if name and left:
            untagged.append(name)
        else:
            doomed[image.digest] = image
    return untagged, doomed


def _name_meant(text: str, image: StoredImage) -> str:
    """Return the name of the image in *text*; "" if that is a digest."""
    query = parse_query(text)
    if query.digest is not None or query.name is None:
        return ""
    name = str(query.name)
    return name if name in image.names else ""


class Membership:
    """The images that each index lists, and the images with names, at one moment."""

    def __init__(self, reach: Reach, untagged: frozenset[str] = frozenset()) -> None:
        """The names *untagged* no longer count."""
        self._named = {digest for digest, names in reach.names.items() if not untagged.issuperset(names)}
        self._members = reach.indexes()
        self._listing: dict[str, set[str]] = {}
        for digest, listed in self._members.items():
            for member in listed:
                self._listing.setdefault(member, set()).add(digest)

    def gone_with(self, doomed: Iterable[str]) -> set[str]:
        """Return *doomed* and the members of their indexes that have no name and are in no other index."""
        gone = set(doomed)
        todo = list(gone)
        while todo:
            for member in self._members.get(todo.pop(), ()):
                if member not in gone and member not in self._named and self._listing[member] <= gone:
                    gone.add(member)
                    todo.append(member)
        return gone

    def listed_elsewhere(self, gone: set[str]) -> tuple[str, str] | None:
        """Return an image of *gone* that a remaining index lists, and that index; None if there is none."""
        for digest, listed in self._members.items():
            if digest not in gone and not gone.isdisjoint(listed):
                return (gone & set(listed)).pop(), digest
        return None


def _require_unheld(
    store: Store,
    snapshot: Snapshot,
    gone: set[str],
    doomed: dict[str, StoredImage],
    without: Container[str] = frozenset(),
) -> None:
    for digest, holder in image_holders(store.directories, snapshot, without).items():
        if digest in gone:
            raise InUseError(_label(digest, doomed), holder.why, holder.hint)


def _label(digest: str, doomed: dict[str, StoredImage]) -> str:
    return doomed[digest].label if digest in doomed else digest
