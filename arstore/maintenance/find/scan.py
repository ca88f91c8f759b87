"""Scans of the index of contents. Each reads one part of all pages, in pieces of some MB."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from arstore.maintenance.find.query import parents
from arstore.store.contents.segment import DIGESTS, KEYS, NAMES, SegmentError
from arstore.trees.contents.file_digests import LENGTH
from arstore.trees.contents.page import KEY, PageError, key_of, keys_of, names_of
from arstore.trees.contents.row import BLAKE3, COVERING, KIND, SHA256
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from arstore.maintenance.find.query import DigestQuery, PatternQuery
    from arstore.store.contents.segment import Place, Segment
    from arstore.store.contents.shelf import Index
    from arstore.trees.contents.page import Names

_PIECE = 4 << 20
KINDS_OF_ROWS = range(KIND)
"""All kinds that a row can have."""
_FEW = 50
"""One of so many pages is few."""
_SEARCHED = 12
"""Paths whose keys are searched for one by one."""


class DamagedError(Exception):
    """The segment with this number is damaged; never leaves the package."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Entry(NamedTuple):
    """A row that was looked for: kind, size, flags of its digests, and these."""

    kind: int
    size: int
    flags: int = 0
    digests: bytes = b""


class Occurrences:
    """Where the trees have some paths, by path and tree; and where they have something above these that hides things.

    `hiding` has the kinds, by path and tree. `is_cut` says that there were more than could be kept.
    """

    def __init__(self) -> None:
        self.own: dict[bytes, dict[bytes, Entry]] = {}
        self.hiding: dict[bytes, dict[bytes, int]] = {}
        self.is_cut = False
        self._count = 0

    def put(self, path: bytes, tree: bytes, entry: Entry, most: int) -> None:
        """Add where a tree has a path, if there are not too many."""
        self._count += 1
        if self._count > most:
            self.is_cut = True
            return
        self.own.setdefault(path, {})[tree] = entry


def trees_that_may_have(index: Index, path: bytes, kinds: Collection[int], wanted: Collection[bytes]) -> set[bytes]:
    """Return the trees *wanted* that have a row with the key of *path* and one of *kinds*: all with it, and few more.

    Raises DamagedError, OSError.
    """
    needles = {key_of(path, kind) for kind in kinds}
    found: set[bytes] = set()
    for number, segment, pages in _segments(index, wanted):
        with _Damage(number):
            places = _places_of_keys(segment, needles)
            found.update(page.tree for page, _ in _by_page(segment, pages, segment.row_starts, places))
    return found


def occurrences(index: Index, paths: Collection[bytes], wanted: Collection[bytes], most: int) -> Occurrences:
    """Find *paths* in the trees *wanted*, and what hides them there. Raises DamagedError, OSError."""
    own = frozenset(paths)
    above = frozenset(parent for path in own for parent in parents(path))
    needles = {key_of(path, kind) for path in own for kind in KINDS_OF_ROWS}
    needles.update(key_of(path, kind) for path in above for kind in COVERING)
    found = Occurrences()
    for number, segment, pages in _segments(index, wanted):
        with _Damage(number):
            for page, rows in _rows_with(segment, pages, needles):
                names = segment.names(page)
                listed = names.paths()
                for row in rows:
                    path, kind = listed[row], names.kinds[row] & KIND
                    if path in own:
                        found.put(path, page.tree, _entry(segment, page, names, row), most)
                    if kind in COVERING and path in above:
                        found.hiding.setdefault(path, {})[page.tree] = kind
    return found


def _rows_with(segment: Segment, pages: Sequence[int], needles: set[int]) -> Iterator[tuple[Place, list[int]]]:
    """Yield those *pages* that have some of these keys, with the numbers of their rows. All keys read are verified.

    Few pages are read one by one, many with the whole section.
    """
    if len(pages) * _FEW > len(segment.trees):
        yield from _by_page(segment, pages, segment.row_starts, _places_of_keys(segment, needles))
        return
    for _ in segment.section(KEYS):
        pass
    for page in map(segment.page, pages):
        keys = keys_of(segment.read(KEYS, page.keys, KEY * page.head.rows))
        if not needles.isdisjoint(keys):
            yield page, [row for row, key in enumerate(keys) if key in needles]


class Matches(NamedTuple):
    """Paths that match a pattern, the trees that have one, and whether there are more paths."""

    paths: set[bytes]
    trees: set[bytes]
    is_cut: bool


def paths_matching(index: Index, query: PatternQuery, wanted: Collection[bytes], most: int) -> Matches:
    """Return the paths that match *query*, at most *most*. Raises DamagedError, OSError."""
    found: set[bytes] = set()
    trees: set[bytes] = set()
    matches, literal = query.expression.findall, query.literal
    for number, segment, pages in _segments(index, wanted):
        with _Damage(number):
            for page, names in every_names(segment, pages):
                if literal in names.text and (paths := matches(names.text)):
                    found.update(paths)
                    trees.add(page.tree)
                    if len(found) > most:
                        return Matches(set(sorted(found)[:most]), trees, True)
    return Matches(found, trees, False)


