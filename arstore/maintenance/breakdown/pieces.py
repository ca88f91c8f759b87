"""Pieces: the bytes of each layer on disk, for the one image that needs them, or for several.

Every byte of a blob or a tree that the graph records is in exactly one piece. So the pieces of an image that are its
own add up to what removing the image would free, and all its pieces to its size.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from arstore.graph.key_numbers import UNKNOWN
from arstore.values import NamedTuple, Slotted

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.shares import Kind, Shares

DOCUMENTS = ""
"""In place of a diff ID: manifests, configs, attachments, and trees that do not belong to one layer."""


class Piece(Slotted):
    """Bytes of one layer: of `blobs` that are only blobs, and of `trees`, with the files that are a blob too."""

    __match_args__ = ("blobs", "trees")
    __slots__ = __match_args__

    def __init__(self, blobs: int = 0, trees: int = 0) -> None:
        self.blobs = blobs
        self.trees = trees

    @property
    def size(self) -> int:
        """All bytes."""
        return self.blobs + self.trees

    def add(self, is_tree: bool, size: int) -> None:
        """Add the *size* of a tree or a blob."""
        if is_tree:
            self.trees += size
        else:
            self.blobs += size


class Tree(NamedTuple):
    """The largest tree of a layer: its key, its form and the number of its entries."""

    key: str
    form: str
    entries: int


class _Blobs(NamedTuple):
    diff_id: list[str]


class _Layers(NamedTuple):
    diff_id: list[str]
    tree: list[str]


class _Trees(NamedTuple):
    form: list[str]
    entries: list[int]


class Pieces:
    """All pieces of a store, by diff ID. Images are the positions in `Shares.images`."""

    def __init__(self, snapshot: Snapshot, shares: Shares) -> None:
        """Raises the errors of Graph."""
        self.sizes = array("Q")
        """By image: bytes of the content that only that image needs."""
        self.shared: dict[str, Piece] = {}
        """Content that several images need."""
        self.users: dict[str, set[int]] = {}
        """The images that need some of it."""
        self.unused: dict[str, Piece] = {}
        """Content that is recorded, but not needed by an image."""
        self._snapshot = snapshot
        self._shares = shares
        self._groups = _Groups(snapshot, shares)
        self._collect()

    def _collect(self) -> None:
        for is_tree, kind, groups in self._groups.kinds():
            for number, size in enumerate(kind.sizes):
                if size and not kind.users(number):
                    self.unused.setdefault(groups[number], Piece()).add(is_tree, size)
                elif size and kind.users(number) > 1:
                    self.shared.setdefault(groups[number], Piece()).add(is_tree, size)
            for image in range(len(self._shares.images)):
                for number in kind.needed(image):
                    if kind.sizes[number] and kind.users(number) > 1:
                        self.users.setdefault(groups[number], set()).add(image)
        # Not the pieces themselves: of 10^5 layers they take a tenth of the memory that a command may have.
        self.sizes.extend(
            sum(piece.size for piece in self.own(image).values()) for image in range(len(self._shares.images))
        )

    def own(self, image: int) -> dict[str, Piece]:
        """Return what only this image needs."""
        found: dict[str, Piece] = {}
        for is_tree, kind, groups in self._groups.kinds():
            for number in kind.needed(image):
                size = kind.sizes[number]
                if size and kind.users(number) == 1:
                    found.setdefault(groups[number], Piece()).add(is_tree, size)
        return found

    def shared_of(self, image: int) -> dict[str, Piece]:
        """Return what the image needs together with others, as far as it needs it."""
        found: dict[str, Piece] = {}
        for is_tree, kind, groups in self._groups.kinds():
            for number in kind.needed(image):
                size = kind.sizes[number]
                if size and kind.users(number) > 1:
                    found.setdefault(groups[number], Piece()).add(is_tree, size)
        return found

    def trees(self, wanted: Container[str] | None = None) -> dict[str, Tree]:
        """Return the trees that show these layers, by default all. Raises the errors of Graph."""
        sizes, best = self._shares.trees.sizes, dict[str, int]()
        trees: dict[str, Tree] = {}
        groups = self._groups.trees
        for keys, found in self._snapshot.batches("trees", _Trees):
            numbers = self._shares.trees.numbers.known(keys)
            for key, number, form, entries in zip(keys, numbers, found.form, found.entries, strict=True):
                group = groups[number] if number != UNKNOWN else DOCUMENTS
                if group == DOCUMENTS or (wanted is not None and group not in wanted):
                    continue
                if sizes[number] >= best.get(group, 0):
                    best[group] = sizes[number]
                    trees[group] = Tree(key, form, entries)
        return trees

    def by_layer(self) -> dict[str, tuple[Piece, set[int]]]:
        """Return all bytes of each layer, and the images that need some of it."""
        found: dict[str, tuple[Piece, set[int]]] = {}
        for source, users in self._sources():
            for diff_id, piece in source.items():
                total, images = found.setdefault(diff_id, (Piece(), set()))
                total.blobs += piece.blobs
                total.trees += piece.trees
                images |= users.get(diff_id, set()) if users is not None else set()
        return found

    def _sources(self) -> Iterator[tuple[dict[str, Piece], dict[str, set[int]] | None]]:
        yield self.shared, self.users
        yield self.unused, None
        for image in range(len(self.sizes)):
            own = self.own(image)
            yield own, {key: {image} for key in own}


class _Groups:
    """The diff ID of each number: of blobs, of trees, and of files that several of them share."""

    def __init__(self, snapshot: Snapshot, shares: Shares) -> None:
        self._shares = shares
        self.blobs = [DOCUMENTS] * len(shares.blobs.sizes)
        self.trees = [DOCUMENTS] * len(shares.trees.sizes)
        known: dict[str, str] = {}
        for keys, found in snapshot.batches("blobs", _Blobs):
            for number, diff_id in zip(shares.blobs.numbers.known(keys), found.diff_id, strict=True):
                if diff_id and number != UNKNOWN:
                    self.blobs[number] = known.setdefault(diff_id, diff_id)
        for _, layers in snapshot.batches("layers", _Layers):
            for number, diff_id in zip(shares.trees.numbers.known(layers.tree), layers.diff_id, strict=True):
                if number != UNKNOWN:
                    self.trees[number] = known.setdefault(diff_id, diff_id)
        self._files = self._of_files()

    def _of_files(self) -> list[str]:
        files = self._shares.files
        found = [DOCUMENTS] * (len(files.sizes) if files is not None else 0)
        for (table, number), owned in self._shares.owners.items():
            groups = self.blobs if table == "blobs" else self.trees
            for file in owned:
                if number < len(groups):
                    found[file] = found[file] or groups[number]
        return found

    def kinds(self) -> Iterator[tuple[bool, Kind, list[str]]]:
        """Yield whether it counts as a tree, the content, and the groups of its numbers, for each kind of content."""
        yield False, self._shares.blobs, self.blobs
        yield True, self._shares.trees, self.trees
        if self._shares.files is not None:
            yield True, self._shares.files, self._files
