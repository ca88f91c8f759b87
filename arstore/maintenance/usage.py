"""The bill: where every byte under the root is, and what each image costs.

The parts add up to the total, and the total is what du(1) says. What nothing in the graph accounts for is shown as
`orphans`, and what the collector would take, as `reclaimable`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple

from arstore.maintenance.gc import add_files, known_to, plan_records
from arstore.maintenance.surveyor import Parts
from arstore.store.disposal import Membership
from arstore.store.reach import Reach
from arstore.store.sweep import mark
from arstore.store.workers import divided

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.maintenance.survey import Survey
    from arstore.store.numbers import Numbers
    from arstore.store.reach import Needs
    from arstore.store.store import Store, StoredImage
    from arstore.store.sweep import Reachable


class ImageUsage(NamedTuple):
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
    parts = Parts(store.directories)
    with divided(parts.survey, parts.COUNT) as surveyed:
        with store.graph.read() as snapshot:
            reach = Reach(snapshot)
            known = known_to(snapshot, reach)
            plan = plan_records(store, snapshot, reach)
            names = snapshot.names_by_digest()
            shares = _Shares(reach, Membership(snapshot, reach.indexes()))
        found, *others = surveyed()
    for other in others:
        found.add(other)
    lost = add_files(store, plan, found, known)
    orphans = sum(sum(table.values()) for table in (lost.blobs, lost.trees, lost.containers, found.strange))
    shares.weigh(found)
    wanted = reach.images if images is None else [i.digest for i in images if i.digest in reach.images]
    return Usage(
        blobs=sum(found.blobs.values()) - sum(lost.blobs.values()),
        trees=sum(found.trees.values()) - sum(lost.trees.values()),
        containers=sum(found.containers.values()) - sum(lost.containers.values()) + found.exchange,
        metadata=found.frame,
        ingest=sum(found.ingests.values()),
        orphans=orphans,
        reclaimable=plan.bytes,
        images=tuple(shares.item(digest, tuple(names.get(digest, ()))) for digest in wanted),
    )


class _Kind:
    """Blobs, or trees: how many images need each, and its bytes."""

    def __init__(self, numbers: Numbers, needed: Iterable[Iterable[int]]) -> None:
        self._numbers = numbers
        self._users = Counter(chain.from_iterable(needed))
        self._of_one = [number for number, users in self._users.items() if users == 1]

    def weigh(self, sizes: dict[str, int]) -> None:
        """These are the bytes of each; what is not there has none."""
        self._sizes = list(map(sizes.get, self._numbers.keys, repeat(0)))
        self._own = [0] * len(self._sizes)
        for number in self._of_one:
            self._own[number] = self._sizes[number]

    def bytes(self, numbers: Iterable[int]) -> int:
        """Of all of these."""
        sizes = self._sizes
        return sum([sizes[number] for number in numbers])

    def own(self, numbers: Iterable[int]) -> int:
        """Of those of them that one image alone needs."""
        own = self._own
        return sum([own[number] for number in numbers])

    def freed(self, needed: Iterable[Iterable[int]]) -> int:
        """Of what nobody needs any more without the images that need these."""
        users = Counter(chain.from_iterable(needed))
        return self.bytes(number for number, count in users.items() if count == self._users[number])


class _Shares:
    """What of all that images need is whose."""

    def __init__(self, reach: Reach, membership: Membership) -> None:
        self._reach = reach
        self._membership = membership
        self._needs = {digest: needs for digest in reach.images if (needs := reach.of(digest)) and not needs.is_index}
        every = self._needs.values()
        self._blobs = _Kind(reach.blobs, (needs.blobs for needs in every))
        self._trees = _Kind(reach.trees, (needs.trees for needs in every))

    def weigh(self, found: Survey) -> None:
        """What was *found* is what everything occupies."""
        self._blobs.weigh(found.blobs)
        self._trees.weigh(found.trees)

    def item(self, digest: str, names: tuple[str, ...]) -> ImageUsage:
        """The bill of one image or index: what only it needs, and the images that would go with it, is its own."""
        needs: Needs | Reachable | None = self._needs.get(digest)
        if needs is not None:
            own = self._blobs.own(needs.blobs) + self._trees.own(needs.trees)
        else:
            needs = mark(self._reach, [digest])
            gone = [self._needs[one] for one in self._membership.gone_with([digest]) if one in self._needs]
            own = self._blobs.freed(one.blobs for one in gone) + self._trees.freed(one.trees for one in gone)
        size = self._blobs.bytes(needs.blobs) + self._trees.bytes(needs.trees)
        return ImageUsage(digest, names, size, own, size - own)
