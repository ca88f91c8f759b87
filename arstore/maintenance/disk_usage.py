"""Disk usage: where every byte under the root is, and the size of each image.

The parts add up to the total, and the total equals that of du(1). Content without a record in the graph is shown as
`orphans`, and content that the collector would delete, as `reclaimable`.
"""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, chain
from operator import mul, sub
from typing import TYPE_CHECKING

from arstore.dataclass import dataclass, field
from arstore.graph.key_numbers import Numbers
from arstore.maintenance.clutter import find_clutter, strays
from arstore.maintenance.remove import Membership
from arstore.maintenance.scan.size_table import Sizes
from arstore.maintenance.scan.totals import Known
from arstore.maintenance.scan.walk import Parts, freed
from arstore.store.collect.holders import roots
from arstore.store.collect.reachability import ImageNeeds, Reach
from arstore.store.collect.sweep import mark, planned
from arstore.values import NamedTuple
from arstore.workers.pool import divided

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.maintenance.scan.totals import Survey
    from arstore.store.store import Store, StoredImage


class ImageUsage(NamedTuple):
    """Bytes allocated for an image's blobs and trees: `unique` would be freed with it, `shared` has other users."""

    digest: str
    names: tuple[str, ...]
    size: int
    unique: int
    shared: int


@dataclass(slots=True, frozen=True)
class Usage:
    """Bytes allocated on disk; `total` is the sum of `parts`."""

    blobs: int
    trees: int
    containers: int
    volumes: int
    metadata: int
    ingest: int
    orphans: int
    reclaimable: int
    images: tuple[ImageUsage, ...]
    strays: dict[str, int] = field(default_factory=dict)
    """The part of `orphans` that is not the store's, by name below the root."""
    basis: object = field(default=None, repr=False, compare=False)
    """The data behind the figures, kept alive for a process that ends soon: freeing it takes a while for a large store.
    """

    def parts(self) -> dict[str, int]:
        """Return the parts of the total, in the order in which `du` prints them."""
        return {
            "blobs": self.blobs,
            "trees": self.trees,
            "containers": self.containers,
            "volumes": self.volumes,
            "metadata": self.metadata,
            "ingest": self.ingest,
            "orphans": self.orphans,
        }

    @property
    def total(self) -> int:
        """Bytes of everything below the root."""
        return sum(self.parts().values())


def measure(store: Store, images: Sequence[StoredImage] | None = None) -> Usage:
    """Measure the whole store; itemise only *images* (all by default).

    Directories through which pipelines hand over images count as containers. Raises OSError and the errors of Graph.
    """
    with store.graph.read():
        pass  # opening a graph for the first time makes its files, which count
    store.close()
    parts = Parts(store.directories)
    with divided(parts.survey, parts.COUNT) as surveyed:
        with store.graph.read() as snapshot:
            reach = Reach(snapshot)
            known = Known.of(snapshot, blobs=reach.blobs.recorded, trees=reach.trees.recorded)
            doomed = planned(snapshot, reach, roots(store.directories, snapshot, reach.names)).removed
            shares = _Shares(reach)
        found, *others = surveyed()
    for other in others:
        found.add(other)
    parts.remember(found)
    clutter = find_clutter(store, found, known)
    wanted = reach.images if images is None else [i.digest for i in images if i.digest in reach.images]
    lost = clutter.unrecorded
    blobs = sum(map(found.blobs.__getitem__, lost.blobs))
    trees = sum(map(found.trees.__getitem__, lost.trees))
    containers = sum(map(found.containers.__getitem__, lost.containers))
    blobs_kept, trees_kept = found.blobs.total - blobs, found.trees.total - trees
    # From here on, files that blobs and trees share count in neither.
    shares.weigh(found)
    return Usage(
        blobs=blobs_kept,
        trees=trees_kept,
        containers=found.containers.total - containers + found.exchange,
        volumes=found.volumes.total,
        metadata=found.frame,
        ingest=found.ingests.total,
        orphans=blobs + trees + containers + found.strange.total,
        reclaimable=freed(store.directories, [*doomed.places(), *clutter.places()]).total,
        images=tuple(map(shares.item, wanted)),
        strays={name: found.strange[name] for name in strays(found)},
        basis=shares,
    )


