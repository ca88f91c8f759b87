"""Removing images: a name, or an image with all its names, and at once everything that nothing else needs.

First comes a plan, which is a value. A name is removed only where it is written as it is stored: what is called alike
in another tool's spelling was not named. What a container, a mount or a living lease holds is not removed. Files go in
the way that `sweep` describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.disk.staging import Ingest
from arstore.errors import InUseError
from arstore.graph.soundness import require_sound
from arstore.oci.reference import parse_query
from arstore.store.collect.holders import image_holders
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import Removed, Sweep, note_removal, planned, sweep, take_files
from arstore.store.layout import write_layout
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store, StoredImage


@dataclass(slots=True, frozen=True)
class Disposal:
    """What `remove_images` does: names that stand for nothing any more, and what is removed.

    `freed` counts the bytes on disk of blobs and trees: of a plan as du(1) does, else as they were deleted.
    """

    untagged: tuple[str, ...]
    removed: Removed
    freed: int


def plan_removal(store: Store, texts: Sequence[str]) -> Disposal:
    """What `remove_images` would do now. Raises as it does."""
    from arstore.maintenance.scan.walk import weigh

    with store.graph.read() as snapshot:
        plan = _planned(store, snapshot, texts)
    removed = plan.sweep.removed
    return _disposal(plan, removed, weigh(store.directories, removed.places()))


def remove_images(store: Store, texts: Sequence[str]) -> Disposal:
    """Remove what *texts* mean, all of it or nothing.

    A name of several is only taken away; the last one takes its image along, as a digest does. An index takes along
    those of its images that have no other name. Raises the errors of `Store.find`, and InUseError.
    """
    with store.graph.spare_given_up():
        return _dispose(store, texts)


class _Plan(NamedTuple):
    """At one moment: the names that are only taken away, what is *doomed* and all that goes with it, and how."""

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
            # Names stay what they are while the lock is held. To mark takes long on a large store, and all who change
            # something wait for it: what was found before holds when nobody has committed since.
            if not change.follows(moment):
                plan = _planned(store, change, texts)
            # Mounts are made with the lock held, and nothing of them is committed.
            _require_unheld(store, change, plan.gone, plan.doomed)
            for name in plan.untagged:
                change.delete("names", name)
            note_removal(ingest, plan.sweep)
            removed = sweep(change, plan.sweep)
        reached("remove.recorded")
        gone = take_files(store.directories, store.graph, ingest, removed)
        ingest.forget_places()
    # Last, because it needs space, of which a full disk has some only now.
    write_layout(store.directories, store.graph)
    return _disposal(plan, gone, ingest.freed)


def _disposal(plan: _Plan, removed: Removed, freed: int) -> Disposal:
    names = [name for name in plan.sweep.names if name not in plan.untagged]
    return Disposal((*plan.untagged, *names), removed, freed)


def _planned(store: Store, snapshot: Snapshot, texts: Sequence[str]) -> _Plan:
    untagged, doomed = _meant(store, texts)
    if not doomed:
        return _Plan(untagged, doomed, set(), Sweep())
    reach = Reach(snapshot)
    members = Membership(reach, frozenset(untagged))
    gone = members.gone_with(doomed)
    _require_unheld(store, snapshot, gone, doomed)
    if (listed := members.listed_elsewhere(gone)) is not None:
        raise InUseError(_label(listed[0], doomed), f"is part of the index {listed[1]}", "remove that")
    keep = [digest for digest in reach.images if digest not in gone]
    return _Plan(untagged, doomed, gone, planned(snapshot, reach, keep))


def _meant(store: Store, texts: Sequence[str]) -> tuple[list[str], dict[str, StoredImage]]:
    """The names that are only taken away, and the images that go."""
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
    """The name by which *text* meant the image; "" when it was its digest."""
    query = parse_query(text)
    if query.digest is not None or query.name is None:
        return ""
    name = str(query.name)
    return name if name in image.names else ""


class Membership:
    """Which indexes list which images, and which images have names, at one moment."""

    def __init__(self, reach: Reach, untagged: frozenset[str] = frozenset()) -> None:
        """Names *untagged* count no more."""
        self._named = {digest for digest, names in reach.names.items() if not untagged.issuperset(names)}
        self._members = reach.indexes()
        self._listing: dict[str, set[str]] = {}
        for digest, listed in self._members.items():
            for member in listed:
                self._listing.setdefault(member, set()).add(digest)

    def gone_with(self, doomed: Iterable[str]) -> set[str]:
        """*doomed* and what goes with the indexes among them: members without a name that no other index lists."""
        gone = set(doomed)
        todo = list(gone)
        while todo:
            for member in self._members.get(todo.pop(), ()):
                if member not in gone and member not in self._named and self._listing[member] <= gone:
                    gone.add(member)
                    todo.append(member)
        return gone

    def listed_elsewhere(self, gone: set[str]) -> tuple[str, str] | None:
        """One of the images *gone* that an index lists which stays, and that index; None where there is none."""
        for digest, listed in self._members.items():
            if digest not in gone and not gone.isdisjoint(listed):
                return (gone & set(listed)).pop(), digest
        return None


def _require_unheld(store: Store, snapshot: Snapshot, gone: set[str], doomed: dict[str, StoredImage]) -> None:
    for digest, holder in image_holders(store.directories, snapshot).items():
        if digest in gone:
            raise InUseError(_label(digest, doomed), holder.why, holder.hint)


def _label(digest: str, doomed: dict[str, StoredImage]) -> str:
    return doomed[digest].label if digest in doomed else digest