def paths_with(index: Index, query: DigestQuery, wanted: Collection[bytes]) -> dict[bytes, set[bytes]]:
    """Return the trees that have this content, with the paths there. Raises DamagedError, OSError."""
    found: dict[bytes, set[bytes]] = {}
    for number, segment, pages in _segments(index, wanted):
        with _Damage(number):
            places = _places(segment, DIGESTS, {query.start}, LENGTH)
            for page, numbers in _by_page(segment, pages, segment.digest_starts, places):
                names = segment.names(page)
                listed, rows = names.paths(), list(names.digest_rows())
                for row, flag in map(rows.__getitem__, numbers):
                    if flag & query.flags:
                        found.setdefault(page.tree, set()).add(listed[row])
    return found


def every_names(segment: Segment, pages: Sequence[int]) -> Iterator[tuple[Place, Names]]:
    """Yield the names of these pages, in their order, reading many at a time. Raises SegmentError, OSError."""
    group: list[Place] = []
    for page in map(segment.page, pages):
        if group and page.names + page.head.stored - group[0].names > _PIECE:
            yield from _names_of_group(segment, group)
            group = []
        group.append(page)
    if group:
        yield from _names_of_group(segment, group)


def _names_of_group(segment: Segment, group: Sequence[Place]) -> Iterator[tuple[Place, Names]]:
    start = group[0].names
    data = segment.read(NAMES, start, group[-1].names + group[-1].head.stored - start)
    for page in group:
        place = page.names - start
        try:
            yield page, names_of(page.head, data[place : place + page.head.stored])
        except PageError as error:
            raise SegmentError(f"has a page that {error}") from error


def _segments(index: Index, wanted: Collection[bytes]) -> Iterator[tuple[int, Segment, list[int]]]:
    for number, segment in enumerate(index.segments):
        trees = segment.trees
        pages = [page for page in index.pages(number) if trees[page] in wanted]
        if pages:
            yield number, segment, pages


class _Damage:
    """A context that turns SegmentError into DamagedError for a segment."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, SegmentError):
            raise DamagedError(self._number) from error


def _places(segment: Segment, section: int, needles: set[int] | set[bytes], width: int) -> list[int]:
    """Return the numbers of the elements of a section that are among *needles*, all of it verified."""
    found: list[int] = []
    start = 0
    for data in segment.section(section):
        for needle in _present(data, needles):
            packed = needle if isinstance(needle, bytes) else needle.to_bytes(width, "little")
            at = data.find(packed)
            while at >= 0:
                if at % width == 0:
                    found.append((start + at) // width)
                at = data.find(packed, at + 1)
        start += len(data)
    return sorted(found)


def _places_of_keys(segment: Segment, needles: set[int]) -> list[int]:
    """Return the numbers of the rows with one of these keys, all of the section verified.

    Keys of one path differ in the lowest byte alone. If they are of few paths, the other bytes are searched for, which
    takes a tenth of the time of looking at each key.
    """
    lowest: dict[bytes, set[int]] = {}
    for key in needles:
        lowest.setdefault((key >> 8).to_bytes(KEY - 1, "little"), set()).add(key & 0xFF)
    if len(lowest) > _SEARCHED:
        return _places(segment, KEYS, needles, KEY)
    found: list[int] = []
    start = 0
    for data in segment.section(KEYS):
        for rest, wanted in lowest.items():
            at = data.find(rest)
            while at >= 0:
                if at % KEY == 1 and data[at - 1] in wanted:
                    found.append((start + at) // KEY)
                at = data.find(rest, at + 1)
        start += len(data)
    return sorted(found)


def _present(data: bytes, needles: set[int] | set[bytes]) -> set[int] | set[bytes]:
    """Return those *needles* that may be in *data*."""
    if not needles or isinstance(next(iter(needles)), bytes):
        return needles
    return needles.intersection(keys_of(data))


def _by_page(
    segment: Segment, pages: Sequence[int], starts: Sequence[int], numbers: Sequence[int]
) -> Iterator[tuple[Place, list[int]]]:
    """Yield those *pages* that have some of these elements, with their numbers within the page.

    *starts* has the number of the first element of each page of the segment.
    """
    found: dict[int, list[int]] = {}
    for number in numbers:
        page = bisect_right(starts, number) - 1
        found.setdefault(page, []).append(number - starts[page])
    wanted = frozenset(pages) if found else ()
    for page, inside in found.items():
        if page in wanted:
            yield segment.page(page), inside


def _entry(segment: Segment, page: Place, names: Names, row: int) -> Entry:
    kinds = names.kinds
    kind = kinds[row]
    flags = kind & (SHA256 | BLAKE3)
    digests = b""
    if flags:
        before = sum((other & (SHA256 | BLAKE3)).bit_count() for other in kinds[:row] if other & (SHA256 | BLAKE3))
        start = LENGTH * before
        digests = segment.digests(page)[start : start + LENGTH * flags.bit_count()]
    return Entry(kind & KIND, names.sizes[row], flags, digests)
