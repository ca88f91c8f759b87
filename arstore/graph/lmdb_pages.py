"""The pages of LMDB's data file, checked without LMDB: is every byte that a reader depends on as a writer leaves it?

LMDB trusts its file: a flipped bit in a page may make it fail, loop or crash. Here pages are only bytes. Checked are:
both meta pages; the trees of the main and of the free database, page by page, with everything in a page accounted for;
keys in their order and between their separators; and that each page up to the last belongs to exactly one of: the main
tree, the free database's tree, the list of free pages. So a flip in a page number, a count or a length is always found;
values have their own seals (`record_checksum`). Bytes that are never read are not checked: free pages, the gap in a
page, the root in the older meta page, separators that still separate.

The format is that of LMDB 0.9 on 64 bits, little endian (mdb.c, `MDB_page`, `MDB_node`, `MDB_meta`). A writer may be
active: pages change only with the meta pages, so the faults of a walk count only if these have not changed.
"""

from __future__ import annotations

import os
import struct
from itertools import pairwise
from typing import TYPE_CHECKING

from arstore.builtin import partial, suppress
from arstore.dataclass import dataclass, field
from arstore.graph.datafile import HALVINGS
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Visit = Callable[[bytes, bytes], None]

_HEADER = struct.Struct("<QHHHH")
"""Page number, padding, flags, and the bounds of the gap; for overflow pages the last two are one count."""
_NODE = struct.Struct("<HHHH")
_NUMBER = struct.Struct("<Q")
_META = struct.Struct("<IIQQ")
_DATABASE = struct.Struct("<IHHQQQQQ")
_TAIL = struct.Struct("<QQ")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_BIG = 1
_NONE = (1 << 64) - 1
_INTEGER_KEYS = 8
_DEEPEST = 32
_MOST_PAGES = 1 << 22
"""Most pages that a meta page may refer to: those of 16 GiB."""


class PageError(Exception):
    """A page is not as LMDB leaves it."""


class _Database(NamedTuple):
    pad: int
    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int


@dataclass(slots=True, frozen=True)
class Meta:
    """A meta page: the moment that a reader starts from."""

    page_size: int
    map_size: int
    free: _Database
    main: _Database
    last: int
    transaction: int


@dataclass(slots=True)
class Walk:
    """Result of a walk: faults in words, how many records it has read, and whether these are complete."""

    faults: list[str] = field(default_factory=list)
    records: int = 0
    is_whole: bool = False


def walk(path: str, map_size: int, visit: Visit) -> Walk:
    """Walk the data file at *path*, made for *map_size*; *visit* is called with key and value of every record.

    Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return walk_open(fd, map_size, visit)
    finally:
        os.close(fd)


def walk_open(fd: int, map_size: int, visit: Visit) -> Walk:
    """Like `walk`, for an open file. Raises OSError."""
    done = Walk()
    try:
        _Walker(fd, _current(fd, map_size), done, visit).run()
    except PageError as error:
        done.faults.append(str(error))
        if not done.records:
            _from_either(fd, map_size, done, visit)
    return done


def cut_short(fd: int, map_size: int) -> str:
    """Return what is wrong with the length and the meta pages of the data file *fd*; "" for nothing. Raises OSError."""
    try:
        meta = _current(fd, map_size)
    except (PageError, struct.error) as error:
        return str(error)
    size, needed = os.fstat(fd).st_size, (meta.last + 1) * meta.page_size
    return "" if size >= needed else f"ends after {size} bytes, before a page that is in use"


def _from_either(fd: int, map_size: int, done: Walk, visit: Visit) -> None:
    """Visit what is reachable if meta pages are damaged: from the one that seems newer, else from the other."""
    size = _page_size(os.pread(fd, 4096, 0))
    metas = []
    for number in (0, 1):
        with suppress(PageError, struct.error):
            meta = _parsed(os.pread(fd, size, number * size), number, size, map_size)[0]
            metas.append((meta.transaction & 1 == number, meta.transaction, meta))
    best: list[tuple[bytes, bytes]] = []
    for place, (_, _, meta) in enumerate(sorted(metas, key=lambda one: one[:2], reverse=True)):
        rows: list[tuple[bytes, bytes]] = []
        attempt = Walk()
        with suppress(PageError):
            _Walker(fd, meta, attempt, partial(_keep, rows)).run()
        best = max(best, rows, key=len)
        if attempt.is_whole:
            # The older one's records may be one transaction behind.
            done.is_whole = not place
            best = rows
            break
    done.records = len(best)
    for key, value in best:
        visit(key, value)


def _keep(rows: list[tuple[bytes, bytes]], key: bytes, value: bytes) -> None:
    rows.append((key, value))


def moment(path: str) -> bytes:
    """Return the two meta pages, for comparison: while they are equal, nothing was written. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(4096)
        size = _page_size(head)
        file.seek(size)
        return head + file.read(4096)


