"""The bill: where every byte under the root is, and what each image costs.

The parts add up to the total, and the total is what du(1) says. What nothing in the graph accounts for is shown as
`orphans`, and what the collector would take, as `reclaimable`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.maintenance.gc import add_files, plan_records
from arstore.maintenance.survey import survey
from arstore.store.disposal import with_members
from arstore.store.sweep import mark
from arstore.store.workers import beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.maintenance.survey import Survey
    from arstore.store.graph import Snapshot
    from arstore.store.store import Store, StoredImage
    from arstore.store.sweep import Reachable


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
    with beside(lambda: survey(store.directories)) as surveyed:
        with store.graph.read() as snapshot:
            shares = _Shares(snapshot)
            plan = plan_records(store, snapshot)
            names = snapshot.names_by_digest()
            wanted = [image.digest for image in images] if images is not None else list(snapshot.keys("images"))
        found = surveyed()
    add_files(store, plan, found)
    with store.graph.read() as snapshot:
        known_blobs, known_trees, known_containers = (set(snapshot.keys(t)) for t in ("blobs", "trees", "containers"))
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
        reclaimable=plan.bytes,
        images=tuple(shares.item(digest, tuple(names.get(digest, ())), found) for digest in wanted),
    )


def _split(table: dict[str, int], known: set[str]) -> tuple[int, int]:
    inside = sum(size for key, size in table.items() if key in known)
    return inside, sum(table.values()) - inside


class _Shares:
    """What each image needs, and how many images need each of it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._of: dict[str, Reachable] = {}
        self._own: dict[str, set[str]] = {}
        indexes = []
        for digest, image in snapshot.images():
            if image.is_index:
                indexes.append(digest)
            else:
                self._of[digest] = mark(snapshot, [digest])
        self._blobs, self._trees = _counts(self._of.values())
        for digest in indexes:
            self._own[digest] = with_members(snapshot, [digest])
            self._of[digest] = mark(snapshot, [digest])

    def item(self, digest: str, names: tuple[str, ...], found: Survey) -> ImageUsage:
        """The bill of one image or index: what only it needs, and the images that would go with it, is its own."""
        needs = self._of[digest]
        blobs, trees = _counts(self._of[one] for one in self._own.get(digest, {digest}) if one not in self._own)
        size = unique = 0
        for keys, sizes, own, every in (
            (needs.blobs, found.blobs, blobs, self._blobs),
            (needs.trees, found.trees, trees, self._trees),
        ):
            for key in keys:
                taken = sizes.get(key, 0)
                size += taken
                if every[key] == own[key]:
                    unique += taken
        return ImageUsage(digest, names, size, unique, size - unique)


def _counts(found: Iterable[Reachable]) -> tuple[Counter[str], Counter[str]]:
    """How many of *found* have each blob and each tree."""
    blobs: Counter[str] = Counter()
    trees: Counter[str] = Counter()
    for one in found:
        blobs.update(one.blobs)
        trees.update(one.trees)
    return blobs, trees