class _Kind:
    """The content of one kind, blobs or trees, that images need, and its bytes.

    The needs of all images are in one list, with running sums; the need of one image is the difference of two sums. So
    no Python code runs for each number.
    """

    def __init__(self, numbers: Numbers, needed: Iterable[tuple[int, ...]]) -> None:
        """*needed* has the numbers that each image needs."""
        needs = list(needed)
        self._numbers = numbers
        self._needed = list(chain.from_iterable(needs))
        self._starts = list(accumulate(map(len, needs), initial=0))
        self._users = Counter(self._needed)
        self._is_of_one = [self._users.get(number) == 1 for number in range(len(numbers.keys))]

    def weigh(self, sizes: Sizes) -> tuple[list[int], list[int]]:
        """Given all sizes, return for each image the bytes that it needs, and those that only it needs."""
        self._sizes = sizes.by_number(self._numbers)
        return self._weighed(self._sizes), self._weighed(list(map(mul, self._sizes, self._is_of_one)))

    def _weighed(self, sizes: list[int]) -> list[int]:
        sums = list(accumulate([sizes[number] for number in self._needed], initial=0))
        ends = [sums[start] for start in self._starts]
        return list(map(sub, ends[1:], ends))

    def bytes(self, numbers: Iterable[int]) -> int:
        """Return the bytes of these numbers."""
        return sum(map(self._sizes.__getitem__, numbers))

    def freed(self, needed: Iterable[tuple[int, ...]]) -> int:
        """Return the bytes that nothing needs any more without the images that need these."""
        users = Counter(chain.from_iterable(needed))
        return self.bytes(number for number, count in users.items() if count == self._users[number])


class _Shares:
    """The share of each image in the content of the store."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._membership = Membership(reach)
        self._needs = {digest: needs for digest in reach.images if (needs := reach.of(digest))}

        every = self._needs.values()
        self._files: _Kind | None = None
        self._owned: dict[tuple[str, int], list[int]] = {}
        """The numbers of the files that are shared with others, of each blob and each tree."""
        self._blobs = _Kind(reach.blobs, (needs.blobs for needs in every))
        self._trees = _Kind(reach.trees, (needs.trees for needs in every))

    def weigh(self, found: Survey) -> None:
        """Take the sizes from *found*. A file that blobs and trees share is one more thing that images need."""
        files = self._shared_files(found)
        kinds = [self._blobs.weigh(found.blobs), self._trees.weigh(found.trees)]
        if files:
            numbers = Numbers(files)
            self._files = _Kind(numbers, map(self._files_of, self._needs.values()))
            kinds.append(self._files.weigh(Sizes(files, files.values())))
        sizes, own = (map(sum, zip(*all_, strict=True)) for all_ in zip(*kinds, strict=True))
        self._weighed = dict(zip(self._needs, zip(sizes, own, strict=True), strict=True))

    def _shared_files(self, found: Survey) -> dict[str, int]:
        """Return the bytes of each file that several blobs and trees share, and note whose it is."""
        numbers = {"blobs": self._reach.blobs, "trees": self._reach.trees}
        files: dict[str, int] = {}
        for size, owners in found.shared():
            for table, key in owners:
                if table in numbers:
                    self._owned.setdefault((table, numbers[table].of(key)), []).append(len(files))
            files[str(len(files))] = size
        return files

    def _files_of(self, needs: ImageNeeds) -> tuple[int, ...]:
        """Return the numbers of the shared files that an image needs, each once."""
        owned = self._owned
        found = [owned.get(("blobs", number), ()) for number in needs.blobs]
        found += [owned.get(("trees", number), ()) for number in needs.trees]
        return tuple(dict.fromkeys(chain.from_iterable(found)))

    def _shared(self, some: Iterable[ImageNeeds]) -> int:
        """Return the bytes of the shared files that only these images need."""
        return 0 if self._files is None else self._files.freed(map(self._files_of, some))

    def item(self, digest: str) -> ImageUsage:
        """Return the usage of one image or index; `unique` includes images that would be removed with it."""
        needs = self._needs[digest]
        if not needs.is_index:
            size, own = self._weighed[digest]
        else:
            every = mark(self._reach, [digest])
            gone = [self._needs[one] for one in self._membership.gone_with([digest]) if one in self._needs]
            size = self._blobs.bytes(every.blobs) + self._trees.bytes(every.trees)
            if self._files is not None:
                size += self._files.bytes(self._files_of(ImageNeeds(tuple(every.blobs), trees=tuple(every.trees))))
            own = self._blobs.freed(one.blobs for one in gone) + self._trees.freed(one.trees for one in gone)
            own += self._shared(gone)
        return ImageUsage(digest, tuple(self._reach.names.get(digest, ())), size, own, size - own)