def _page_size(head: bytes) -> int:
    """Return the page size in the first meta page; 4096 if it is invalid."""
    place = _HEADER.size + _META.size
    size = int.from_bytes(head[place : place + 4], "little")
    return size if size in {1 << shift for shift in range(9, 17)} else 4096


def _current(fd: int, map_size: int) -> Meta:
    """Return the newer of the two meta pages. Raises PageError if either is not as it should be."""
    size = _page_size(os.pread(fd, 4096, 0))
    metas = [_meta(os.pread(fd, size, number * size), number, size, map_size) for number in (0, 1)]
    older, newer = sorted(metas, key=lambda meta: meta.transaction)
    if newer.transaction and (newer.transaction - older.transaction != 1 or metas[newer.transaction & 1] is not newer):
        raise PageError("its meta pages are not from two consecutive transactions")
    return newer


def _meta(page: bytes, number: int, size: int, map_size: int) -> Meta:
    meta, fault = _parsed(page, number, size, map_size)
    if fault:
        raise PageError(fault)
    return meta


def _parsed(page: bytes, number: int, size: int, map_size: int) -> tuple[Meta, str]:
    """Return a meta page, and what is wrong with it."""
    if len(page) < size:
        raise PageError("it is too short for its meta pages")
    found, pad, flags, _, _ = _HEADER.unpack_from(page)
    magic, version, address, mapped = _META.unpack_from(page, _HEADER.size)
    place = _HEADER.size + _META.size
    free = _Database(*_DATABASE.unpack_from(page, place))
    main = _Database(*_DATABASE.unpack_from(page, place + _DATABASE.size))
    last, transaction = _TAIL.unpack_from(page, place + 2 * _DATABASE.size)
    told = (found, pad, flags, magic, version, address, free.pad, free.flags, main.pad, main.flags)
    wanted = (number, 0, _META_PAGE, _MAGIC, _VERSION, 0, size, _INTEGER_KEYS, 0, 0)
    meta = Meta(size, map_size, free._replace(flags=_INTEGER_KEYS), main._replace(flags=0), last, transaction)
    # A store that was made with a limited address space keeps its smaller map size until its next change.
    is_well = told == wanted and mapped in {map_size >> shift for shift in range(HALVINGS + 1)}
    return meta, "" if is_well else f"meta page {number} is not as LMDB writes it"


class _Node(NamedTuple):
    """One node: a branch's has a child in `page`, a leaf's a value of `size` bytes, in `value` or on `page`."""

    key: bytes
    value: bytes
    size: int
    page: int


class _Place(NamedTuple):
    """A page to visit, its depth, and the separators before and after it, None at the ends."""

    number: int
    depth: int
    low: bytes | None
    high: bytes | None


