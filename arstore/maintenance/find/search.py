"""The search: a query in, layers and images out. Nothing is written, and no content is read."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.disk.paths import opened
from arstore.errors import ArstoreError
from arstore.maintenance.find import loose
from arstore.maintenance.find.objects import StoredObject, objects
from arstore.maintenance.find.query import DigestQuery, PathQuery, PatternQuery, parents
from arstore.maintenance.find.scan import (
    KINDS_OF_ROWS,
    DamagedError,
    Occurrences,
    occurrences,
    paths_matching,
    paths_with,
    trees_that_may_have,
)
from arstore.maintenance.find.stacks import Stacks
from arstore.maintenance.find.visibility import Hidden, shown
from arstore.store.contents.segment import DIGESTS, KEYS, NAMES, tree_id
from arstore.store.contents.shelf import Shelf
from arstore.trees.contents.row import BLAKE3, SHA256, SYMLINK, WHITEOUT
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from arstore.maintenance.find.query import Query
    from arstore.maintenance.find.scan import Entry
    from arstore.store.contents.shelf import Index
    from arstore.store.store import Store

MOST_PATHS = 1000
"""Paths that are found by default."""
_MOST_PLACES = 500_000
"""Pairs of a path and a layer, and of those and an image, that are kept."""


class Where(NamedTuple):
    """An image whose layer has the path: digest and names; and the diff ID of the layer that hides it, and how."""

    digest: str
    names: tuple[str, ...]
    by: str = ""
    how: str = ""


class Place(NamedTuple):
    """A layer that has a path: diff ID, kind (`row`), size, digest (its first 16 bytes; "" if unknown), images."""

    diff_id: str
    kind: int
    size: int
    digest: str
    images: tuple[Where, ...]


@dataclass(slots=True)
class Found:
    """The answer: layers by path; objects of the store with the digest; and what is not known.

    `unlisted` are the diff IDs of layers without a tree, `unhashed` counts files without a digest of the wanted kind,
    `read` counts layers that the index lacks and that were read themselves. `is_cut`: there is more than *most*.
    """

    paths: dict[bytes, list[Place]] = field(default_factory=dict)
    objects: list[StoredObject] = field(default_factory=list)
    unlisted: tuple[str, ...] = ()
    unhashed: int = 0
    read: int = 0
    symlink: tuple[bytes, bytes] | None = None
    """For a path that was not found: a directory of it that is a symlink in an image, and its target."""
    is_cut: bool = False


def search(
    store: Store,
    query: Query,
    only: Collection[str] = (),
    most: int = MOST_PATHS,
    report: Callable[[int], None] = lambda _count: None,
) -> Found:
    """Find what *query* means in the images *only* (digests; by default all).

    At most *most* paths are found. *report* is called with the number of layers to be read. Raises OSError and the
    errors of Graph.
    """
    section = KEYS if isinstance(query, PathQuery) else DIGESTS if isinstance(query, DigestQuery) else NAMES
    Shelf(store.directories.contents).read_ahead(section)
    with store.graph.read() as snapshot:
        digest = query.text if isinstance(query, DigestQuery) else ""
        stacks = Stacks(snapshot, only, digest)
        found = Found(objects=objects(snapshot, stacks, digest) if digest else [])
    # The pages of the graph that were read would count as this process's memory.
    store.release()
    skipped: set[str] = set()
    while True:
        with Shelf(store.directories.contents).opened(skipped) as index, ExitStack() as stack:
            _complete(store, index, stacks, stack, found, report)
            try:
                _look(store, index, query, stacks, most, found)
            except DamagedError as error:
                # Its trees are read themselves.
                skipped.add(index.segments[error.number].path)
                continue
            return found


def _complete(
    store: Store, index: Index, stacks: Stacks, stack: ExitStack, found: Found, report: Callable[[int], None]
) -> None:
    """Add the trees that the index lacks."""
    missing = [tree for tree in stacks.trees if tree not in index.trees]
    lost = set(stacks.lacking)
    found.read = 0
    if missing:
        report(len(missing))
        keys = (key for _, key in stacks.keys_of(store.graph, missing))
        for segment, unread in loose.segments(store.inventory(), keys):
            if segment is not None:
                index.add(stack.enter_context(segment))
            lost.update(stacks.trees[tree_id(key)] for key in unread)
            found.read -= len(unread)
        found.read += len(missing)
    found.unlisted = tuple(sorted(set(stacks.diff_ids(store.graph, lost).values())))


def _look(store: Store, index: Index, query: Query, stacks: Stacks, most: int, found: Found) -> None:
    wanted = stacks.trees.keys()
    if isinstance(query, PathQuery):
        trees = trees_that_may_have(index, query.path, KINDS_OF_ROWS, wanted)
        _place(store, occurrences(index, [query.path], stacks.trees_over(trees), _MOST_PLACES), stacks, found)
        if not found.paths:
            found.symlink = _symlink(store, index, query.path, stacks)
    elif isinstance(query, PatternQuery):
        matches = paths_matching(index, query, wanted, most)
        found.is_cut = matches.is_cut
        # If there are more paths, more trees may have those that were kept.
        within = wanted if matches.is_cut else stacks.trees_over(matches.trees)
        _place(store, occurrences(index, matches.paths, within, _MOST_PLACES), stacks, found)
    else:
        having = paths_with(index, query, wanted) if query.flags else {}
        paths = set().union(*having.values())
        found.is_cut = len(paths) > most
        seen = occurrences(index, sorted(paths)[:most], stacks.trees_over(having.keys()), _MOST_PLACES)
        _place(store, seen, stacks, found, having)
        found.unhashed = _unhashed(index, wanted, query)


def _symlink(store: Store, index: Index, path: bytes, stacks: Stacks) -> tuple[bytes, bytes] | None:
    """Return the directory of *path* that is a symlink in some tree, and its target there."""
    for parent in parents(path):
        for tree in sorted(trees_that_may_have(index, parent, {SYMLINK}, stacks.trees.keys())):
            with suppress(ArstoreError, OSError):
                ((_, key),) = stacks.keys_of(store.graph, [tree])
                form, place = store.inventory().tree_place(key)
                with opened(place) as fd:
                    node = form.lookup(fd, parent)
                if node is not None and node.entry.link:
                    return parent, node.entry.link
    return None


def _unhashed(index: Index, wanted: Collection[bytes], query: DigestQuery) -> int:
    """Return how many files have no digest that could match."""
    if not query.flags:
        return 0
    flags = query.flags
    count = 0
    for number, segment in enumerate(index.segments):
        pages = [page for page in index.pages(number) if segment.trees[page] in wanted]
        if flags == SHA256 | BLAKE3 or query.is_sized:
            count += segment.total("bare", pages)
        else:
            count += segment.total("files", pages) - segment.total("sha256" if flags & SHA256 else "blake3", pages)
    return count


def _place(
    store: Store, seen: Occurrences, stacks: Stacks, found: Found, only: dict[bytes, set[bytes]] | None = None
) -> None:
    """Put the places of all paths into *found*; with *only*, those of these trees and paths."""
    found.is_cut = found.is_cut or seen.is_cut
    found.paths = {}
    holders = {
        tree
        for path, entries in seen.own.items()
        for tree, entry in entries.items()
        if _counts(path, tree, entry, only)
    }
    over = stacks.images_over(holders)
    of_tree: dict[bytes, list[str]] = {}
    for digest, stack in over.items():
        for tree in stack:
            if tree in holders:
                of_tree.setdefault(tree, []).append(digest)
    involved = holders | {tree for hiding in seen.hiding.values() for tree in hiding}
    involved |= {tree for entries in seen.own.values() for tree in entries}
    numbers = {stacks.trees[tree] for tree in involved}
    diff_ids = stacks.diff_ids(store.graph, numbers)
    of = {tree: diff_ids[stacks.trees[tree]] for tree in involved}
    left = _MOST_PLACES
    for path in sorted(seen.own):
        trees = {tree: entry for tree, entry in seen.own[path].items() if _counts(path, tree, entry, only)}
        images = dict.fromkeys(digest for tree in trees for digest in of_tree.get(tree, ()))
        if len(images) > left:
            found.is_cut = True
            break
        left -= len(images)
        where: dict[bytes, list[Where]] = {tree: [] for tree in trees}
        for digest in images:
            for tree, hidden in shown(path, over[digest], seen):
                if tree in where:
                    where[tree].append(_where(stacks, of, digest, hidden))
        places = [_as_place(of[tree], entry, where[tree]) for tree, entry in trees.items()]
        if places:
            found.paths[path] = sorted(places)


def _counts(path: bytes, tree: bytes, entry: Entry, only: dict[bytes, set[bytes]] | None) -> bool:
    return entry.kind != WHITEOUT and (only is None or path in only.get(tree, ()))


def _where(stacks: Stacks, diff_ids: Mapping[bytes, str], digest: str, hidden: Hidden | None) -> Where:
    names = tuple(stacks.names.get(digest, ()))
    return Where(digest, names) if hidden is None else Where(digest, names, diff_ids[hidden.tree], hidden.how.value)


def _as_place(diff_id: str, entry: Entry, where: Sequence[Where]) -> Place:
    return Place(
        diff_id, entry.kind, entry.size, digest_text(entry.flags, entry.digests), tuple(sorted(where, key=_order))
    )


def _order(where: Where) -> tuple[bool, tuple[str, ...], str]:
    """By name, images without a name last."""
    return not where.names, where.names, where.digest


def digest_text(flags: int, digests: bytes) -> str:
    """Return the first 16 bytes of a file's SHA-256, or else of its BLAKE3, as text; "" without digests."""
    if not flags:
        return ""
    return f"{'sha256' if flags & SHA256 else 'blake3'}:{digests[:16].hex()}"
