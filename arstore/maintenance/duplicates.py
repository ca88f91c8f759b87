"""Duplicates: files with the same content in the trees of layers, and what sharing them would save.

Layers are stored once, whatever images have them; this is about equal files in different layers, or twice in one. It
reads the digests in the index of contents and no file. Files without a digest, and layers that the index lacks, are not
counted, and reported as unknown.

A store may have 10^7 files, and every one may be a duplicate, so nothing is kept for each of them but eight bytes: the
digests are counted first, then the groups of equal ones are added up some at a time, and then the files of the largest
groups are looked up.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING

from arstore.maintenance.find.scan import every_names
from arstore.maintenance.find.stacks import Stacks
from arstore.store.contents.segment import DIGESTS, SegmentError, tree_id
from arstore.store.contents.shelf import Shelf
from arstore.trees.contents.file_digests import LENGTH, SMALL
from arstore.trees.contents.row import AGAIN, BLAKE3, SHA256
from arstore.trees.forms import properties
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot
    from arstore.store.contents.segment import Segment
    from arstore.store.contents.shelf import Index
    from arstore.store.store import Store

SHOWN = 50
"""Groups of equal files that are itemised: those that would save most."""
_PLACES = 1000
"""Most files of a group that are itemised."""
_AT_ONCE = 1 << 20
"""Digests that are sorted at once."""
_GROUPS = 1 << 19
"""Groups that are added up at once."""
_TAR_BLOCK, _DISK_BLOCK = 512, 4096


class Copy(NamedTuple):
    """One of several equal files: the diff ID of its layer, its path, and the digests of the images with the layer."""

    diff_id: str
    path: bytes
    images: tuple[str, ...]


class Group(NamedTuple):
    """Equal files: digest (its first 16 bytes), size, number, the bytes that sharing would save, and some of them."""

    digest: str
    size: int
    copies: int
    saved: int
    places: tuple[Copy, ...]


@dataclass(slots=True)
class Duplicates:
    """All groups of equal files in sum, and the largest ones.

    `files` is the number of names of files with a digest. `saved` counts bytes on disk in trees: content in a tar takes
    whole blocks of 512 bytes, an extracted file whole blocks of 4096. `unlisted` are layers that the index lacks,
    `unhashed` files without a digest. `names` has the names of images by digest.
    """

    files: int = 0
    groups: int = 0
    copies: int = 0
    saved: int = 0
    largest: tuple[Group, ...] = ()
    unlisted: tuple[str, ...] = ()
    unhashed: int = 0
    names: dict[str, list[str]] | None = None


def duplicates(store: Store, only: Collection[str] = ()) -> Duplicates:
    """Find the duplicates in the layers of the images *only* (digests; by default of all).

    Raises OSError and the errors of Graph.
    """
    with store.graph.read() as snapshot:
        stacks = Stacks(snapshot, only)
    # The pages of the graph that were read would count as this process's memory.
    store.release()
    with store.graph.read() as snapshot:
        extracted = _extracted(snapshot)
    store.release()
    skipped: set[str] = set()
    while True:
        with Shelf(store.directories.contents).opened(skipped) as index:
            damaged = _Damaged()
            found = Duplicates(names=stacks.names)
            with damaged:
                _Search(store.graph, index, stacks, extracted, found, damaged).run()
            if damaged.path is None:
                return found
            skipped.add(damaged.path)


def _extracted(snapshot: Snapshot) -> frozenset[bytes]:
    """Return the trees of extracted files."""
    return frozenset(
        tree_id(key)
        for keys, trees in snapshot.batches("trees", _Forms)
        for key, form in zip(keys, trees.form, strict=True)
        if properties(form).extracts
    )


class _Forms(NamedTuple):
    form: list[str]


class _Damaged:
    """A context that ends at a damaged segment, and has the path of the segment that was being read."""

    def __init__(self) -> None:
        self.reading = ""
        self.path: str | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, SegmentError):
            self.path = self.reading
            return True
        return False


@dataclass(slots=True)
class _Sum:
    size: int = 0
    copies: int = 0
    bytes: int = 0
    largest: int = 0

    @property
    def saved(self) -> int:
        return self.bytes - self.largest


class _Search:
    def __init__(
        self,
        graph: Graph,
        index: Index,
        stacks: Stacks,
        extracted: frozenset[bytes],
        found: Duplicates,
        damaged: _Damaged,
    ) -> None:
        self._graph = graph
        self._index = index
        self._stacks = stacks
        self._extracted = extracted
        self._found = found
        self._damaged = damaged

    def run(self) -> None:
        """Fill in what is found. Raises SegmentError, OSError."""
        stacks, found = self._stacks, self._found
        lost = [number for tree, number in stacks.trees.items() if tree not in self._index.trees]
        found.unlisted = tuple(sorted(set(stacks.diff_ids(self._graph, [*lost, *stacks.lacking]).values())))
        repeated = self._repeated()
        best: list[tuple[int, bytes, _Sum]] = []
        for start in range(0, len(repeated), _GROUPS):
            sums = self._sums(set(repeated[start : start + _GROUPS]))
            for one in sums.values():
                if one.copies > 1:
                    found.groups += 1
                    found.copies += one.copies
                    found.saved += one.saved
            candidates = ((one.saved, digest, one) for digest, one in sums.items() if one.copies > 1)
            best = nlargest(SHOWN, [*best, *nlargest(SHOWN, candidates, key=_order)], key=_order)
        found.largest = self._itemised({digest: one for _, digest, one in best})

    def _segments(self) -> Iterator[tuple[Segment, list[int]]]:
        wanted = self._stacks.trees
        for number, segment in enumerate(self._index.segments):
            self._damaged.reading = segment.path
            pages = [page for page in self._index.pages(number) if segment.trees[page] in wanted]
            if pages:
                yield segment, pages

    def _repeated(self) -> array[int]:
        """Return the first eight bytes of digests that occur more than once, as numbers."""
        firsts = array("Q")
        for segment, pages in self._segments():
            bare = segment.total("bare", pages)
            self._found.unhashed += bare
            self._found.files += segment.total("files", pages) - bare
            if len(pages) == len(segment.trees):
                for data in segment.section(DIGESTS):
                    firsts.extend(array("Q", data)[::2])
            else:
                for page in map(segment.page, pages):
                    firsts.extend(array("Q", segment.digests(page))[::2])
        parts = len(firsts) // _AT_ONCE + 1
        found = array("Q")
        for part in range(parts):
            some = sorted(firsts if parts == 1 else [one for one in firsts if one % parts == part])
            pairs = zip(some, islice(some, 1, None), strict=False)
            found.extend(dict.fromkeys(one for one, other in pairs if one == other))
        return found

    def _files(self, wanted: Collection[int]) -> Iterator[tuple[bytes, bytes, int, bytes]]:
        """Yield digest, tree, size and path of each file whose digest begins with one of *wanted*."""
        for segment, pages in self._segments():
            for page, names in every_names(segment, pages):
                digests = segment.digests(page)
                firsts = array("Q", digests)[::2]
                if not any(first in wanted for first in firsts):
                    continue
                paths: list[bytes] | None = None
                for number, (row, flag) in enumerate(names.digest_rows()):
                    kind, size = names.kinds[row], names.sizes[row]
                    # Of two digests, that which all files of this size have.
                    if firsts[number] not in wanted or kind & AGAIN or flag != (SHA256 if size <= SMALL else BLAKE3):
                        continue
                    paths = paths or names.paths()
                    yield digests[LENGTH * number : LENGTH * (number + 1)], page.tree, size, paths[row]

    def _sums(self, wanted: Collection[int]) -> dict[bytes, _Sum]:
        sums: dict[bytes, _Sum] = {}
        for digest, tree, size, _ in self._files(wanted):
            one = sums.get(digest)
            if one is None:
                one = sums[digest] = _Sum(size)
            block = _DISK_BLOCK if tree in self._extracted else _TAR_BLOCK
            taken = -(-size // block) * block
            one.copies += 1
            one.bytes += taken
            one.largest = max(one.largest, taken)
        return sums

    def _itemised(self, best: dict[bytes, _Sum]) -> tuple[Group, ...]:
        places: dict[bytes, list[tuple[bytes, bytes]]] = {digest: [] for digest in best}
        if best:
            for digest, tree, _, path in self._files({int.from_bytes(digest[:8], "little") for digest in best}):
                if digest in places and len(places[digest]) < _PLACES:
                    places[digest].append((tree, path))
        trees = {tree for some in places.values() for tree, _ in some}
        images: dict[bytes, list[str]] = {tree: [] for tree in trees}
        for image, stack in self._stacks.images_over(trees).items():
            for tree in stack:
                if tree in images:
                    images[tree].append(image)
        numbers = {tree: self._stacks.trees[tree] for tree in trees}
        diff_ids = self._stacks.diff_ids(self._graph, numbers.values())
        return tuple(
            Group(
                f"{'sha256' if one.size <= SMALL else 'blake3'}:{digest.hex()}",
                one.size,
                one.copies,
                one.saved,
                tuple(
                    Copy(diff_ids[numbers[tree]], path, tuple(images[tree])) for tree, path in sorted(places[digest])
                ),
            )
            for digest, one in best.items()
        )


def _order(item: tuple[int, bytes, _Sum]) -> tuple[int, bytes]:
    return item[0], item[1]