class _Walker:
    def __init__(self, fd: int, meta: Meta, done: Walk, visit: Visit) -> None:
        self._fd = fd
        self._meta = meta
        self._size = meta.page_size
        self._done = done
        self._visit = visit
        # Not the file's size: pages at the end that a transaction took and gave back are never written.
        self._used = bytearray(meta.last + 1 if meta.last < _MOST_PAGES else 0)
        self._free: list[int] = []

    def run(self) -> None:
        if len(self._used) < 2:
            raise PageError("its meta page has an impossible size")
        self._used[0:2] = b"\1\1"
        meta, faults = self._meta, self._done.faults
        for name, database, visit in (("free", meta.free, self._take_free), ("main", meta.main, self._take_record)):
            before = len(faults)
            self._database(name, database, visit)
            self._done.is_whole = len(faults) == before
        if faults:
            return
        for number in self._free:
            self._use(number, 1)
        if 0 in self._used:
            raise PageError(f"page {self._used.index(0)} belongs to nothing")

    def _use(self, first: int, count: int) -> None:
        if first < 2 or first + count > len(self._used):
            raise PageError(f"page {first} is outside the file")
        if any(self._used[first : first + count]):
            raise PageError(f"page {first} is used twice")
        self._used[first : first + count] = b"\1" * count

    def _database(self, name: str, database: _Database, visit: Visit) -> None:
        """Visit every reachable record of one database, and compare the counts with those in its head."""
        met = [0, 0, 0, 0]
        # Damaged pages may refer to each other in loops, and in more ways than can be followed.
        searched: set[tuple[int, bool]] = set()
        todo: list[_Place] = []
        if database.root != _NONE:
            todo.append(_Place(database.root, 1, None, None))
        while todo:
            place = todo.pop()
            try:
                todo += self._visit_page(place, database, met, visit)
            except PageError as error:
                self._done.faults.append(f"{name} database: {error}")
                is_leaf = place.depth == database.depth
                if (place.number, is_leaf) in searched:
                    continue
                searched.add((place.number, is_leaf))
                if is_leaf:
                    self._rescue(place.number, visit)
                else:
                    todo += [_Place(child, place.depth + 1, None, None) for child in self._children(place.number)]
        if tuple(met) != (database.branches, database.leaves, database.overflows, database.entries):
            self._done.faults.append(f"{name} database: its content does not match the counts in its head")

    def _visit_page(self, at: _Place, database: _Database, met: list[int], visit: Visit) -> list[_Place]:
        """Visit a page's records, or return the pages below it, the last one first; count in *met*."""
        is_leaf = at.depth == database.depth
        nodes = self._tree_page(at.number, is_leaf, at.depth)
        _require_order(nodes, at, database)
        if not is_leaf:
            met[0] += 1
            bounds = [at.low, *(node.key for node in nodes[1:]), at.high]
            below = [_Place(node.page, at.depth + 1, *bounds[i : i + 2]) for i, node in enumerate(nodes)]
            return below[::-1]
        met[1] += 1
        met[3] += len(nodes)
        for node in nodes:
            value = node.value
            if node.page:
                value, count = self._overflow(node)
                met[2] += count
            visit(node.key, value)
        return []

    def _tree_page(self, number: int, is_leaf: bool, depth: int) -> list[_Node]:
        """Return the nodes of a page of a tree, in the order of their keys."""
        self._use(number, 1)
        page = os.pread(self._fd, self._size, number * self._size)
        if len(page) < self._size or depth > _DEEPEST:
            raise PageError(f"page {number} is outside the file, or too deep")
        found, pad, flags, lower, upper = _HEADER.unpack_from(page)
        if found != number or pad or flags != (_LEAF if is_leaf else _BRANCH):
            raise PageError(f"page {number} is not the expected page")
        if lower % 2 or not _HEADER.size < lower <= upper <= len(page):
            raise PageError(f"page {number} has impossible bounds")
        places = struct.unpack_from(f"<{(lower - _HEADER.size) // 2}H", page, _HEADER.size)
        nodes = []
        ends = {}
        for place in places:
            if place % 2 or not upper <= place <= len(page) - _NODE.size:
                raise PageError(f"page {number} has a node outside its bounds")
            node, end = _node(page, place, is_leaf)
            ends[place] = end
            nodes.append(node)
        # Nodes follow each other, from the gap to the end of the page.
        place = upper
        while place in ends:
            place = ends.pop(place)
        if ends or place != len(page):
            raise PageError(f"page {number} has nodes that overlap, or gaps between them")
        return nodes

    def _rescue(self, number: int, visit: Visit) -> None:
        """Visit everything that looks like a record on the damaged leaf *number*; seals show which ones are."""
        page = self._page(number)
        if len(page) < self._size:
            return
        places = set(struct.unpack(f"<{len(page) // 2}H", page))
        # After each node another one begins: so nodes are found even if their offsets are lost.
        todo = [place for place in places if _HEADER.size < place <= len(page) - _NODE.size]
        seen: set[int] = set()
        while todo:
            place = todo.pop()
            if place in seen or place > len(page) - _NODE.size:
                continue
            seen.add(place)
            with suppress(PageError, struct.error):
                node, end = _node(page, place, True)
                if b"/" in node.key and not node.page:
                    visit(node.key, node.value)
                    todo.append(end)

    def _children(self, number: int) -> list[int]:
        """Return the pages below the damaged branch *number*, as far as its nodes follow each other."""
        page = self._page(number)
        if len(page) < self._size:
            return []
        _, _, _, lower, upper = _HEADER.unpack_from(page)
        count = max(0, min(lower, len(page)) - _HEADER.size) // 2
        listed = struct.unpack_from(f"<{count}H", page, _HEADER.size)
        found: dict[int, None] = {}
        seen: set[int] = set()
        for start in dict.fromkeys((upper, *listed)):
            place = start
            while place not in seen and _HEADER.size < place <= len(page) - _NODE.size:
                seen.add(place)
                low, middle, high, length = _NODE.unpack_from(page, place)
                child = low | middle << 16 | high << 32
                if 1 < child < len(self._used):
                    found[child] = None
                place += _NODE.size + length
                place += place % 2
        return list(found)

    def _page(self, number: int) -> bytes:
        """Return page *number*; b"" for a number that the file cannot have, as in a damaged page."""
        return os.pread(self._fd, self._size, number * self._size) if number < len(self._used) else b""

    def _overflow(self, node: _Node) -> tuple[bytes, int]:
        """Return a value in overflow pages, and the number of these pages."""
        head = self._page(node.page)[: _HEADER.size]
        if len(head) < _HEADER.size:
            raise PageError(f"page {node.page} is outside the file")
        found, pad, flags, low, high = _HEADER.unpack(head)
        count = low | high << 16
        # A value that has become shorter keeps its pages.
        least = (_HEADER.size - 1 + node.size) // self._size + 1
        if (found, pad, flags) != (node.page, 0, _OVERFLOW) or count < least:
            raise PageError(f"page {node.page} is not the expected page")
        self._use(node.page, count)
        data = os.pread(self._fd, node.size, node.page * self._size + _HEADER.size)
        if len(data) < node.size:
            raise PageError(f"page {node.page} is outside the file")
        return data, count

    def _take_record(self, key: bytes, value: bytes) -> None:
        self._done.records += 1
        self._visit(key, value)

    def _take_free(self, key: bytes, value: bytes) -> None:
        """Take a list of free pages: count, then numbers, descending; the key is the transaction that freed them."""
        words = memoryview(value[: len(value) // 8 * 8]).cast("Q").tolist() if len(value) >= 8 else [_NONE]
        numbers = words[1 : words[0] + 1] if words[0] < len(words) else []
        if words[0] >= len(words) or numbers != sorted(set(numbers), reverse=True):
            raise PageError("a list of free pages is not as LMDB writes it")
        if len(key) != _NUMBER.size or not 0 < _NUMBER.unpack(key)[0] <= self._meta.transaction:
            raise PageError("a list of free pages has an impossible key")
        self._free += numbers


def _node(page: bytes, place: int, is_leaf: bool) -> tuple[_Node, int]:
    """Return the node at *place*, and where it ends."""
    low, high, flags, length = _NODE.unpack_from(page, place)
    start = place + _NODE.size
    key = page[start : start + length]
    end = start + length
    if not is_leaf:
        return _Node(key, b"", 0, low | high << 16 | flags << 32), end + end % 2
    size = low | high << 16
    stored = _NUMBER.size if flags == _BIG else size
    if flags not in {0, _BIG} or end + stored > len(page):
        raise PageError("a node is not as LMDB writes it")
    value = page[end : end + stored]
    end += stored
    if flags == _BIG:
        return _Node(key, b"", size, _NUMBER.unpack(value)[0] or _NONE), end + end % 2
    return _Node(key, value, size, 0), end + end % 2


def _require_order(nodes: list[_Node], at: _Place, database: _Database) -> None:
    """Raise PageError unless keys ascend, between the separators of the page; a branch's first key is not used."""
    keys = [node.key for node in nodes]
    if at.depth != database.depth:
        keys = keys[1:]
    order: list[tuple[int, bytes]] = [_rank(key, database) for key in keys]
    fine = all(one < other for one, other in pairwise(order))
    if order and at.low is not None:
        fine = fine and _rank(at.low, database) <= order[0]
    if order and at.high is not None:
        fine = fine and order[-1] < _rank(at.high, database)
    if not fine:
        raise PageError(f"page {at.number} has keys out of order")


def _rank(key: bytes, database: _Database) -> tuple[int, bytes]:
    return (int.from_bytes(key, "little"), b"") if database.flags == _INTEGER_KEYS else (0, key)
