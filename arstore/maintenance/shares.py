"""Shares of images in the content of the store: which blobs, trees and files each image needs, and their bytes.

Out of scope: the scan that finds the sizes (`scan`), and what else is below the root (`disk_usage`).
"""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, chain
from operator import mul, sub
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.graph.key_numbers import Numbers
from arstore.maintenance.remove import Membership
from arstore.maintenance.scan.size_table import Sizes
from arstore.store.collect.reachability import ImageNeeds, Reach
from arstore.store.collect.sweep import mark
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arstore.maintenance.scan.totals import Survey


class ImageUsage(NamedTuple):
    """Bytes allocated for an image's blobs and trees: `unique` would be freed with it, `shared` has other users.

    `last_used` is in seconds since the epoch, 0 if it is not known.
    """

    digest: str
    names: tuple[str, ...]
    size: int
    unique: int
    shared: int
    last_used: float = 0.0


class Kind:
    """The content of one kind, blobs or trees, that images need, and its bytes.

    The needs of all images are in one list, with running sums; the need of one image is the difference of two sums. So
    no Python code runs for each number.
    """

    def __init__(self, numbers: Numbers, needed: Iterable[tuple[int, ...]]) -> None:
        """*needed* has the numbers that each image needs."""
        needs = list(needed)
        self.numbers = numbers
        """The numbers of the keys."""
        self._needed = list(chain.from_iterable(needs))
        self._starts = list(accumulate(map(len, needs), initial=0))
        self._users = Counter(self._needed)
        self._is_of_one = [self._users.get(number) == 1 for number in range(len(numbers.keys))]

    def weigh(self, sizes: Sizes) -> tuple[list[int], list[int]]:
        """Given all sizes, return for each image the bytes that it needs, and those that only it needs."""
        self._sizes = sizes.by_number(self.numbers)
        return self._weighed(self._sizes), self._weighed(list(map(mul, self._sizes, self._is_of_one)))

    def _weighed(self, sizes: list[int]) -> list[int]:
        sums = list(accumulate([sizes[number] for number in self._needed], initial=0))
        ends = [sums[start] for start in self._starts]
        return list(map(sub, ends[1:], ends))

    @property
    def sizes(self) -> list[int]:
        """The bytes of each number."""
        return self._sizes

    def users(self, number: int) -> int:
        """Return the number of images that need this content."""
        return self._users[number]

    def needed(self, image: int) -> list[int]:
        """Return the numbers that the image at this position needs."""
        return self._needed[self._starts[image] : self._starts[image + 1]]

    def bytes(self, numbers: Iterable[int]) -> int:
        """Return the bytes of these numbers."""
        return sum(map(self._sizes.__getitem__, numbers))

    def freed(self, needed: Iterable[tuple[int, ...]]) -> int:
        """Return the bytes that nothing needs any more without the images that need these."""
        users = Counter(chain.from_iterable(needed))
        return self.bytes(number for number, count in users.items() if count == self._users[number])


class Shares:
    """The share of each image in the content of the store."""

    def __init__(self, reach: Reach, uses: Mapping[str, float] = MappingProxyType({})) -> None:
        """*uses* has the last use of images, in seconds since the epoch, if that is later than their import."""
        self._reach = reach
        self._uses = uses
        self._membership = Membership(reach)
        self._needs = {digest: needs for digest in reach.images if (needs := reach.of(digest))}

        every = self._needs.values()
        self.files: Kind | None = None
        """Files that several blobs and trees share, if there are any."""
        self.owners: dict[tuple[str, int], list[int]] = {}
        """The numbers of the files that are shared with others, of each blob and each tree."""
        self.blobs = Kind(reach.blobs, (needs.blobs for needs in every))
        self.trees = Kind(reach.trees, (needs.trees for needs in every))

    @property
    def images(self) -> list[str]:
        """The digests of all images and indexes, in the order of their positions."""
        return list(self._needs)

    def weigh(self, found: Survey) -> None:
        """Take the sizes from *found*. A file that blobs and trees share is one more thing that images need."""
        files = self._shared_files(found)
        kinds = [self.blobs.weigh(found.blobs), self.trees.weigh(found.trees)]
        if files:
            numbers = Numbers(files)
            self.files = Kind(numbers, map(self._files_of, self._needs.values()))
            kinds.append(self.files.weigh(Sizes(files, files.values())))
        sizes, own = (map(sum, zip(*all_, strict=True)) for all_ in zip(*kinds, strict=True))
        self._weighed = dict(zip(self._needs, zip(sizes, own, strict=True), strict=True))

    def _shared_files(self, found: Survey) -> dict[str, int]:
        """Return the bytes of each file that several blobs and trees share, and note whose it is."""
        numbers = {"blobs": self._reach.blobs, "trees": self._reach.trees}
        files: dict[str, int] = {}
        for size, owners in found.shared():
            for table, key in owners:
                if table in numbers:
                    self.owners.setdefault((table, numbers[table].of(key)), []).append(len(files))
            files[str(len(files))] = size
        return files

    def _files_of(self, needs: ImageNeeds) -> tuple[int, ...]:
        """Return the numbers of the shared files that an image needs, each once."""
        owned = self.owners
        found = [owned.get(("blobs", number), ()) for number in needs.blobs]
        found += [owned.get(("trees", number), ()) for number in needs.trees]
        return tuple(dict.fromkeys(chain.from_iterable(found)))

    def _shared(self, some: Iterable[ImageNeeds]) -> int:
        """Return the bytes of the shared files that only these images need."""
        return 0 if self.files is None else self.files.freed(map(self._files_of, some))

    def item(self, digest: str) -> ImageUsage:
        """Return the usage of one image or index; `unique` includes images that would be removed with it."""
        needs = self._needs[digest]
        if not needs.is_index:
            size, own = self._weighed[digest]
        else:
            every = mark(self._reach, [digest])
            gone = [self._needs[one] for one in self._membership.gone_with([digest]) if one in self._needs]
            size = self.blobs.bytes(every.blobs) + self.trees.bytes(every.trees)
            if self.files is not None:
                size += self.files.bytes(self._files_of(ImageNeeds(tuple(every.blobs), trees=tuple(every.trees))))
            own = self.blobs.freed(one.blobs for one in gone) + self.trees.freed(one.trees for one in gone)
            own += self._shared(gone)
        return ImageUsage(digest, self.names(digest), size, own, size - own, self.last_used(digest))

    def names(self, digest: str) -> tuple[str, ...]:
        """Return the names of an image, sorted."""
        return tuple(self._reach.names.get(digest, ()))

    def last_used(self, digest: str) -> float:
        """Return when an image was last used, in seconds since the epoch; 0 if that is not known."""
        return max(self._reach.imported(digest), self._uses.get(digest, 0.0))
