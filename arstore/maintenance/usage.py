"""The bill: where every byte under the root is, and what each image costs.

The parts add up to the total, and the total is what du(1) says. What nothing in the graph accounts for is shown as
`orphans`, and what the collector would take, as `reclaimable`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from arstore.maintenance.gc import add_files, plan_records
from arstore.maintenance.survey import Known
from arstore.maintenance.surveyor import survey_from_within
from arstore.store.disposal import Membership
from arstore.store.reach import Reach
from arstore.store.sweep import mark
from arstore.store.workers import beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.maintenance.survey import Survey
    from arstore.store.reach import Needs
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
    store.close()
    # Two beside this one: what is to be read of the graph, and of either, takes about as long.
    look = partial(survey_from_within, store.directories)
    with beside(partial(look, trees=True)) as trees_surveyed, beside(partial(look, trees=False)) as surveyed:
        with store.graph.read() as snapshot:
            reach = Reach(snapshot)
            known = Known.of(snapshot)
            plan = plan_records(store, snapshot, reach, known)
            names = snapshot.names_by_digest()
            shares = _Shares(reach, Membership(snapshot, reach.indexes()))
            wanted = list(reach.images)
            if images is not None:
                wanted = [image.digest for image in images if image.digest in reach.images]
        found = surveyed()
        found.add(trees_surveyed())
    lost = add_files(store, plan, found, known)
    orphans = sum(sum(table.values()) for table in (lost.blobs, lost.trees, lost.containers, found.strange))
    return Usage(
        blobs=sum(found.blobs.values()) - sum(lost.blobs.values()),
        trees=sum(found.trees.values()) - sum(lost.trees.values()),
        containers=sum(found.containers.values()) - sum(lost.containers.values()) + found.exchange,
        metadata=found.frame,
        ingest=sum(found.ingests.values()),
        orphans=orphans,
        reclaimable=plan.bytes,
        images=tuple(shares.item(digest, tuple(names.get(digest, ())), found) for digest in wanted),
    )


class _Shares:
    """What each image needs, and how many images need each of it."""

    def __init__(self, reach: Reach, membership: Membership) -> None:
        self._reach = reach
        self._membership = membership
        self._needs = {digest: needs for digest in reach.images if (needs := reach.of(digest)) and not needs.is_index}
        self._blobs, self._trees = _users(self._needs.values())

    def item(self, digest: str, names: tuple[str, ...], found: Survey) -> ImageUsage:
        """The bill of one image or index: what only it needs, and the images that would go with it, is its own."""
        needs = self._needs.get(digest)
        if needs is None:
            every = mark(self._reach, [digest])
            gone = self._membership.gone_with([digest])
            own_blobs, own_trees = _users(self._needs[one] for one in gone if one in self._needs)
            blobs, trees = tuple(every.blobs), tuple(every.trees)
            unique = sum(found.blobs.get(key, 0) for key in blobs if self._blobs[key] == own_blobs[key])
            unique += sum(found.trees.get(key, 0) for key in trees if self._trees[key] == own_trees[key])
        else:
            blobs, trees = needs.blobs, needs.trees
            unique = sum(found.blobs.get(key, 0) for key in blobs if self._blobs[key] == 1)
            unique += sum(found.trees.get(key, 0) for key in trees if self._trees[key] == 1)
        size = sum(found.blobs.get(key, 0) for key in blobs) + sum(found.trees.get(key, 0) for key in trees)
        return ImageUsage(digest, names, size, unique, size - unique)


def _users(every: Iterable[Needs]) -> tuple[Counter[str], Counter[str]]:
    """How many of these images need each blob and each tree."""
    needs = list(every)
    blobs = Counter(chain.from_iterable(one.blobs for one in needs))
    return blobs, Counter(chain.from_iterable(one.trees for one in needs))
