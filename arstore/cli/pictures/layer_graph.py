"""The graph of layers as rows: every layer once, below its parent, with a lane for each branch that is still open.

The children of a layer follow it, those with few layers first. The one with most goes on in the lane of its parent, and
the others begin a lane next to it. So there are at most log2(n) + 1 lanes for n layers, and lines never cross.

Of a large store, the layers with most bytes above and in them are told apart, and the others are summed up where they
branch off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.store.forest import Forest
from arstore.values import NamedTuple, Slotted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from arstore.graph.snapshot import Snapshot

MOST = 2000
"""Rows of a picture."""


class Row(NamedTuple):
    """A layer, or with *summed* the sum of so many layers that are not told apart. *size* is of uncompressed tars.

    *lane* is its place across, from 0. It is connected with the row of its *parent* (-1 for none): straight up, or, if
    it *forks*, from one lane to the left. *goes_on* is whether another row follows below in its lane. *uses* is the
    number of images that have the layer, *tops* are the names of those whose top layer it is, or is in the sum.
    """

    chain_id: str
    diff_id: str
    size: int
    lane: int
    parent: int
    forks: bool
    goes_on: bool
    uses: int
    tops: tuple[str, ...] = ()
    summed: int = 0


class LayerGraph(NamedTuple):
    """The rows from the top of the picture to its bottom, and totals of all layers."""

    rows: Sequence[Row]
    layers: int
    size: int
    images: int

    @property
    def lanes(self) -> int:
        """Return the number of lanes."""
        return max((row.lane for row in self.rows), default=-1) + 1


class _Layers(NamedTuple):
    diff_id: list[str]
    size: list[int]


def layer_graph(snapshot: Snapshot, tops: Mapping[str, str], names: Mapping[str, str], most: int = MOST) -> LayerGraph:
    """Return the graph of all layers. *tops* has the top chain ID of each image, *names* a name, both by digest.

    Raises StoreDamagedError, and the errors of Graph.
    """
    forest = Forest(snapshot, list(tops.values()))
    count = len(forest.chain_ids)
    diff_ids, sizes = [""] * count, [0] * count
    for chain_ids, found in snapshot.batches("layers", _Layers):
        for chain_id, diff_id, size in zip(chain_ids, *found, strict=True):
            diff_ids[forest.numbers[chain_id]], sizes[forest.numbers[chain_id]] = diff_id, size
    on_top: dict[str, list[str]] = {}
    for digest, top in tops.items():
        on_top.setdefault(top, []).append(names[digest])
    builder = _Builder(forest, diff_ids, sizes, on_top)
    return LayerGraph(list(builder.rows(most)), count, sum(sizes), len(tops))


class _Below(Slotted):
    """The layers that were left out above one parent."""

    __match_args__ = ("count", "size", "tops")
    __slots__ = __match_args__

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.tops: list[str] = []


class _Builder:
    def __init__(self, forest: Forest, diff_ids: list[str], sizes: list[int], on_top: dict[str, list[str]]) -> None:
        self._forest = forest
        self._diff_ids = diff_ids
        self._sizes = sizes
        self._on_top = on_top
        parents = [forest.numbers.get(forest.parent(number), -1) for number in range(len(sizes))]
        self._parents = parents
        self._counts, self._totals = [1] * len(sizes), list(sizes)
        self._children: dict[int, list[int]] = {}
        # In the order of the forest, parents come before their children.
        for number in reversed(forest.order):
            self._children.setdefault(parents[number], []).append(number)
            if parents[number] >= 0:
                self._counts[parents[number]] += self._counts[number]
                self._totals[parents[number]] += self._totals[number]

    def rows(self, most: int) -> Iterator[Row]:
        """Yield the rows. A layer has at least the bytes of each one over it, so what is kept is connected."""
        kept = self._kept(most)
        left: dict[int, _Below] = {}
        if kept is not None:
            self._sum_up(kept, left)
        todo = self._next(-1, -1, -1, self._below(-1, kept, left))
        made = 0
        while todo:
            number, parent, lane, forks = todo.pop()
            children = self._below(number, kept, left) if number >= 0 else []
            yield self._row(number, parent, lane, forks, bool(children), left)
            todo += self._next(number, made, lane, children)
            made += 1

    def _sum_up(self, kept: frozenset[int], left: dict[int, _Below]) -> None:
        """Enter every layer that is not *kept* in *left*, by the nearest layer below it that is."""
        places: dict[int, int] = {}
        for number in self._forest.order:
            if number not in kept:
                parent = self._parents[number]
                place = places[number] = places.get(parent, parent)
                below = left.setdefault(place, _Below())
                below.count += 1
                below.size += self._sizes[number]
                below.tops += self._on_top.get(self._forest.chain_ids[number], ())

    def _kept(self, most: int) -> frozenset[int] | None:
        """Return the layers that are told apart; None for all."""
        if len(self._sizes) <= most:
            return None
        ordered = sorted(
            range(len(self._sizes)),
            key=lambda number: (-self._totals[number], -self._counts[number], self._forest.chain_ids[number]),
        )
        return frozenset(self._closed(ordered[:most]))

    def _closed(self, chosen: list[int]) -> Iterator[int]:
        """Yield those of *chosen* whose parents are chosen; an empty layer may have as many bytes as its parent."""
        wanted, good = set(chosen), dict[int, bool]()
        for number in self._forest.order:
            parent = self._parents[number]
            good[number] = number in wanted and (parent < 0 or good.get(parent, False))
            if good[number]:
                yield number

    def _below(self, number: int, kept: frozenset[int] | None, left: Mapping[int, _Below]) -> list[int]:
        """Return the children of a layer in the order of their rows, those that are left out as one: -2 - *number*."""
        children = [one for one in self._children.get(number, ()) if kept is None or one in kept]
        children.sort(key=lambda one: (self._counts[one], self._totals[one], self._forest.chain_ids[one]))
        return [-2 - number, *children] if number in left else children

    def _next(self, number: int, place: int, lane: int, children: list[int]) -> list[tuple[int, int, int, bool]]:
        """Return the rows to make for the *children* of a layer, the last one first: number, parent, lane, forks.

        Layers without a parent have lane 0 and do not fork; the largest comes first.
        """
        if number < 0:
            return [(child, -1, 0, False) for child in children]
        forks = [(child, place, lane + 1, True) for child in children[:-1]]
        return [(child, place, lane, False) for child in children[-1:]] + forks[::-1]

    def _row(self, number: int, parent: int, lane: int, forks: bool, goes_on: bool, left: Mapping[int, _Below]) -> Row:
        if number < 0:
            below = left[-2 - number]
            return Row("", "", below.size, lane, parent, forks, False, 0, tuple(sorted(below.tops)), below.count)
        chain_id = self._forest.chain_ids[number]
        tops = tuple(sorted(self._on_top.get(chain_id, ())))
        uses = self._forest.image_count(number)
        return Row(chain_id, self._diff_ids[number], self._sizes[number], lane, parent, forks, goes_on, uses, tops)
